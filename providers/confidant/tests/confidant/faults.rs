use std::time::Duration;

use provider::ErrorKind;
use provider_confidant::{Confidant, ConfidantConfig, Patience};
use serde_json::json;
use testing::{Answer, FaultServer};

use crate::support::{config, shown, source, workload};

const OBJECTS: &str = "- {objectName: password}";

fn sts() -> Answer {
    let keys = "<R><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></R>";
    Answer::text(200, "text/xml", keys)
}

/// Whose refusal is which kind of error, at each step of a login.
#[tokio::test]
async fn a_refused_login_is_no_word_about_a_credential() {
    let refused = |name: &str| Answer::json(400, &json!({"__type": name, "message": "no"}));
    let of_sts = |name: &str| Answer::text(400, "text/xml", &format!("<E><Code>{name}</Code></E>"));
    for (at_sts, at_kms, kind, remedy) in [
        (of_sts("InvalidIdentityToken"), None, ErrorKind::Unauthenticated, "roleArn"),
        (of_sts("AccessDenied"), None, ErrorKind::Unauthenticated, "roleArn"),
        (of_sts("Throttling"), None, ErrorKind::Unavailable, ""),
        (Answer::text(403, "text/html", "<html>"), None, ErrorKind::Unavailable, ""),
        (Answer::text(200, "text/html", "<html>"), None, ErrorKind::Unavailable, "--confidant-aws-endpoint"),
        (sts(), Some(refused("AccessDeniedException")), ErrorKind::Denied, "kms:Encrypt"),
        (sts(), Some(refused("NotFoundException")), ErrorKind::Invalid, "authKey"),
        (sts(), Some(refused("ThrottlingException")), ErrorKind::Unavailable, ""),
        (sts(), Some(refused("ExpiredTokenException")), ErrorKind::Unauthenticated, ""),
        (sts(), Some(Answer::json(200, &json!({}))), ErrorKind::Unavailable, "--confidant-aws-endpoint"),
    ] {
        let server = FaultServer::http(move |seen| match &*seen.target {
            "/sts" | "/sts/" => at_sts.clone(),
            "/kms" | "/kms/" => at_kms.clone().unwrap(),
            other => panic!("{other} is asked without a login"),
        });
        let url = server.url();
        let confidant = Confidant::new(config(&url, &format!("{url}/{{service}}"))).unwrap();

        let error = shown(&*source(&confidant, OBJECTS, &[]), &workload("web-0", "v1")).await.unwrap_err();

        assert_eq!(error.kind(), kind, "{error}");
        let told = error.to_string();
        assert!(told.starts_with("login of shop/web as service shop-production"), "{told}");
        assert!(told.contains(remedy) && !told.contains("token-of-web-0"), "{told}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_is_away_is_given_up_in_time() {
    let server = FaultServer::http(|_| Answer::Hang);
    let patience = Patience { first_byte: Duration::from_millis(200), ..Patience::default() };
    // Nobody listens there.
    for (url, told) in
        [(server.url(), "did not answer in time"), ("http://127.0.0.1:9".to_owned(), "refuses")]
    {
        let config = ConfidantConfig { patience, ..config(&url, &url) };
        let confidant = Confidant::new(config).unwrap();
        let error = shown(&*source(&confidant, OBJECTS, &[]), &workload("web-0", "v1")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn the_way_to_confidant_has_to_be_private_unless_the_administrator_says_otherwise() {
    let server = FaultServer::http(|seen| panic!("{} is asked", seen.target));
    let confidant = Confidant::new(config("https://confidant.example.com", &server.url())).unwrap();
    let class = source(&confidant, OBJECTS, &[("url", "http://confidant.example.com")]);

    let error = shown(&*class, &workload("web-0", "v1")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("--allow-insecure-stores"), "{error}");
    assert!(server.seen().is_empty());
}
