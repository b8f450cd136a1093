use provider::Tenure;
use serde_json::{Value, json};
use testing::Postgres;

use crate::support::{class, files, only, source, store, text, vault, workload};

const OBJECTS: &str = "
- {objectName: api-key, secretPath: secret/data/shop/api, secretKey: key, filePermission: 0400}
- {objectName: api-key-old, secretPath: \"secret/data/shop/api?version=1\", secretKey: key}
- {objectName: keystore.p12, secretPath: secret/data/shop/ks, secretKey: p12, encoding: base64}
- {objectName: limits, secretPath: secret/data/shop/api, secretKey: limits}
- {objectName: db/user, secretPath: database/creds/shop, secretKey: username}
- {objectName: db/pass, secretPath: database/creds/shop, secretKey: password}
- objectName: cert.json
  secretPath: pki/issue/shop
  method: PUT
  secretArgs: {common_name: shop.example.com, ttl: 24h}
";

#[tokio::test]
async fn upstreams_example_yields_upstreams_files() {
    let ((bao, issuer), postgres) = (store(), Postgres::start());
    bao.put("secret", "shop/api", &json!({"key": "K0"}));
    bao.put("secret", "shop/api", &json!({"key": "K1", "limits": {"rps": 5}}));
    bao.put("secret", "shop/ks", &json!({"p12": "AAEC/w=="}));
    bao.database("database", &postgres, "shop", "60s", "120s");
    bao.mount("pki", "pki");
    bao.write("pki/root/generate/internal", &json!({"common_name": "root"}));
    bao.write("pki/roles/shop", &json!({"allow_any_name": true, "max_ttl": "24h"}));
    let vault = vault("http://unused.invalid");
    let source = source(
        &vault,
        [
            ("vaultAddress", bao.address().as_str()),
            ("vaultAuthMountPath", "jwt"),
            ("roleName", "app"),
            ("audience", "vault"),
            ("objects", OBJECTS),
            ("someday", "ignored"),
        ],
    );

    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Volume).await.unwrap();
    let files = files(&*source, &*session).await.unwrap();

    let shown = |path: &str| text(&files[path]);
    assert_eq!(shown("api-key"), "K1");
    assert_eq!(shown("api-key-old"), "K0");
    assert_eq!(files["keystore.p12"].contents.expose(), [0, 1, 2, 255]);
    assert_eq!(shown("limits"), r#"{"rps":5}"#);
    assert!(postgres.can_login(&shown("db/user"), &shown("db/pass")));
    let certificate: Value = serde_json::from_str(&shown("cert.json")).unwrap();
    assert!(certificate["data"]["certificate"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert!(shown("cert.json").starts_with(r#"{"request_id":""#));
    assert_eq!(source.objects()[0].mode.unwrap().bits(), 0o400);
    assert_eq!(files["api-key"].version.as_deref(), Some("2"));
    let asked = |operation, path| bao.requests(operation, path);
    assert_eq!(asked("update", "auth/jwt/login"), 1);
    assert_eq!(asked("read", "secret/data/shop/api"), 2, "one for each version");
    assert_eq!(asked("read", "database/creds/shop"), 1);
    assert_eq!(asked("update", "pki/issue/shop"), 1);
}

#[tokio::test]
async fn a_whole_answer_differs_at_each_read_and_its_version_does_not() {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "<&>"}));
    let vault = vault(&bao.address());
    let source = class(&vault, "- {objectName: all.json, secretPath: /v1/secret/data/app}");
    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();

    let first = files(&*source, &*session).await.unwrap().remove("all.json").unwrap();
    let second = files(&*source, &*session).await.unwrap().remove("all.json").unwrap();

    assert_ne!(first.contents.expose(), second.contents.expose());
    assert_eq!(first.significant.as_ref().unwrap().expose(), second.significant.unwrap().expose());
    assert!(text(&first).contains(r#""data":{"data":{"key":"\u003c\u0026\u003e"},"metadata":{"#));
}

#[tokio::test]
async fn a_kv_engine_of_version_1_is_read_and_its_duration_is_no_lease() {
    let (bao, issuer) = store();
    bao.mount("kv1", "kv");
    bao.write("kv1/app", &json!({"key": "v"}));
    let vault = vault(&bao.address());
    let source = class(&vault, "- {objectName: a, secretPath: kv1/app, secretKey: key}");
    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();

    let reading = session.read(&source.objects()[0].request).await.unwrap();

    assert_eq!(text(&source.extract(0, &reading).unwrap()), "v");
    assert_eq!(reading.validity, None);
}

#[tokio::test]
async fn arguments_reach_the_engine_and_an_issued_certificate_ends_when_it_says() {
    let (bao, issuer) = store();
    bao.mount("transit", "transit");
    bao.write("transit/keys/app", &Value::Null);
    bao.mount("pki", "pki");
    bao.write("pki/root/generate/internal", &json!({"common_name": "root"}));
    bao.write("pki/roles/app", &json!({"allow_any_name": true, "max_ttl": "1h"}));
    let vault = vault(&bao.address());
    let source = class(
        &vault,
        "- {objectName: hmac, secretPath: transit/hmac/app, secretKey: hmac, method: post, secretArgs: {input: aGk=}}
- {objectName: a.pem, secretPath: pki/issue/app, secretKey: certificate, method: PUT, secretArgs: {common_name: a.test, ttl: 600s}}
- {objectName: b.pem, secretPath: pki/issue/app, secretKey: certificate, method: PUT, secretArgs: {common_name: b.test, ttl: 600s}}",
    );
    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Volume).await.unwrap();

    let files = files(&*source, &*session).await.unwrap();
    let issued = session.read(&source.objects()[1].request).await.unwrap().validity.unwrap();

    assert!(text(&files["hmac"]).starts_with("vault:v1:"));
    assert_ne!(text(&files["a.pem"]), text(&files["b.pem"]));
    assert!((500..=600).contains(&issued.duration.get().as_secs()), "{issued:?}");
    assert_eq!((issued.renewable, issued.lease), (false, None));
}

#[tokio::test]
async fn a_wrapped_answer_is_a_token_for_somebody_else() {
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let vault = vault(&bao.address());
    let source =
        class(&vault, "- {objectName: a, secretPath: secret/data/app, secretKey: token, wrapTTL: 5m}");

    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Volume).await.unwrap();
    let reading = session.read(&source.objects()[0].request).await.unwrap();
    let token = text(&source.extract(0, &reading).unwrap());

    assert_eq!(reading.validity.unwrap().duration.get().as_secs(), 300);
    let unwrapped = bao.write("sys/wrapping/unwrap", &json!({"token": token}));
    assert_eq!(unwrapped["data"]["data"]["key"], "v");
}

#[tokio::test]
async fn a_namespace_is_part_of_the_store() {
    let (bao, issuer) = store();
    bao.write("sys/namespaces/team-a", &Value::Null);
    for (path, body) in [
        ("sys/mounts/secret", json!({"type": "kv"})),
        ("secret/app", json!({"key": "team's"})),
        ("sys/auth/jwt", json!({"type": "jwt"})),
        ("auth/jwt/config", json!({"oidc_discovery_url": issuer.url()})),
        (
            "auth/jwt/role/app",
            json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": "app"}),
        ),
        ("sys/policies/acl/app", json!({"policy": r#"path "secret/*" { capabilities = ["read"] }"#})),
    ] {
        bao.write(&format!("team-a/{path}"), &body);
    }
    let vault = vault(&bao.address());
    let team = |namespace| {
        source(
            &vault,
            [
                ("roleName", "app"),
                ("vaultNamespace", namespace),
                ("vaultAuthMountPath", "jwt"),
                ("objects", "- {objectName: a, secretPath: secret/app, secretKey: key}"),
            ],
        )
    };

    let shown = only(&*team("/team-a/"), &workload(&issuer, "web-0", "v1")).await.unwrap();

    assert_eq!(shown, "team's");
    assert_ne!(team("team-a").store(), team("").store());
}
