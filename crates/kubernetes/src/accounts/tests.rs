use serde_json::{Value, json};

use super::super::fake_api::{FakeApi, Say, refusal};
use super::*;

const ROLE: &str = "example.com/role";

fn account(annotations: &Value) -> Say {
    Say::Json(
        200,
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "annotations": annotations},
        }),
    )
}

fn accounts(api: &FakeApi, namespaces: &[&str]) -> ServiceAccounts {
    let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
    ServiceAccounts::new(api.client(), BTreeSet::from([ROLE]), namespaces)
}

fn web() -> Identity {
    Identity { uid: Some("1".to_owned()), ..Identity::named("shop", "web") }
}

#[tokio::test(start_paused = true)]
async fn who_asks_at_once_and_soon_after_is_told_by_one_call() {
    let api = FakeApi::new(|_| account(&json!({ROLE: "shop", "other": "x"})));
    let accounts = accounts(&api, &["*"]);

    let (web, other) = (web(), web());
    let (one, two) = tokio::join!(accounts.annotation(&web, ROLE), accounts.annotation(&other, ROLE));
    assert_eq!(one.unwrap().as_deref(), Some("shop"));
    assert_eq!(two.unwrap().as_deref(), Some("shop"));
    assert_eq!(api.asked().len(), 1);
    assert_eq!(api.asked()[0].path, "/api/v1/namespaces/shop/serviceaccounts/web");
    assert_eq!(accounts.annotation(&web, "other").await.unwrap(), None, "nobody declares it");

    tokio::time::advance(Duration::from_secs(61)).await;
    accounts.annotation(&web, ROLE).await.unwrap();
    assert_eq!(api.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_in_other_namespaces() {
    let api = FakeApi::new(|_| Say::Break);

    assert_eq!(accounts(&api, &["billing"]).annotation(&web(), ROLE).await.unwrap(), None);
    assert!(api.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_counts_for_no_store_and_is_left_alone_for_a_moment() {
    let api = FakeApi::saying([Say::Hang, account(&json!({ROLE: "shop"}))]);
    let accounts = accounts(&api, &["*"]);
    let begun = Instant::now();

    let error = accounts.annotation(&web(), ROLE).await.unwrap_err();
    assert!(begun.elapsed() <= ANSWER + Duration::from_millis(10), "{:?}", begun.elapsed());
    assert!(error.is_unasked() && error.kind() == ErrorKind::Unavailable, "{error}");
    let told = error.to_string();
    assert!(told.contains("shop/web: no answer within 5 s") && told.contains("the class can name"), "{told}");

    let (begun, other) = (Instant::now(), Identity::named("billing", "web"));
    accounts.annotation(&other, ROLE).await.unwrap_err();
    assert_eq!((begun.elapsed(), api.asked().len()), (Duration::ZERO, 1));

    tokio::time::advance(known::LEFT_ALONE).await;
    assert_eq!(accounts.annotation(&web(), ROLE).await.unwrap().as_deref(), Some("shop"));
}

#[tokio::test(start_paused = true)]
async fn what_was_told_last_holds_while_the_api_server_is_away() {
    let api = FakeApi::saying([account(&json!({ROLE: "shop"})), Say::Break]);
    let accounts = accounts(&api, &["*"]);
    accounts.annotation(&web(), ROLE).await.unwrap();

    tokio::time::advance(Duration::from_secs(3600)).await;

    assert_eq!(accounts.annotation(&web(), ROLE).await.unwrap().as_deref(), Some("shop"));
    assert_eq!(api.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_told_with_what_grants_it_and_asked_for_again_soon() {
    let words = r#"serviceaccounts "web" is forbidden: User "x" cannot get resource "serviceaccounts" in API group """#;
    let api = FakeApi::saying([
        account(&json!({ROLE: "shop"})),
        refusal(403, "Forbidden", words),
        refusal(404, "NotFound", "serviceaccounts \"web\" not found"),
    ]);
    let accounts = accounts(&api, &["*"]);
    accounts.annotation(&web(), ROLE).await.unwrap();

    tokio::time::advance(Duration::from_secs(61)).await;
    let error = accounts.annotation(&web(), ROLE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCredential);
    assert!(error.to_string().contains("serviceAccountAnnotations in the chart"), "{error}");

    tokio::time::advance(Duration::from_secs(6)).await;
    let error = accounts.annotation(&web(), ROLE).await.unwrap_err();
    assert!(error.to_string().contains("it is gone"), "{error}");
}
