use std::time::Duration;

use provider::{Error, ErrorKind, Network, Reading, Result, Tenure};
use provider_vault::{Patience, Vault, VaultConfig};
use serde_json::json;
use testing::{Answer, Authority, FaultServer, Issuer, OpenBao, Seen, free_port};

use crate::support::{class, only, store, vault, workload};

const OBJECT: &str = "- {objectName: a, secretPath: secret/data/app?version=7, secretKey: key}";

/// A provider with short deadlines, so that the test notices silence soon.
fn impatient(address: &str) -> Vault {
    let patience = Patience {
        connect: Duration::from_secs(2),
        first_byte: Duration::from_millis(200),
        total: Duration::from_secs(3),
    };
    Vault::new(VaultConfig { address: Some(address.to_owned()), patience, ..VaultConfig::default() }).unwrap()
}

fn is_login(seen: &Seen) -> bool {
    seen.target.ends_with("/login")
}

fn login() -> Answer {
    Answer::json(200, &json!({"auth": {"client_token": "s.token", "lease_duration": 600, "metadata": {}}}))
}

/// The outcome of a read from a server that accepts every login and then does `fault`.
async fn read_of(fault: Answer) -> Result<Reading> {
    let server = FaultServer::http(move |seen| if is_login(seen) { login() } else { fault.clone() });
    let vault = impatient(&server.url());
    let source = class(&vault, OBJECT);
    let session = source.session(&workload(&Issuer::start(), "web-0", "v0"), Tenure::Shared).await?;
    session.read(&source.objects()[0].request).await
}

/// The outcome of a login at a server that does `fault`.
async fn login_of(fault: Answer) -> Error {
    let server = FaultServer::http(move |_| fault.clone());
    let vault = impatient(&server.url());
    let pod = workload(&Issuer::start(), "web-0", "v0");
    class(&vault, OBJECT).session(&pod, Tenure::Shared).await.unwrap_err()
}

#[tokio::test]
async fn whatever_a_server_does_instead_of_answering_is_an_outage() {
    let errors = |text: &str| json!({"errors": [text]});
    let faults = [
        (Answer::json(429, &errors("too many requests")).with("retry-after", "7"), "sheds load"),
        (Answer::json(500, &errors("internal error")), "the store answered 500 (internal error)"),
        (Answer::text(502, "text/html", "<html>hunter2</html>"), "the store answered 502"),
        (Answer::json(503, &errors("Vault is sealed")), "unseal the store"),
        (Answer::json(501, &errors("not initialized")), "initialise the store"),
        (Answer::json(472, &json!({})), "standby"),
        (Answer::json(473, &json!({})), "standby"),
        (Answer::text(200, "text/html", "<html>hunter2</html>"), "no JSON object: is this a proxy's page?"),
        (Answer::text(200, "application/json", "{\"data\": {\"hunter2\""), "no JSON object"),
        (Answer::json(200, &json!({"status": "hunter2"})), "none of Vault's"),
        (Answer::Truncated(vec![b'{'; 1000]), "broke off in the middle of its answer"),
        (Answer::Huge(100 << 20), "longer than 2097152 bytes"),
        (Answer::Endless(100 << 20), "longer than 2097152 bytes"),
        (Answer::Hang, "did not answer in time"),
        (Answer::Drip(vec![b' '; 1000], Duration::from_millis(50)), "did not finish its answer in time"),
        (Answer::Reset, "cut the connection"),
    ];
    for (fault, words) in faults {
        let error = read_of(fault.clone()).await.unwrap_err();
        let told = error.to_string();

        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}: {told}");
        assert!(told.contains("GET secret/data/app") && told.contains(words), "{fault:?}: {told}");
        assert!(!told.contains("hunter2") && !told.contains("version=7"), "{told}");
        let login = login_of(fault.clone()).await;
        assert_eq!(login.kind(), ErrorKind::Unavailable, "{fault:?}: {login}");
        assert!(login.to_string().contains("login of shop/web"), "{login}");
    }
}

