use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use provider::{ErrorKind, SecretBytes};
use provider_store::{
    Anchor, Bundle, Name, Record, RecordAccounts, RootKeySource, ServiceAccounts, Store, Values,
    version_by_clock,
};

use crate::fixture::{Fixture, KEPT, item, kind, one, only, values};

fn carried(bundle: &Bundle) -> Bundle {
    Bundle::from_json(&serde_json::to_vec(bundle).unwrap()).unwrap()
}

fn sealed(store: &Fixture, version: u64, accounts: &ServiceAccounts) -> Record {
    let bundle = carried(&store.store().bundle().unwrap());
    let record = bundle.seal(&item("shop", "api"), version, accounts, &one("from afar")).unwrap();
    Record::from_json(&serde_json::to_vec(&record).unwrap()).unwrap()
}

#[test]
fn a_store_is_made_for_its_group_and_nobody_else() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/store");
    Store::init(&directory, &RootKeySource::beside(&directory)).unwrap();

    let mode = |name: &str| std::fs::metadata(directory.join(name)).unwrap().mode() & 0o7777;

    assert_eq!(mode("."), 0o2750);
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        assert_eq!(mode(file), 0o660, "{file}");
    }
    assert_eq!(mode("root.key"), 0o600);
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let store = Fixture::new();
    store.put(&item("shop", "api"), "one");

    let error = Store::init(store.directory(), &store.root()).unwrap_err();

    assert!(error.to_string().contains("there is a store in"), "{error}");
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "one");
}

#[test]
fn an_init_takes_no_root_key_that_another_store_may_have_and_can_be_repeated() {
    let (store, directory) = (Fixture::new(), tempfile::tempdir().unwrap());
    let before = std::fs::read(store.root_file()).unwrap();

    let error = Store::init(directory.path(), &store.root()).unwrap_err();

    assert!(error.to_string().contains("there is a root key"), "{error}");
    assert_eq!(std::fs::read(store.root_file()).unwrap(), before);
    let anchor = Anchor::new(RootKeySource::beside(directory.path()));
    assert!(Store::open(directory.path(), &anchor).unwrap_err().to_string().contains("there is no store in"));
    assert!(Store::init(directory.path(), &RootKeySource::beside(directory.path())).is_ok());
    assert!(Store::open(directory.path(), &anchor).is_ok());
}

#[test]
fn what_is_no_store_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let anchor = Anchor::new(RootKeySource::beside(directory.path()));
    let missing = Store::open(&directory.path().join("nowhere"), &anchor).unwrap_err().to_string();
    assert!(missing.contains("secretfs store init"), "{missing}");

    std::fs::write(
        directory.path().join("store.db"),
        "this is no database, but long enough to be read as one",
    )
    .unwrap();
    let damaged = Store::open(directory.path(), &anchor).unwrap_err().to_string();
    assert!(damaged.contains("damaged") && damaged.contains("backup"), "{damaged}");
}

#[test]
fn listings_tell_names_versions_and_times_and_nothing_more() {
    let mut store = Fixture::new().store();
    let (api, db) = (item("shop", "api"), item("bank", "db"));
    store.put(&api, None, &values(&[("token", "t1"), ("user", "u1")])).unwrap();
    store.put(&api, Some(only(&["web"])), &values(&[("token", "t2")])).unwrap();
    store.put(&db, None, &one("x")).unwrap();
    store.delete(&db, None, KEPT).unwrap();

    let all = store.list(None).unwrap();
    assert_eq!(all.iter().map(|entry| &entry.item).collect::<Vec<_>>(), [&db, &api]);
    assert_eq!(all.iter().map(|entry| entry.deleted).collect::<Vec<_>>(), [true, false]);
    assert_eq!(store.list(Some(&api.namespace)).unwrap().len(), 1);

    let description = store.describe(&api).unwrap();
    let keys: Vec<_> = description.keys.iter().map(|(key, version)| (key.as_str(), *version)).collect();
    assert_eq!(keys, [("token", 2), ("user", 1)]);
    assert_eq!(description.service_accounts, only(&["web"]));

    let history = store.history(&api).unwrap();
    assert_eq!(history.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(history[1].service_accounts, ServiceAccounts::Any);
    assert!(store.history(&db).unwrap()[0].deleted.is_some());
}

#[test]
fn deleting_twice_or_what_never_was_says_which() {
    let store = Fixture::new();
    let api = item("shop", "api");
    store.put(&api, "one");
    store.put(&api, "two");

    assert_eq!(store.store().delete(&api, Some(1), KEPT).unwrap().versions, [1]);
    assert_eq!(kind(store.store().delete(&api, Some(1), KEPT)), ErrorKind::Revoked);
    assert_eq!(kind(store.store().delete(&api, Some(9), KEPT)), ErrorKind::NotFound);
    assert_eq!(store.store().delete(&api, None, KEPT).unwrap().versions, [2]);
    assert_eq!(kind(store.store().delete(&api, None, KEPT)), ErrorKind::Revoked);
    assert_eq!(kind(store.store().delete(&item("shop", "other"), None, KEPT)), ErrorKind::NotFound);
}

#[test]
fn a_record_made_with_the_bundle_alone_is_imported_and_read() {
    let store = Fixture::new();
    let record = sealed(&store, version_by_clock(), &ServiceAccounts::Any);

    let put = store.store().import(&record, RecordAccounts::MustMatch).unwrap();

    assert_eq!(put.version, record.version());
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "from afar");
    assert_eq!(store.put(&item("shop", "api"), "next").version, put.version + 1);
}

