use std::sync::Arc;

use provider::{ErrorKind, Identity, MachineIdentity, Network, SecretBytes, Tenure, Workload};
use provider_contract::Annotated;
use provider_gcp::{Gcp, GcpConfig};
use serde_json::{Value, json};
use testing::{Claims, Google, Issuer, google_key};

use crate::support::{
    POOL, PROVIDER, config, gcp, google, newest, shown, source, with_token, without_token, workload,
};

const SECRETS: &str = "- {resourceName: projects/p1/secrets/api/versions/latest, path: a}";
const ACCOUNT: &str = "shop@p1.iam.gserviceaccount.com";

fn store() -> (Google, Issuer) {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    (google, issuer)
}

#[tokio::test]
async fn pods_of_one_account_share_a_login_in_the_identity_namespace_of_a_cluster() {
    let (google, issuer) = store();
    let gcp = gcp(&google);
    let class = newest(&gcp, "api");
    let [one, two] = ["web-0", "web-1"].map(|pod| workload(&issuer, pod, pod));

    let one = class.session(&one, Tenure::Shared).await.unwrap();
    let two = class.session(&two, Tenure::Shared).await.unwrap();

    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(google.asked("/v1/token"), 1);
}

#[tokio::test]
async fn a_federation_may_tell_pods_apart_so_they_share_a_login_only_if_the_class_says_so() {
    let (google, issuer) = store();
    let gcp = gcp(&google);
    let pod = |pod: &str| {
        let token = issuer.mint(&Claims::of("shop", "web").pod(pod).audience(PROVIDER));
        with_token(PROVIDER, token, pod, pod)
    };
    let federated = [("workloadIdentityProvider", PROVIDER), ("secrets", SECRETS)];
    let apart = source(&gcp, federated);
    let [first, second] = federated;
    let shared = source(&gcp, [first, second, ("secretfs.dev/share", "service-account")]);

    for (class, logins) in [(apart, 2), (shared, 3)] {
        let one = class.session(&pod("web-0"), Tenure::Shared).await.unwrap();
        let two = class.session(&pod("web-1"), Tenure::Shared).await.unwrap();
        assert_eq!(Arc::ptr_eq(&one, &two), logins == 3);
        assert_eq!(one.identity() == two.identity(), logins == 3);
        assert_eq!(google.asked("/v1/token"), logins);
    }
    let sent: Value = serde_json::from_str(google.seen()[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent["audience"], PROVIDER);
}

#[tokio::test]
async fn two_accounts_share_nothing_and_one_that_is_denied_gets_nothing() {
    let (google, issuer) = store();
    google.order(&json!({"do": "deny", "who": ":other$", "match": "secrets/api/"}));
    let gcp = gcp(&google);
    let class = newest(&gcp, "api");
    let token = issuer.mint(&Claims::of("shop", "other").pod("web-0").audience(POOL));
    let other =
        Workload { identity: Identity::named("shop", "other"), ..with_token(POOL, token, "web-0", "v2") };

    let mine = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let theirs = class.session(&other, Tenure::Shared).await.unwrap();

    assert_ne!(mine.identity(), theirs.identity());
    mine.read(&class.objects()[0].request).await.unwrap();
    let error = theirs.read(&class.objects()[0].request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("as shop/other"), "{error}");
}

#[tokio::test]
async fn trap_no_token_and_a_token_of_another_audience_never_leaves_the_node() {
    let (google, issuer) = store();
    let gcp = gcp(&google);
    let class = newest(&gcp, "api");
    assert_eq!(class.audience(), Some(POOL));
    let vault = issuer.mint(&Claims::of("shop", "web").pod("web-0").audience("vault"));

    for workload in [without_token(), with_token("vault", vault, "web-0", "v1")] {
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoCredential);
        assert!(error.to_string().contains("tokenRequests of the CSIDriver object"), "{error}");
    }
    assert!(google.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_google_does_not_accept_is_no_login() {
    let (google, issuer) = store();
    let gcp = gcp(&google);
    let stranger = Issuer::start();
    let expired = issuer.mint(&Claims::of("shop", "web").audience(POOL).seconds(-60));
    let foreign = stranger.mint(&Claims::of("shop", "web").audience(POOL));
    let mislabelled = issuer.mint(&Claims::of("shop", "web").audience("vault"));

    for token in [expired, foreign, mislabelled] {
        let workload = with_token(POOL, token.clone(), "web-0", "v1");
        let error = shown(&*newest(&gcp, "api"), &workload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(!error.to_string().contains(&token), "{error}");
    }
}

#[tokio::test]
async fn a_class_may_read_as_a_service_account_that_lets_it() {
    let (google, issuer) = store();
    // The pod's own identity may read nothing.
    google.order(&json!({"do": "deny", "who": "^system:", "match": ":access"}));
    let gcp = gcp(&google);
    let class = source(&gcp, [("serviceAccount", ACCOUNT), ("secrets", SECRETS)]);
    let workload = workload(&issuer, "web-0", "v1");

    let error = shown(&*class, &workload).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("roles/iam.workloadIdentityUser"), "{error}");

    google.order(&json!({"do": "act", "who": "^system:serviceaccount:shop:web$", "email": ACCOUNT}));
    assert_eq!(shown(&*class, &workload).await.unwrap(), "A");
}

#[tokio::test]
async fn a_class_that_names_no_account_reads_as_the_one_that_its_service_account_is_annotated_with() {
    let (google, issuer) = store();
    google.order(&json!({"do": "deny", "who": "^system:", "match": ":access"}));
    google.order(&json!({"do": "act", "who": "^system:serviceaccount:shop:web$", "email": ACCOUNT}));
    let accounts = Arc::new(Annotated::with("web", ACCOUNT));
    let network = Network { accounts: Some(Arc::clone(&accounts) as _), ..Network::default() };
    let gcp = Gcp::new(GcpConfig { network, ..config(&google) }).unwrap();
    let class = newest(&gcp, "api");
    let workload = workload(&issuer, "web-0", "v1");

    assert_eq!(shown(&*class, &workload).await.unwrap(), "A");
    let named = source(&gcp, [("serviceAccount", ACCOUNT), ("secrets", SECRETS)]);
    shown(&*named, &workload).await.unwrap();
    assert_eq!(accounts.asked(), 1, "a class that names an account asks nobody");

    accounts.write("web", "mallory");
    let error = shown(&*class, &workload).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("iam.gke.io/gcp-service-account")
            && !error.to_string().contains("mallory")
    );

    accounts.write("web", "");
    assert_eq!(shown(&*class, &workload).await.unwrap_err().kind(), ErrorKind::Denied, "the pod itself");
}

fn key(token_uri: &str) -> (Value, String) {
    google_key(ACCOUNT, token_uri)
}

fn with_key(key: &Value) -> Workload {
    let mut workload = without_token();
    workload.credentials.insert("key.json".to_owned(), SecretBytes::from(key.to_string()));
    workload
}

#[tokio::test]
async fn trap_node_publish_secret_a_key_is_used_by_a_class_that_says_nothing_of_auth() {
    let (google, _issuer) = store();
    let gcp = gcp(&google);
    let (key, public) = key("https://oauth2.googleapis.com/token");
    let class = source(&gcp, [("auth", ""), ("secrets", SECRETS)]);

    let error = shown(&*class, &with_key(&key)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "Google does not know that key yet");
    google.order(&json!({"do": "key", "email": ACCOUNT, "pem": public}));
    assert_eq!(shown(&*class, &with_key(&key)).await.unwrap(), "A");

    let before = google.seen().len();
    for auth in ["pod-adc", "provider-adc"] {
        let class = source(&gcp, [("auth", auth), ("secrets", SECRETS)]);
        let error = shown(&*class, &with_key(&key)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("nodePublishSecretRef"), "{error}");
    }
    assert_eq!(google.seen().len(), before);
}

#[tokio::test]
async fn volumes_share_a_login_by_the_same_key_and_by_no_other() {
    let (google, _issuer) = store();
    let gcp = gcp(&google);
    let ((one, public), (other, _)) = (key(&google.url()), key(&google.url()));
    google.order(&json!({"do": "key", "email": ACCOUNT, "pem": public}));
    let class = newest(&gcp, "api");
    let one = |volume: &str| Workload { volume: volume.to_owned(), ..with_key(&with_uri(&one, &google)) };

    let first = class.session(&one("v1"), Tenure::Shared).await.unwrap();
    let second = class.session(&one("v2"), Tenure::Shared).await.unwrap();

    assert!(Arc::ptr_eq(&first, &second));
    let error = class.session(&with_key(&with_uri(&other, &google)), Tenure::Shared).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "it signs for the account and is not its key");
    assert!(!first.identity().contains("PRIVATE"));
}

