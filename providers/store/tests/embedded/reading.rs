use proptest::prelude::*;
use provider::{Error, ErrorKind};
use provider_store::{RootKeySource, ServiceAccounts, Store};
use rusqlite::Connection;

use crate::fixture::{Fixture, KEPT, fetch, item, kind, one, only, read, source, values, workload};

#[test]
fn a_pod_reads_what_was_put_for_its_namespace() {
    let store = Fixture::new();
    store.put(&item("shop", "web/api"), "one");

    assert_eq!(store.read("shop", "any", "item: web/api").unwrap(), "one");
}

#[test]
fn the_newest_version_is_read_unless_another_is_named() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    store.put(&item("shop", "api"), "two");

    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "two");
    assert_eq!(store.read("shop", "a", "item: api, version: 1").unwrap(), "one");
    assert_eq!(kind(store.read("shop", "a", "item: api, version: 3")), ErrorKind::NotFound);
}

#[test]
fn a_key_that_a_later_version_lacks_keeps_its_value() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.store().put(&api, None, &values(&[("user", "u1"), ("password", "p1")])).unwrap();
    store.store().put(&api, None, &values(&[("password", "p2")])).unwrap();

    assert_eq!(store.read("shop", "a", "item: api, key: user").unwrap(), "u1");
    assert_eq!(store.read("shop", "a", "item: api, key: password").unwrap(), "p2");
    assert_eq!(kind(store.read("shop", "a", "item: api")), ErrorKind::NotFound);
}

#[test]
fn what_was_deleted_is_revoked_and_does_not_bring_an_older_value_back() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    store.put(&api, "two");

    store.store().delete(&api, Some(2), KEPT).unwrap();
    assert_eq!(kind(store.read("shop", "a", "item: api")), ErrorKind::Revoked);
    assert_eq!(store.read("shop", "a", "item: api, version: 1").unwrap(), "one");

    store.store().delete(&api, None, KEPT).unwrap();
    assert_eq!(kind(store.read("shop", "a", "item: api, version: 1")), ErrorKind::Revoked);

    assert_eq!(store.put(&api, "three").version, 3);
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "three");
}

#[test]
fn what_never_was_is_not_found() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");

    for object in ["item: other", "item: api, key: other", "item: api, version: 9"] {
        assert_eq!(kind(store.read("shop", "a", object)), ErrorKind::NotFound, "{object}");
    }
}

#[test]
fn another_namespace_does_not_even_learn_that_an_item_exists() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");

    let there = store.read("bank", "a", "item: api").unwrap_err().to_string();
    let nowhere = store.read("bank", "a", "item: xyz").unwrap_err().to_string();

    assert_eq!(there.replace("api", "xyz"), nowhere);
}

#[test]
fn a_denied_pod_is_told_what_to_do_and_neither_versions_nor_who_may() {
    let store = Fixture::new();
    store.put_for(&item("shop", "api"), "one", only(&["web"]));

    let error = store.read("shop", "job", "item: api, version: 7").unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.to_string(),
        "item api of namespace shop is not for service account job; if it should be, put it again \
         with --service-account job among the others"
    );
}

#[tokio::test]
async fn an_item_that_names_a_uid_is_not_inherited_by_a_service_account_that_is_made_again() {
    let store = Fixture::new();
    store.put_for(&item("shop", "api"), "one", only(&["web=4711"]));
    let (provider, of) = (store.provider(), |uid: Option<&str>| {
        let mut workload = workload("shop", "web");
        workload.identity.uid = uid.map(str::to_owned);
        workload
    });
    let api = source(&provider, "item: api");

    let same = fetch(&*api, &of(Some("4711"))).await.unwrap();
    let again = fetch(&*api, &of(Some("4712"))).await.unwrap_err();
    let unknown = fetch(&*api, &of(None)).await.unwrap_err();

    assert_eq!(same.contents.expose_str(), Some("one"));
    assert_eq!((again.kind(), unknown.kind()), (ErrorKind::Denied, ErrorKind::Denied));
    assert!(again.to_string().contains("--service-account web=4712"), "{again}");
    assert!(unknown.to_string().contains("tokenRequests"), "{unknown}");
}

