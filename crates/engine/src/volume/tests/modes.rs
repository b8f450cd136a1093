//! Which mode shows a volume, and for how long.

use std::collections::BTreeSet;
use std::path::PathBuf;

use manifest::{FetchWhen, Mode as Chosen};

use super::*;

/// A node with a second mode beside tmpfs, and a class that chooses it.
fn with_two() -> Node {
    let mounter = FakeMounter { other: Some(FakeMode::named("fuse")), ..FakeMounter::default() };
    let node = Node::of(mounter, Limits::default(), |_| Vec::new());
    node.class("a", |settings| settings.mode = Chosen::Fuse);
    node.store.say("a", Say::Value("1"));
    node
}

impl Node {
    /// The files of a volume in the other mode.
    fn other_files(&self, target: &str) -> Option<BTreeMap<String, String>> {
        self.mounter.other.as_ref().unwrap().files(target)
    }

    /// The mode in the record of volume `v`.
    fn recorded_mode(&self) -> String {
        self.volumes.parts().records.of(&VolumeId("v".to_owned())).unwrap().mode
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_names_a_mode_that_is_not_there_is_refused_with_those_that_are() {
    let node = Node::start();
    node.class("a", |settings| settings.mode = Chosen::Fuse);
    node.store.say("a", Say::Value("1"));

    let refused = node.publish("v").await.unwrap_err();

    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    assert_eq!(refused.to_string(), "class ns/c: mode \"fuse\" is not known; known are tmpfs");
    assert_eq!(node.store.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_volume_keeps_the_mode_of_its_mount_through_an_edit_of_its_class_and_a_restart() {
    let node = with_two();
    node.publish("v").await.unwrap();
    assert!(node.other_files("/v").is_some() && node.mode.files("/v").is_none());
    assert_eq!(node.recorded_mode(), "fuse");

    node.class("a", |settings| settings.mode = Chosen::Tmpfs);
    sleep(ROUND).await;
    let node = node.restart();
    assert_eq!(node.volumes.restore().await.unwrap(), 1);
    node.store.say("a", Say::Value("2"));
    sleep(ROUND * 2).await;
    node.publish("v").await.unwrap();

    assert_eq!(node.other_files("/v").unwrap()["a"], "2");
    assert!(node.mode.files("/v").is_none());
    assert_eq!(node.recorded_mode(), "fuse");
    node.publish("w").await.unwrap();
    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("2"));
    node.unpublish("v").await;
    assert!(node.other_files("/v").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_mode_is_taken_over_as_a_tmpfs() {
    let node = Node::serving("a").await;
    let volumes = node.state.path().join("volumes");
    let file = std::fs::read_dir(volumes).unwrap().next().unwrap().unwrap().path();
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(record.as_object_mut().unwrap().remove("mode"), Some("tmpfs".into()));
    std::fs::write(&file, record.to_string()).unwrap();

    let node = node.restart();
    assert_eq!(node.volumes.restore().await.unwrap(), 1);

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_a_mode_that_is_gone_stays_as_it_is() {
    let node = with_two();
    node.publish("v").await.unwrap();
    let other = node.mounter.other.clone().unwrap();

    let without = Arc::new(FakeMounter::default());
    node.stop.cancel();
    let node = Node::with(node.store, without, node.classes, node.state, node.limits, node.audit);

    assert_eq!(node.volumes.restore().await.unwrap(), 0);
    assert!(other.files("/v").is_some());
    assert_eq!(node.recorded_mode(), "fuse");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_only_when_a_file_is_opened_is_made_into_nothing_else() {
    let node = with_two();
    node.publish("known").await.unwrap();
    node.class("a", |settings| {
        settings.mode = Chosen::Fuse;
        settings.fetch = FetchWhen::OnOpen;
    });
    node.publish("v").await.unwrap();
    let is_known = |id: &str| node.volumes.shown(&VolumeId(id.to_owned())).is_some();
    assert_eq!((is_known("known"), is_known("v")), (true, false));
}

#[tokio::test(start_paused = true)]
async fn containers_that_mount_by_subpath_are_told_of_where_the_mode_does_not_reach_them() {
    const POD: &str = "/var/lib/kubelet/pods/77";
    let users = BTreeMap::from([(
        PathBuf::from(format!("{POD}/volume-subpaths/db")),
        BTreeSet::from(["web".to_owned()]),
    )]);
    for (mode, told) in [(Chosen::Tmpfs, vec!["web".to_owned()]), (Chosen::Fuse, Vec::new())] {
        let node = with_two();
        node.class("a", |settings| settings.mode = mode);
        let target = format!("{POD}/volumes/kubernetes.io~csi/db/mount").into();
        node.publish_as(Publish { target, ..publish("v") }).await.unwrap();

        node.volumes.note(&users);

        let state = node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap();
        assert_eq!(state.sub_paths, told, "{mode:?}");
    }
}
