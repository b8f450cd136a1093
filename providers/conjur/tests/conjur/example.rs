use provider::Tenure;
use serde_json::Value;

use crate::support::{conjur, files, source, stub, text, workload};

/// Upstream's annotation, as a parameter, with one variable in two files.
const SECRETS: &str = "\
- \"db/url\": \"shop/db/url\"
- \"db/password\": \"shop/db/password\"
- \"legacy/password\": \"shop/db/password\"
";

#[tokio::test]
async fn the_example_of_upstreams_provider_makes_exactly_its_table_of_files() {
    let (stub, issuer) = stub();
    stub.put("shop/db/url", b"postgres://db");
    stub.put("shop/db/password", b"hunter2");
    let conjur = conjur(&stub);
    let version = ("conjur.org/configurationVersion", "0.2.0");
    let source = source(&conjur, [version, ("secrets", SECRETS), ("someday", "ignored")]);

    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let files = files(&*source, &*session).await.unwrap();

    let shown: Vec<_> = files.iter().map(|(path, object)| (path.as_str(), text(object))).collect();
    let expected = [
        ("db/password", "hunter2".to_owned()),
        ("db/url", "postgres://db".to_owned()),
        ("legacy/password", "hunter2".to_owned()),
    ];
    assert_eq!(shown, expected);
    assert!(files.values().all(|object| object.version.is_none()), "trap: upstream's version is always 1");
    assert_eq!(stub.asked("/authn-jwt/kube/acme/authenticate"), 1);
    assert_eq!(stub.asked("/secrets"), 1, "one call for all variables, each of them once");
}

#[tokio::test]
async fn our_form_shows_versions_modes_and_decoded_values() {
    let (stub, issuer) = stub();
    for value in ["K0", "K1"] {
        stub.put("shop/api", value.as_bytes());
    }
    stub.put("shop/store", b"AP8=");
    let conjur = conjur(&stub);
    let objects = "- {objectName: api, variable: shop/api}\n\
                   - {objectName: api.old, variable: shop/api, version: 1, filePermission: 0400}\n\
                   - {objectName: store.p12, variable: shop/store, encoding: base64}\n\
                   - {objectName: later, variable: shop/later, optional: true, default: none}\n";
    let source = source(&conjur, [("objects", objects)]);

    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let files = crate::support::each(&*source, &*session).await;

    let shown = |path: &str| files[path].clone().unwrap();
    assert_eq!((text(&shown("api")), shown("api").version), ("K1".to_owned(), None));
    assert_eq!((text(&shown("api.old")), shown("api.old").version), ("K0".to_owned(), Some("1".to_owned())));
    assert_eq!(shown("store.p12").contents.expose(), [0, 255]);
    assert_eq!(files["later"].as_ref().unwrap_err().kind(), provider::ErrorKind::NotFound);
    assert_eq!(source.objects()[1].mode.map(|mode| mode.bits()), Some(0o400));
    assert!(source.objects()[3].optional);
    let origin = source.origin(1);
    assert_eq!((origin.address, &*origin.path), (stub.url(), "shop/api"));
}

#[tokio::test]
async fn the_example_manifest_asks_for_what_its_page_says() {
    let manifest = include_str!("../../../../examples/class-conjur.yaml");
    let class: Value = manifest::yaml::read("example", manifest).unwrap();
    let parameters = class["spec"]["parameters"].as_object().unwrap();
    let parameters = parameters.iter().filter(|(key, _)| !key.starts_with("secretfs.dev/"));
    let parameters = parameters.map(|(key, text)| (key.clone(), text.as_str().unwrap().to_owned()));
    let (stub, _) = stub();

    let source = provider::Provider::source(&conjur(&stub), "shop", &parameters.collect()).unwrap();

    let paths: Vec<_> = source.objects().iter().map(|object| object.path.as_str()).collect();
    assert_eq!(paths, ["db/url", "db/password", "legacy/password"]);
    assert_eq!(source.audience(), Some("conjur"));
}
