//! Volumes from a real moto, through a real `secretfs`, in a pod and on a host.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use testing::{Answer, Claims, FaultServer, Issuer, Moto, PodVolume, RunningNode, Seen, ShownBy};

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
const SOON: Duration = Duration::from_secs(60);
const REGION: &str = "eu-west-1";
const OTHER: &str = "eu-central-1";
const DATABASE: &str = r#"{"username":"u","credentials":{"password":"p"},"port":5432}"#;

/// Upstream's example with another account and suffix in its ARNs, the address of moto, and the credentials.
fn manifest(moto: &Moto, more: &str) -> String {
    let (arn, replica) = put_example(moto);
    format!(
        r#"
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {{name: shop-aws, namespace: shop}}
spec:
  provider: aws
  parameters:
    region: {REGION}
    failoverRegion: {OTHER}
    endpoint: {url}
    secretfs.dev/refresh: 1s{more}
    objects: |
      - objectName: {arn}
        objectAlias: rds.json
        filePermission: "0400"
        failoverObject: {{objectName: "{replica}"}}
        jmesPath:
        - {{path: username, objectAlias: dbuser}}
        - {{path: credentials.password, objectAlias: dbpass, filePermission: "0440"}}
        - {{path: port, objectAlias: dbport}}
      - {{objectName: shop/token, objectType: secretsmanager, objectVersionLabel: AWSPREVIOUS, objectAlias: token-prev}}
      - {{objectName: /shop/prod/flag, objectType: ssmparameter}}
      - {{objectName: /shop/prod/pin, objectType: ssmparameter, objectVersion: "3", objectAlias: pin}}
"#,
        url = moto.url()
    )
}

fn put_example(moto: &Moto) -> (String, String) {
    moto.create_secret(REGION, "shop/token", "old");
    moto.put_secret(REGION, "shop/token", "new");
    moto.put_parameter(REGION, "/shop/prod/flag", "on");
    for pin in ["75", "76", "77", "78"] {
        moto.put_parameter(REGION, "/shop/prod/pin", pin);
    }
    (moto.create_secret(REGION, "shop/rds", DATABASE), moto.create_secret(OTHER, "shop/rds", DATABASE))
}

/// Every file that an application sees, with mode and contents.
fn files(directory: &Path) -> BTreeMap<String, (u32, String)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let shown = entries.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with(".."));
    let file = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        (name, (mode, fs::read_to_string(&path).unwrap()))
    };
    shown.map(file).collect()
}

/// The table in upstream's example, and a number as JSON.
fn expected(default_mode: u32) -> BTreeMap<String, (u32, String)> {
    [
        ("rds.json", 0o400, DATABASE),
        ("dbuser", 0o400, "u"),
        ("dbpass", 0o440, "p"),
        ("dbport", 0o400, "5432"),
        ("token-prev", default_mode, "old"),
        ("_shop_prod_flag", default_mode, "on"),
        ("pin", default_mode, "77"),
    ]
    .map(|(name, mode, text)| (name.to_owned(), (mode, text.to_owned())))
    .into()
}

