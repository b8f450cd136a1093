//! A store and a mount that tests script. They show what the engine does with answers. Other tests use real stores and
//! kernels to show which answers there are.

mod access;
mod classes;
mod mode;
mod mounter;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use provider::{
    Changes, Endings, Error, ErrorKind, Found, Invalid, LeaseId, Leases, Object, ObjectRef, Ownership,
    Parameters, Provider, Query, Reading, Request, Result, SecretBytes, Session, Source, Tenure, Tree,
    Validity, Workload,
};
use tokio::sync::watch;
use tokio::time::sleep;

pub(super) use self::access::{FakePods, NoStranger};
pub(super) use self::classes::FakeClasses;
pub(super) use self::mode::FakeMode;
pub(super) use self::mounter::FakeMounter;

/// The fake store's answer to one request.
#[derive(Clone)]
pub(super) enum Say {
    Value(&'static str),
    /// These very bytes, after this time.
    Secret(SecretBytes, Duration),
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
    /// Whether each login gets its own announcements, instead of the source.
    pub(super) logins_hear: bool,
    /// Whether logins need a token.
    pub(super) wants_tokens: bool,
    /// The newest tokens that logins got.
    pub(super) handed: Vec<String>,
    pub(super) answers: HashMap<String, Say>,
    pub(super) reads: Vec<String>,
    /// How many requests go into one call; 0 means 1.
    pub(super) together: usize,
    /// How many requests each call had.
    pub(super) calls: Vec<usize>,
    /// Whether each value is also its version, so that the store can answer "unchanged".
    pub(super) vouches: bool,
    pub(super) logins: usize,
    pub(super) renewed: usize,
    pub(super) revoked: Vec<String>,
    pub(super) login_fails: Option<ErrorKind>,
    pub(super) revoke_fails: bool,
    /// Stores that never answer a login or its end.
    pub(super) hanging: BTreeSet<String>,
    /// How long a renewed lease lives; `None` means its own duration.
    pub(super) grants: Option<Duration>,
    own: HashMap<String, Weak<FakeSession>>,
    shared: HashMap<String, Weak<FakeSession>>,
}

/// A store whose objects are named in the class parameter `objects`, comma separated: `path[=request]`,
/// with `!` after it for one of the volume's own and `?` for one that may be missing. `directory/=request` is a tree of
/// at most four files, with `?` one that may be empty.
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

    /// Waits for ever if this store hangs.
    async fn hang_at(&self, store: Option<&str>) {
        let hangs = store.is_some_and(|store| self.0.lock().unwrap().hanging.contains(store));
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the answer to `request` is `value` now.
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
        let all = parameters.get("objects").map(|text| text.split(',')).into_iter().flatten();
        let (trees, objects): (Vec<_>, Vec<_>) = all.partition(|text| text.contains("/="));
        let (trees, objects) =
            (trees.into_iter().map(tree).collect(), objects.into_iter().map(object).collect());
        let name = parameters.get("store").map_or("fake", String::as_str).to_owned();
        Ok(Arc::new(FakeSource { store: self.clone(), name, objects, trees }))
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

fn tree(text: &str) -> Tree {
    let (directory, request) = text.trim_matches('?').split_once("/=").unwrap();
    Tree {
        name: request.to_owned(),
        address: "fake:".to_owned(),
        directory: directory.try_into().unwrap(),
        mode: None,
        request: Request::shared(request),
        optional: text.contains('?'),
        encoding: provider::Encoding::None,
        jmes_path: None,
        file: true,
        most: 4,
        least_calls: 1,
    }
}

#[derive(Debug)]
struct FakeSource {
    store: FakeStore,
    name: String,
    objects: Vec<ObjectRef>,
    trees: Vec<Tree>,
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

    fn trees(&self) -> &[Tree] {
        &self.trees
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
        Ok(Object { contents: reading.body.clone(), significant: None, version: reading.version.clone() })
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
    /// The volumes that got this session.
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
            Some(Say::Secret(body, after)) => {
                sleep(after).await;
                Ok(Reading { body, version: Some("7".to_owned()), validity: None })
            }
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
