//! Who reads, and by which credentials.

use provider::{ErrorKind, MachineIdentity, Network, Pod, SecretBytes, Workload};
use provider_aws::{Aws, AwsConfig};
use testing::{Answer, FaultServer, Moto, Seen};

use crate::support::{REGION, ROLE, aws, files, of_account, session, source, text, workload};

const OBJECT: (&str, &str) = ("objects", "- {objectName: a, objectType: secretsmanager}");
const CREDENTIALS: &str = r#"{"Code":"Success","AccessKeyId":"ASIAAGENT","SecretAccessKey":"s","Token":"agents","Expiration":"2999-01-01T00:00:00Z"}"#;

fn moto() -> Moto {
    let moto = Moto::start();
    moto.create_secret(REGION, "a", "value");
    moto
}

fn config(url: &str) -> AwsConfig {
    AwsConfig { endpoint: Some(url.to_owned()), ..AwsConfig::default() }
}

/// The fields of each form that STS was sent.
pub(crate) fn forms(front: &FaultServer) -> Vec<Vec<(String, String)>> {
    let is_form = |seen: &&Seen| seen.header("x-amz-target").is_none();
    let fields = |seen: &Seen| url::form_urlencoded::parse(&seen.body).into_owned().collect();
    front.seen().iter().filter(is_form).map(fields).collect()
}

pub(crate) fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

#[tokio::test]
async fn the_pods_token_is_exchanged_for_its_role_and_nothing_is_signed_with_it() {
    let moto = moto();
    let front = FaultServer::before(&moto.url());
    let source = source(&aws(&front.url()), &[OBJECT]);

    let files = files(&*source, &workload("v")).await.unwrap();

    assert_eq!(text(&files["a"]), "value");
    let forms = forms(&front);
    let sent =
        ["Action", "RoleArn", "RoleSessionName", "WebIdentityToken"].map(|name| field(&forms[0], name));
    assert_eq!(sent, ["AssumeRoleWithWebIdentity", ROLE, "secretfs-shop-web", "token-of-web"]);
    assert!(front.seen()[0].header("authorization").is_none());
}

#[tokio::test]
async fn a_role_comes_from_the_settings_where_the_class_names_none() {
    let moto = moto();
    let front = FaultServer::before(&moto.url());
    let role_arn = Some("arn:aws:iam::123456789012:role/{namespace}-{serviceAccount}".to_owned());
    let aws = Aws::new(AwsConfig { role_arn, ..config(&front.url()) }).unwrap();
    let source = source(&aws, &[("roleArn", ""), OBJECT]);

    session(&*source, &workload("v")).await.unwrap();

    assert_eq!(field(&forms(&front)[0], "RoleArn"), "arn:aws:iam::123456789012:role/shop-web");
    assert!(Aws::new(AwsConfig { role_arn: Some("shop".to_owned()), ..config("http://x") }).is_err());
}