/// A pod of service account `shop`, with the token that kubelet would send for STS.
fn pod(issuer: &Issuer) -> PodVolume {
    let audience = "sts.amazonaws.com";
    let token = issuer.mint(&Claims::of("shop", "shop").pod("shop-0").audience(audience));
    PodVolume::new("shop-0", "shop-aws").token(audience, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_aws_example_is_mounted_in_a_pod_and_rotation_and_revocation_reach_it() {
    let (moto, issuer) = (Moto::start(), Issuer::start());
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    let role = "\n    roleArn: arn:aws:iam::123456789012:role/shop";
    node.class("shop-aws", &manifest(&moto, role));
    node.start_node().await;
    let pod = pod(&issuer);

    node.publish_until_done(&pod).await;
    assert_eq!(files(&node.target(&pod)), expected(0o644));

    let changed = r#"{"username":"u2","credentials":{"password":"p2"}, "port": 1}"#;
    moto.put_secret(REGION, "shop/rds", changed);
    moto.put_parameter(REGION, "/shop/prod/flag", "off");
    node.text_becomes(&pod, "dbpass", Some("p2"), SOON).await;
    node.text_becomes(&pod, "_shop_prod_flag", Some("off"), SOON).await;
    assert_eq!(node.text(&pod, "rds.json").as_deref(), Some(changed));
    assert_eq!(node.text(&pod, "pin").as_deref(), Some("77"), "a version stays what it is");

    moto.secrets(REGION, "DeleteSecret", &json!({"SecretId": "shop/rds"}));
    for gone in ["rds.json", "dbuser", "dbpass"] {
        node.text_becomes(&pod, gone, None, SOON).await;
    }
    assert_eq!(node.text(&pod, "_shop_prod_flag").as_deref(), Some("off"));
    node.unpublish(&pod).await.unwrap();
}

/// Answers of AWS to a read, and whether the file stays with a class that removes denied objects.
const ANSWERS: [(&str, u16, &str, &str, bool); 5] = [
    ("throttled", 400, "ThrottlingException", "Rate exceeded", true),
    ("failed", 500, "InternalServiceError", "", true),
    ("denied", 400, "AccessDeniedException", "not authorized", false),
    ("absent", 400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.", false),
    ("deleted", 400, "InvalidRequestException", "because it was marked for deletion.", false),
];

/// A server before moto. While `is_on`, it gives each secret the answer with the secret's name.
fn answering(moto: &Moto, is_on: &Arc<AtomicBool>) -> FaultServer {
    let (behind, is_on) = (moto.url().trim_start_matches("http://").to_owned(), Arc::clone(is_on));
    FaultServer::http(move |seen| {
        let asked: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let answer = ANSWERS.iter().find(|(name, ..)| asked["SecretId"] == **name);
        match answer.filter(|_| is_on.load(Ordering::SeqCst)) {
            Some((_, status, code, message, _)) => {
                Answer::json(*status, &json!({"__type": code, "message": message}))
            }
            None => Answer::Forward(behind.clone()),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_answers_decides_what_becomes_of_a_mounted_file() {
    let (moto, issuer, is_on) = (Moto::start(), Issuer::start(), Arc::new(AtomicBool::new(false)));
    let front = answering(&moto, &is_on);
    let object = |name: &str| {
        moto.create_secret(REGION, name, "v");
        format!(
            "      - {{objectName: {name}, objectType: secretsmanager, objectVersionLabel: AWSCURRENT}}\n"
        )
    };
    let objects: String = ANSWERS.iter().map(|(name, ..)| object(name)).collect();
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    let class = format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: shop-aws, namespace: shop}}\n\
         spec:\n  provider: aws\n  parameters:\n    region: {REGION}\n    endpoint: {}\n    secretfs.dev/refresh: 1s\n    \
         secretfs.dev/on-denied: remove\n    roleArn: arn:aws:iam::123456789012:role/shop\n    objects: |\n{objects}",
        front.url()
    );
    node.class("shop-aws", &class);
    node.start_node().await;
    let pod = pod(&issuer);
    node.publish_until_done(&pod).await;

    is_on.store(true, Ordering::SeqCst);
    for (name, ..) in ANSWERS.iter().filter(|(.., stays)| !stays) {
        node.text_becomes(&pod, name, None, 3 * SOON).await;
    }
    for (name, .., stays) in ANSWERS {
        assert_eq!(node.text(&pod, name).is_some(), stays, "{name}");
    }

    is_on.store(false, Ordering::SeqCst);
    for (name, ..) in ANSWERS {
        node.text_becomes(&pod, name, Some("v"), 3 * SOON).await;
    }
}

/// How often AWS was asked for `operation`.
fn calls(front: &FaultServer, operation: &str) -> usize {
    let is_call = |seen: &Seen| {
        seen.header("x-amz-target").is_some_and(|target| target.split('.').next_back() == Some(operation))
    };
    front.seen().iter().filter(|seen| is_call(seen)).count()
}

/// The class of ten secrets, read again every two seconds.
fn class_of_ten(front: &FaultServer, probe: &str) -> String {
    let objects: String =
        (0..10).map(|n| format!("      - {{objectName: s{n}, objectType: secretsmanager}}\n")).collect();
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: shop-aws, namespace: shop}}\n\
         spec:\n  provider: aws\n  parameters:\n    region: {REGION}\n    endpoint: {}\n    secretfs.dev/refresh: 2s\n    \
         secretfs.dev/probe: {probe}\n    roleArn: arn:aws:iam::123456789012:role/shop\n    objects: |\n{objects}",
        front.url()
    )
}

async fn all_show(node: &RunningNode, pods: &[PodVolume], file: &str, text: &str) {
    join_all(pods.iter().map(|pod| node.text_becomes(pod, file, Some(text), SOON))).await;
}

/// Calls are counted at the server. Whoever shares a reading may take it along a little before it is due: at most once
/// in 0.55 of the interval. Twice as many are allowed, because volumes that a busy machine holds up come too late to share
/// all of a reading, and ask for the rest. Without sharing there would be a hundred times as many.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_volumes_of_ten_secrets_make_one_call_for_each_refresh_and_with_a_probe_read_no_value() {
    let (moto, issuer) = (Moto::start(), Issuer::start());
    (0..10).for_each(|n| drop(moto.create_secret(REGION, &format!("s{n}"), "v")));
    let front = FaultServer::before(&moto.url());
    let count = |operation| calls(&front, operation);
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    node.class("shop-aws", &class_of_ten(&front, "batch"));
    node.start_node().await;
    let audience = "sts.amazonaws.com";
    let pod = |n: usize| {
        let name = format!("shop-{n}");
        let token = issuer.mint(&Claims::of("shop", "shop").pod(&name).audience(audience));
        PodVolume::new(&name, "shop-aws").token(audience, token)
    };
    let pods: Vec<_> = (0..100).map(pod).collect();
    let started = Instant::now();

    join_all(pods.iter().map(|pod| node.publish_until_done(pod))).await;
    moto.put_secret(REGION, "s3", "changed");
    all_show(&node, &pods, "s3", "changed").await;
    let (batches, singles) = (count("BatchGetSecretValue"), count("GetSecretValue"));
    let most = refreshes(started);
    println!(
        "100 volumes x 10 secrets, batch: {batches} batch calls, {singles} others and {} logins, refresh 2 s",
        count_logins(&front)
    );
    assert!(batches <= 2 * most && singles <= 10 * most, "{batches} calls and {singles} in {most} refreshes");
    assert_eq!((count("DescribeSecret"), count_logins(&front)), (0, 1));

    node.class("shop-aws", &class_of_ten(&front, "describe"));
    until(|| count("DescribeSecret") > 0, Path::new("/dev/null"));
    let values = || count("BatchGetSecretValue") + count("GetSecretValue");
    // Some volumes may have read by the class of before until now.
    let mut seen = None;
    while seen != Some(values()) {
        seen = Some(values());
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let (before, described, since) = (values(), count("DescribeSecret"), Instant::now());
    until(|| count("DescribeSecret") >= described + 20, Path::new("/dev/null"));
    let (probes, most) = (count("DescribeSecret") - described, refreshes(since));
    println!(
        "the same, describe: {probes} descriptions and 0 values in {:.1} s",
        since.elapsed().as_secs_f64()
    );
    assert!(probes <= 2 * 10 * (1 + most), "{probes} in {most} refreshes");
    assert_eq!(values(), before, "nothing has changed");

    moto.put_secret(REGION, "s7", "changed");
    all_show(&node, &pods, "s7", "changed").await;
    let read = values() - before;
    println!("one of them has changed: {read} values read");
    assert!((1..=10).contains(&read), "{read} values read");
}

/// How often a volume that is refreshed every 2 s may have been since `moment`.
fn refreshes(moment: Instant) -> usize {
    1 + (moment.elapsed().as_secs_f64() / (0.55 * 2.0)) as usize
}

fn count_logins(front: &FaultServer) -> usize {
    let is_login = |seen: &&Seen| String::from_utf8_lossy(&seen.body).contains("AssumeRoleWithWebIdentity");
    front.seen().iter().filter(is_login).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_of_aws_are_mounted_as_trees_of_files_and_follow_what_is_found() {
    let (moto, issuer) = (Moto::start(), Issuer::start());
    for (name, text) in [("/shop/prod/db/user", "u"), ("/shop/prod/flag", "on")] {
        moto.put_parameter(REGION, name, text);
    }
    let tagged = |name: &str| {
        let tags = json!([{"Key": "team", "Value": "shop"}]);
        moto.secrets(REGION, "CreateSecret", &json!({"Name": name, "SecretString": name, "Tags": tags}));
    };
    tagged("api/key");
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    node.class(
        "shop-aws",
        &format!(
            "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: shop-aws, namespace: \
             shop}}\nspec:\n  provider: aws\n  parameters:\n    region: {REGION}\n    endpoint: {}\n    \
             secretfs.dev/refresh: 1s\n    secretfs.dev/on-denied: remove\n    \
             secretfs.dev/files: |\n      - {{path: app.env, format: dotenv, from: {{DB_USER: conf/db/user}}}}\n    \
             roleArn: arn:aws:iam::123456789012:role/shop\n    objects: |\n      \
             - {{byPath: /shop/prod, directory: conf}}\n      - {{byTags: team=shop, directory: keys}}\n",
            moto.url()
        ),
    );
    node.start_node().await;
    let pod = pod(&issuer);

    node.publish_until_done(&pod).await;
    for (file, text) in [("conf/db/user", "u"), ("conf/flag", "on"), ("keys/api/key", "api/key")] {
        assert_eq!(node.text(&pod, file).as_deref(), Some(text), "{file}");
    }
    assert!(node.text(&pod, "app.env").unwrap().contains("DB_USER"), "{:?}", node.text(&pod, "app.env"));
    assert!(node.audit().contains("/shop/prod/flag"), "the trail names what was found: {}", node.audit());

    moto.put_parameter(REGION, "/shop/prod/new", "n");
    tagged("api/other");
    node.text_becomes(&pod, "conf/new", Some("n"), SOON).await;
    node.text_becomes(&pod, "keys/api/other", Some("api/other"), SOON).await;

    moto.parameters(REGION, "DeleteParameter", &json!({"Name": "/shop/prod/flag"}));
    moto.secrets(REGION, "DeleteSecret", &json!({"SecretId": "api/key"}));
    node.text_becomes(&pod, "conf/flag", None, 2 * SOON).await;
    node.text_becomes(&pod, "keys/api/key", None, 2 * SOON).await;
    assert_eq!(node.text(&pod, "conf/new").as_deref(), Some("n"));
}

/// `secretfs mount`, which is told to stop when this is dropped.
struct Mounting(Child);

impl Drop for Mounting {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}

fn mount(host: &TempDir, flags: &[&str]) -> Mounting {
    let at = |name: &str| host.path().join(name);
    let mut command = Command::new(SECRETFS);
    command.arg("mount").args([at("class.yaml"), at("target")]);
    command.arg("--state-dir").arg(at("state")).arg("--admin-dir").arg(at("admin")).args(flags);
    // Credentials in the environment must not be used.
    command.env("AWS_ACCESS_KEY_ID", "AKIAAMBIENT").env("AWS_SECRET_ACCESS_KEY", "ambient");
    let log = fs::File::create(at("log")).unwrap();
    Mounting(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_aws_example_is_mounted_on_a_host_by_an_access_key() {
    let moto = Moto::start();
    let host = tempfile::Builder::new().prefix("secretfs-aws-").tempdir().unwrap();
    let at = |name: &str| host.path().join(name);
    fs::write(at("class.yaml"), ShownBy::chosen().class(&manifest(&moto, ""))).unwrap();
    for (name, text) in [("id", "AKIAHOST\n"), ("key", "secret\n")] {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), Permissions::from_mode(0o600)).unwrap();
    }
    let of = |key: &str, name: &str| format!("{key}={}", at(name).display());
    let (id, key) = (of("access-key-id", "id"), of("secret-access-key", "key"));

    let _mounting = mount(&host, &["--credential", &id, "--credential", &key]);
    until(|| at("target/rds.json").exists(), &at("log"));
    let shown = files(&at("target"));

    assert_eq!(shown, expected(0o400));
    moto.put_parameter(REGION, "/shop/prod/flag", "off");
    until(|| fs::read_to_string(at("target/_shop_prod_flag")).is_ok_and(|text| text == "off"), &at("log"));
}

fn until(there: impl Fn() -> bool, log: &Path) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < SOON, "{}", fs::read_to_string(log).unwrap_or_default());
        thread::sleep(Duration::from_millis(20));
    }
}

crate::modes::again_in_mode_fuse! {
    upstreams_aws_example_is_mounted_in_a_pod_and_rotation_and_revocation_reach_it,
    what_aws_answers_decides_what_becomes_of_a_mounted_file,
    a_hundred_volumes_of_ten_secrets_make_one_call_for_each_refresh_and_with_a_probe_read_no_value,
    listings_of_aws_are_mounted_as_trees_of_files_and_follow_what_is_found,
    upstreams_aws_example_is_mounted_on_a_host_by_an_access_key,
}
