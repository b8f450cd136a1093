use std::sync::Arc;

use provider::{ErrorKind, Tenure};
use serde_json::json;
use testing::Confidant;

use crate::support::{SERVICE, confidant, shown, source, with_keys, without_token, workload};

const OBJECTS: &str = "- {objectName: password}";

fn server() -> Confidant {
    let server = Confidant::start();
    let id = server.credential("db", &json!({"password": "p"}));
    server.service(SERVICE, &[&id], true);
    server
}

#[tokio::test]
async fn a_token_of_another_context_key_or_service_opens_nothing() {
    let server = server();
    let confidant = confidant(&server);
    let workload = workload("web-0", "v1");
    for (key, value, kind, told) in [
        ("authContext", "confidant-other", ErrorKind::Unauthenticated, "authContext"),
        ("authKey", "alias/confidant", ErrorKind::Unauthenticated, "authKey"),
        ("authKey", "alias/none", ErrorKind::Invalid, "authKey"),
        ("service", "shop-none", ErrorKind::NotFound, "service"),
    ] {
        let error = shown(&*source(&confidant, OBJECTS, &[(key, value)]), &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn an_access_key_that_comes_with_the_volume_needs_no_token_and_kms_judges_it() {
    let server = server();
    let confidant = confidant(&server);
    let class = source(&confidant, OBJECTS, &[("roleArn", "")]);
    let other = json!({"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "*"});
    let other = json!({"Version": "2012-10-17", "Statement": [other]});
    let workload = with_keys(server.aws(), "shop", &other);

    assert_eq!(class.audience(), None);
    assert_eq!(shown(&*class, &workload).await.unwrap(), "p");
    let none = shown(&*class, &without_token("web-1", "v2")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NoCredential);
    assert!(none.to_string().contains("access-key-id"), "{none}");

    server.aws().judge();
    let denied = shown(&*class, &workload).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    assert!(denied.to_string().contains("kms:Encrypt"), "{denied}");
}

#[tokio::test]
async fn pods_of_one_account_share_a_login_unless_the_class_says_otherwise() {
    let server = server();
    let confidant = confidant(&server);
    for (class, shared) in [
        (source(&confidant, OBJECTS, &[]), true),
        (source(&confidant, OBJECTS, &[("secretfs.dev/share", "pod")]), false),
    ] {
        let one = class.session(&workload("web-0", "v1"), Tenure::Shared).await.unwrap();
        let two = class.session(&workload("web-1", "v2"), Tenure::Shared).await.unwrap();
        assert_eq!(Arc::ptr_eq(&one, &two), shared);
        assert_eq!(one.identity() == two.identity(), shared);
    }
    let other = source(&confidant, OBJECTS, &[("roleArn", "arn:aws:iam::123456789012:role/other")]);
    let one =
        source(&confidant, OBJECTS, &[]).session(&workload("web-0", "v1"), Tenure::Shared).await.unwrap();
    let two = other.session(&workload("web-0", "v1"), Tenure::Shared).await.unwrap();
    assert_ne!(one.identity(), two.identity(), "another role is another reader");
}

#[tokio::test]
async fn no_token_it_is_told_which_audience_is_missing() {
    let server = server();
    let class = source(&confidant(&server), OBJECTS, &[]);
    let error = shown(&*class, &without_token("web-0", "v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCredential);
    let told = error.to_string();
    assert!(told.contains("sts.amazonaws.com") && told.contains("tokenRequests"), "{told}");
}