#[tokio::test]
async fn without_a_role_the_remedy_is_told_and_aws_is_not_asked() {
    let front = FaultServer::http(|_| Answer::Reset);
    let source = source(&aws(&front.url()), &[("roleArn", ""), OBJECT]);

    let error = session(&*source, &workload("v")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    let told = error.to_string();
    assert!(
        told.contains("set roleArn in the class") && told.contains("--service-account-annotations"),
        "{told}"
    );
    assert!(front.seen().is_empty());
}

#[tokio::test]
async fn trap_token_audience_one_of_another_does_not_leave_the_node() {
    let front = FaultServer::http(|_| Answer::Reset);
    let aws = aws(&front.url());
    let mut other = workload("v");
    other.tokens = [("vault".to_owned(), SecretBytes::from("secret".to_owned()))].into();
    for (class, audience) in [
        (vec![OBJECT], "sts.amazonaws.com"),
        (vec![("usePodIdentity", "true"), OBJECT], "pods.eks.amazonaws.com"),
    ] {
        let source = source(&aws, &class);
        let error = session(&*source, &other).await.unwrap_err();

        assert_eq!((error.kind(), source.audience()), (ErrorKind::NoCredential, Some(audience)));
        let told = error.to_string();
        assert!(told.contains(audience) && told.contains("tokenRequests of the CSIDriver"), "{told}");
    }
    assert!(front.seen().is_empty());
}

#[tokio::test]
async fn a_second_role_is_taken_on_from_the_first_with_its_external_id_and_tags() {
    let moto = moto();
    let front = FaultServer::before(&moto.url());
    let second = "arn:aws:iam::444455556666:role/shop-secrets";
    let more = [("assumeRoleArn", second), ("externalId", "4711"), ("sessionTags", "team=shop"), OBJECT];
    let source = source(&aws(&front.url()), &more);

    let session = session(&*source, &workload("v")).await.unwrap();

    let forms = forms(&front);
    let sent = ["Action", "RoleArn", "ExternalId", "Tags.member.1.Key", "Tags.member.1.Value"];
    assert_eq!(sent.map(|name| field(&forms[1], name)), ["AssumeRole", second, "4711", "team", "shop"]);
    let signed = front.seen()[1].header("authorization").unwrap().to_owned();
    assert!(signed.contains(&format!("/{REGION}/sts/aws4_request")), "{signed}");
    assert!(
        session.identity().contains(second) && session.identity().contains("4711"),
        "{}",
        session.identity()
    );
}

#[tokio::test]
async fn two_identities_share_nothing_and_pods_of_one_account_share_a_login() {
    let moto = moto();
    let front = FaultServer::before(&moto.url());
    let aws = aws(&front.url());
    let source = source(&aws, &[OBJECT]);
    let one = session(&*source, &of_account("web", "v1")).await.unwrap();
    let same = session(&*source, &of_account("web", "v2")).await.unwrap();
    let other = session(&*source, &of_account("till", "v3")).await.unwrap();

    assert!(one.identity() == same.identity() && one.identity() != other.identity());
    assert_eq!(forms(&front).len(), 2);
    let roles = crate::support::source(&aws, &[("assumeRoleArn", ROLE), OBJECT]);
    assert_ne!(session(&*roles, &of_account("web", "v4")).await.unwrap().identity(), one.identity());
}

/// An agent that takes the token of `shop/web`.
fn agent() -> FaultServer {
    FaultServer::http(|seen| match (seen.target.as_str(), seen.header("authorization")) {
        ("/v1/credentials", Some("pod-identity-token")) => Answer::text(200, "application/json", CREDENTIALS),
        _ => Answer::text(400, "text/plain", "no"),
    })
}

#[tokio::test]
async fn pod_identity_gives_each_pod_a_login_of_its_own() {
    let (moto, agent) = (moto(), agent());
    let front = FaultServer::before(&moto.url());
    let aws = Aws::new(AwsConfig { pod_identity: Some(agent.url()), ..config(&front.url()) }).unwrap();
    let source = source(&aws, &[("usePodIdentity", "true"), OBJECT]);
    let of_pod = |pod: &str| {
        let tokens =
            [("pods.eks.amazonaws.com".to_owned(), SecretBytes::from("pod-identity-token".to_owned()))]
                .into();
        let named = Pod { name: pod.to_owned(), uid: format!("uid-{pod}") };
        Workload { tokens, pod: Some(named), ..workload(&format!("v-{pod}")) }
    };

    let files = files(&*source, &of_pod("web-0")).await.unwrap();
    let (one, two) = (
        session(&*source, &of_pod("web-0")).await.unwrap(),
        session(&*source, &of_pod("web-1")).await.unwrap(),
    );

    assert_eq!(text(&files["a"]), "value");
    assert!(one.identity() != two.identity() && forms(&front).is_empty());
    assert_eq!(front.seen()[0].header("x-amz-security-token"), Some("agents"));
    let stranger = Workload {
        tokens: [("pods.eks.amazonaws.com".to_owned(), SecretBytes::from("x".to_owned()))].into(),
        ..of_pod("web-2")
    };
    let error = session(&*source, &stranger).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("create-pod-identity-association"), "{error}");
}

