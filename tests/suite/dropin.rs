//! The driver under the name of the Secrets Store CSI driver, with that driver's manifests unchanged.

use std::process::Command;

use csi_proto::csi::GetPluginInfoRequest;
use testing::{PodVolume, RunningNode};
use tonic::Code;

use crate::embedded::Store;
use crate::support::Target;

const UPSTREAM: [&str; 2] = ["--driver-name", "secrets-store.csi.k8s.io"];

/// A node under upstream's name with a class of `version`, and a store with the class's secret.
async fn node(version: &str, flags: &[&str]) -> (RunningNode, Store) {
    let store = Store::init();
    store.put("shop", "app", "hunter2");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &[&UPSTREAM, flags].concat());
    node.flag("--store", store.path());
    node.class(
        "app",
        &format!(
            "apiVersion: secrets-store.csi.x-k8s.io/{version}
kind: SecretProviderClass
metadata: {{name: app, namespace: shop}}
spec:
  provider: secretfs
  secretObjects:
    - {{secretName: app, type: Opaque, data: [{{objectName: password, key: password}}]}}
  parameters:
    objects: |
      - {{objectName: password, item: app}}
"
        ),
    );
    node.start_node().await;
    (node, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_name_and_both_versions_of_its_classes_are_served() {
    for version in ["v1", "v1alpha1"] {
        let (node, _store) = node(version, &[]).await;
        let pod = PodVolume::new("web", "app");

        let told = node.identity().await.unwrap().get_plugin_info(GetPluginInfoRequest {}).await.unwrap();
        node.publish(&pod).await.unwrap();

        assert_eq!(told.into_inner().name, "secrets-store.csi.k8s.io");
        assert_eq!(node.text(&pod, "password").as_deref(), Some("hunter2"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_class_is_told_in_the_words_that_people_look_for() {
    let (node, _store) = node("v1", &[]).await;

    let refused = node.publish(&PodVolume::new("web", "other")).await.unwrap_err();

    assert_eq!(refused.code(), Code::NotFound);
    let told = refused.message();
    assert!(
        told.starts_with("failed to get secretproviderclass shop/other") && told.contains("not found"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_rotation_flags_are_understood_and_wrong_ones_are_refused() {
    for flags in [
        &["--enable-secret-rotation"][..],
        &["--enable-secret-rotation=true", "--rotation-poll-interval=2m"],
        &["--enable-secret-rotation=false", "--rotation-poll-interval", "1h30m"],
    ] {
        drop(node("v1", flags).await);
    }
    for flags in
        [["--rotation-poll-interval=2"], ["--rotation-poll-interval=0"], ["--enable-secret-rotation=maybe"]]
    {
        let told = Command::new(env!("CARGO_BIN_EXE_secretfs"))
            .args(["node", "--node-name", "n", "--classes", "/nowhere"])
            .args(flags)
            .output()
            .unwrap();
        assert_eq!(told.status.code(), Some(2), "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_another_user_reads_a_default_file_with_and_without_a_group() {
    let (node, _store) = node("v1", &[]).await;
    for (fs_group, groups, reads) in
        [(None, None, true), (Some(2000), Some(2000), true), (Some(2000), None, false)]
    {
        let mut pod = PodVolume::new(
            &format!("web-{reads}-{fs_group:?}").replace(['(', ')'], "").to_lowercase(),
            "app",
        );
        pod.fs_group = fs_group;
        node.publish(&pod).await.unwrap();
        let container = Target::new();
        std::fs::create_dir(container.path()).unwrap();
        rustix::mount::mount_bind(node.target(&pod), container.path()).unwrap();

        let read = read_as_1000(groups, &container);

        rustix::mount::unmount(container.path(), rustix::mount::UnmountFlags::empty()).unwrap();
        assert_eq!(read.as_deref(), reads.then_some("hunter2"), "{fs_group:?} {groups:?}");
    }
}

/// What a process in the container reads as uid and gid 1000 with this additional group.
fn read_as_1000(group: Option<u32>, container: &Target) -> Option<String> {
    let groups = group.map_or("--clear-groups".to_owned(), |group| format!("--groups={group}"));
    let file = container.file("password");
    let cat = Command::new("setpriv")
        .args(["--reuid=1000", "--regid=1000", &groups, "cat"])
        .arg(file)
        .output()
        .unwrap();
    cat.status.success().then(|| String::from_utf8(cat.stdout).unwrap())
}

crate::modes::again_in_mode_fuse! {
    upstreams_name_and_both_versions_of_its_classes_are_served,
    a_missing_class_is_told_in_the_words_that_people_look_for,
    upstreams_rotation_flags_are_understood_and_wrong_ones_are_refused,
    a_process_of_another_user_reads_a_default_file_with_and_without_a_group,
}
