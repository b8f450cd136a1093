//! A store and a mount that tests script. They show what the engine does with answers;
//! what real stores and kernels answer is shown against real ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use manifest::Class;
use provider::{
    Changes, Endings, Error, ErrorKind, Found, Invalid, LeaseId, Leases, Object, ObjectPath, ObjectRef,
    Ownership, Parameters, Provider, Query, Reading, Request, Result, SecretBytes, Session, Source, Tenure,
    Validity, Workload,
};
use tokio::sync::watch;

use crate::class::{self, Classes};
use crate::mode::{self, Abilities, Appearance, Mode, Mounted, Prepared, ShownFile, Usage};
use crate::mounter::{self, MountId, Mounter, Tmpfs};
use crate::snapshot::Snapshot;
use crate::volume::ClassName;

/// What the fake store says to one request.
#[derive(Clone)]
pub(super) enum Say {
    Value(&'static str),
    Leased(&'static str, Validity),
    Error(ErrorKind),
    Wait(Duration),
    Hang,
    Panic,
}

#[derive(Default)]
pub(super) struct State {
    /// Counts announcements.
    pub(super) announced: watch::Sender<u64>,
    /// Whether each login hears them, and not whoever asks the source.
    pub(super) logins_hear: bool,
    /// Whether logins take a token.
    pub(super) wants_tokens: bool,
    /// The newest tokens that logins were handed.
    pub(super) handed: Vec<String>,
    pub(super) answers: HashMap<String, Say>,
    pub(super) reads: Vec<String>,
    /// How many requests go into one call; 0 is as good as 1.
    pub(super) together: usize,
    /// How many requests each call had.
    pub(super) calls: Vec<usize>,
    /// Whether a value is its own version, and the store vouches for what the caller holds already.
    pub(super) vouches: bool,
    pub(super) logins: usize,
    pub(super) renewed: usize,
    pub(super) revoked: Vec<String>,
    pub(super) login_fails: Option<ErrorKind>,
    pub(super) revoke_fails: bool,
    /// Stores that accept a login or its end and never answer.
    pub(super) hanging: BTreeSet<String>,
    /// What a lease renewal grants; the lease's own duration where absent.
    pub(super) grants: Option<Duration>,
    own: HashMap<String, Weak<FakeSession>>,
    shared: HashMap<String, Weak<FakeSession>>,
}

/// A store whose objects are named in the class parameter `objects`, comma separated: `path[=request]`,
/// with `!` after it for one of the volume's own and `?` for one that may be missing.
#[derive(Clone, Default)]
pub(super) struct FakeStore(pub(super) Arc<Mutex<State>>);

impl FakeStore {
    pub(super) fn say(&self, request: &str, say: Say) {
        self.0.lock().unwrap().answers.insert(request.to_owned(), say);
    }

    /// Announces that something may have changed.
    pub(super) fn announce(&self) {
        self.0.lock().unwrap().announced.send_modify(|count| *count += 1);
    }

    /// Waits for ever if that store hangs.
    async fn hang_at(&self, store: Option<&str>) {
        let hangs = store.is_some_and(|store| self.0.lock().unwrap().hanging.contains(store));
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// Whether `value` is what `request` brings now.
    fn has(&self, request: &str, value: &str) -> bool {
        matches!(self.0.lock().unwrap().answers.get(request), Some(Say::Value(now)) if *now == value)
    }

    pub(super) fn reads(&self) -> usize {
        self.0.lock().unwrap().reads.len()
    }
}

impl std::fmt::Debug for FakeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeStore")
    }
}

impl Provider for FakeStore {
    fn names(&self) -> &'static [&'static str] {
        &["fake"]
    }

    fn default_refresh(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let objects =
            parameters.get("objects").map(|text| text.split(',').map(object).collect()).unwrap_or_default();
        let name = parameters.get("store").map_or("fake", String::as_str).to_owned();
        Ok(Arc::new(FakeSource { store: self.clone(), name, objects }))
    }

    fn endings(&self) -> Option<&dyn Endings> {
        Some(self)
    }
}

#[async_trait]
impl Endings for FakeStore {
    fn store_of(&self, remains: &SecretBytes) -> Option<String> {
        remains.expose_str()?.split_once('@').map(|(_, store)| store.to_owned())
    }