fn with_keys(volume: &str, secret: &str) -> Workload {
    let pairs = [("access-key-id", "AKIASTATIC\n"), ("secret-access-key", secret)];
    let credentials = pairs.map(|(key, value)| (key.to_owned(), SecretBytes::from(value.to_owned()))).into();
    Workload { credentials, tokens: Default::default(), ..workload(volume) }
}

#[tokio::test]
async fn an_access_key_that_came_with_the_volume_is_used_as_it_is() {
    let moto = moto();
    let front = FaultServer::before(&moto.url());
    let source = source(&aws(&front.url()), &[OBJECT]);

    let files = files(&*source, &with_keys("v", "one")).await.unwrap();
    let one = session(&*source, &with_keys("v", "one")).await.unwrap();
    let two = session(&*source, &with_keys("v", "two")).await.unwrap();

    assert_eq!(text(&files["a"]), "value");
    let seen = front.seen();
    assert!(seen[0].header("authorization").unwrap().contains("Credential=AKIASTATIC/"));
    assert_eq!(seen[0].header("x-amz-security-token"), None);
    assert_ne!(one.identity(), two.identity(), "another key is another identity");
    assert!(!one.identity().contains("one"));
}

#[tokio::test]
async fn an_access_key_that_is_none_is_told_by_its_name() {
    let source = source(&aws("http://127.0.0.1:9"), &[("secretfs.dev/auth", "keys"), OBJECT]);

    let missing = session(&*source, &workload("v")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoCredential);
    assert!(missing.to_string().contains("\"access-key-id\" is missing"), "{missing}");
    let empty = session(&*source, &with_keys("v", "\n")).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Unauthenticated);
}

/// A machine's metadata service, of version 2 only.
fn metadata() -> FaultServer {
    FaultServer::http(|seen| {
        let may = seen.header("x-aws-ec2-metadata-token") == Some("imds");
        match (seen.method.as_str(), seen.target.as_str()) {
            ("PUT", "/latest/api/token") => Answer::text(200, "text/plain", "imds"),
            ("GET", "/latest/meta-data/iam/security-credentials/") if may => {
                Answer::text(200, "text/plain", "node-role")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/node-role") if may => {
                Answer::text(200, "application/json", CREDENTIALS)
            }
            _ => Answer::text(401, "text/plain", ""),
        }
    })
}

fn node(front: &FaultServer, metadata: &FaultServer, machine: MachineIdentity) -> Aws {
    let network = Network { machine, ..Network::default() };
    Aws::new(AwsConfig { metadata: metadata.url(), network, ..config(&front.url()) }).unwrap()
}

#[tokio::test]
async fn a_pod_acts_as_the_node_only_where_its_class_asks_and_its_namespace_is_listed() {
    let (moto, metadata) = (moto(), metadata());
    let front = FaultServer::before(&moto.url());
    let listed = MachineIdentity { namespaces: vec!["shop".to_owned()], is_for_host: true };
    let unlisted = MachineIdentity { namespaces: vec!["infra".to_owned()], is_for_host: true };
    let asked = [("secretfs.dev/auth", "node"), OBJECT];

    let refused =
        session(&*source(&node(&front, &metadata, unlisted), &asked), &workload("v")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("--allow-node-identity"), "{refused}");
    let unasked = source(&node(&front, &metadata, listed.clone()), &[OBJECT]);
    let without = Workload { tokens: Default::default(), ..workload("v") };
    assert_eq!(session(&*unasked, &without).await.unwrap_err().kind(), ErrorKind::NoCredential);
    assert!(metadata.seen().is_empty() && front.seen().is_empty());

    let source = source(&node(&front, &metadata, listed), &asked);
    let files = files(&*source, &without).await.unwrap();

    assert_eq!(text(&files["a"]), "value");
    assert!(source.audience().is_none() && !source.needs_credentials());
    assert_eq!(front.seen()[0].header("x-amz-security-token"), Some("agents"));
}