#[tokio::test]
async fn the_store_may_ask_for_patience() {
    let error = read_of(Answer::json(429, &json!({})).with("retry-after", "7")).await.unwrap_err();
    assert_eq!(error.wait(), Some(Duration::from_secs(7)));
    let dated = Answer::json(503, &json!({})).with("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT");
    assert_eq!(
        read_of(dated).await.unwrap_err().wait(),
        Some(Duration::from_secs(600)),
        "a stranger's patience has an end"
    );
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let other = FaultServer::http(|_| Answer::json(200, &json!({"data": {"key": "elsewhere"}})));
    let to = format!("{}/v1/secret/data/app?token=hunter2", other.url());

    let error = read_of(Answer::json(307, &json!({})).with("location", &to)).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("go to {}", other.url())), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn an_empty_answer_is_a_class_that_asks_for_nothing() {
    let nothing = Answer::Reply { status: 204, headers: vec![], body: vec![] };
    let error = read_of(nothing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("empty response"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_address_is_told_by_what_is_missing() {
    let closed = format!("http://127.0.0.1:{}", free_port());
    for (address, words) in [
        (closed.as_str(), "refuses connections; is it up"),
        ("http://no-such-host.invalid:8200", "cannot be found by name; check vaultAddress"),
    ] {
        let vault = vault(address);
        let error =
            only(&*class(&vault, OBJECT), &workload(&Issuer::start(), "web-0", "v0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(words) && error.to_string().contains(address), "{error}");
    }
}

#[tokio::test]
async fn a_store_is_reached_through_the_administrators_proxy_and_around_it_where_he_says() {
    const OBJECT_THERE: &str = "- {objectName: a, secretPath: secret/data/app, secretKey: key}";
    let (bao, issuer) = store();
    bao.put("secret", "app", &json!({"key": "v"}));
    let proxy = FaultServer::before(&bao.address());
    let config = |address: &str, no_proxy: &str| VaultConfig {
        address: Some(address.to_owned()),
        network: Network {
            proxy: Some(proxy.url()),
            no_proxy: Some(no_proxy.to_owned()),
            ..Network::default()
        },
        ..VaultConfig::default()
    };
    let workload = workload(&issuer, "web-0", "v0");

    let through = Vault::new(config("http://store.invalid:8200", "")).unwrap();
    only(&*class(&through, OBJECT_THERE), &workload).await.unwrap();
    let passed = proxy.seen();
    assert!(!passed.is_empty());
    assert!(passed.iter().all(|seen| seen.target.starts_with("http://store.invalid:8200/v1/")), "{passed:?}");

    let around = Vault::new(config(&bao.address(), "127.0.0.1")).unwrap();
    only(&*class(&around, OBJECT_THERE), &workload).await.unwrap();
    assert_eq!(proxy.seen().len(), passed.len());
}

#[tokio::test]
async fn a_frozen_and_a_sealed_store_are_outages() {
    let (bao, issuer) = store();
    let vault = impatient(&bao.address());
    let source = class(&vault, OBJECT);
    let session = source.session(&workload(&issuer, "web-0", "v0"), Tenure::Shared).await.unwrap();
    let read = || session.read(&source.objects()[0].request);

    bao.freeze();
    let frozen = read().await.unwrap_err();
    bao.thaw();
    bao.seal();
    let sealed = read().await.unwrap_err();

    assert!(frozen.to_string().contains("did not answer in time"), "{frozen}");
    assert_eq!((frozen.kind(), sealed.kind()), (ErrorKind::Unavailable, ErrorKind::Unavailable));
    assert!(sealed.to_string().contains("unseal"), "{sealed}");
}

#[tokio::test]
async fn missing_deleted_destroyed_and_forbidden_are_four_things() {
    let (bao, issuer) = store();
    let versions = |bao: &OpenBao, path: &str| {
        bao.put("secret", path, &json!({"key": "v"}));
        bao.put("secret", path, &json!({"other": "v"}));
    };
    versions(&bao, "deleted");
    bao.delete("secret/data/deleted");
    versions(&bao, "destroyed");
    bao.write("secret/destroy/destroyed", &json!({"versions": [2]}));
    versions(&bao, "forgotten");
    bao.delete("secret/metadata/forgotten");
    versions(&bao, "keyless");
    let vault = vault(&bao.address());
    let pod = workload(&issuer, "web-0", "v0");

    for (path, kind, words) in [
        ("secret/data/deleted", ErrorKind::Revoked, "deleted or destroyed"),
        ("secret/data/destroyed", ErrorKind::Revoked, "deleted or destroyed"),
        ("secret/data/forgotten", ErrorKind::NotFound, "correct secretPath"),
        ("secret/keyless", ErrorKind::NotFound, "data/"),
        ("secret/data/keyless", ErrorKind::NotFound, "key \"key\" does not exist"),
        ("sys/mounts", ErrorKind::Denied, "policies of the role"),
        ("nowhere/app", ErrorKind::Denied, "shop/web (uid-of-shop-web) at auth/kubernetes as role app"),
        ("secret/data/keyless?version=x", ErrorKind::Invalid, "secretPath"),
    ] {
        let source = class(&vault, &format!("- {{objectName: a, secretPath: \"{path}\", secretKey: key}}"));
        let error = only(&*source, &pod).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(error.to_string().contains(words), "{path}: {error}");
    }
    let old = class(&vault, "- {objectName: a, secretPath: secret/data/destroyed?version=1, secretKey: key}");
    assert_eq!(only(&*old, &pod).await.unwrap(), "v");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_named_and_nothing_is_sent() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
    for (identity, words) in [
        (authority.expired_server(&["localhost"]), "expired on 2021-01-01"),
        (
            other.server(&["localhost"]),
            "an authority that is not trusted; name the authority's certificate in vaultCACertPath",
        ),
        (authority.server(&["elsewhere"]), "a certificate for another name"),
    ] {
        let server = FaultServer::https(&identity, |_| Answer::Hang);
        let config = VaultConfig {
            address: Some(server.url()),
            ca: Some(folder.path().join("ca.crt")),
            ..VaultConfig::default()
        };
        let vault = Vault::new(config).unwrap();

        let error =
            only(&*class(&vault, OBJECT), &workload(&Issuer::start(), "web-0", "v0")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(words), "{error}");
        assert!(server.seen().is_empty());
    }
}

#[tokio::test]
async fn http_and_https_that_are_mixed_up_are_told() {
    let bao = OpenBao::start();
    for (address, words) in [
        (bao.tls_address().replace("https:", "http:"), "https://"),
        (bao.address().replace("http:", "https:"), "does not speak TLS"),
    ] {
        let vault = vault(&address);
        let error =
            only(&*class(&vault, OBJECT), &workload(&Issuer::start(), "web-0", "v0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_connection_serves_many_reads_and_is_not_kept_idle() {
    let server = FaultServer::http(|seen| {
        if is_login(seen) { login() } else { Answer::json(200, &json!({"data": {"key": "v"}})) }
    });
    let vault = vault(&server.url());
    let source = class(&vault, OBJECT);
    let session = source.session(&workload(&Issuer::start(), "web-0", "v0"), Tenure::Shared).await.unwrap();

    for _ in 0..10 {
        session.read(&source.objects()[0].request).await.unwrap();
    }

    assert_eq!(server.accepted(), 1);
    // Without our own setting, the pool would wait 90 seconds.
    let closed = tokio::time::timeout(Duration::from_secs(20), async {
        while server.open() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    closed.await.expect("the idle connection to be closed");
}
