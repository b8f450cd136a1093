//! The engine against a scripted store, with the clock in the test's hands.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use manifest::{Class, Composed, ComposedFormat, OnDenied, Settings, Start};
use provider::{ErrorKind, Identity, Pod, Span, Validity};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Destination};
use crate::metrics::Metrics;
use crate::mode::{Appearance, Mode, Modes};
use crate::providers::Providers;
use crate::snapshot::FingerprintKey;
use crate::subject::Subject;
use crate::volume::fakes::{FakeClasses, FakeMode, FakeMounter, FakeStore, LEASE, Say, lease};
use crate::volume::parts::{Limits, Parts};
use crate::volume::record::Records;
use crate::volume::report::{Reporter, What};
use crate::volume::revocations::Revocations;
use crate::volume::stores::Stores;
use crate::volume::{ClassName, Credentials, Error, Publish, RefreshOutcome, VolumeId, Volumes};

mod calls;
mod credentials;
mod defaults;
mod fairness;
mod modes;
mod showing;
mod starting;
mod upkeep;

const REFRESH: Duration = Duration::from_secs(60);
/// One refresh interval, and time for what follows.
const ROUND: Duration = Duration::from_secs(70);

struct Node {
    store: FakeStore,
    mode: FakeMode,
    mounter: Arc<FakeMounter>,
    classes: Arc<FakeClasses>,
    volumes: Arc<Volumes>,
    state: Arc<tempfile::TempDir>,
    stop: CancellationToken,
    limits: Limits,
    audit: Vec<Destination>,
}

impl Node {
    fn start() -> Self {
        Self::under(Limits::default())
    }

    fn under(limits: Limits) -> Self {
        Self::of(FakeMounter::default(), limits, |_| Vec::new())
    }

    /// A node whose audit trail can be [read](Self::audit).
    fn audited() -> Self {
        let trail = |state: &Path| vec![Destination::File(state.join("audit"))];
        Self::of(FakeMounter::default(), Limits::default(), trail)
    }

    fn of(mounter: FakeMounter, limits: Limits, audit: impl FnOnce(&Path) -> Vec<Destination>) -> Self {
        let state = Arc::new(tempfile::tempdir().unwrap());
        let audit = audit(state.path());
        Self::with(FakeStore::default(), Arc::new(mounter), Arc::default(), state, limits, audit)
    }

