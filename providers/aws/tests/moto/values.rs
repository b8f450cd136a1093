use provider::ErrorKind;
use serde_json::json;
use testing::Moto;

use crate::support::{REGION, aws, class, files, only, text, workload};

#[tokio::test]
async fn bytes_are_what_was_put() {
    let moto = Moto::start();
    let every_byte: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    let long = "ä\"\\\u{1}\n".repeat(8192);
    moto.create_binary(REGION, "binary", &every_byte);
    moto.create_secret(REGION, "long", &long);
    moto.put_parameter(REGION, "/text", "not\nutf-8? no: ü");
    let objects = "- {objectName: binary, objectType: secretsmanager}\n\
                   - {objectName: long, objectType: secretsmanager}\n\
                   - {objectName: /text, objectType: ssmparameter}\n";

    let files = files(&*class(&aws(&moto.url()), objects), &workload("v")).await.unwrap();

    assert_eq!(files["binary"].contents.expose(), every_byte);
    assert!(long.len() >= 48 << 10 && text(&files["long"]) == long);
    assert_eq!(text(&files["_text"]), "not\nutf-8? no: ü");
}

#[tokio::test]
async fn versions_and_stages_of_secrets_are_read() {
    let moto = Moto::start();
    moto.create_secret(REGION, "a", "one");
    let second = moto.put_secret(REGION, "a", "two");
    let of = async |more: &str| {
        let read = only(&moto, &format!("- {{objectName: a, objectType: secretsmanager{more}}}")).await;
        String::from_utf8(read.unwrap()).unwrap()
    };

    assert_eq!(of("").await, "two");
    assert_eq!(of(", objectVersionLabel: AWSPREVIOUS").await, "one");
    assert_eq!(of(&format!(", objectVersion: {second}")).await, "two");
}

/// moto brings the version that was put last where no stage is asked for. AWS brings the one at AWSCURRENT either way.
#[tokio::test]
async fn a_stage_that_was_moved_back_is_followed() {
    let moto = Moto::start();
    moto.create_secret(REGION, "a", "one");
    let second = moto.put_secret(REGION, "a", "two");
    let first =
        moto.secrets(REGION, "GetSecretValue", &json!({"SecretId": "a", "VersionStage": "AWSPREVIOUS"}));
    let back = json!({
        "SecretId": "a", "VersionStage": "AWSCURRENT",
        "MoveToVersionId": first["VersionId"], "RemoveFromVersionId": second,
    });
    moto.secrets(REGION, "UpdateSecretVersionStage", &back);

    assert_eq!(only(&moto, "- {objectName: a, objectType: secretsmanager}").await.unwrap(), b"one");
}

#[tokio::test]
async fn versions_and_labels_of_parameters_are_read() {
    let moto = Moto::start();
    moto.put_parameter(REGION, "/a", "one");
    moto.put_parameter(REGION, "/a", "two");
    moto.parameters(
        REGION,
        "LabelParameterVersion",
        &json!({"Name": "/a", "ParameterVersion": 1, "Labels": ["prod"]}),
    );
    let objects = "- {objectName: /a, objectType: ssmparameter, objectAlias: now}\n\
                   - {objectName: /a, objectType: ssmparameter, objectAlias: prod, objectVersionLabel: prod}\n\
                   - {objectName: /a, objectType: ssmparameter, objectAlias: first, objectVersion: 1}\n\
                   - {objectName: /a, objectType: ssmparameter, objectAlias: again}\n";

    let files = files(&*class(&aws(&moto.url()), objects), &workload("v")).await.unwrap();

    let shown: Vec<_> = files.iter().map(|(path, object)| (path.as_str(), text(object))).collect();
    let expected = [("again", "two"), ("first", "one"), ("now", "two"), ("prod", "one")];
    assert_eq!(shown, expected.map(|(path, text)| (path, text.to_owned())));
}

#[tokio::test]
async fn what_is_not_there_and_what_was_deleted_are_told_apart() {
    let moto = Moto::start();
    moto.create_secret(REGION, "gone", "v");
    moto.secrets(REGION, "DeleteSecret", &json!({"SecretId": "gone"}));
    let error = async |objects: &str| only(&moto, objects).await.unwrap_err();

    for objects in [
        "- {objectName: none, objectType: secretsmanager}",
        "- {objectName: /none, objectType: ssmparameter}",
    ] {
        let error = error(objects).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("none in eu-west-1 as shop/web"), "{error}");
        assert!(error.to_string().contains("; correct objectName"), "{error}");
    }
    let deleted = error("- {objectName: gone, objectType: secretsmanager}").await;
    assert_eq!(deleted.kind(), ErrorKind::Revoked, "{deleted}");
    moto.secrets(REGION, "RestoreSecret", &json!({"SecretId": "gone"}));
    assert_eq!(only(&moto, "- {objectName: gone, objectType: secretsmanager}").await.unwrap(), b"v");
}

#[tokio::test]
async fn one_bad_secret_takes_no_other_along() {
    let moto = Moto::start();
    moto.create_secret(REGION, "good", "v");
    moto.create_secret(REGION, "gone", "v");
    moto.secrets(REGION, "DeleteSecret", &json!({"SecretId": "gone"}));
    let objects = "- {objectName: good, objectType: secretsmanager}\n- {objectName: gone, objectType: secretsmanager}\n\
                   - {objectName: none, objectType: secretsmanager}\n";
    let source = class(&aws(&moto.url()), objects);
    let session = crate::support::session(&*source, &workload("v")).await.unwrap();
    let requests: Vec<_> = source.objects().iter().map(|object| object.request.clone()).collect();

    let calls = session.calls(requests);
    let queries: Vec<_> = calls.concat().into_iter().map(provider::Query::from).collect();
    let found = session.read_many(&queries).await;

    assert_eq!(calls.len(), 1);
    let kinds: Vec<_> = queries
        .iter()
        .zip(&found)
        .map(|(query, found)| (&*query.request.text, found.as_ref().err().map(provider::Error::kind)))
        .collect();
    let of = |name: &str| kinds.iter().find(|(text, _)| text.contains(&format!("\"{name}\""))).unwrap().1;
    assert_eq!(
        (of("good"), of("gone"), of("none")),
        (None, Some(ErrorKind::Revoked), Some(ErrorKind::NotFound))
    );
}
