//! `secretfs doctor` with a real API server: a cluster without faults, and one with many.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testing::{Cluster, RunningNode};

use super::api::{SHARED, api_server};

/// The driver's service account in the plain YAML.
const ACCOUNT: &str = "kube-system/secretfs";

const DRIVER: &str = "
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: csi.secretfs.dev}
spec:
  volumeLifecycleModes: [Ephemeral]
  attachRequired: false
  podInfoOnMount: true
  requiresRepublish: true
  fsGroupPolicy: None
  tokenRequests: [{audience: vault}]
  serviceAccountTokenInSecrets: true
";

const CLASS: &str = "
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: app, namespace: default}
spec:
  provider: vault
  parameters:
    roleName: app
    audience: vault
    objects: |
      - {objectName: key, secretPath: secret/data/app, secretKey: key}
";

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The driver's rights in the plain YAML.
fn rights() -> String {
    let text = file("deploy/secretfs.yaml");
    let documents = text.split("\n---").filter(|document| {
        ["kind: ClusterRole\n", "kind: ClusterRoleBinding\n"].iter().any(|kind| document.contains(kind))
    });
    documents.map(|document| format!("---\n{document}\n")).collect()
}

/// A cluster without faults: everything that the driver needs, and one class.
fn sound() -> Cluster {
    let cluster = api_server();
    cluster.apply(&rights());
    cluster.apply(DRIVER);
    cluster.apply(CLASS);
    cluster
}

/// The `/proc` of a host with a suitable kernel and without processes.
fn proc(node: &RunningNode, kernel: &str, swaps: &str) -> PathBuf {
    let proc = node.path("proc");
    fs::create_dir_all(proc.join("sys/kernel")).unwrap();
    fs::write(proc.join("sys/kernel/osrelease"), kernel).unwrap();
    fs::write(proc.join("swaps"), format!("Filename Type Size Used Priority\n{swaps}")).unwrap();
    proc
}

/// The doctor's verdict on a node and a cluster, and its report.
fn doctor(node: &RunningNode, proc: &Path, cluster: &Cluster, options: &[&str]) -> (bool, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.args(["doctor", "-o", "json"]);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).arg("--proc").arg(proc);
    for (option, name) in [
        ("--kubelet-root", "kubelet"),
        ("--csi-endpoint", "csi.sock"),
        ("--admin-dir", "admin"),
        ("--mounter", "mounter.sock"),
        ("--providers-dir", "providers"),
    ] {
        command.arg(option).arg(node.path(name));
    }
    let output = command.args(options).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{complaint}"));
    (output.status.success(), report)
}

