//! A test that a real CCP can be asked for: `hack/conformance cyberark` names one. Without it the stub is asked.

use std::env;
use std::fs;

use provider_cyberark::{CyberArk, CyberArkConfig};
use serde_json::json;
use testing::{Ccp, Identity};

use crate::support::{config, source, text, workload};

/// A server, and an account that is known there.
struct Place {
    config: CyberArkConfig,
    application: String,
    safe: String,
    object: String,
    client: Identity,
    content: String,
    _stub: Option<Ccp>,
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
        let file = |name: &str| fs::read_to_string(told(name).unwrap()).unwrap();
        let ca = told("CA").ok().map(Into::into);
        Self {
            config: CyberArkConfig { url: Some(url), ca, ..CyberArkConfig::default() },
            application: told("APP").unwrap(),
            safe: told("SAFE").unwrap(),
            object: told("OBJECT").unwrap(),
            client: Identity { certificate: file("CLIENT"), key: file("CLIENT") },
            content: file("CONTENT").trim_end_matches('\n').to_owned(),
            _stub: None,
        }
    }

    fn stub() -> Self {
        let ccp = Ccp::start();
        ccp.application("shop", "shop", &["Shop"]);
        ccp.account(&json!({"Safe": "Shop", "Name": "known", "Content": "hunter2"}));
        let text = str::to_owned;
        Self {
            config: config(&ccp),
            application: text("shop"),
            safe: text("Shop"),
            object: text("known"),
            client: ccp.client("shop"),
            content: text("hunter2"),
            _stub: Some(ccp),
        }
    }
}

#[tokio::test]
async fn an_account_shows_what_it_is_known_to_hold() {
    let place = Place::here();
    let Place { application, safe, object, client, content, .. } = &place;
    let cyberark = CyberArk::new(place.config.clone()).unwrap();
    let read = async |object: &str| {
        let objects = format!("- {{objectName: x, object: '{object}'}}");
        let class = source(&cyberark, &objects, &[("appId", application), ("safe", safe)]);
        crate::support::only(&*class, &workload(client)).await
    };

    assert_eq!(text(&read(object).await.unwrap()), *content);
    let none = read("secretfs-has-no-such-account").await.unwrap_err();
    assert_eq!(none.kind(), provider::ErrorKind::NotFound, "{none}");
}
