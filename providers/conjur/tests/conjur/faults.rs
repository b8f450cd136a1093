use std::time::Duration;

use provider::ErrorKind;
use provider_conjur::{Conjur, ConjurConfig, Patience};
use serde_json::{Value, json};
use testing::{Answer, Authority, FaultServer, Issuer};

use crate::support::{config, conjur, shown, source, stub, workload};

const SECRETS: (&str, &str) = ("secrets", "- a: shop/a\n");

fn error(message: &str) -> Value {
    json!({"error": {"code": "no", "message": message}})
}

#[tokio::test]
async fn each_fault_of_the_store_is_told_by_object_reason_and_remedy_and_heals() {
    let (stub, issuer) = stub();
    stub.put("shop/a", b"A");
    let conjur = conjur(&stub);
    let (class, workload) = (source(&conjur, [SECRETS]), workload(&issuer, "web-0", "v1"));
    for (status, headers, body, kind, wait, remedy) in [
        (429, json!({"Retry-After": "7"}), error("slow"), ErrorKind::Unavailable, Some(7), ""),
        (503, json!({}), error("away"), ErrorKind::Unavailable, None, ""),
        (401, json!({}), error("ended"), ErrorKind::Unauthenticated, None, ""),
        (403, json!({}), error("no"), ErrorKind::Denied, None, "execute"),
        (404, json!({}), error("none"), ErrorKind::NotFound, None, "the variable's id"),
        (406, json!({}), error("odd"), ErrorKind::Invalid, None, "the variable's id"),
    ] {
        stub.fault("GET /secrets", 1, status, &headers, &body);
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.wait(), wait.map(Duration::from_secs), "{error}");
        let told = error.to_string();
        assert!(told.contains("variable shop/a as shop/web"), "{told}");
        assert!(told.contains(body["error"]["message"].as_str().unwrap()) && told.contains(remedy), "{told}");
        assert_eq!(shown(&*class, &workload).await.unwrap(), "A", "after {status}");
    }
}

#[tokio::test]
async fn a_refused_login_is_no_word_about_a_variable() {
    let (stub, issuer) = stub();
    stub.put("shop/a", b"A");
    let conjur = conjur(&stub);
    let (class, workload) = (source(&conjur, [SECRETS]), workload(&issuer, "web-0", "v1"));
    for (status, body, kind) in [
        (401, json!(""), ErrorKind::Unauthenticated),
        (403, error("no"), ErrorKind::Unauthenticated),
        (404, error("no such service"), ErrorKind::Unauthenticated),
        (404, json!("<html>"), ErrorKind::Unavailable),
        (503, error("away"), ErrorKind::Unavailable),
        (200, json!({"ok": true}), ErrorKind::Unavailable),
    ] {
        stub.fault("POST /authn-jwt", 1, status, &json!({}), &body);
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("login of shop/web at http"), "{error}");
    }
    assert_eq!(stub.asked("/secrets"), 0);
}

#[tokio::test]
async fn a_server_that_hangs_or_is_away_is_given_up_in_time() {
    let server = FaultServer::http(|_| Answer::Hang);
    let patience = Patience { first_byte: Duration::from_millis(200), ..Patience::default() };
    let issuer = Issuer::start();
    let workload = workload(&issuer, "web-0", "v1");
    // Nobody listens there.
    for (url, told) in
        [(server.url(), "did not answer in time"), ("http://127.0.0.1:9".to_owned(), "refuses")]
    {
        let conjur = Conjur::new(ConjurConfig { patience, ..config(&url) }).unwrap();
        let error = shown(&*source(&conjur, [SECRETS]), &workload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_goes_elsewhere_is_not_followed() {
    let trap = FaultServer::http(|_| Answer::json(200, &json!({})));
    let elsewhere = format!("{}/authn-jwt", trap.url());
    let server = FaultServer::http(move |_| Answer::text(302, "", "").with("location", &elsewhere));
    let conjur = Conjur::new(config(&server.url())).unwrap();
    let issuer = Issuer::start();

    let error = shown(&*source(&conjur, [SECRETS]), &workload(&issuer, "web-0", "v1")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("redirects are not followed"), "{error}");
    assert!(trap.seen().is_empty());
}

#[tokio::test]
async fn the_authority_that_a_class_writes_out_is_the_one_that_is_believed() {
    let (stub, issuer) = stub();
    stub.put("shop/a", b"A");
    let (ours, other) = (Authority::new(), Authority::new());
    let behind = stub.address();
    let server = FaultServer::https(&ours.server(&["localhost"]), move |_| Answer::Forward(behind.clone()));
    let url = server.url().replace("127.0.0.1", "localhost");
    let conjur = Conjur::new(config(&url)).unwrap();
    let workload = workload(&issuer, "web-0", "v1");
    let read =
        async |pem: &str| shown(&*source(&conjur, [SECRETS, ("sslCertificate", pem)]), &workload).await;

    assert_eq!(read(&ours.pem()).await.unwrap(), "A");
    for refused in [read("").await, read(&other.pem()).await] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("sslCertificate"), "{error}");
    }
}