/// The checks at `level`, each with what was found.
fn at<'a>(report: &'a Value, level: &str) -> Vec<(&'a str, &'a str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["level"] == level);
    findings.map(|one| (one["check"].as_str().unwrap(), one["found"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_sound_node_in_a_sound_cluster_is_told_to_be_so() {
    let cluster = sound();
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    node.use_mounter();
    node.ask(cluster.kubeconfig());
    node.register();
    node.start_node().await;
    let proc = proc(&node, "6.18.44", "");

    let (well, report) =
        doctor(&node, &proc, &cluster, &["--service-account", ACCOUNT, "--state-dir", "/dev/shm/secretfs"]);

    assert!(well, "{report:#}");
    assert_eq!((at(&report, "warning"), at(&report, "not-looked-at")), (vec![], vec![]), "{report:#}");
    let well = at(&report, "ok");
    for check in ["csidriver", "crds", "classes", "audiences", "rights", "csi-socket", "registration-socket"]
    {
        assert!(well.iter().any(|(own, _)| *own == check), "{check} is not among {well:#?}");
    }
}

/// Each of these faults breaks something, and the doctor has to name it with a remedy.
#[test]
fn the_doctor_names_each_of_many_seeded_faults() {
    let cluster = sound();
    cluster.kubectl(&["delete", "csidriver", "csi.secretfs.dev"]);
    let faulty = DRIVER
        .replace("podInfoOnMount: true", "podInfoOnMount: false")
        .replace("requiresRepublish: true", "requiresRepublish: false")
        .replace("[Ephemeral]", "[Persistent]")
        .replace("fsGroupPolicy: None", "fsGroupPolicy: File")
        .replace("audience: vault", "audience: other")
        .replace("serviceAccountTokenInSecrets: true", "serviceAccountTokenInSecrets: false");
    cluster.apply(&faulty);
    cluster.kubectl(&["delete", "crd", "secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io"]);
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "too-much",
        "--clusterrole=cluster-admin",
        "--serviceaccount=kube-system:secretfs",
    ]);
    cluster.apply(&CLASS.replace("name: app", "name: typo").replace("secretPath", "secretPaht"));
    let node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    fs::create_dir(node.path("providers")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(node.path("providers/acme.sock")).unwrap());
    fs::write(node.path("csi.sock"), "").unwrap();
    let proc = proc(&node, "5.4.0-42-generic", "/dev/sda2 partition 1 0 -2\n");
    let kubelet = proc.join("4711");
    fs::create_dir(&kubelet).unwrap();
    fs::write(kubelet.join("cmdline"), "/usr/bin/kubelet\0--root-dir=/data/kubelet\0").unwrap();

    let on_disk = concat!(env!("CARGO_MANIFEST_DIR"), "/state");
    let (well, report) =
        doctor(&node, &proc, &cluster, &["--service-account", ACCOUNT, "--state-dir", on_disk]);

    assert!(!well);
    let named = |level: &str| at(&report, level).into_iter().map(|(check, _)| check).collect::<Vec<_>>();
    for check in [
        "kernel",
        "swap",
        "kubelet-root",
        "state-dir",
        "csi-socket",
        "registration-socket",
        "mounter-socket",
        "admin-socket",
        "provider-socket",
        "crds",
        "pod-info",
        "ephemeral",
        "republish",
        "audiences",
    ] {
        assert!(named("error").contains(&check), "{check} is not named: {report:#}");
    }
    for check in ["fs-group-policy", "tokens-in-secrets", "class", "needless-rights"] {
        assert!(named("warning").contains(&check), "{check} is not named: {report:#}");
    }
    let findings = report["findings"].as_array().unwrap();
    let amiss = findings.iter().filter(|one| one["level"] == "error" || one["level"] == "warning");
    assert!(amiss.into_iter().all(|one| !one["remedy"].as_str().unwrap_or_default().is_empty()));
}

#[test]
fn a_right_that_is_taken_away_is_named() {
    let cluster = &*SHARED;
    cluster.apply(&rights());
    let binding = ["clusterrolebinding", "doctor-rights"];
    let subject = ["--clusterrole=secretproviderclasses-role", "--serviceaccount=doctor:driver"];
    cluster.kubectl(&[&["create"], &binding[..], &subject].concat());
    let node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[]);
    let proc = proc(&node, "6.18.44", "");
    let asked = ["--service-account", "doctor/driver", "--sync-secrets-namespace", "default"];
    let missing = || {
        let (_, report) = doctor(&node, &proc, cluster, &asked);
        at(&report, "error").iter().filter(|(check, _)| *check == "rights").count()
    };

    // create, get, patch and delete of Secrets, and get of pods: the chart did not grant them.
    assert_eq!(missing(), 5);
    cluster.kubectl(&[&["delete"], &binding[..]].concat());
    assert_eq!(missing(), 16);
}

#[test]
fn without_node_and_cluster_it_says_what_it_could_not_look_at() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_remove("KUBECONFIG").args(["doctor", "-o", "json"]);
    for option in ["--kubelet-root", "--admin-dir", "--providers-dir", "--proc"] {
        command.arg(option).arg(empty.path().join("none"));
    }

    let output = command.output().unwrap();

    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let not_looked_at = at(&report, "not-looked-at");
    assert_eq!(not_looked_at.len(), 6, "{report:#}");
    assert!(not_looked_at[0].1.contains("no node"), "{report:#}");
    assert!(not_looked_at[1].1.contains("--kubeconfig"), "{report:#}");
}