    /// Operation and outcome of every record of the audit trail.
    fn audit(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.state.path().join("audit")).unwrap();
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let outcome = |line: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            (word(&record["api"]["operation"]), word(&record["status"]))
        };
        text.lines().map(outcome).collect()
    }

    /// A node that serves volume `v` with these objects, each `1`.
    async fn serving(objects: &str) -> Self {
        let node = Self::start();
        node.class(objects, |_| {});
        objects.split(',').for_each(|object| node.store.say(object, Say::Value("1")));
        node.publish("v").await.unwrap();
        node
    }

    /// A node that serves volume `v` with the object `creds`, which hangs on a lease.
    async fn leasing() -> Self {
        let node = Self::start();
        node.class("creds", |_| {});
        node.store.say("creds", Say::Leased("u1", lease("l1")));
        node.publish("v").await.unwrap();
        node
    }

    /// The next process on the same node: mounts, records and kept logins stay, memory does not.
    fn restart(self) -> Self {
        self.stop.cancel();
        Self::with(self.store, self.mounter, self.classes, self.state, self.limits, self.audit)
    }

    fn with(
        store: FakeStore,
        mounter: Arc<FakeMounter>,
        classes: Arc<FakeClasses>,
        state: Arc<tempfile::TempDir>,
        limits: Limits,
        audit: Vec<Destination>,
    ) -> Self {
        let provider: Arc<dyn provider::Provider> = Arc::new(store.clone());
        let providers = Providers::default().with(&provider);
        let revocations = Arc::new(Revocations::new(mounter.clone(), providers.clone(), &[1; 32]).unwrap());
        let volumes = Volumes::new(Parts {
            providers,
            classes: classes.clone(),
            modes: Modes::of(mounter.modes().map(|mode| Arc::new(mode.clone()) as Arc<dyn Mode>)),
            mounter: mounter.clone(),
            records: Records::open(state.path()).unwrap(),
            revocations: Arc::clone(&revocations),
            reporter: Reporter::new(Audit::to(audit.clone()).unwrap(), Metrics::default()),
            stores: Arc::new(Stores::new(Metrics::default())),
            key: Arc::new(FingerprintKey::new(&[2; 32])),
            limits: limits.clone(),
        });
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        drop(tokio::spawn(async move { revocations.run(shutdown).await }));
        Self { store, mode: mounter.mode.clone(), mounter, classes, volumes, state, stop, limits, audit }
    }

    fn class(&self, objects: &str, edit: impl FnOnce(&mut Settings)) {
        let mut settings = Settings { refresh: Some(REFRESH), ..Settings::default() };
        edit(&mut settings);
        self.classes.set(Class {
            namespace: "ns".to_owned(),
            name: "c".to_owned(),
            provider: "fake".to_owned(),
            parameters: BTreeMap::from([("objects".to_owned(), objects.to_owned())]),
            settings,
            own: BTreeMap::new(),
            secret_objects: Vec::new(),
        });
    }

    async fn publish(&self, volume: &str) -> Result<(), Error> {
        self.publish_as(publish(volume)).await
    }

    /// Publishes without tokens and credentials.
    async fn publish_as(&self, wish: Publish) -> Result<(), Error> {
        self.volumes.publish(wish, Credentials::default()).await.map(drop)
    }

    async fn unpublish(&self, volume: &str) {
        self.volumes.unpublish(&VolumeId(volume.to_owned()), format!("/{volume}").as_ref()).await.unwrap();
    }

    fn file(&self, path: &str) -> Option<String> {
        self.mode.file("/v", path)
    }

    async fn file_becomes(&self, path: &str, wanted: Option<&str>) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while self.file(path).as_deref() != wanted {
            assert!(Instant::now() < deadline, "{path} is {:?}, not {wanted:?}", self.file(path));
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn publish(volume: &str) -> Publish {
    Publish {
        id: VolumeId(volume.to_owned()),
        target: format!("/{volume}").into(),
        class: ClassName { namespace: "ns".to_owned(), name: "c".to_owned() },
        subject: Subject {
            identity: Identity::named("ns", "sa"),
            pod: Some(Pod { name: volume.to_owned(), uid: format!("uid-{volume}") }),
        },
        attributes: BTreeMap::new(),
        appearance: Appearance::default(),
        timeout: Duration::from_secs(120),
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_mounted_with_all_its_objects_or_not_at_all() {
    let node = Node::start();
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));

    let error = node.publish("v").await.unwrap_err();
    assert_eq!(error.provider_kind(), Some(ErrorKind::NotFound));
    assert!(error.to_string().contains("object b"), "{error}");
    assert!(node.mode.files("/v").is_none());

    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();
    assert_eq!(node.mode.files("/v").unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_optional_object_may_be_missing_and_appears_when_it_is_there() {
    let node = Node::start();
    node.class("a,b?", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    assert_eq!(node.file("b"), None);

    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_republish_asks_no_store_even_if_the_class_is_gone() {
    let node = Node::serving("a").await;
    let reads = node.store.reads();

    node.publish("v").await.unwrap();
    node.classes.remove(&publish("v").class);
    node.publish("v").await.unwrap();

    assert_eq!(node.store.reads(), reads);
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_asks_for_something_else_is_refused_and_the_volume_stays() {
    let node = Node::serving("a").await;

    let elsewhere = Publish { target: "/other".into(), ..publish("v") };
    assert!(matches!(node.publish_as(elsewhere).await, Err(Error::Published { elsewhere: true, .. })));
    let mut grouped = publish("v");
    grouped.appearance.fs_group = Some(7);
    assert!(matches!(node.publish_as(grouped).await, Err(Error::Published { elsewhere: false, .. })));
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_mount_of_a_volume_that_is_known_is_audited_like_a_first_one() {
    let node = Node::audited();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    let mut other = publish("v");
    other.appearance.fs_group = Some(7);

    node.publish_as(other).await.unwrap_err();

    let record = |operation: &str, outcome: &str| (operation.to_owned(), outcome.to_owned());
    assert_eq!(node.audit(), [record("publish", "success"), record("publish", "failure")]);
    assert!(node.volumes.refusals().is_empty(), "it is mounted");

    node.mode.0.lock().unwrap().remove(Path::new("/v"));
    node.store.say("a", Say::Error(ErrorKind::Denied));
    sleep(ROUND).await;
    node.publish("v").await.unwrap_err();
    assert_eq!(node.audit().last(), Some(&record("deny", "failure")));
    assert_eq!(node.volumes.refusals().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_value_reaches_the_mount_within_its_refresh_interval() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Value("2"));
    sleep(ROUND).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn thirty_volumes_of_one_identity_cost_one_login_and_one_read_per_object_and_refresh() {
    let node = Node::start();
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));

    let names: Vec<_> = (0..30).map(|n| format!("v{n}")).collect();
    let published = futures::future::join_all(names.iter().map(|name| node.publish(name))).await;
    assert!(published.iter().all(Result::is_ok));
    assert_eq!(node.store.reads(), 2);

    let intervals = 20;
    sleep(REFRESH * intervals).await;
    let rounds = node.store.reads() / 2;
    // Between 0.7 and 1 of the interval each.
    assert!((20..=29).contains(&rounds), "{rounds} rounds in {intervals} intervals");
    assert_eq!(node.store.0.lock().unwrap().logins, 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_volumes_own_is_read_once_and_not_polled() {
    let node = Node::start();
    node.class("cert!,a", |_| {});
    node.store.say("cert", Say::Value("1"));
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node.publish("w").await.unwrap();
    sleep(REFRESH * 20).await;

    let reads = node.store.0.lock().unwrap().reads.iter().filter(|read| *read == "cert").count();
    assert_eq!(reads, 2, "one for each volume");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_volumes_own_is_issued_again_at_two_thirds_of_its_validity() {
    let node = Node::start();
    node.class("cert!", |_| {});
    let validity = Validity { duration: Span::from_secs(900), renewable: false, lease: None };
    node.store.say("cert", Say::Leased("1", validity.clone()));
    node.publish("v").await.unwrap();
    node.store.say("cert", Say::Leased("2", validity));

    sleep(Duration::from_secs(590)).await;
    assert_eq!(node.file("cert").as_deref(), Some("1"));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(node.file("cert").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_changes_nothing_that_a_pod_reads_and_heals_by_itself() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(Duration::from_secs(12 * 3600)).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    let state = node.volumes.states().remove(&VolumeId("v".to_owned())).unwrap();
    assert!(state.failure.is_some() && state.confirmed.unwrap().elapsed() > Duration::from_secs(3600));

    node.store.say("a", Say::Value("2"));
    sleep(Duration::from_secs(45)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_not_hammered() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    let before = node.store.reads();
    sleep(Duration::from_secs(3600)).await;
    let reads = node.store.reads() - before;
    assert!((100..=400).contains(&reads), "{reads} reads in an hour: one probe each 10 s at most");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_retry_after_is_over() {
    let node = Node::serving("a").await;

    node.store.say("a", Say::Wait(Duration::from_secs(300)));
    sleep(ROUND).await;
    let before = node.store.reads();
    sleep(Duration::from_secs(200)).await;
    assert_eq!(node.store.reads(), before);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_a_store_ends_the_refresh_of_a_volume() {
    const ABSURD: Duration = Duration::from_secs(u64::MAX);
    let node = Node::start();
    node.class("creds,a", |_| {});
    let endless = Validity { duration: ABSURD.into(), renewable: true, lease: lease("l1").lease };
    node.store.say("creds", Say::Leased("u1", endless));
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    node.store.say("a", Say::Wait(ABSURD));
    sleep(ROUND).await;
    node.store.say("a", Say::Value("3"));

    node.file_becomes("a", Some("3")).await;
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_edited_while_its_store_is_first_asked_is_followed() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    node.store.say("b", Say::Value("1"));
    let (published, ()) = tokio::join!(node.publish("v"), async {
        sleep(Duration::from_millis(50)).await;
        node.class("a,b", |_| {});
        node.store.say("a", Say::Value("1"));
    });
    published.unwrap();

    node.file_becomes("b", Some("1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_object_stays_and_the_others_go_on_being_refreshed() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Denied));
    node.store.say("b", Say::Value("2"));
    node.file_becomes("b", Some("2")).await;
    sleep(REFRESH * 5).await;
    assert_eq!(node.file("a").as_deref(), Some("1"));
    assert!(node.publish("new").await.is_err(), "a new pod is refused");
}

#[tokio::test(start_paused = true)]
async fn on_denied_remove_takes_a_denied_object_back() {
    let node = Node::start();
    node.class("a,b", |settings| settings.on_denied = OnDenied::Remove);
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("1"));
    node.publish("v").await.unwrap();

    node.store.say("a", Say::Error(ErrorKind::Denied));
    node.file_becomes("a", None).await;
    assert_eq!(node.file("b").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_object_goes_after_two_polls_thirty_seconds_apart_and_comes_back_with_the_store() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    let revoked = Instant::now();
    node.file_becomes("a", None).await;
    let waited = revoked.elapsed();
    assert!(waited > Duration::from_secs(70) && waited < Duration::from_secs(100), "{waited:?}");
    assert_eq!(node.file("b").as_deref(), Some("1"));

    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_composed_file_goes_with_an_object_that_was_withdrawn() {
    let node = Node::start();
    let composed = Composed {
        path: "app.json".try_into().unwrap(),
        format: ComposedFormat::Json,
        from: vec![("A".to_owned(), "a".to_owned()), ("B".to_owned(), "b".to_owned())],
        mode: None,
    };
    node.class("a,b", |settings| settings.files = vec![composed]);
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();
    let composed = node.file("app.json").unwrap();
    assert!(composed.contains(r#""A": "1""#) && composed.contains(r#""B": "2""#), "{composed}");

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    node.file_becomes("a", None).await;
    assert_eq!(node.file("app.json"), None);
    assert_eq!(node.file("b").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn volumes_of_one_order_share_what_was_read_for_it() {
    let node = Node::serving("a").await;
    node.publish("w").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    node.store.say("a", Say::Value("2"));
    let (before, ordered) = (node.store.reads(), Instant::now());

    for volume in ["v", "w"] {
        // The second volume comes to it when the first has read already.
        sleep(Duration::from_secs(1)).await;
        let outcome = node.volumes.refresh(&VolumeId(volume.to_owned()), ordered).await;
        assert!(matches!(outcome, Some(RefreshOutcome::Refreshed(changed)) if changed.len() == 1));
    }
    assert_eq!(node.store.reads(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_refresh_finds_a_revocation_at_once() {
    let node = Node::serving("a,b").await;

    node.store.say("a", Say::Error(ErrorKind::Revoked));
    sleep(Duration::from_secs(1)).await;
    let outcome = node.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await;
    assert!(matches!(outcome, Some(RefreshOutcome::Failed(_))));
    assert_eq!(node.file("a"), None);
}

#[tokio::test(start_paused = true)]
async fn many_objects_that_turn_together_are_an_outage() {
    let node = Node::start();
    let names: Vec<_> = (0..12).map(|n| format!("o{n}")).collect();
    node.class(&names.join(","), |_| {});
    names.iter().for_each(|name| node.store.say(name, Say::Value("1")));
    node.publish("v").await.unwrap();

    names.iter().for_each(|name| node.store.say(name, Say::Error(ErrorKind::Revoked)));
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.mode.files("/v").unwrap().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_two_thirds_and_its_login_ended_at_unpublish() {
    let node = Node::leasing().await;
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 1, "what ends the login is kept outside");

    sleep(LEASE * 5).await;
    assert_eq!(node.store.reads(), 1);
    assert!(node.store.0.lock().unwrap().renewed >= 6);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked, ["login-1"]);
    assert!(node.mounter.blobs.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn near_its_longest_life_a_lease_is_issued_again_and_the_old_login_ends_later() {
    let node = Node::leasing().await;

    node.store.0.lock().unwrap().grants = Some(Duration::from_secs(60));
    node.store.say("creds", Say::Leased("u2", lease("l2")));
    node.file_becomes("creds", Some("u2")).await;
    assert!(node.store.0.lock().unwrap().revoked.is_empty(), "who just read the old one may still log in");

    sleep(LEASE).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.first().map(String::as_str), Some("login-1"));
}

#[tokio::test(start_paused = true)]
async fn volumes_never_share_a_lease_or_the_login_behind_it() {
    let node = Node::start();
    node.class("creds,a", |_| {});
    node.store.say("creds", Say::Leased("u", lease("l")));
    node.store.say("a", Say::Value("1"));
    let (v, w) = tokio::join!(node.publish("v"), node.publish("w"));
    v.unwrap();
    w.unwrap();
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 2);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.len(), 1);
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_login_through_which_a_lease_was_read_ends_when_the_others_have_finished() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("creds", Say::Leased("u", lease("l")));
    node.publish("v").await.unwrap();
    node.publish("w").await.unwrap();
    let revoked = || node.store.0.lock().unwrap().revoked.clone();

    node.class("a,creds", |_| {});
    sleep(Duration::from_secs(1)).await;

    assert_eq!(node.file("creds").as_deref(), Some("u"));
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 3, "one each, and the one that both had");
    assert_eq!(revoked(), [""; 0]);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(revoked(), ["login-1"]);
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_ended_at_unpublish_is_ended_when_the_store_is_back() {
    let node = Node::leasing().await;

    node.store.0.lock().unwrap().revoke_fails = true;
    node.unpublish("v").await;
    assert!(node.mode.files("/v").is_none());
    sleep(Duration::from_secs(600)).await;
    node.store.0.lock().unwrap().revoke_fails = false;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked, ["login-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_mounter_that_lost_what_it_kept_is_given_it_again() {
    let node = Node::leasing().await;
    let before = std::mem::take(&mut *node.mounter.blobs.lock().unwrap());

    node.volumes.parts().revocations.keep_again().unwrap();
    assert_eq!(*node.mounter.blobs.lock().unwrap(), before);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    node.volumes.parts().revocations.keep_again().unwrap();
    assert!(node.mounter.blobs.lock().unwrap().is_empty(), "what was ended is not kept again");
}

#[tokio::test(start_paused = true)]
async fn the_next_process_takes_over_mounts_and_ends_the_logins_of_volumes_that_are_gone() {
    let node = Node::leasing().await;
    node.publish("gone").await.unwrap();

    node.mode.0.lock().unwrap().remove(std::path::Path::new("/gone"));
    let node = node.restart();
    assert_eq!(node.volumes.restore().await.unwrap(), 1);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.len(), 1);

    node.publish("v").await.unwrap();
    assert_eq!(node.file("creds").as_deref(), Some("u1"));
    node.unpublish("v").await;
    sleep(Duration::from_secs(5)).await;
    assert!(node.mounter.blobs.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_taken_over_is_refreshed_without_a_spurious_rotation() {
    let node = Node::serving("a").await;
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    let mut happenings = node.volumes.listen();

    sleep(REFRESH * 3).await;
    assert!(happenings.try_recv().is_err());
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_taken_over_goes_on_rotating_by_the_class_it_had_where_none_can_be_learnt() {
    let mut node = Node::serving("a").await;
    node.class("b", |_| {});
    node.store.say("b", Say::Value("1"));
    node.file_becomes("b", Some("1")).await;

    for (nothing_learnt, value) in [(FakeClasses::go_away as fn(&_), "2"), (FakeClasses::lose_all, "3")] {
        nothing_learnt(&node.classes);
        node = node.restart();
        node.volumes.restore().await.unwrap();
        node.store.say("b", Say::Value(value));
        node.file_becomes("b", Some(value)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_that_is_learnt_late_is_followed_by_a_volume_taken_over() {
    let node = Node::serving("a").await;
    node.classes.go_away();
    let node = node.restart();
    node.volumes.restore().await.unwrap();
    let mut happenings = node.volumes.listen();
    sleep(Duration::from_secs(1)).await;
    assert!(happenings.try_recv().is_err(), "what is not known yet is no news");

    node.store.say("b", Say::Value("1"));
    node.classes.return_again();
    node.class("b", |_| {});
    node.file_becomes("b", Some("1")).await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_a_little_for_classes_that_nobody_knows_yet() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.classes.go_away();

    let never = node.publish("v").await;
    let (late, ()) = tokio::join!(node.publish("w"), async {
        sleep(Duration::from_secs(1)).await;
        node.classes.return_again();
    });

    assert!(matches!(never, Err(Error::ClassNotYet(_))), "{never:?}");
    assert!(late.is_ok(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_announced_while_a_volume_is_first_read_is_not_missed() {
    announced_while_first_read(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_only_a_login_hears_of_is_not_missed_either() {
    announced_while_first_read(true).await;
}

async fn announced_while_first_read(logins_hear: bool) {
    let node = Node::start();
    node.store.0.lock().unwrap().logins_hear = logins_hear;
    node.class("a,b", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Error(ErrorKind::Unavailable));
    let change = async {
        sleep(Duration::from_millis(50)).await;
        node.store.say("a", Say::Value("2"));
        node.store.say("b", Say::Value("2"));
        node.store.announce();
    };
    let (published, ()) = tokio::join!(node.publish("v"), change);
    published.unwrap();

    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_republish_hands_its_token_to_the_login_and_asks_no_store() {
    let node = Node::serving("a").await;
    let reads = node.store.reads();

    node.volumes.publish(publish("v"), credentials::token(&"newer".to_owned().into())).await.unwrap();
    sleep(Duration::from_millis(10)).await;

    assert_eq!(node.store.0.lock().unwrap().handed, ["newer"]);
    assert_eq!(node.store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_refresh_a_volume_that_was_just_taken_over_is_carried_out() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Value("2"));
    let node = node.restart();
    node.volumes.restore().await.unwrap();

    let outcome = node.volumes.refresh(&VolumeId("v".to_owned()), Instant::now()).await;
    assert!(matches!(outcome, Some(RefreshOutcome::Refreshed(_))), "{outcome:?}");
    assert_eq!(node.file("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn an_edited_class_is_applied_to_live_volumes_and_a_deleted_one_changes_nothing() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Value("2"));
    node.publish("v").await.unwrap();

    node.class("b", |_| {});
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.mode.files("/v").unwrap(), BTreeMap::from([("b".to_owned(), "2".to_owned())]));

    node.classes.remove(&publish("v").class);
    sleep(REFRESH * 3).await;
    assert_eq!(node.file("b").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_asks_for_something_the_store_lacks_leaves_the_old_files() {
    let node = Node::serving("a").await;

    node.class("a,missing", |_| {});
    sleep(REFRESH * 2).await;
    assert_eq!(node.mode.files("/v").unwrap().len(), 1);
    node.store.say("missing", Say::Value("here"));
    node.file_becomes("missing", Some("here")).await;
}

#[tokio::test(start_paused = true)]
async fn start_cached_starts_a_second_volume_of_one_identity_while_the_store_is_away() {
    let node = Node::start();
    node.class("a", |settings| settings.start = Start::Cached);
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(ROUND * 2).await;

    let mut happenings = node.volumes.listen();
    node.publish("w").await.unwrap();
    assert_eq!(node.mode.file("/w", "a").as_deref(), Some("1"));
    let told = std::iter::from_fn(|| happenings.try_recv().ok().map(|happening| happening.what));
    let cached = told.filter_map(|what| match what {
        What::StartedCached(cached) => Some(cached),
        _ => None,
    });
    let cached: Vec<_> = cached.collect();
    assert!(cached.len() == 1 && cached[0].age >= ROUND && cached[0].reason.contains("store"), "{cached:?}");

    let mut stranger = publish("x");
    stranger.subject.identity.name = "other".to_owned();
    assert!(node.publish_as(stranger).await.is_err(), "another identity does not");
}

#[tokio::test(start_paused = true)]
async fn start_fresh_waits_while_the_store_is_away() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Error(ErrorKind::Unavailable));
    sleep(ROUND * 2).await;
    assert!(node.publish("w").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_no_republish_and_no_unpublish() {
    let node = Node::serving("a").await;
    node.store.say("a", Say::Hang);
    sleep(ROUND).await;

    let started = Instant::now();
    node.publish("v").await.unwrap();
    node.unpublish("v").await;
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_runs_out_of_time_names_what_it_waits_for_and_leaves_nothing() {
    let node = Node::start();
    node.class("a,b", |settings| settings.timeout = Duration::from_secs(20));
    node.store.say("a", Say::Value("1"));
    node.store.say("b", Say::Hang);

    let error = node.publish("v").await.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(node.mode.files("/v").is_none());
    assert_eq!(std::fs::read_dir(node.state.path().join("volumes")).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_longer_wait_than_there_was() {
    let node = Node::start();
    node.class("a", |settings| settings.timeout = Duration::from_secs(100));
    node.store.say("a", Say::Hang);

    // More than are served at a time, for longer than the last one waits.
    let volumes: Vec<String> = (0..70).map(|number| format!("v{number}")).collect();
    let patient = futures::future::join_all(volumes.iter().map(|volume| node.publish(volume)));
    let last = async {
        sleep(Duration::from_secs(1)).await;
        node.class("a", |settings| settings.timeout = Duration::from_secs(20));
        let started = Instant::now();
        (node.publish("last").await.unwrap_err(), started.elapsed())
    };
    let (_, (error, most)) = tokio::join!(patient, last);

    let Error::Deadline { waited, .. } = error else { panic!("{error}") };
    assert!(waited <= most, "{waited:?} is told after {most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_call_for_a_volume_in_work_is_told_so() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Hang);
    let first = node.publish("v");
    let second = async {
        sleep(Duration::from_secs(1)).await;
        node.publish("v").await
    };
    let (_, second) = tokio::join!(first, second);
    assert!(matches!(second, Err(Error::Busy(_))));
}

#[tokio::test(start_paused = true)]
async fn keep_previous_leaves_older_versions_beside_the_new() {
    let node = Node::start();
    node.class("a", |settings| settings.keep_previous = 2);
    node.store.say("a", Say::Value("1"));
    node.publish("v").await.unwrap();
    for value in ["2", "3", "4"] {
        node.store.say("a", Say::Value(value));
        node.file_becomes("a", Some(value)).await;
    }
    let files = node.mode.files("/v").unwrap();
    let shown: Vec<_> = files.iter().map(|(path, text)| format!("{path}={text}")).collect();
    assert_eq!(shown, ["a=4", "a.previous=3", "a.previous.2=2"]);
}

#[tokio::test(start_paused = true)]
async fn unpublish_of_a_volume_never_heard_of_is_fine() {
    let node = Node::start();
    node.unpublish("unknown").await;
}

#[tokio::test(start_paused = true)]
async fn a_stopping_process_takes_no_new_volume_and_leaves_the_mounts() {
    let node = Node::serving("a").await;
    node.volumes.drain().await;
    assert!(matches!(node.publish("w").await, Err(Error::Stopping)));
    assert_eq!(node.file("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_let_go_with_the_last_volume_that_shows_it() {
    let node = Node::serving("a").await;
    node.publish("w").await.unwrap();
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 1);

    node.unpublish("v").await;
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 1);
    node.unpublish("w").await;
    assert_eq!(node.volumes.parts().stores.readings.count("fake"), 0);
}
