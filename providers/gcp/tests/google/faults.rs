use std::time::Duration;

use provider::{ErrorKind, Provider as _};
use provider_gcp::{Gcp, GcpConfig, Patience};
use serde_json::{Value, json};
use testing::{Answer, FaultServer};

use crate::support::{CLUSTER, config, gcp, google, newest, parameters, shown, workload};

fn error(status: &str, message: &str) -> Value {
    json!({"error": {"code": 0, "message": message, "status": status}})
}

#[tokio::test]
async fn each_fault_of_the_store_is_told_by_object_reason_and_remedy_and_heals() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let (class, workload) = (newest(&gcp, "api"), workload(&issuer, "web-0", "v1"));
    for (status, headers, body, kind, wait, remedy) in [
        (
            429,
            json!({"Retry-After": "7"}),
            error("RESOURCE_EXHAUSTED", "slow"),
            ErrorKind::Unavailable,
            Some(7),
            "later",
        ),
        (429, json!({}), error("RESOURCE_EXHAUSTED", "slow"), ErrorKind::Unavailable, None, "later"),
        (503, json!({"Retry-After": "1"}), error("UNAVAILABLE", "away"), ErrorKind::Unavailable, Some(1), ""),
        (500, json!({}), error("INTERNAL", "oh"), ErrorKind::Unavailable, None, ""),
        (401, json!({}), error("UNAUTHENTICATED", "ended"), ErrorKind::Unauthenticated, None, ""),
        (
            403,
            json!({}),
            error("PERMISSION_DENIED", "no"),
            ErrorKind::Denied,
            None,
            "roles/secretmanager.secretAccessor",
        ),
        (404, json!({}), error("NOT_FOUND", "none"), ErrorKind::NotFound, None, "resourceName"),
    ] {
        google.fault(":access", 1, status, &headers, &body);
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.wait(), wait.map(Duration::from_secs), "{error}");
        let told = error.to_string();
        assert!(told.contains("projects/p1/secrets/api/versions/latest as shop/web"), "{told}");
        assert!(told.contains(body["error"]["message"].as_str().unwrap()) && told.contains(remedy), "{told}");
        assert_eq!(shown(&*class, &workload).await.unwrap(), "A", "after {status}");
    }
}

#[tokio::test]
async fn a_refused_exchange_is_no_word_about_a_secret() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let class = newest(&gcp, "api");
    let workload = workload(&issuer, "web-0", "v1");
    for (status, body, kind) in [
        (400, json!({"error": "invalid_grant", "error_description": "stale"}), ErrorKind::Unauthenticated),
        (403, error("PERMISSION_DENIED", "no"), ErrorKind::Unauthenticated),
        (503, error("UNAVAILABLE", "away"), ErrorKind::Unavailable),
        (400, json!("a page of a proxy"), ErrorKind::Unavailable),
    ] {
        google.fault("POST /v1/token", 1, status, &json!({}), &body);
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("login of shop/web at identitynamespace:"), "{error}");
    }
    assert_eq!(google.asked(":access"), 0);
}

#[tokio::test]
async fn a_server_that_hangs_or_is_away_is_given_up_in_time() {
    let server = FaultServer::http(|_| Answer::Hang);
    let patience = Patience { first_byte: Duration::from_millis(200), ..Patience::default() };
    let config = |endpoint: String| GcpConfig {
        endpoint,
        identity_provider: Some(CLUSTER.to_owned()),
        patience,
        ..GcpConfig::default()
    };
    let issuer = testing::Issuer::start();
    let workload = workload(&issuer, "web-0", "v1");
    // Nobody listens there.
    for (endpoint, told) in
        [(server.url(), "did not answer in time"), ("http://127.0.0.1:9".to_owned(), "refuses")]
    {
        let gcp = Gcp::new(config(endpoint)).unwrap();
        let error = shown(&*newest(&gcp, "api"), &workload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_elsewhere_is_not_followed() {
    let trap = FaultServer::http(|_| Answer::json(200, &json!({})));
    let (google, issuer) = google();
    let gcp = gcp(&google);
    google.fault("POST /v1/token", 1, 307, &json!({"Location": format!("{}/token", trap.url())}), &json!({}));

    let error = shown(&*newest(&gcp, "api"), &workload(&issuer, "web-0", "v1")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("redirects are not followed"), "{error}");
    assert_eq!(trap.accepted(), 0);
}

#[tokio::test]
async fn no_token_is_sent_on_a_way_that_others_can_read() {
    let (google, issuer) = google();
    let gcp = Gcp::new(config(&google)).unwrap();
    let secrets = "- {resourceName: projects/p1/secrets/api/versions/latest, path: a}";
    let open = parameters([("secrets", secrets), ("endpoint", "http://{service}.example.com")]);

    let class = gcp.source("shop", &open).unwrap();
    let error = shown(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("--allow-insecure-stores"), "{error}");
    assert!(google.seen().is_empty());
}

#[tokio::test]
async fn a_login_that_ended_before_its_time_is_made_again() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let (class, workload) = (newest(&gcp, "api"), workload(&issuer, "web-0", "v1"));
    let session = class.session(&workload, provider::Tenure::Shared).await.unwrap();

    google.order(&json!({"do": "expire"}));
    let error = session.read(&class.objects()[0].request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    session.discard();

    assert_eq!(shown(&*class, &workload).await.unwrap(), "A");
    assert_eq!(google.asked("/v1/token"), 2);
}
