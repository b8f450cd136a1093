//! How many calls are made.

use std::collections::BTreeMap;

use provider::{ErrorKind, Request};
use provider_aws::Aws;
use serde_json::json;
use testing::{Answer, FaultServer, Moto, Seen};

use crate::support::{REGION, aws, class, read, session, source, text, workload};

/// Passes everything on to `moto`, and counts.
fn counting(moto: &Moto) -> FaultServer {
    FaultServer::before(&moto.url())
}

fn calls(front: &FaultServer, operation: &str) -> usize {
    front.seen().iter().filter(|seen| is_call(seen, operation)).count()
}

fn is_call(seen: &Seen, operation: &str) -> bool {
    seen.header("x-amz-target").is_some_and(|target| target.split('.').next_back() == Some(operation))
}

fn secrets(moto: &Moto, count: usize) -> String {
    (0..count).for_each(|n| drop(moto.create_secret(REGION, &format!("s{n:02}"), &format!("value {n}"))));
    (0..count).map(|n| format!("- {{objectName: s{n:02}, objectType: secretsmanager}}\n")).collect()
}

/// What volumes of one identity read, each the same ten of `count` secrets, through one login. The engine shares readings
/// between them; here each distinct request is read once, as it does.
#[tokio::test]
async fn a_hundred_volumes_of_one_identity_make_one_call_for_twenty_secrets() {
    let moto = Moto::start();
    let objects = secrets(&moto, 40);
    let lines: Vec<_> = objects.lines().collect();
    let front = counting(&moto);
    let aws = aws(&front.url());
    let (mut sessions, mut requests) = (Vec::new(), Vec::<Request>::new());
    for volume in 0..100 {
        let ten: Vec<_> = (0..10).map(|n| lines[(volume * 10 + n) % lines.len()]).collect();
        let source = class(&aws, &ten.join("\n"));
        sessions.push(session(&*source, &workload(&format!("v{volume}"))).await.unwrap());
        requests.extend(source.objects().iter().map(|object| object.request.clone()));
    }
    requests.sort();
    requests.dedup();

    for call in sessions[0].calls(requests) {
        let queries: Vec<_> = call.into_iter().map(provider::Query::from).collect();
        assert!(sessions[0].read_many(&queries).await.iter().all(Result::is_ok));
    }

    let count = |operation| calls(&front, operation);
    assert_eq!((count("BatchGetSecretValue"), count("GetSecretValue")), (2, 0));
    assert_eq!(front.seen().len(), 3, "and one login");
}

#[tokio::test]
async fn parameters_are_read_by_ten() {
    let moto = Moto::start();
    (0..25).for_each(|n| assert_eq!(moto.put_parameter(REGION, &format!("/p{n}"), "v"), 1));
    let objects: String =
        (0..25).map(|n| format!("- {{objectName: /p{n}, objectType: ssmparameter}}\n")).collect();
    let front = counting(&moto);
    let source = class(&aws(&front.url()), &objects);
    let session = session(&*source, &workload("v")).await.unwrap();

    read(&*source, &*session, &BTreeMap::new()).await.unwrap();

    assert_eq!(calls(&front, "GetParameters"), 3);
}

fn with_probe(aws: &Aws, probe: &str, objects: &str) -> std::sync::Arc<dyn provider::Source> {
    source(aws, &[("secretfs.dev/probe", probe), ("objects", objects)])
}

#[tokio::test]
async fn described_secrets_are_read_again_only_where_they_have_changed() {
    let moto = Moto::start();
    let objects = secrets(&moto, 10);
    let front = counting(&moto);
    let source = with_probe(&aws(&front.url()), "describe", &objects);
    let session = session(&*source, &workload("v")).await.unwrap();
    let count = |operation| calls(&front, operation);

    let first = read(&*source, &*session, &BTreeMap::new()).await.unwrap();
    assert_eq!((count("BatchGetSecretValue"), count("DescribeSecret")), (1, 0), "nothing is held");

    let second = read(&*source, &*session, &first).await.unwrap();
    assert_eq!((count("BatchGetSecretValue"), count("DescribeSecret"), count("GetSecretValue")), (1, 10, 0));

    moto.put_secret(REGION, "s03", "changed");
    let third = read(&*source, &*session, &second).await.unwrap();
    assert_eq!((count("BatchGetSecretValue"), count("DescribeSecret"), count("GetSecretValue")), (1, 20, 1));
    let changed: Vec<_> = third.values().filter(|reading| reading.body.expose() == b"changed").collect();
    assert_eq!(changed.len(), 1);
}

