//! Checks that the fixtures do what the tests with them rely on.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]

use std::time::Duration;

use serde_json::json;
use testing::{Answer, Claims, FaultServer, Issuer, OpenBao, Postgres};

#[test]
fn openbao_counts_what_it_was_asked() {
    let bao = OpenBao::start();
    bao.mount_kv2("secret");
    bao.put("secret", "app", &json!({"key": "one"}));

    let answer = bao.read("secret/data/app");

    assert_eq!(answer["data"]["data"]["key"], "one");
    assert_eq!(bao.requests("read", "secret/data/app"), 1);
}

#[test]
fn a_durable_openbao_remembers_over_a_kill() {
    let mut bao = OpenBao::durable();
    bao.mount_kv2("secret");
    bao.put("secret", "app", &json!({"key": "one"}));

    bao.stop();
    bao.start_again();

    assert_eq!(bao.read("secret/data/app")["data"]["data"]["key"], "one");
}

#[test]
fn openbao_logs_service_accounts_in_by_review_and_by_key() {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    bao.auth_kubernetes("kubernetes", &issuer);
    bao.auth_jwt("jwt", &issuer);
    bao.write(
        "auth/kubernetes/role/app",
        &json!({"bound_service_account_names": "web", "bound_service_account_namespaces": "shop", "audience": "vault"}),
    );
    bao.write(
        "auth/jwt/role/app",
        &json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
            "bound_claims": {"/kubernetes.io/pod/name": "web-0"},
        }),
    );
    let token = issuer.mint(&Claims::of("shop", "web").pod("web-0"));

    let kubernetes = bao.write("auth/kubernetes/login", &json!({"role": "app", "jwt": token}));
    bao.write("auth/jwt/login", &json!({"role": "app", "jwt": token}));

    assert_eq!(kubernetes["auth"]["metadata"]["service_account_uid"], "uid-of-shop-web");
}

#[test]
fn openbao_makes_logins_that_postgres_knows() {
    let (bao, postgres) = (OpenBao::start(), Postgres::start());
    bao.database("database", &postgres, "app", "60s", "120s");

    let login = bao.read("database/creds/app");
    let (user, password) = (&login["data"]["username"], &login["data"]["password"]);

    assert!(postgres.can_login(user.as_str().unwrap(), password.as_str().unwrap()));
    assert!(!postgres.can_login(user.as_str().unwrap(), "another"));
}

#[tokio::test]
async fn a_fault_server_passes_on_until_the_script_says_otherwise() {
    let bao = OpenBao::start();
    let front = FaultServer::before(&bao.address());
    let health = || get(format!("{}/v1/sys/health", front.url()));

    assert_eq!(health().await, Some(200));
    front.script(|_| Answer::json(429, &json!({})).with("retry-after", "1"));
    assert_eq!(health().await, Some(429));
    front.script(|_| Answer::Reset);
    assert_eq!(health().await, None);
    bao.seal();
    front.forward(&bao.address());
    assert_eq!(health().await, Some(503));
    assert_eq!(front.seen().len(), 4);
}

async fn get(url: String) -> Option<u16> {
    let client = testing::http_client();
    let answer = client.get(url).timeout(Duration::from_secs(20)).send().await;
    answer.ok().map(|response| response.status().as_u16())
}