    async fn revoke(&self, remains: &SecretBytes) -> Result<()> {
        self.hang_at(self.store_of(remains).as_deref()).await;
        let mut state = self.0.lock().unwrap();
        if state.revoke_fails {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        state.revoked.push(remains.expose_str().unwrap().to_owned());
        Ok(())
    }
}

fn object(text: &str) -> ObjectRef {
    let ownership = if text.contains('!') { Ownership::Volume } else { Ownership::Shared };
    let plain = text.trim_matches(['!', '?']);
    let (path, request) = plain.split_once('=').unwrap_or((plain, plain));
    let request = Request { text: request.into(), ownership };
    ObjectRef { optional: text.contains('?'), ..ObjectRef::new(path.try_into().unwrap(), request) }
}

#[derive(Debug)]
struct FakeSource {
    store: FakeStore,
    name: String,
    objects: Vec<ObjectRef>,
}

#[async_trait]
impl Source for FakeSource {
    fn store(&self) -> &str {
        &self.name
    }

    fn needs_credentials(&self) -> bool {
        self.store.0.lock().unwrap().wants_tokens
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        self.store.hang_at(Some(&self.name)).await;
        let mut state = self.store.0.lock().unwrap();
        if state.wants_tokens && workload.tokens.is_empty() {
            return Err(Error::new(ErrorKind::NoCredential, "no token"));
        }
        let identity = workload.identity.to_string();
        let cached = match tenure {
            Tenure::Shared => state.shared.get(&identity),
            Tenure::Volume => state.own.get(&workload.volume),
        };
        if let Some(session) = cached.and_then(Weak::upgrade) {
            session.holders.lock().unwrap().insert(workload.volume.clone());
            return Ok(session);
        }
        if let Some(kind) = state.login_fails {
            return Err(Error::new(kind, "login refused"));
        }
        state.logins += 1;
        let place = if self.name == "fake" { String::new() } else { format!("@{}", self.name) };
        let name = format!("login-{}{place}", state.logins);
        let session = Arc::new(FakeSession {
            store: self.store.clone(),
            identity,
            name,
            holders: Mutex::new(BTreeSet::from([workload.volume.clone()])),
        });
        match tenure {
            Tenure::Shared => state.shared.insert(session.identity.clone(), Arc::downgrade(&session)),
            Tenure::Volume => state.own.insert(workload.volume.clone(), Arc::downgrade(&session)),
        };
        Ok(session)
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        let state = self.store.0.lock().unwrap();
        (!state.logins_hear).then(|| state.changes())
    }

    fn extract(&self, _index: usize, reading: &Reading) -> Result<Object> {
        Ok(Object { contents: reading.body.clone(), significant: None, version: None })
    }
}

impl State {
    fn changes(&self) -> Box<dyn Changes> {
        Box::new(FakeChanges(self.announced.subscribe()))
    }
}

struct FakeChanges(watch::Receiver<u64>);

#[async_trait]
impl Changes for FakeChanges {
    async fn changed(&mut self) -> std::time::Instant {
        self.0.changed().await.unwrap();
        tokio::time::Instant::now().into_std()
    }
}

#[derive(Debug)]
pub(super) struct FakeSession {
    store: FakeStore,
    identity: String,
    name: String,
    /// The volumes that were given it.
    holders: Mutex<BTreeSet<String>>,
}

impl FakeSession {
    fn forget(&self) {
        let mut state = self.store.0.lock().unwrap();
        state.shared.retain(|_, session| !std::ptr::eq(session.as_ptr(), self));
        state.own.retain(|_, session| !std::ptr::eq(session.as_ptr(), self));
    }
}

#[async_trait]
impl Session for FakeSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn changes(&self, _requests: &[Request]) -> Option<Box<dyn Changes>> {
        let state = self.store.0.lock().unwrap();
        state.logins_hear.then(|| state.changes())
    }

