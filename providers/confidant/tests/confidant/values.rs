use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::ErrorKind;
use serde_json::{Value, json};
use testing::Confidant;

use crate::support::{SERVICE, confidant, only, shown, source, text, workload};

#[tokio::test]
async fn values_arrive_byte_for_byte_and_bytes_in_base64() {
    let server = Confidant::start();
    let confidant = confidant(&server);
    let workload = workload("web-0", "v1");
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().cycle().take(64 * 1024).copied().collect();
    let texts = ["", "\n", "é\u{0}\\\r\n", &"x".repeat(64 * 1024)];
    let bytes = [&all[..], &large, b"\xff\xfe\n", b""];
    let mut pairs = serde_json::Map::new();
    let mut expected = Vec::new();
    for (index, value) in texts.iter().enumerate() {
        pairs.insert(format!("text{index}"), json!(value));
        expected.push((format!("- {{objectName: text{index}}}"), value.as_bytes().to_vec()));
    }
    for (index, value) in bytes.iter().enumerate() {
        pairs.insert(format!("bytes{index}"), json!(STANDARD.encode(value)));
        expected.push((format!("- {{objectName: bytes{index}, encoding: base64}}"), value.to_vec()));
    }
    let id = server.credential("values", &Value::Object(pairs));
    server.service(SERVICE, &[&id], true);

    for (objects, value) in expected {
        let object = only(&*source(&confidant, &objects, &[]), &workload).await.unwrap();
        assert!(object.contents.expose() == value, "{objects}: {} bytes", object.contents.len());
    }
}

#[tokio::test]
async fn confidant_itself_keeps_markup_as_entities() {
    let server = Confidant::start();
    let id = server.credential("markup", &json!({"text": "<&\"'>"}));
    server.service(SERVICE, &[&id], true);

    let shown =
        shown(&*source(&confidant(&server), "- {objectName: text}", &[]), &workload("web-0", "v1")).await;

    assert_eq!(
        shown.unwrap(),
        "&lt;&amp;&#34;&#39;&gt;",
        "what Confidant has is shown, and nothing is undone"
    );
}

#[tokio::test]
async fn a_revision_is_the_version_and_follows_a_rotation() {
    let server = Confidant::start();
    let id = server.credential("db", &json!({"password": "old"}));
    server.service(SERVICE, &[&id], true);
    let confidant = confidant(&server);
    let class = source(&confidant, "- {objectName: password}", &[]);
    let workload = workload("web-0", "v1");

    let before = only(&*class, &workload).await.unwrap();
    let changed = json!({"name": "db", "enabled": true, "credential_pairs": {"password": "new"}});
    let revision = server.change(&id, &changed);
    let after = only(&*class, &workload).await.unwrap();

    assert_eq!((text(&before), before.version), ("old".to_owned(), Some("1".to_owned())));
    assert_eq!((text(&after), after.version), ("new".to_owned(), Some(revision.to_string())));
}

#[tokio::test]
async fn what_is_disabled_is_revoked_and_what_was_taken_from_the_service_is_not_found() {
    let server = Confidant::start();
    let id = server.credential("db", &json!({"password": "p"}));
    let other = server.credential("other", &json!({"token": "t"}));
    server.service(SERVICE, &[&id, &other], true);
    let confidant = confidant(&server);
    let class = source(&confidant, "- {objectName: password, credential: db}", &[]);
    let workload = workload("web-0", "v1");
    let outcome = async || shown(&*class, &workload).await.map_err(|error| error.kind());
    let change = |is_enabled: bool| json!({"name": "db", "enabled": is_enabled, "credential_pairs": {"password": "p"}});

    assert_eq!(outcome().await, Ok("p".to_owned()));
    server.change(&id, &change(false));
    assert_eq!(outcome().await, Err(ErrorKind::Revoked));
    server.change(&id, &change(true));
    assert_eq!(outcome().await, Ok("p".to_owned()));
    server.service(SERVICE, &[&other], true);
    assert_eq!(outcome().await, Err(ErrorKind::NotFound));
    server.service(SERVICE, &[&id], false);
    assert_eq!(outcome().await, Err(ErrorKind::Revoked));
    server.service(SERVICE, &[&id], true);
    assert_eq!(outcome().await, Ok("p".to_owned()));
}