fn with_uri(key: &Value, google: &Google) -> Value {
    let mut key = key.clone();
    key["token_uri"] = format!("{}/token", google.url()).into();
    key
}

#[tokio::test]
async fn a_key_that_names_a_strangers_token_server_is_shown_to_nobody() {
    let (google, _issuer) = store();
    let trap = testing::FaultServer::http(|_| testing::Answer::json(200, &json!({})));
    let gcp = gcp(&google);
    let (key, _) = key(&format!("{}/token", trap.url()));

    let error = shown(&*newest(&gcp, "api"), &with_key(&key)).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NoCredential);
    assert!(error.to_string().contains("neither Google's nor endpoint"), "{error}");
    assert_eq!((trap.accepted(), google.seen().len()), (0, 0));
}

#[tokio::test]
async fn the_machines_own_identity_is_for_listed_namespaces_whose_class_asks_for_it() {
    let (google, issuer) = store();
    let machine = |namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let machine = MachineIdentity { namespaces, is_for_host: false };
        Gcp::new(GcpConfig { network: Network { machine, ..Network::default() }, ..config(&google) }).unwrap()
    };
    let asking = [("auth", "provider-adc"), ("secrets", SECRETS)];

    let unlisted = machine(&["infra"]);
    let error = shown(&*source(&unlisted, asking), &without_token()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCredential);
    assert!(error.to_string().contains("--allow-node-identity shop"), "{error}");
    let listed = machine(&["shop"]);
    shown(&*newest(&listed, "api"), &workload(&issuer, "web-0", "v1")).await.unwrap();
    assert_eq!(google.asked("/computeMetadata/"), 0, "nobody asked for it");

    assert_eq!(shown(&*source(&listed, asking), &without_token()).await.unwrap(), "A");
    assert_eq!(google.asked("/computeMetadata/"), 1);
}

#[tokio::test]
async fn a_host_reads_as_itself_where_it_was_asked_for() {
    let (google, _issuer) = store();
    let gcp = |is_for_host| {
        let machine = MachineIdentity { namespaces: vec!["*".to_owned()], is_for_host };
        Gcp::new(GcpConfig { network: Network { machine, ..Network::default() }, ..config(&google) }).unwrap()
    };
    let host = Workload { pod: None, ..without_token() };
    let asking = [("auth", "provider-adc"), ("secrets", SECRETS)];

    let error = shown(&*source(&gcp(false), asking), &host).await.unwrap_err();
    assert!(error.to_string().contains("--identity host"), "{error}");
    assert_eq!(shown(&*source(&gcp(true), asking), &host).await.unwrap(), "A");
}