    fn hand_over(&self, workload: &Workload) {
        let tokens = workload.tokens.values().map(|token| token.expose_str().unwrap().to_owned());
        self.store.0.lock().unwrap().handed.extend(tokens);
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let say = {
            let mut state = self.store.0.lock().unwrap();
            state.reads.push(request.text.to_string());
            state.answers.get(&*request.text).cloned()
        };
        let version = |text: &str| self.store.0.lock().unwrap().vouches.then(|| text.to_owned());
        let reading = |text: &str, validity| Reading {
            body: text.as_bytes().to_vec().into(),
            version: version(text),
            validity,
        };
        match say {
            Some(Say::Value(text)) => Ok(reading(text, None)),
            Some(Say::Leased(text, validity)) => Ok(reading(text, Some(validity))),
            Some(Say::Error(kind)) => Err(Error::new(kind, format!("{}: the store said so", request.text))),
            Some(Say::Wait(wait)) => {
                Err(Error::new(ErrorKind::Unavailable, "slow down").retry_after(Some(wait.into())))
            }
            Some(Say::Hang) => std::future::pending().await,
            Some(Say::Panic) => panic!("hunter2"),
            None => Err(Error::new(ErrorKind::NotFound, "no such secret")),
        }
    }

    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        let most = self.store.0.lock().unwrap().together.max(1);
        requests.chunks(most).map(<[_]>::to_vec).collect()
    }

    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        self.store.0.lock().unwrap().calls.push(queries.len());
        let mut found = Vec::new();
        for Query { request, held } in queries {
            let vouched = held.as_ref().is_some_and(|held| self.store.has(&request.text, held));
            found.push(if vouched { Ok(Found::Unchanged) } else { self.read(request).await.map(Found::New) });
        }
        found
    }

    fn discard(&self) {
        self.forget();
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

#[async_trait]
impl Leases for FakeSession {
    fn claim(&self, volume: &str) -> bool {
        let alone = self.holders.lock().unwrap().iter().all(|holder| holder == volume);
        if alone {
            self.forget();
        }
        alone
    }

    fn validity(&self) -> Option<Validity> {
        None
    }

    async fn renew(&self) -> Result<Validity> {
        Err(Error::new(ErrorKind::Denied, "this login does not end"))
    }

    async fn revoke(&self) -> Result<()> {
        Ok(())
    }

    async fn renew_lease(&self, lease: &LeaseId) -> Result<Validity> {
        let mut state = self.store.0.lock().unwrap();
        state.renewed += 1;
        let duration = state.grants.unwrap_or(LEASE);
        Ok(Validity { duration: duration.into(), renewable: true, lease: Some(lease.clone()) })
    }

    fn remains(&self) -> Option<SecretBytes> {
        Some(self.name.clone().into())
    }
}

/// The fake store's lease duration.
pub(super) const LEASE: Duration = Duration::from_secs(300);

/// A lease of [`LEASE`].
pub(super) fn lease(name: &str) -> Validity {
    Validity { duration: LEASE.into(), renewable: true, lease: Some(LeaseId(name.to_owned())) }
}

/// Mounts that are tables in memory, how often one was read back, and what the mode is called.
#[derive(Debug, Clone)]
pub(super) struct FakeMode(
    pub(super) Arc<Mutex<BTreeMap<PathBuf, BTreeMap<String, String>>>>,
    pub(super) Arc<AtomicUsize>,
    &'static str,
);

impl Default for FakeMode {
    fn default() -> Self {
        Self::named("tmpfs")
    }
}

impl FakeMode {
    /// A mode of another name has mounts of its own, and other abilities than tmpfs.
    pub(super) fn named(name: &'static str) -> Self {
        Self(Arc::default(), Arc::default(), name)
    }

    pub(super) fn files(&self, target: &str) -> Option<BTreeMap<String, String>> {
        self.0.lock().unwrap().get(Path::new(target)).cloned()
    }

    pub(super) fn file(&self, target: &str, path: &str) -> Option<String> {
        self.files(target)?.get(path).cloned()
    }
}

#[derive(Debug)]
struct FakeMount(FakeMode, PathBuf);

#[derive(Debug)]
struct FakeMounting(FakeMount, Snapshot);

impl FakeMount {
    fn set(&self, snapshot: &Snapshot) {
        let text = |bytes: &SecretBytes| bytes.expose_str().unwrap().to_owned();
        let files = snapshot.iter().map(|(path, file)| (path.to_string(), text(&file.contents))).collect();
        self.0.0.lock().unwrap().insert(self.1.clone(), files);
    }
}

impl Prepared for FakeMounting {
    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn show(self: Box<Self>) -> std::result::Result<Box<dyn Mounted>, mode::Error> {
        self.0.set(&self.1);
        Ok(Box::new(self.0))
    }
}

impl Mounted for FakeMount {
    fn mode(&self) -> &'static str {
        self.0.2
    }

    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn replace(&self, snapshot: &Snapshot, _: &BTreeSet<ObjectPath>) -> std::result::Result<(), mode::Error> {
        self.set(snapshot);
        Ok(())
    }

    fn contents(&self) -> std::result::Result<Vec<ShownFile>, mode::Error> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let files = self.0.files(self.1.to_str().unwrap()).ok_or_else(not_faked)?;
        let shown = |(path, text): (String, String)| ShownFile {
            path: path.as_str().try_into().unwrap(),
            contents: text.into(),
            mode: 0o644,
        };
        Ok(files.into_iter().map(shown).collect())
    }

    fn usage(&self) -> std::result::Result<Usage, mode::Error> {
        Ok(Usage { total_bytes: 1, used_bytes: 1, total_inodes: 1, used_inodes: 1 })
    }
}

