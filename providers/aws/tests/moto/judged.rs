//! What moto says once it looks at signatures, which it computes by AWS's own library for Python, and at policies.

use provider::{ErrorKind, Result, SecretBytes, Workload};
use serde_json::{Value, json};
use testing::Moto;

use crate::support::{REGION, aws, class, files, session, text, workload};

const OBJECTS: &str = "- {objectName: a, objectType: secretsmanager}\n- {objectName: b, objectType: secretsmanager}\n\
     - {objectName: /c/ü, objectType: ssmparameter, objectAlias: c}\n\
     - {objectName: a, objectType: secretsmanager, objectVersionLabel: AWSCURRENT, objectAlias: d}\n";

fn moto() -> Moto {
    let moto = Moto::start();
    for name in ["a", "b"] {
        moto.create_secret(REGION, name, name);
    }
    moto.put_parameter(REGION, "/c/ü", "c");
    moto
}

fn allowing(actions: &[&str]) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
}

fn with_key([id, secret]: &[String; 2]) -> Workload {
    let pairs = [("access-key-id", id), ("secret-access-key", secret)];
    let credentials = pairs.map(|(key, value)| (key.to_owned(), SecretBytes::from(value.clone()))).into();
    Workload { credentials, ..workload("v") }
}

async fn shown(moto: &Moto, workload: &Workload) -> Result<Vec<String>> {
    let files = files(&*class(&aws(&moto.url()), OBJECTS), workload).await?;
    Ok(files.values().map(text).collect())
}

#[tokio::test]
async fn every_call_is_signed_as_awss_own_library_signs_it() {
    let moto = moto();
    let all = ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "ssm:GetParameters"];
    let key = moto.user("all", &allowing(&all));
    moto.judge();

    assert_eq!(shown(&moto, &with_key(&key)).await.unwrap(), ["a", "b", "c", "a"]);

    let [id, _] = key;
    let error = shown(&moto, &with_key(&[id, "wrong".to_owned()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    let error = shown(&moto, &with_key(&["AKIANOBODY".to_owned(), "wrong".to_owned()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
}

#[tokio::test]
async fn calls_with_the_keys_of_a_role_are_signed_with_its_token() {
    let moto = moto();
    moto.role("shop", &allowing(&["secretsmanager:*", "ssm:*"]));
    let source = class(&aws(&moto.url()), OBJECTS);
    let _held = session(&*source, &workload("v")).await.unwrap();
    moto.judge();

    let shown = files(&*source, &workload("v")).await.unwrap();

    assert_eq!(shown.values().map(text).collect::<Vec<_>>(), ["a", "b", "c", "a"]);
}

#[tokio::test]
async fn who_may_not_read_is_denied_and_who_may_not_batch_reads_all_the_same() {
    let moto = moto();
    let nothing = moto.user("nothing", &allowing(&["s3:ListBucket"]));
    let single = moto.user("single", &allowing(&["secretsmanager:GetSecretValue", "ssm:GetParameters"]));
    moto.judge();

    let error = shown(&moto, &with_key(&nothing)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("; allow the action in the policy"), "{error}");
    assert_eq!(shown(&moto, &with_key(&single)).await.unwrap(), ["a", "b", "c", "a"]);
}
