//! What a listing of a vault brings: the secrets that have certain tags. Against the stub, which lists as the
//! documentation says.

use std::collections::BTreeMap;

use provider::{ErrorKind, Packed, Result, Source, Tenure};
use serde_json::json;

use crate::support::{CLIENT, Cloud};

type Files = BTreeMap<String, std::result::Result<String, ErrorKind>>;

async fn files(cloud: &Cloud, source: &dyn Source) -> Result<Files> {
    let session = source.session(&cloud.workload("web-0"), Tenure::Shared).await?;
    let reading = session.read(&source.trees()[0].request).await?;
    let file = |leaf: Packed<'_>| {
        let found = leaf.found().map(|reading| reading.body.expose_str().unwrap().to_owned());
        (leaf.path.to_owned(), found.map_err(|error| error.kind()))
    };
    Ok(Packed::all(&reading)?.into_iter().map(file).collect())
}

fn tagged(cloud: &Cloud, name: &str, value: &str, team: &str) {
    cloud.vault.put_tagged("shop-kv", name, value, &json!({"team": team, "stage": "prod"}));
}

#[tokio::test]
async fn the_enabled_secrets_that_have_all_tags_are_files_named_as_they_are() {
    let cloud = Cloud::start();
    tagged(&cloud, "db", "1", "shop");
    tagged(&cloud, "key", "2", "shop");
    tagged(&cloud, "off", "no", "shop");
    tagged(&cloud, "other", "no", "till");
    cloud.vault.put_into("shop-kv", "untagged", "no");
    let off = cloud.vault.read("/vault/shop-kv/secrets/off")["id"].as_str().unwrap().to_owned();
    let version = off.rsplit('/').next().unwrap();
    cloud.vault.attributes_in("shop-kv", "off", version, &json!({"enabled": false}));
    let by = |tags: &str| cloud.class(&format!("byTags: \"{tags}\", directory: keys"));

    let found = files(&cloud, &*by("team=shop,stage")).await.unwrap();

    let value = |name: &str, text: &str| (name.to_owned(), Ok(text.to_owned()));
    assert_eq!(found, Files::from([value("db", "1"), value("key", "2")]));
    assert!(files(&cloud, &*by("team=nobody")).await.unwrap().is_empty());
}

#[tokio::test]
async fn secrets_of_many_pages_are_found_and_more_than_may_be_are_an_error() {
    let cloud = Cloud::start();
    (0..60).for_each(|n| {
        tagged(&cloud, &format!("s{n}"), &n.to_string(), if n % 10 == 0 { "shop" } else { "till" })
    });

    let found = files(&cloud, &*cloud.class("byTags: team=shop, directory: keys")).await.unwrap();
    assert_eq!((found.len(), found["s50"].as_deref()), (6, Ok("50")));
    assert_eq!(cloud.asked("/secrets?"), 3, "pages");

    let error =
        files(&cloud, &*cloud.class("byTags: team=till, directory: keys, maxFiles: 20")).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Invalid && error.to_string().contains("more than 20 files"),
        "{error}"
    );
}

#[tokio::test]
async fn who_may_not_list_is_told_and_one_secret_that_is_denied_takes_no_other_along() {
    let cloud = Cloud::start();
    tagged(&cloud, "db", "1", "shop");
    tagged(&cloud, "key", "2", "shop");
    let source = cloud.class("byTags: team=shop, directory: keys");

    cloud.vault.deny(CLIENT, "secrets/key$");
    let found = files(&cloud, &*source).await.unwrap();
    assert_eq!((found["db"].as_deref(), found["key"].clone()), (Ok("1"), Err(ErrorKind::Denied)));

    cloud.vault.deny(CLIENT, "/secrets$");
    let error = files(&cloud, &*source).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("list secrets"), "{error}");
}

#[tokio::test]
async fn a_listing_that_fails_half_way_is_an_outage_of_all_of_it() {
    let cloud = Cloud::start();
    tagged(&cloud, "db", "1", "shop");
    tagged(&cloud, "key", "2", "shop");
    let source = cloud.class("byTags: team=shop, directory: keys");

    for matches in ["GET .*/secrets[?]", "GET .*/secrets/key"] {
        cloud.vault.fault(matches, 9, 503, &json!({}), &json!({"error": {"code": "x", "message": "y"}}));
        assert_eq!(files(&cloud, &*source).await.unwrap_err().kind(), ErrorKind::Unavailable, "{matches}");
        cloud.vault.heal();
    }
    assert_eq!(files(&cloud, &*source).await.unwrap().len(), 2);
}
