//! Runs the commands in README.md and docs/ that are about a cluster, word for word, with a real API server.

#[path = "../suite/docs/blocks.rs"]
mod blocks;

use std::path::Path;
use std::process::Command;

use testing::{Cluster, Scope};

use blocks::{Block, Place, all, top};

/// The CSIDriver object of the upstream driver's chart.
const UPSTREAMS_DRIVER: &str = "apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: secrets-store.csi.k8s.io}
spec: {podInfoOnMount: true, attachRequired: false, volumeLifecycleModes: [Ephemeral]}
";

/// An API server in the state before secretfs is installed. For pages about the move it has the custom resources and
/// the CSIDriver of upstream's driver.
fn cluster(file: &str) -> Cluster {
    let cluster = Cluster::start(Scope::ApiServer);
    if file == "docs/migration.md" {
        cluster.define(&top().join("deploy/crds"));
        cluster.apply(UPSTREAMS_DRIVER);
    }
    cluster
}

/// Runs a block in the root directory of the repository, as an administrator of `cluster` on a machine that is not a
/// node. The processes of other tests are hidden from it.
fn run(block: &Block, cluster: &Cluster) {
    let program = Path::new(env!("CARGO_BIN_EXE_secretfs")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["bash", "-euo", "pipefail", "-c", &block.text])
        .current_dir(top())
        .env("PATH", format!("{}:{path}", program.display()))
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    println!("--- {block}\n{told}");
    assert!(output.status.success(), "{block}: {}\n{}\n{told}", output.status, block.text);
}

#[test]
fn every_command_block_for_a_cluster_works_word_for_word() {
    let blocks = all();
    let mut files: Vec<&str> = blocks.iter().map(|block| block.file.as_str()).collect();
    files.dedup();
    let mut ran = 0;

    for file in files {
        let of_file = || blocks.iter().filter(|block| block.file == file);
        let shared: Vec<_> = of_file().filter(|block| block.place == Place::Cluster).collect();
        if !shared.is_empty() {
            let cluster = cluster(file);
            shared.iter().for_each(|block| run(block, &cluster));
            ran += shared.len();
        }
        for block in of_file().filter(|block| block.place == Place::NewCluster) {
            run(block, &cluster(file));
            ran += 1;
        }
    }

    assert!(ran >= 5, "{ran}");
}
