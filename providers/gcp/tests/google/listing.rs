//! What a listing brings: the secrets of a project that a filter finds. drongo keeps them; the filter is the stub's.

use std::collections::BTreeMap;

use provider::{ErrorKind, Packed, Result, Source, Tenure, Workload};
use serde_json::json;
use testing::Google;

use crate::support::{gcp, google, source, workload};

type Files = BTreeMap<String, std::result::Result<String, ErrorKind>>;

const BY_TEAM: &str = "- {parent: projects/p1, byFilter: labels.team=shop, directory: keys}";

async fn files(source: &dyn Source, workload: &Workload) -> Result<Files> {
    let session = source.session(workload, Tenure::Shared).await?;
    let reading = session.read(&source.trees()[0].request).await?;
    let file = |leaf: Packed<'_>| {
        let found = leaf.found().map(|reading| reading.body.expose_str().unwrap().to_owned());
        (leaf.path.to_owned(), found.map_err(|error| error.kind()))
    };
    Ok(Packed::all(&reading)?.into_iter().map(file).collect())
}

fn put(google: &Google, name: &str, value: &str, team: &str) {
    google.label(name, &json!({"team": team, "stage": "prod"}));
    google.put(name, value.as_bytes());
}

#[tokio::test]
async fn the_secrets_that_a_filter_finds_are_files_with_their_newest_value() {
    let (google, issuer) = google();
    put(&google, "projects/p1/secrets/db", "old", "shop");
    put(&google, "projects/p1/secrets/key", "2", "shop");
    put(&google, "projects/p1/secrets/other", "no", "till");
    google.put("projects/p1/secrets/db", b"1");
    google.label("projects/p1/secrets/bare", &json!({"team": "shop"}));
    let gcp = gcp(&google);
    let workload = workload(&issuer, "web-0", "v1");
    let found = files(&*source(&gcp, [("secrets", BY_TEAM)]), &workload).await.unwrap();

    let value = |name: &str, text: &str| (name.to_owned(), Ok(text.to_owned()));
    let bare = ("bare".to_owned(), Err(ErrorKind::NotFound));
    assert_eq!(found, Files::from([value("db", "1"), value("key", "2"), bare]));
    let nobody = "- {parent: projects/p1, byFilter: labels.team=nobody, directory: keys}";
    assert!(files(&*source(&gcp, [("secrets", nobody)]), &workload).await.unwrap().is_empty());
}

#[tokio::test]
async fn secrets_of_several_pages_are_found_and_more_than_may_be_are_an_error() {
    let (google, issuer) = google();
    (0..7).for_each(|n| put(&google, &format!("projects/p1/secrets/s{n}"), "v", "shop"));
    google.order(&json!({"do": "page", "size": 3}));
    let gcp = gcp(&google);
    let workload = workload(&issuer, "web-0", "v1");

    let found = files(&*source(&gcp, [("secrets", BY_TEAM)]), &workload).await.unwrap();
    assert_eq!((found.len(), google.asked("/secrets?")), (7, 3));

    let few = "- {parent: projects/p1, byFilter: labels.team=shop, directory: keys, maxFiles: 5}";
    let error = files(&*source(&gcp, [("secrets", few)]), &workload).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("more than 5 files"), "{error}");
}

#[tokio::test]
async fn who_may_not_list_is_told_and_one_secret_that_is_denied_takes_no_other_along() {
    let (google, issuer) = google();
    put(&google, "projects/p1/secrets/db", "1", "shop");
    put(&google, "projects/p1/secrets/key", "2", "shop");
    let gcp = gcp(&google);
    let (source, workload) = (source(&gcp, [("secrets", BY_TEAM)]), workload(&issuer, "web-0", "v1"));

    google.order(&json!({"do": "deny", "who": ".*", "match": "secrets/key/"}));
    let found = files(&*source, &workload).await.unwrap();
    assert_eq!((found["db"].as_deref(), found["key"].clone()), (Ok("1"), Err(ErrorKind::Denied)));

    google.order(&json!({"do": "deny", "who": ".*", "match": "/secrets$"}));
    let error = files(&*source, &workload).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("secrets.list"), "{error}");
    google.order(&json!({"do": "allow"}));

    google.fault("GET .*/secrets/key", 9, 503, &json!({}), &json!({"error": {"status": "UNAVAILABLE"}}));
    assert_eq!(files(&*source, &workload).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