#[test]
fn an_item_stays_with_its_service_accounts_until_others_are_named() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put_for(&api, "one", only(&["web"]));
    store.put(&api, "two");
    assert_eq!(store.read("shop", "web", "item: api").unwrap(), "two");
    assert_eq!(kind(store.read("shop", "job", "item: api")), ErrorKind::Denied);

    store.put_for(&api, "three", ServiceAccounts::Any);
    assert_eq!(store.read("shop", "job", "item: api").unwrap(), "three");
    assert_eq!(kind(store.read("shop", "job", "item: api, version: 1")), ErrorKind::Denied);

    store.put_for(&api, "four", only(&["job"]));
    assert_eq!(kind(store.read("shop", "web", "item: api")), ErrorKind::Denied);
    assert_eq!(kind(store.read("shop", "web", "item: api, version: 1")), ErrorKind::Denied);
}

fn unavailable(result: Result<String, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    error.to_string()
}

#[test]
fn a_store_that_is_lost_or_damaged_is_unavailable_says_so_and_is_read_again_once_it_is_back() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    let provider = store.provider();
    let api = || read(&provider, "shop", "a", "item: api");
    api().unwrap();
    let database = store.directory().join("store.db");
    Connection::open(&database)
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let whole = std::fs::read(&database).unwrap();

    std::fs::remove_file(&database).unwrap();
    let lost = unavailable(api());
    assert!(lost.contains("there is no store in"), "{lost}");

    for damage in [0..200, 4096..whole.len()] {
        let mut bytes = whole.clone();
        bytes[damage].fill(7);
        std::fs::remove_file(&database).ok();
        std::fs::write(&database, bytes).unwrap();
        let damaged = unavailable(api());
        assert!(damaged.contains("is damaged; restore it from a backup"), "{damaged}");
    }

    std::fs::remove_file(&database).unwrap();
    std::fs::write(&database, whole).unwrap();
    assert_eq!(api().unwrap(), "one");
}

#[test]
fn a_store_that_another_process_locked_is_unavailable_and_says_so() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");
    let lock = Connection::open(store.directory().join("store.db")).unwrap();
    lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();

    let locked = unavailable(store.read("shop", "a", "item: api"));

    assert!(locked.contains("is locked by another process"), "{locked}");
    drop(lock);
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
}

#[test]
fn a_lost_root_key_says_so_and_a_wrong_one_too() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");

    std::fs::remove_file(store.root_file()).unwrap();
    let lost = store.read("shop", "a", "item: api").unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable);
    assert!(lost.to_string().contains("root key") && lost.to_string().contains("is not there"), "{lost}");

    let elsewhere = tempfile::tempdir().unwrap();
    Store::init(elsewhere.path(), &RootKeySource::beside(elsewhere.path())).unwrap();
    std::fs::copy(elsewhere.path().join("root.key"), store.root_file()).unwrap();
    let wrong = store.read("shop", "a", "item: api").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Denied);
    assert!(wrong.to_string().contains("the store was sealed to"), "{wrong}");
}

const NAMESPACES: [&str; 3] = ["shop", "bank", "shop-2"];
const ACCOUNTS: [&str; 4] = ["web", "job", "we", "web-2"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn of_namespaces_and_service_accounts_exactly_the_pairs_that_were_named_read(
        owner in prop::sample::select(&NAMESPACES[..]),
        named in prop::option::of(prop::sample::subsequence(&ACCOUNTS[..], 1..ACCOUNTS.len())),
        with_root in any::<bool>(),
    ) {
        let store = Fixture::new();
        let accounts = named.as_ref().map_or(ServiceAccounts::Any, |names| only(names));
        let mut opened = if with_root { store.owner() } else { store.store() };
        opened.put(&item(owner, "api"), Some(accounts), &one("value")).unwrap();

        for namespace in NAMESPACES {
            for account in ACCOUNTS {
                let allowed =
                    namespace == owner && named.as_ref().is_none_or(|names| names.contains(&account));
                let read = store.read(namespace, account, "item: api");
                match (allowed, &read) {
                    (true, Ok(value)) => prop_assert_eq!(value, "value"),
                    (false, Err(error)) if namespace == owner => prop_assert_eq!(error.kind(), ErrorKind::Denied),
                    (false, Err(error)) => prop_assert_eq!(error.kind(), ErrorKind::NotFound),
                    _ => prop_assert!(false, "{}/{} read {:?}", namespace, account, read),
                }
            }
        }
    }
}