#[test]
fn a_record_into_a_namespace_with_a_key_is_sealed_to_that() {
    let store = Fixture::new();
    store.owner().put(&item("shop", "api"), None, &one("here")).unwrap();
    let bundle = store.store().bundle().unwrap();
    assert_eq!(bundle.namespaces().map(Name::as_str).collect::<Vec<_>>(), ["shop"]);

    store.store().import(&sealed(&store, 2, &ServiceAccounts::Any), RecordAccounts::MustMatch).unwrap();

    let history = store.store().history(&item("shop", "api")).unwrap();
    assert_eq!(history[0].sealed_to, history[1].sealed_to);
    assert_eq!(store.read("shop", "a", "item: api").unwrap(), "from afar");
}

#[test]
fn a_record_for_another_store_or_out_of_turn_is_refused() {
    let (store, other) = (Fixture::new(), Fixture::new());
    store.put(&item("shop", "api"), "one");
    let import = |record: &Record| store.store().import(record, RecordAccounts::MustMatch);
    let refusal = |record: &Record| import(record).unwrap_err().to_string();

    assert!(refusal(&sealed(&other, 2, &ServiceAccounts::Any)).contains("another store"));
    assert!(refusal(&sealed(&store, 1, &ServiceAccounts::Any)).contains("is not newer than version 1"));
    let far = version_by_clock() + 30 * 24 * 3600 * 1000;
    assert!(refusal(&sealed(&store, far, &ServiceAccounts::Any)).contains("ahead of the clock"));
    import(&sealed(&store, 7, &ServiceAccounts::Any)).unwrap();
    assert!(refusal(&sealed(&store, 7, &ServiceAccounts::Any)).contains("is not newer than version 7"));
}

#[test]
fn a_record_does_not_silently_change_who_may_read() {
    let store = Fixture::new();
    store.put_for(&item("shop", "api"), "one", only(&["web"]));
    let record = sealed(&store, 2, &ServiceAccounts::Any);

    let refusal = store.store().import(&record, RecordAccounts::MustMatch).unwrap_err().to_string();
    assert!(refusal.contains("the item for web"), "{refusal}");

    store.store().import(&record, RecordAccounts::Replace).unwrap();
    assert_eq!(store.read("shop", "job", "item: api").unwrap(), "from afar");
}

#[test]
fn a_record_that_was_edited_is_refused_or_does_not_decrypt() {
    let store = Fixture::new();
    let text = serde_json::to_string(&sealed(&store, 5, &only(&["web"]))).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        Record::from_json(text.replace(from, to).as_bytes()).unwrap()
    };
    let import = |record: &Record| store.store().import(record, RecordAccounts::Replace);

    assert!(import(&edit(r#""version":5"#, r#""version":6"#)).unwrap_err().to_string().contains("damaged"));
    for (edited, account, namespace) in [
        (edit(r#"{"only":["web"]}"#, r#"{"only":["job","web"]}"#), "job", "shop"),
        (edit(r#""namespace":"shop""#, r#""namespace":"bank""#), "web", "bank"),
    ] {
        import(&edited).unwrap();
        let error = store.read(namespace, account, "item: api").unwrap_err();
        assert!(error.to_string().contains("does not decrypt"), "{error}");
    }
}

#[test]
fn what_is_no_bundle_and_no_record_is_refused() {
    assert_eq!(kind(Bundle::from_json(b"{}")), ErrorKind::Invalid);
    assert_eq!(kind(Record::from_json(b"[1]")), ErrorKind::Invalid);
    let bundle = serde_json::to_string(&Fixture::new().store().bundle().unwrap()).unwrap();
    assert_eq!(
        kind(Bundle::from_json(bundle.replace("bundle-1", "bundle-2").as_bytes())),
        ErrorKind::Invalid
    );
}

#[test]
fn a_version_has_limits() {
    let many = |count: usize, length: usize| {
        let value = SecretBytes::new(vec![7; length]);
        let pairs = (0..count).map(|index| (format!("k{index}").parse().unwrap(), value.clone()));
        Values::new(pairs.collect::<BTreeMap<Name, SecretBytes>>())
    };

    assert!(many(1, Values::MAX_BYTES).is_ok());
    assert!(many(Values::MAX_KEYS, 1).is_ok());
    assert_eq!(kind(many(1, Values::MAX_BYTES + 1)), ErrorKind::Invalid);
    assert_eq!(kind(many(Values::MAX_KEYS + 1, 1)), ErrorKind::Invalid);
    assert_eq!(kind(many(0, 0)), ErrorKind::Invalid);
}
