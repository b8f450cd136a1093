//! The published conformance tests of the Container Storage Interface.

use std::path::{Path, PathBuf};
use std::process::Command;

use testing::RunningNode;

/// The services of a driver without a controller.
const FOCUS: &str = "Identity Service|Node Service";
/// These two tests call a controller.
const SKIP: &str = "should remove target path|does not exist on the specified path";

#[tokio::test(flavor = "multi_thread")]
async fn csi_sanity_passes() {
    let node = RunningNode::start(env!("CARGO_BIN_EXE_secretfs"), &[]).await;

    let ran = Command::new(program())
        .arg(format!("--csi.endpoint=unix://{}", node.path("csi.sock").display()))
        .arg(format!("--csi.mountdir={}", node.path("sanity-mount").display()))
        .arg(format!("--csi.stagingdir={}", node.path("sanity-staging").display()))
        .arg(format!("--ginkgo.focus={FOCUS}"))
        .arg(format!("--ginkgo.skip={SKIP}"))
        .arg("--ginkgo.no-color")
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", node.log());
    assert!(said.contains("13 Passed | 0 Failed"), "{said}");
}

/// The path to which `hack/tools` installs it, or the path in the environment.
fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools/csi-sanity");
    let named = std::env::var_os("CSI_SANITY").map(PathBuf::from);
    let on_path = || {
        let directories = std::env::var_os("PATH")?;
        std::env::split_paths(&directories)
            .map(|directory| directory.join("csi-sanity"))
            .find(|path| path.exists())
    };
    named
        .or_else(on_path)
        .or_else(|| installed.exists().then_some(installed))
        .unwrap_or_else(|| panic!("csi-sanity is not installed: run hack/tools csi-sanity"))
}

crate::modes::again_in_mode_fuse! {
    csi_sanity_passes,
}
