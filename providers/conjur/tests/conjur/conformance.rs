//! Tests that a real Conjur can be asked for: `hack/conformance conjur` names one. Without it they ask the stub.

use std::env;
use std::fs;
use std::sync::Arc;

use provider::{ErrorKind, SecretBytes, Source, Tenure, Workload};
use provider_client::{
    CertificatePath, Connection, Connections, Endpoint, Names, Settings, Tls, confidential,
};
use provider_conjur::{Conjur, ConjurConfig};
use reqwest::Method;
use testing::Issuer;

use crate::support::{each, only, source, text, without_token};

const HOST: &str = "host/secretfs-conformance";
const A: &str = "secretfs-conformance/a";
const B: &str = "secretfs-conformance/b";
/// A variable without a value.
const NEVER: &str = "secretfs-conformance/never";

/// A server, and a host that may write and read there.
struct Place {
    config: ConjurConfig,
    account: String,
    key: String,
    _stub: Option<testing::Conjur>,
}

impl Place {
    fn here() -> Self {
        match env::var("SECRETFS_CONFORMANCE_URL") {
            Ok(url) => Self::real(url),
            Err(_) => Self::stub(),
        }
    }

    fn real(url: String) -> Self {
        let told = |name: &str| env::var(format!("SECRETFS_CONFORMANCE_{name}"));
        let account = told("ACCOUNT").unwrap();
        let key = fs::read_to_string(told("KEY").unwrap()).unwrap().trim().to_owned();
        let ca = told("CA").ok();
        let config = ConjurConfig {
            url: Some(url),
            account: Some(account.clone()),
            ca: ca.map(Into::into),
            ..ConjurConfig::default()
        };
        Self { config, account, key, _stub: None }
    }

    fn stub() -> Self {
        let stub = testing::Conjur::start(&Issuer::start());
        stub.api_key(HOST, "k3y");
        stub.permit(HOST, "secretfs-conformance/.*", &["read", "execute", "update"]);
        [A, B, NEVER].iter().for_each(|variable| stub.declare(variable));
        let config = crate::support::config(&stub.url());
        Self { config, account: "acme".to_owned(), key: "k3y".to_owned(), _stub: Some(stub) }
    }

    fn class<const N: usize>(&self, pairs: [(&str, &str); N]) -> Arc<dyn Source> {
        source(&Conjur::new(self.config.clone()).unwrap(), pairs)
    }

    fn workload(key: &str) -> Workload {
        let credentials = [("login", HOST), ("apiKey", key)];
        let credentials = credentials.map(|(name, text)| (name.to_owned(), text.to_owned().into()));
        Workload { credentials: credentials.into(), ..without_token("web-0", "v1") }
    }

    async fn connection(&self) -> Arc<Connection> {
        let ConjurConfig { url, ca, network, max_body, patience, .. } = &self.config;
        let tls = Tls { ca: ca.clone().map(CertificatePath::Own), ..Tls::default() };
        let address = url.as_deref().unwrap();
        let settings = Settings::new(Names::new("URL", "CA"), network, *max_body, *patience);
        let endpoint = Endpoint { name: address, address, tls: &tls };
        Connections::default().to("test", (), endpoint, None, None, &settings).await.unwrap()
    }

    /// Writes by the API, without the provider.
    async fn put(&self, variable: &str, value: &[u8]) {
        let connection = self.connection().await;
        let login = connection.url(["authn", &self.account, HOST, "authenticate"]).unwrap();
        let login = connection.request(Method::POST, login).header("accept-encoding", "base64");
        let token: SecretBytes = connection.call("login", login.body(self.key.clone())).await.unwrap().body;
        let target = connection.url(["secrets", &self.account, "variable", variable]).unwrap();
        let token = confidential(&[b"Token token=\"", token.expose().trim_ascii(), b"\""]).unwrap();
        let write = connection.request(Method::POST, target).header("authorization", token);
        let written = connection.call(variable, write.body(value.to_vec())).await.unwrap();
        assert_eq!(written.status, 201, "{variable}");
    }
}

const BY_KEY: (&str, &str) = ("authnId", "authn");

#[tokio::test]
async fn what_is_put_is_read_byte_for_byte_alone_and_together() {
    let place = Place::here();
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().cycle().take(64 * 1024).copied().collect();
    for value in [&all[..], &large, b"\xff\xfe\n", b"\n", b"text"] {
        place.put(A, value).await;
        place.put(B, b"beside").await;
        for secrets in [format!("- a: {A}\n"), format!("- a: {A}\n- b: {B}\n- c: {A}\n")] {
            let class = place.class([BY_KEY, ("secrets", &secrets)]);
            let session = class.session(&Place::workload(&place.key), Tenure::Shared).await.unwrap();
            let files = each(&*class, &*session).await;
            let read = files["a"].as_ref().unwrap();
            assert!(read.contents.expose() == value, "{} bytes", value.len());
        }
    }
}

#[tokio::test]
async fn versions_have_the_servers_own_numbers() {
    let place = Place::here();
    place.put(A, b"first").await;
    let newest = format!("- a: {A}\n");
    let newest = [BY_KEY, ("secrets", &*newest), ("versionNumbers", "true")];
    let first = only(&*place.class(newest), &Place::workload(&place.key)).await.unwrap();
    place.put(A, b"second").await;
    let second = only(&*place.class(newest), &Place::workload(&place.key)).await.unwrap();
    let number = |object: &provider::Object| object.version.as_ref().unwrap().parse::<u64>().unwrap();

    assert_eq!((text(&first), text(&second)), ("first".to_owned(), "second".to_owned()));
    assert_eq!(number(&second), number(&first) + 1);
    let pinned = format!("- {{objectName: a, variable: {A}, version: {}}}", number(&first));
    let pinned = place.class([BY_KEY, ("objects", &pinned)]);
    assert_eq!(text(&only(&*pinned, &Place::workload(&place.key)).await.unwrap()), "first");
}

#[tokio::test]
async fn what_is_missing_is_not_found_and_a_wrong_key_is_no_login() {
    let place = Place::here();
    place.put(A, b"text").await;
    let secrets = format!("- a: {A}\n- never: {NEVER}\n- none: secretfs-conformance/none\n");
    let class = place.class([BY_KEY, ("secrets", &secrets)]);
    let session = class.session(&Place::workload(&place.key), Tenure::Shared).await.unwrap();

    let files = each(&*class, &*session).await;

    assert_eq!(text(files["a"].as_ref().unwrap()), "text");
    for name in ["never", "none"] {
        assert_eq!(files[name].as_ref().unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    let refused = class.session(&Place::workload("wrong"), Tenure::Shared).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
}
