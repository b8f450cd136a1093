//! Classes with access rules: in which pods they may be used.

use manifest::{AccessRules, AccessUnsafe, FetchWhen, Mode as Chosen};

use super::*;

fn with_rules(settings: &mut Settings) {
    settings.mode = Chosen::Fuse;
    settings.access = AccessRules::nobody();
}

/// A node with a mode that can tell containers apart, and a class with rules.
fn node() -> Node {
    let mounter = FakeMounter { other: Some(FakeMode::named("fuse")), ..FakeMounter::default() };
    let node = Node::of(mounter, Limits::default(), |_| Vec::new());
    node.class("a", with_rules);
    node.store.say("a", Say::Value("1"));
    node
}

#[tokio::test(start_paused = true)]
async fn a_class_with_rules_starts_no_pod_whose_containers_reach_each_other_unless_it_says_so() {
    let node = node();

    let refused = node.publish("shared").await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    let told = refused.to_string();
    assert!(
        told.contains("its containers share a process namespace") && told.contains("access-unsafe: allow"),
        "{told}"
    );
    assert_eq!(node.store.reads(), 0);
    node.publish("v").await.unwrap();

    node.class("a", |settings| {
        with_rules(settings);
        settings.access_unsafe = AccessUnsafe::Allow;
    });
    node.publish("shared").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_while_nobody_tells_whether_the_rules_can_hold_there() {
    let node = node();

    let refused = node.publish("unknown").await.unwrap_err();

    assert!(matches!(refused, Error::ClassNotYet(_)), "{refused}");
    assert!(refused.to_string().contains("the API server is away"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn where_there_are_no_containers_a_class_with_rules_is_refused() {
    let node = node();
    let mut wish = publish("v");
    wish.subject.pod = None;

    let refused = node.publish_as(wish).await.unwrap_err();

    assert!(matches!(refused, Error::Invalid(_)) && refused.to_string().contains("containers"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_another_mode_does_not_follow_its_class_to_rules_that_it_cannot_keep() {
    let node = node();
    node.class("a", |_| {});
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Value("2"));

    node.class("a", with_rules);
    sleep(ROUND * 2).await;

    let state = node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap();
    assert!(format!("{:?}", state.failure).contains("cannot tell containers apart"), "{:?}", state.failure);
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_volume_has_its_rules_and_one_that_cannot_be_read_lets_nobody_in() {
    let node = node();
    let record = || node.volumes.parts().records.of(&VolumeId("v".to_owned())).unwrap();
    node.publish("v").await.unwrap();

    let mut written = record();
    written.manifest = written
        .manifest
        .map(|text| text.replace("\"parameters\":{", "\"parameters\":{\"secretfs.dev/access\":\"[]\","));
    let confinement = written.confinement().unwrap();
    assert_eq!((confinement.pod.as_str(), confinement.rules), ("uid-v", AccessRules::nobody()));
    assert_eq!(record().confinement(), None, "the class of this test has rules and does not write them");
}

#[tokio::test(start_paused = true)]
async fn files_that_are_read_when_they_are_opened_have_the_rules_of_their_class_and_follow_its_edits() {
    let node = node();
    let with = |is_confined: bool| {
        move |settings: &mut Settings| {
            settings.mode = Chosen::Fuse;
            settings.fetch = FetchWhen::OnOpen;
            settings.access = if is_confined { AccessRules::nobody() } else { AccessRules::default() };
        }
    };
    node.class("a", with(true));
    assert!(node.publish("shared").await.is_err(), "nor do they start where the rules keep nobody out");
    node.publish("v").await.unwrap();
    let has_rules = || node.mounter.other.as_ref().unwrap().has_rules("/v");
    assert!(has_rules());

    node.class("a", with(false));
    sleep(ROUND).await;
    assert!(!has_rules());
    node.class("a", with(true));
    sleep(ROUND).await;
    assert!(has_rules());
}
