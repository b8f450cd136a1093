//! The engine with a scripted store and a clock that the test moves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use manifest::{Class, Composed, ComposedFormat, OnDenied, Settings, Start};
use metrics::Metrics;
use provider::{ErrorKind, Identity, Pod, Providers, Span, Validity};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Destination};
use crate::mode::{Appearance, Mode, Modes};
use crate::snapshot::FingerprintKey;
use crate::subject::Subject;
use crate::volume::fakes::{
    FakeClasses, FakeMode, FakeMounter, FakePods, FakeStore, LEASE, NoStranger, Say, lease,
};
use crate::volume::parts::{Limits, Parts};
use crate::volume::record::Records;
use crate::volume::report::{Reporter, What};
use crate::volume::revocations::Revocations;
use crate::volume::room::Rooms;
use crate::volume::stores::Stores;
use crate::volume::{ClassName, Credentials, Error, Publish, RefreshOutcome, VolumeId, Volumes};

mod access;
mod calls;
mod classes;
mod credentials;
mod defaults;
mod fairness;
mod leases;
mod modes;
mod on_open;
mod publishing;
mod refreshing;
mod showing;
mod starting;
mod taking_over;
mod trees;
mod upkeep;
mod withdrawing;

const REFRESH: Duration = Duration::from_secs(60);
/// One refresh interval, and time for the work after it.
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
    metrics: Metrics,
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

    /// A node that serves volume `v` with these objects. The value of each is `1`.
    async fn serving(objects: &str) -> Self {
        let node = Self::start();
        node.class(objects, |_| {});
        objects.split(',').for_each(|object| node.store.say(object, Say::Value("1")));
        node.publish("v").await.unwrap();
        node
    }

    /// A node that serves volume `v` with the object `creds`, which has a lease.
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
        let metrics = Metrics::default();
        let revocations =
            Revocations::new(mounter.clone(), providers.clone(), metrics.clone(), &[1; 32]).unwrap();
        let revocations = Arc::new(revocations);
        let volumes = Volumes::new(Parts {
            providers,
            classes: classes.clone(),
            modes: Modes::of(mounter.modes().map(|mode| Arc::new(mode.clone()) as Arc<dyn Mode>)),
            mounter: mounter.clone(),
            records: Records::open(state.path()).unwrap(),
            revocations: Arc::clone(&revocations),
            reporter: Reporter::new(Audit::to(audit.clone()).unwrap(), metrics.clone()),
            stores: Arc::new(Stores::new(metrics.clone())),
            access: Arc::new(NoStranger),
            pods: Arc::new(FakePods),
            rooms: Rooms::default(),
            key: Arc::new(FingerprintKey::new(&[2; 32])),
            limits: limits.clone(),
        });
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        drop(tokio::spawn(async move { revocations.run(shutdown).await }));
        Self {
            store,
            mode: mounter.mode.clone(),
            mounter,
            classes,
            volumes,
            state,
            stop,
            limits,
            audit,
            metrics,
        }
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
