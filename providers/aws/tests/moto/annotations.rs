//! The role that a service account is annotated with, as upstream's provider reads it.

use std::sync::Arc;

use provider::{ErrorKind, Network, Workload};
use provider_aws::{Aws, AwsConfig};
use provider_contract::Annotated;
use testing::{Answer, FaultServer, Moto};

use crate::logins::{field, forms};
use crate::support::{REGION, ROLE, files, of_account, session, source, text, workload};

const OBJECT: (&str, &str) = ("objects", "- {objectName: a, objectType: secretsmanager}");
const ANNOTATED: &str = "arn:aws:iam::123456789012:role/annotated";
const PATTERN: &str = "arn:aws:iam::123456789012:role/{namespace}-{serviceAccount}";

/// AWS at `url`, in a cluster.
fn aws(url: &str, accounts: &Arc<Annotated>) -> Aws {
    let network = Network { accounts: Some(Arc::clone(accounts) as _), ..Network::default() };
    let config = AwsConfig { endpoint: Some(url.to_owned()), network, ..AwsConfig::default() };
    Aws::new(AwsConfig { role_arn: Some(PATTERN.to_owned()), ..config }).unwrap()
}

/// The roles that STS was asked for.
fn roles(front: &FaultServer) -> Vec<String> {
    forms(front).iter().map(|form| field(form, "RoleArn").to_owned()).collect()
}

#[tokio::test]
async fn a_role_is_the_classs_then_the_service_accounts_then_the_settings() {
    let moto = Moto::start();
    moto.create_secret(REGION, "a", "value");
    let front = FaultServer::before(&moto.url());
    let accounts = Arc::new(Annotated::with("web", ANNOTATED));
    accounts.write("plain", "");
    let aws = aws(&front.url(), &accounts);
    let silent = source(&aws, &[("roleArn", ""), OBJECT]);

    session(&*source(&aws, &[OBJECT]), &workload("v1")).await.unwrap();
    assert_eq!(accounts.asked(), 0, "a class that names a role asks nobody");
    let shown = files(&*silent, &workload("v2")).await.unwrap();
    session(&*silent, &of_account("plain", "v3")).await.unwrap();

    assert_eq!(text(&shown["a"]), "value");
    assert_eq!(roles(&front), [ROLE, ANNOTATED, "arn:aws:iam::123456789012:role/shop-plain"]);
}

#[tokio::test]
async fn a_role_that_is_changed_there_is_another_login() {
    let moto = Moto::start();
    let front = FaultServer::before(&moto.url());
    let accounts = Arc::new(Annotated::with("web", ANNOTATED));
    let source = source(&aws(&front.url(), &accounts), &[("roleArn", ""), OBJECT]);

    let before = session(&*source, &workload("v")).await.unwrap();
    accounts.write("web", ROLE);
    let after = session(&*source, &workload("v")).await.unwrap();

    assert_ne!(before.identity(), after.identity());
    assert_eq!(roles(&front), [ANNOTATED, ROLE]);
}

#[tokio::test]
async fn an_annotation_that_is_no_role_is_told_without_its_text_and_aws_is_not_asked() {
    let front = FaultServer::http(|_| Answer::Reset);
    let accounts = Arc::new(Annotated::with("web", "arn:aws:iam::123456789012:user/mallory"));
    let source = source(&aws(&front.url(), &accounts), &[("roleArn", ""), OBJECT]);

    let error = session(&*source, &workload("v")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    let told = error.to_string();
    assert!(told.contains("eks.amazonaws.com/role-arn of service account shop/web: it is no ARN"), "{told}");
    assert!(!told.contains("mallory") && front.seen().is_empty(), "{told}");
}

#[tokio::test]
async fn a_cluster_that_cannot_tell_is_no_reason_to_read_as_somebody_else() {
    let front = FaultServer::http(|_| Answer::Reset);
    let source = source(&aws(&front.url(), &Arc::default()), &[("roleArn", ""), OBJECT]);

    let error = session(&*source, &workload("v")).await.unwrap_err();

    assert!(error.is_unasked() && front.seen().is_empty(), "{error}");
}

#[tokio::test]
async fn other_logins_and_hosts_have_no_annotation() {
    let front = FaultServer::http(|_| Answer::Reset);
    let accounts = Arc::new(Annotated::with("web", ANNOTATED));
    let aws = aws(&front.url(), &accounts);
    let silent = source(&aws, &[("roleArn", ""), OBJECT]);
    let identity = source(&aws, &[("usePodIdentity", "true"), ("roleArn", ""), OBJECT]);

    session(&*silent, &Workload { pod: None, ..workload("v") }).await.unwrap_err();
    session(&*identity, &workload("v")).await.unwrap_err();

    assert_eq!(accounts.asked(), 0);
}