impl Mode for FakeMode {
    fn name(&self) -> &'static str {
        self.2
    }

    fn abilities(&self) -> Abilities {
        let other = self.2 != "tmpfs";
        Abilities { rotates_through_sub_path: other, knows_contents_when_opened: other }
    }

    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        _: &Appearance,
    ) -> std::result::Result<Box<dyn Prepared>, mode::Error> {
        let mount = FakeMount(self.clone(), target.to_owned());
        Ok(Box::new(FakeMounting(mount, snapshot.clone())))
    }

    fn adopt(
        &self,
        target: &Path,
        _: &Appearance,
    ) -> std::result::Result<Option<Box<dyn Mounted>>, mode::Error> {
        let there = self.0.lock().unwrap().contains_key(target);
        Ok(there.then(|| Box::new(FakeMount(self.clone(), target.to_owned())) as Box<dyn Mounted>))
    }

    fn is_mounted(&self, target: &Path) -> std::result::Result<bool, mode::Error> {
        Ok(self.0.lock().unwrap().contains_key(target))
    }
}

/// A mounter that unmounts [`FakeMode`]'s mounts and keeps blobs.
#[derive(Debug, Default)]
pub(super) struct FakeMounter {
    pub(super) mode: FakeMode,
    /// The other mode of a node that has two.
    pub(super) other: Option<FakeMode>,
    pub(super) blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(super) detached: AtomicUsize,
}

impl FakeMounter {
    pub(super) fn modes(&self) -> impl Iterator<Item = &FakeMode> {
        std::iter::once(&self.mode).chain(&self.other)
    }
}

fn not_faked() -> mounter::Error {
    mounter::Error { action: "fake", target: PathBuf::new(), source: std::io::ErrorKind::Unsupported.into() }
}

impl Mounter for FakeMounter {
    fn create(&self, _: &Tmpfs) -> std::result::Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn attach(&self, _: BorrowedFd<'_>, _: &Path) -> std::result::Result<(), mounter::Error> {
        Err(not_faked())
    }

    fn enter(&self, _: &Path) -> std::result::Result<Option<OwnedFd>, mounter::Error> {
        Err(not_faked())
    }

    fn take_over(&self, _: &Path) -> std::result::Result<Option<OwnedFd>, mounter::Error> {
        Err(not_faked())
    }

    fn resize(&self, _: BorrowedFd<'_>, _: u64, _: u64) -> std::result::Result<(), mounter::Error> {
        Err(not_faked())
    }

    fn detach(&self, target: &Path) -> std::result::Result<(), mounter::Error> {
        self.detached.fetch_add(1, Ordering::SeqCst);
        for mode in self.modes() {
            mode.0.lock().unwrap().remove(target);
        }
        Ok(())
    }

    fn lend(&self, _: &Tmpfs, _: &Path) -> std::result::Result<OwnedFd, mounter::Error> {
        Err(not_faked())
    }

    fn take_back(&self, _: &Path) -> std::result::Result<(), mounter::Error> {
        Ok(())
    }

    fn listen(&self, _: &Path) -> std::result::Result<UnixListener, mounter::Error> {
        Err(not_faked())
    }

    fn keep(&self, name: &str, blob: &[u8]) -> std::result::Result<(), mounter::Error> {
        self.blobs.lock().unwrap().insert(name.to_owned(), blob.to_vec());
        Ok(())
    }

    fn kept(&self) -> std::result::Result<Vec<(String, Vec<u8>)>, mounter::Error> {
        Ok(self.blobs.lock().unwrap().clone().into_iter().collect())
    }

    fn forget(&self, name: &str) -> std::result::Result<(), mounter::Error> {
        self.blobs.lock().unwrap().remove(name);
        Ok(())
    }
}

/// Classes that a test sets.
#[derive(Debug)]
pub(super) struct FakeClasses {
    classes: Mutex<BTreeMap<ClassName, Arc<Class>>>,
    /// Whether nobody can tell what classes there are.
    away: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Default for FakeClasses {
    fn default() -> Self {
        Self { classes: Mutex::default(), away: AtomicBool::new(false), changes: watch::Sender::new(0) }
    }
}

impl FakeClasses {
    pub(super) fn set(&self, class: Class) {
        let name = ClassName { namespace: class.namespace.clone(), name: class.name.clone() };
        self.classes.lock().unwrap().insert(name, Arc::new(class));
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn remove(&self, name: &ClassName) {
        self.classes.lock().unwrap().remove(name);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(super) fn return_again(&self) {
        self.away.store(false, Ordering::SeqCst);
        self.changes.send_modify(|count| *count += 1);
    }

    /// There are classes no more, and that is known.
    pub(super) fn lose_all(&self) {
        self.classes.lock().unwrap().clear();
        self.return_again();
    }
}

#[async_trait]
impl Classes for FakeClasses {
    async fn get(&self, name: &ClassName) -> std::result::Result<Arc<Class>, class::Error> {
        if self.away.load(Ordering::SeqCst) {
            return Err(class::Error::NotYet("away".to_owned()));
        }
        let found = self.classes.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| class::Error::NotFound(name.clone()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
