//! Two regions. moto has all of them behind one address; a front that looks at the signature puts one of them out.

use std::collections::BTreeMap;

use provider::{ErrorKind, Result};
use serde_json::json;
use testing::{Answer, FaultServer, Moto, Seen};

use crate::support::{REGION, aws, files, read, source, text, workload};

const OTHER: &str = "eu-central-1";

fn is_in(seen: &Seen, region: &str) -> bool {
    seen.header("authorization").is_some_and(|signed| signed.contains(&format!("/{region}/")))
}

/// moto, whose first region gives `answer` to reads.
fn first_region_says(moto: &Moto, answer: Answer) -> FaultServer {
    let behind = moto.url();
    FaultServer::http(move |seen| match is_in(seen, REGION) {
        true => answer.clone(),
        false => Answer::Forward(behind.trim_start_matches("http://").to_owned()),
    })
}

fn both(moto: &Moto) {
    for region in [REGION, OTHER] {
        moto.create_secret(region, "a", region);
        moto.put_parameter(region, "/b", region);
    }
    moto.create_secret(OTHER, "a-replica", "replica");
}

const OBJECTS: &str = "- {objectName: a, objectType: secretsmanager}\n- {objectName: /b, objectType: ssmparameter}\n\
     - {objectName: a, objectAlias: c, objectType: secretsmanager, failoverObject: {objectName: a-replica}}\n";

async fn shown(front: &FaultServer) -> Result<Vec<String>> {
    let source = source(&aws(&front.url()), &[("failoverRegion", OTHER), ("objects", OBJECTS)]);
    let files = files(&*source, &workload("v")).await?;
    Ok(["a", "_b", "c"].map(|path| text(&files[path])).to_vec())
}

#[tokio::test]
async fn the_first_region_answers_and_the_other_one_is_not_asked() {
    let moto = Moto::start();
    both(&moto);
    let front = FaultServer::before(&moto.url());

    assert_eq!(shown(&front).await.unwrap(), [REGION; 3]);

    assert!(!front.seen().iter().any(|seen| is_in(seen, OTHER)));
}

#[tokio::test]
async fn what_is_out_or_sheds_load_in_the_first_region_is_read_in_the_other_one() {
    let moto = Moto::start();
    both(&moto);
    let throttled = Answer::json(400, &json!({"__type": "ThrottlingException"}));
    let failed = Answer::json(500, &json!({"__type": "InternalServiceError"}));
    for answer in [throttled, failed, Answer::Reset, Answer::text(502, "text/html", "<html>")] {
        let front = first_region_says(&moto, answer.clone());

        assert_eq!(shown(&front).await.unwrap(), [OTHER, OTHER, "replica"], "{answer:?}");
    }
}

#[tokio::test]
async fn a_region_that_was_out_is_left_alone_for_a_while() {
    let moto = Moto::start();
    both(&moto);
    let front = first_region_says(&moto, Answer::Reset);
    let source = source(&aws(&front.url()), &[("failoverRegion", OTHER), ("objects", OBJECTS)]);
    let session = crate::support::session(&*source, &workload("v")).await.unwrap();
    let asked = || front.seen().iter().filter(|seen| is_in(seen, REGION)).count();

    read(&*source, &*session, &BTreeMap::new()).await.unwrap();
    let first = asked();
    read(&*source, &*session, &BTreeMap::new()).await.unwrap();

    assert!(first > 0 && asked() == first, "{first}, then {}", asked());
}

#[tokio::test]
async fn what_the_first_region_refuses_is_refused() {
    let moto = Moto::start();
    both(&moto);
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::Denied),
        ("ResourceNotFoundException", ErrorKind::NotFound),
        ("DecryptionFailure", ErrorKind::Denied),
        ("ValidationException", ErrorKind::Invalid),
    ] {
        let front = first_region_says(&moto, Answer::json(400, &json!({"__type": code})));

        assert_eq!(shown(&front).await.unwrap_err().kind(), kind, "{code}");
        assert!(!front.seen().iter().any(|seen| is_in(seen, OTHER)), "{code}");
    }
}

#[tokio::test]
async fn an_outage_of_both_regions_is_told_as_the_first_one_met_it() {
    let front = FaultServer::http(|seen| match seen.header("x-amz-target") {
        None => sts(),
        Some(_) => Answer::json(503, &json!({"__type": "ServiceUnavailable"})),
    });

    let error = shown(&front).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(REGION), "{error}");
}

fn sts() -> Answer {
    let xml = "<R><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
               <Expiration>9999-01-01T00:00:00Z</Expiration></R>";
    Answer::text(200, "text/xml", xml)
}
