use provider::{Endings, ErrorKind, LeaseId, SecretBytes, Session, Source, Tenure};
use serde_json::json;
use testing::{Issuer, OpenBao, Postgres, until};

use crate::support::{class, files, leases, prepare, source, store, text, vault, with_credentials, workload};

const LOGIN: &str = "
- {objectName: user, secretPath: database/creds/app, secretKey: username}
- {objectName: pass, secretPath: database/creds/app, secretKey: password}
";

/// A PostgreSQL user, its password and its lease, read for the session's volume.
async fn login(source: &dyn Source, session: &dyn Session) -> (String, String, LeaseId) {
    let reading = session.read(&source.objects()[0].request).await.unwrap();
    let part = |index| text(&source.extract(index, &reading).unwrap());
    (part(0), part(1), reading.validity.unwrap().lease.unwrap())
}

#[tokio::test]
async fn a_lease_is_prolonged_and_ends_with_the_login_that_made_it() {
    let ((bao, issuer), postgres) = (store(), Postgres::start());
    bao.database("database", &postgres, "app", "60s", "90s");
    let vault = vault(&bao.address());
    let source = class(&vault, LOGIN);
    let session = source.session(&workload(&issuer, "web-0", "v0"), Tenure::Volume).await.unwrap();
    let (user, password, lease) = login(&*source, &*session).await;
    assert!(postgres.can_login(&user, &password));

    let granted = leases(&session).renew_lease(&lease).await.unwrap();
    let prolonged = leases(&session).renew().await.unwrap();
    leases(&session).revoke().await.unwrap();

    assert_eq!(granted.lease.as_ref(), Some(&lease));
    assert!(granted.duration.get().as_secs() <= 90 && granted.renewable, "{granted:?}");
    assert_eq!(prolonged.duration.get().as_secs(), 600);
    // The store revokes the leases shortly after it ended the login.
    until(|| !postgres.can_login(&user, &password), || format!("{user} still gets in"));
    leases(&session).revoke().await.unwrap();
    assert_eq!(leases(&session).renew_lease(&lease).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(leases(&session).renew().await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn what_remains_of_a_login_ends_it_from_another_process_also_after_an_outage() {
    let (mut bao, issuer, postgres) = (OpenBao::durable(), Issuer::start(), Postgres::start());
    prepare(&bao, &issuer);
    bao.database("database", &postgres, "app", "60s", "90s");
    let first = vault(&bao.address());
    let source = class(&first, LOGIN);
    let session = source.session(&workload(&issuer, "web-0", "v0"), Tenure::Volume).await.unwrap();
    let (user, password, _lease) = login(&*source, &*session).await;
    let remains = leases(&session).remains().unwrap();
    drop((session, source, first));
    let second = vault("http://unused.invalid");

    bao.stop();
    let error = second.revoke(&remains).await.unwrap_err();
    bao.start_again();
    second.revoke(&remains).await.unwrap();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("refuses connections"), "{error}");
    until(|| !postgres.can_login(&user, &password), || format!("{user} still gets in"));
    second.revoke(&remains).await.unwrap();
    let nonsense = second.revoke(&SecretBytes::from("{}".to_owned())).await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_volume_reads_leases_by_a_child_of_the_token_it_was_given() {
    let ((bao, _issuer), postgres) = (store(), Postgres::start());
    bao.database("database", &postgres, "app", "60s", "90s");
    bao.policy("parent", &[("auth/token/create", &["update"])]);
    let made = bao.write("auth/token/create", &json!({"policies": ["app", "parent"], "ttl": "1h"}));
    let token = made["auth"]["client_token"].as_str().unwrap();
    let vault = vault(&bao.address());
    let source = source(&vault, [("secretfs.dev/auth", "token"), ("objects", LOGIN)]);
    let workload = with_credentials([("token", token)]);

    let own = source.session(&workload, Tenure::Volume).await.unwrap();
    let (user, password, _lease) = login(&*source, &*own).await;
    vault.revoke(&leases(&own).remains().unwrap()).await.unwrap();

    until(|| !postgres.can_login(&user, &password), || format!("{user} still gets in"));
    assert!(source.session(&workload, Tenure::Shared).await.is_ok(), "the token itself lives on");
}

#[tokio::test]
async fn a_token_that_makes_no_child_is_used_itself_and_never_revoked() {
    let (bao, _issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let made = bao.write("auth/token/create", &json!({"policies": ["app"], "ttl": "1h"}));
    let vault = vault(&bao.address());
    let source = source(
        &vault,
        [
            ("secretfs.dev/auth", "token"),
            ("objects", "- {objectName: a, secretPath: secret/data/app, secretKey: key}"),
        ],
    );
    let workload = with_credentials([("token", made["auth"]["client_token"].as_str().unwrap())]);

    let session = source.session(&workload, Tenure::Volume).await.unwrap();

    assert!(leases(&session).remains().is_none());
    assert_eq!(text(&files(&*source, &*session).await.unwrap()["a"]), "v");
}

#[tokio::test]
async fn a_batch_token_does_not_become_a_volumes_own() {
    let (bao, issuer) = store();
    bao.write(
        "auth/kubernetes/role/app",
        &json!({
            "bound_service_account_names": "web", "bound_service_account_namespaces": "shop",
            "token_type": "batch", "token_ttl": "10m",
        }),
    );
    let vault = vault(&bao.address());
    let source = class(&vault, LOGIN);

    let session = source.session(&workload(&issuer, "web-0", "v0"), Tenure::Shared).await.unwrap();

    assert!(!leases(&session).claim("v0") && leases(&session).remains().is_none());
    assert!(!leases(&session).validity().unwrap().renewable);
}