#[tokio::test]
async fn secrets_in_batches_are_described_never() {
    let moto = Moto::start();
    let objects = secrets(&moto, 10);
    let front = counting(&moto);
    let source = with_probe(&aws(&front.url()), "batch", &objects);
    let session = session(&*source, &workload("v")).await.unwrap();

    let first = read(&*source, &*session, &BTreeMap::new()).await.unwrap();
    read(&*source, &*session, &first).await.unwrap();

    assert_eq!((calls(&front, "BatchGetSecretValue"), calls(&front, "DescribeSecret")), (2, 0));
}

/// What only a login has read by value it may be told to be unchanged: a new one may not read it any more.
#[tokio::test]
async fn a_new_login_reads_by_value_what_an_old_one_held() {
    let moto = Moto::start();
    let objects = secrets(&moto, 3);
    let front = counting(&moto);
    let source = with_probe(&aws(&front.url()), "describe", &objects);
    let old = session(&*source, &workload("v")).await.unwrap();
    let held = read(&*source, &*old, &BTreeMap::new()).await.unwrap();
    old.discard();
    let new = session(&*source, &workload("v")).await.unwrap();

    read(&*source, &*new, &held).await.unwrap();

    assert_eq!((calls(&front, "BatchGetSecretValue"), calls(&front, "DescribeSecret")), (2, 0));
}

/// moto lets everybody do everything: the refusal is the front's, in AWS's words.
#[tokio::test]
async fn who_may_not_make_batch_calls_reads_one_by_one_and_is_asked_no_more() {
    let moto = Moto::start();
    let objects = secrets(&moto, 5);
    let (front, behind) = (counting(&moto), moto.url());
    front.script(move |seen| match is_call(seen, "BatchGetSecretValue") {
        true => Answer::json(
            400,
            &json!({
                "__type": "AccessDeniedException",
                "Message": "User: x is not authorized to perform: secretsmanager:BatchGetSecretValue",
            }),
        ),
        false => Answer::Forward(behind.trim_start_matches("http://").to_owned()),
    });
    let source = class(&aws(&front.url()), &objects);
    let session = session(&*source, &workload("v")).await.unwrap();

    for _ in 0..3 {
        let readings = read(&*source, &*session, &BTreeMap::new()).await.unwrap();
        assert_eq!(readings.len(), 5);
    }

    assert_eq!((calls(&front, "BatchGetSecretValue"), calls(&front, "GetSecretValue")), (1, 15));
}

/// AWS judges all parameters of a call by each of them.
#[tokio::test]
async fn a_parameter_that_is_refused_takes_no_other_along() {
    let moto = Moto::start();
    ["/mine", "/theirs"].iter().for_each(|name| assert_eq!(moto.put_parameter(REGION, name, "v"), 1));
    let (front, behind) = (counting(&moto), moto.url());
    front.script(move |seen| {
        match is_call(seen, "GetParameters") && String::from_utf8_lossy(&seen.body).contains("/theirs") {
            true => Answer::json(400, &json!({"__type": "AccessDeniedException", "Message": "no"})),
            false => Answer::Forward(behind.trim_start_matches("http://").to_owned()),
        }
    });
    let objects = "- {objectName: /mine, objectType: ssmparameter}\n- {objectName: /theirs, objectType: ssmparameter}\n";
    let source = class(&aws(&front.url()), objects);
    let session = session(&*source, &workload("v")).await.unwrap();
    let queries: Vec<_> = source.objects().iter().map(|object| object.request.clone().into()).collect();

    let found = session.read_many(&queries).await;

    assert!(found[0].is_ok(), "{:?}", found[0]);
    assert_eq!(found[1].as_ref().unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(calls(&front, "GetParameters"), 3);
}

#[tokio::test]
async fn a_rotation_is_read_with_its_new_version() {
    let moto = Moto::start();
    moto.create_secret(REGION, "a", "old");
    let source = class(&aws(&moto.url()), "- {objectName: a, objectType: secretsmanager}");
    let session = session(&*source, &workload("v")).await.unwrap();
    let old = read(&*source, &*session, &BTreeMap::new()).await.unwrap();

    let version = moto.put_secret(REGION, "a", "new");
    let new = read(&*source, &*session, &old).await.unwrap();

    let (old, new) = (old.values().next().unwrap(), new.values().next().unwrap());
    assert_eq!((new.body.expose(), new.version.as_deref()), (&b"new"[..], Some(version.as_str())));
    assert_ne!(old.version, new.version);
    assert_eq!(text(&source.extract(0, new).unwrap()), "new");
}
