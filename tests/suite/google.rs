//! Volumes from Google Cloud, as far as it can be tested here: drongo, behind a **stub**.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use testing::{Google, Issuer, PodVolume, RunningNode, google_key};

/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);
/// Withdrawal by polling waits 30 seconds for a second answer.
const CONFIRMED: Duration = Duration::from_secs(120);
const POOL: &str = "p1.svc.id.goog";
const CLUSTER: &str = "https://container.googleapis.com/v1/projects/p1/locations/europe-west3/clusters/c1";

/// Upstream's example, with another refresh interval.
const CLASS: &str = r"
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: shop-gcp, namespace: shop}
spec:
  provider: gcp
  secretObjects:
  - secretName: shop-api
    type: Opaque
    data: [{objectName: api/key, key: apikey}]
  parameters:
    secretfs.dev/refresh: 1s
    secrets: |
      - resourceName: projects/p1/secrets/api/versions/latest
        path: api/key
        mode: 0400
      - resourceName: projects/p1/locations/europe-west3/secrets/db/versions/2
        path: db.user
        extractJSONKey: user
      - resourceName: projects/p1/locations/europe-west3/secrets/db/versions/2
        path: db.pass
        extractJSONKey: pass
      - resourceName: projects/p1/locations/global/parameters/app/versions/v1
        path: app.yaml
      - resourceName: projects/p1/locations/global/parameters/app/versions/v1
        path: app.host
        extractYAMLKey: host
";

/// The files of upstream's example.
const FILES: [(&str, &str); 5] = [
    ("api/key", "A"),
    ("db.user", "u"),
    ("db.pass", "p"),
    ("app.yaml", "host: h\nport: 80\n"),
    ("app.host", "h"),
];

async fn node() -> (Google, Issuer, RunningNode) {
    let issuer = Issuer::start();
    let google = Google::start(&issuer);
    google.put("projects/p1/secrets/api", b"A");
    for value in ["old", r#"{"user":"u","pass":"p"}"#] {
        google.put("projects/p1/locations/europe-west3/secrets/db", value.as_bytes());
    }
    google.put_parameter("projects/p1/locations/global/parameters/app/versions/v1", "host: h\nport: 80\n");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.flag("--gcp-endpoint", &google.url());
    node.flag("--gcp-workload-identity-provider", CLUSTER);
    node.class("shop-gcp", CLASS);
    node.start_node().await;
    (google, issuer, node)
}

/// A pod with the token that kubelet would send for the identity namespace.
fn pod(issuer: &Issuer, name: &str) -> PodVolume {
    let pod = PodVolume::new(name, "shop-gcp");
    let token = issuer.mint(&pod.claims().audience(POOL));
    pod.token(POOL, token)
}

fn shown(node: &RunningNode, pod: &PodVolume) -> Vec<(&'static str, String)> {
    FILES.map(|(file, _)| (file, node.text(pod, file).unwrap_or_default())).into()
}

fn expected() -> Vec<(&'static str, String)> {
    FILES.map(|(file, text)| (file, text.to_owned())).into()
}

#[tokio::test]
async fn upstreams_google_example_is_served_rotated_and_taken_back_by_the_pods_own_token() {
    let (google, issuer, node) = node().await;
    let [first, second] = ["web-0", "web-1"].map(|name| pod(&issuer, name));

    node.publish_until_done(&first).await;
    assert_eq!(shown(&node, &first), expected());
    let mode = |file| node.target(&first).join(file).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("api/key"), mode("db.user")), (0o400, 0o644));

    google.put("projects/p1/secrets/api", b"B");
    node.text_becomes(&first, "api/key", Some("B"), SOON).await;
    assert_eq!(google.asked("/v1/token"), 1);

    // A denial takes no file from running pods, and lets no new pod start.
    google.order(&json!({"do": "deny", "who": "shop:shop$", "match": "secrets/api/"}));
    // A recent reading may serve a new pod, until Google has refused.
    let before = google.asked("secrets/api/");
    let is_refused = || google.asked("secrets/api/") >= before + 2;
    testing::until(is_refused, || node.log());
    let denied = node.publish(&second).await.unwrap_err();
    assert!(denied.message().contains("roles/secretmanager.secretAccessor"), "{denied}");
    assert_eq!(node.text(&first, "api/key").as_deref(), Some("B"));
    google.order(&json!({"do": "allow"}));
    node.publish_until_done(&second).await;

    google.change("projects/p1/secrets/api/versions/2", "disable");
    node.text_becomes(&first, "api/key", None, CONFIRMED).await;
    assert_eq!(node.text(&first, "db.user").as_deref(), Some("u"), "what was not revoked stays");
    google.change("projects/p1/secrets/api/versions/2", "enable");
    node.text_becomes(&first, "api/key", Some("B"), SOON).await;
}

#[tokio::test]
async fn a_google_key_that_comes_with_the_volume_needs_no_token() {
    let (google, _issuer, node) = node().await;
    let email = "shop@p1.iam.gserviceaccount.com";
    let (key, public) = google_key(email, "https://oauth2.googleapis.com/token");
    google.order(&json!({"do": "key", "email": email, "pem": public}));
    let mut pod = PodVolume::new("web-0", "shop-gcp");

    let refused = node.publish(&pod).await.unwrap_err();
    assert!(refused.message().contains(POOL) && refused.message().contains("tokenRequests"), "{refused}");
    pod.secrets.insert("key.json".to_owned(), key.to_string());
    node.publish_until_done(&pod).await;

    assert_eq!(shown(&node, &pod), expected());
}

crate::modes::again_in_mode_fuse! {
    upstreams_google_example_is_served_rotated_and_taken_back_by_the_pods_own_token,
    a_google_key_that_comes_with_the_volume_needs_no_token,
}