#[tokio::test]
async fn a_host_acts_as_itself_where_that_was_asked_for_and_no_token_came() {
    let (moto, metadata) = (moto(), metadata());
    let front = FaultServer::before(&moto.url());
    let host = Workload { pod: None, tokens: Default::default(), ..workload("v") };
    let machine = |is_for_host| MachineIdentity { namespaces: vec!["*".to_owned()], is_for_host };

    let not_asked = source(&node(&front, &metadata, machine(false)), &[OBJECT]);
    assert_eq!(session(&*not_asked, &host).await.unwrap_err().kind(), ErrorKind::NoCredential);
    assert!(metadata.seen().is_empty());

    let asked = source(&node(&front, &metadata, machine(true)), &[OBJECT]);
    assert_eq!(text(&files(&*asked, &host).await.unwrap()["a"]), "value");
    assert!(
        session(&*asked, &Workload { pod: None, ..workload("w") }).await.unwrap().identity().contains(ROLE)
    );
}

/// An answer of STS whose keys end at `end`.
fn sts(end: &str) -> Answer {
    let xml = format!(
        "<R><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{end}</Expiration></R>"
    );
    Answer::text(200, "text/xml", &xml)
}

#[tokio::test]
async fn sts_of_the_other_region_is_asked_while_the_first_one_is_out() {
    let front = FaultServer::http(move |seen| match seen.target.contains("eu-west-1") {
        true => Answer::Reset,
        false => sts("2999-01-01T00:00:00Z"),
    });
    let aws = aws(&format!("{}/{{region}}", front.url()));
    let source = source(&aws, &[("failoverRegion", "eu-central-1"), OBJECT]);

    session(&*source, &workload("v")).await.unwrap();

    assert_eq!(forms(&front).len(), 2);
}

/// A class may name the address of an agent as its endpoint, and reaches it through the proxy. The agent is not asked there.
#[tokio::test]
async fn agents_are_asked_without_the_proxy_whatever_a_class_has_connected_to() {
    let (agent, proxy) = (agent(), FaultServer::http(|_| Answer::Reset));
    let network = Network { proxy: Some(proxy.url()), ..Network::default() };
    let config = AwsConfig { pod_identity: Some(agent.url()), network, ..config("http://127.0.0.1:9") };
    let aws = Aws::new(config).unwrap();
    let hostile = source(&aws, &[("endpoint", &agent.url()), OBJECT]);
    session(&*hostile, &workload("v")).await.unwrap_err();
    assert!(agent.seen().is_empty() && !proxy.seen().is_empty());

    let source = source(&aws, &[("usePodIdentity", "true"), OBJECT]);
    let token = ("pods.eks.amazonaws.com".to_owned(), SecretBytes::from("pod-identity-token".to_owned()));
    session(&*source, &Workload { tokens: [token].into(), ..workload("w") }).await.unwrap();

    assert_eq!(agent.seen().len(), 1);
}

#[tokio::test]
async fn an_endpoint_over_http_that_a_class_asks_for_is_not_called() {
    let aws = Aws::new(AwsConfig::default()).unwrap();
    let source = source(&aws, &[("endpoint", "http://aws.example.test"), OBJECT]);

    let error = session(&*source, &workload("v")).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("--allow-insecure-stores"), "{error}");
    assert!(!source.exposure().unwrap().is_allowed);
}

#[tokio::test]
async fn a_login_ends_with_its_credentials() {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let front = FaultServer::http(move |_| sts(&end.to_string()));
    let source = source(&aws(&front.url()), &[OBJECT]);
    let _held = session(&*source, &workload("v1")).await.unwrap();
    session(&*source, &workload("v2")).await.unwrap();
    assert_eq!(front.seen().len(), 1);

    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(3597)).await;
    tokio::time::resume();
    session(&*source, &workload("v2")).await.unwrap();

    assert_eq!(front.seen().len(), 2);
}
