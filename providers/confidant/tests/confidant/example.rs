use provider::{Parameters, Provider as _, Tenure};
use serde_json::{Value, json};
use testing::Confidant;

use crate::support::{SERVICE, confidant, each, source, text, workload};

const OBJECTS: &str = "\
- {objectName: db/user, credential: shop db, key: user}
- {objectName: db/password, credential: shop db, key: password, filePermission: 0400}
- {objectName: api-token}
- {objectName: store.p12, key: p12, encoding: base64}
- {objectName: invoice-key, optional: true}
";

#[tokio::test]
async fn the_example_makes_exactly_its_table_of_files() {
    let server = Confidant::start();
    let db = server.credential("shop db", &json!({"user": "shop", "password": "hunter2"}));
    let api = server.credential("shop api", &json!({"api-token": "T1"}));
    let store = server.credential("shop store", &json!({"p12": "AP8="}));
    server
        .change(&api, &json!({"name": "shop api", "enabled": true, "credential_pairs": {"api-token": "T2"}}));
    server.service(SERVICE, &[&db, &api, &store], true);
    let confidant = confidant(&server);
    let source = source(&confidant, OBJECTS, &[]);

    let session = source.session(&workload("web-0", "v1"), Tenure::Shared).await.unwrap();
    let files = each(&*source, &*session).await;

    for (path, contents, revision) in
        [("api-token", "T2", "2"), ("db/password", "hunter2", "1"), ("db/user", "shop", "1")]
    {
        let object = files[path].as_ref().unwrap();
        assert_eq!(
            (text(object), object.version.as_deref()),
            (contents.to_owned(), Some(revision)),
            "{path}"
        );
    }
    assert_eq!(files["store.p12"].as_ref().unwrap().contents.expose(), [0, 255]);
    assert_eq!(files["invoice-key"].as_ref().unwrap_err().kind(), provider::ErrorKind::NotFound);
    assert_eq!(files.len(), 5);
    assert_eq!(source.objects()[1].mode.map(|mode| mode.bits()), Some(0o400));
}

#[tokio::test]
async fn the_example_manifest_asks_for_what_its_page_says() {
    let manifest = include_str!("../../../../examples/class-confidant.yaml");
    let class: Value = manifest::yaml::read("example", manifest).unwrap();
    let parameters = class["spec"]["parameters"].as_object().unwrap();
    let parameters = parameters.iter().filter(|(key, _)| !key.starts_with("secretfs.dev/"));
    let parameters: Parameters =
        parameters.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned())).collect();

    let confidant =
        provider_confidant::Confidant::new(provider_confidant::ConfidantConfig::default()).unwrap();
    let source = confidant.source("shop", &parameters).unwrap();

    let paths: Vec<_> = source.objects().iter().map(|object| object.path.as_str()).collect();
    assert_eq!(paths, ["db/user", "db/password", "api-token", "store.p12", "invoice-key"]);
    assert_eq!(source.audience(), Some("sts.amazonaws.com"));
}
