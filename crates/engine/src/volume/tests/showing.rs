//! What other modules learn of the files that a volume shows.

use std::sync::atomic::Ordering;

use super::*;
use crate::snapshot::File;

/// The files of volume `v`, as the table tells them without reading the mount.
fn shown(node: &Node) -> BTreeMap<String, String> {
    let shown = node.volumes.shown(&VolumeId("v".to_owned())).unwrap();
    let text = |file: &File| file.contents.expose_str().unwrap().to_owned();
    shown.iter().map(|(path, file)| (path.to_string(), text(file))).collect()
}

fn reads_back(node: &Node) -> usize {
    node.mode.1.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn what_a_volume_shows_is_told_with_the_news_and_without_reading_its_mount() {
    let node = Node::serving("a,b").await;
    assert_eq!(Some(shown(&node)), node.mode.files("/v"));
    let mut happenings = node.volumes.listen();

    node.store.say("a", Say::Value("2"));
    while !matches!(happenings.recv().await.unwrap().what, What::Rotated(_)) {}
    assert_eq!(shown(&node)["a"], "2");
    node.store.say("b", Say::Error(ErrorKind::Revoked));
    while !matches!(happenings.recv().await.unwrap().what, What::Withdrawn(_)) {}
    assert_eq!(shown(&node).into_keys().collect::<Vec<_>>(), ["a"]);

    assert_eq!(reads_back(&node), 0);
    node.unpublish("v").await;
    assert!(node.volumes.shown(&VolumeId("v".to_owned())).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_mounted_is_read_back_once_and_known_from_then_on() {
    let node = Node::serving("a").await.restart();
    node.volumes.restore().await.unwrap();

    assert_eq!(shown(&node)["a"], "1");
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shown(&node)["a"], "2");
    assert_eq!(reads_back(&node), 1);
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_files_cannot_be_read_back_is_taken_to_show_what_it_showed_last() {
    let node = Node::serving("a").await;
    node.mode.0.lock().unwrap().remove(Path::new("/v"));
    node.store.say("a", Say::Panic);
    sleep(ROUND).await;

    assert!(reads_back(&node) > 0);
    assert_eq!(shown(&node)["a"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_task_was_begun_anew_tells_what_it_shows() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Panic);
    sleep(ROUND).await;
    assert_eq!(shown(&node)["a"], "1");

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shown(&node)["a"], "2");
}
