//! One volume's way to its store: logins, shared readings, its own readings.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use provider::{
    Changes, Error, ErrorKind, Ownership, Request, Result, Session, Site, Source, Tenure, Whole, Workload,
};
use tokio::time::Instant;

use crate::readings::{Entry, Held, Key};
use crate::volume::call::{Caller, Got};
use crate::volume::demand::{Demand, due};
use crate::volume::store_health::StoreHealth;
use crate::volume::stores::{Store, Stores};
use crate::volume::tenancy::Tenancy;

/// Store calls of one volume at one time.
const MOST_CALLS_OF_A_VOLUME: usize = 16;

/// The outcome of a round, by request.
pub type Readout = BTreeMap<Request, Result<Arc<Held>>>;

/// One volume's way to its store.
#[derive(Debug)]
pub struct Reader {
    stores: Arc<Stores>,
    source: Arc<dyn Source>,
    store: Store,
    requests: Vec<Request>,
    /// The entries this volume reads, which keeps them alive.
    entries: BTreeMap<Request, Arc<Entry>>,
    identity: Option<Arc<str>>,
    announcements: Announcements,
    /// The login it shares with others: providers keep none that nobody holds.
    login: Option<Arc<dyn Session>>,
    /// What the volume owns at the store.
    pub tenancy: Tenancy,
    site: Arc<dyn Site>,
}

/// A store's announcements, if it makes any.
struct Announcements(Option<Box<dyn Changes>>);

impl fmt::Debug for Announcements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Announcements").field(&self.0.is_some()).finish()
    }
}

impl Reader {
    /// A reader of what `source` asks for, for the volume at `site`.
    pub fn new(stores: Arc<Stores>, source: Arc<dyn Source>, tenancy: Tenancy, site: Arc<dyn Site>) -> Self {
        let objects = source.objects().iter().map(|object| &object.request);
        let trees = source.trees().iter().map(|tree| &tree.request);
        let listed = trees.chain(source.whole().map(Whole::request));
        let mut requests: Vec<_> = objects.chain(listed).cloned().collect();
        requests.sort();
        requests.dedup();
        let announcements = Announcements(source.changes());
        let store = stores.store(source.store(), tenancy.namespace(), tenancy.provider());
        Self {
            stores,
            source,
            store,
            requests,
            entries: BTreeMap::new(),
            identity: None,
            announcements,
            login: None,
            tenancy,
            site,
        }
    }

    /// Reads something else from now on. What the volume owns is read again.
    pub fn set_source(&mut self, source: Arc<dyn Source>) {
        let tenancy = Tenancy::clone_empty(&self.tenancy);
        let mut next = Self::new(Arc::clone(&self.stores), source, tenancy, Arc::clone(&self.site));
        std::mem::swap(&mut next.tenancy, &mut self.tenancy);
        next.tenancy.retain(&next.requests);
        next.tenancy.reissue();
        *self = next;
    }

    /// Waits until the store announces a change, and tells when that was noticed. It has been listened
    /// to since before the first read, so that no change falls between.
    pub async fn announced(&mut self) -> std::time::Instant {
        match &mut self.announcements.0 {
            Some(changes) => changes.changed().await,
            None => std::future::pending().await,
        }
    }

    /// What is read.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Whether its store is to be asked now, and not left alone for a while.
    pub fn may_ask(&self) -> bool {
        self.store.health(|health| health.look(Instant::now()).is_ok())
    }

    /// Which store.
    pub fn store(&self) -> &Arc<str> {
        &self.store.name
    }

    /// Whom the store judged last.
    pub fn identity(&self) -> Option<&Arc<str>> {
        self.identity.as_ref()
    }

    /// Reads everything that `demand` does not find good enough as it is held.
    pub async fn round(&mut self, workload: &Workload, demand: Demand) -> Readout {
        let mut readout = Readout::new();
        let mut asked = Vec::new();
        for request in &self.requests {
            match self.tenancy.current(request) {
                Some(held) => drop(readout.insert(request.clone(), Ok(held))),
                None => asked.push(request.clone()),
            }
        }
        if asked.is_empty() {
            return readout;
        }
        match self.session(workload, self.tenure()).await {
            Ok(session) => readout.extend(self.read(workload, session, asked, demand).await),
            Err(error) => readout.extend(asked.into_iter().map(|request| (request, Err(error.clone())))),
        }
        readout
    }

    /// A volume that owns some of its readings logs in for itself, for all of them.
    fn tenure(&self) -> Tenure {
        let own = |request: &Request| {
            request.ownership == Ownership::Volume
                || self.tenancy.owns(request)
                || self.stores.readings.is_leased(&self.store.name, request)
        };
        if self.requests.iter().any(own) { Tenure::Volume } else { Tenure::Shared }
    }

    /// Whether something that it reads, or read, is the volume's own.
    pub fn has_own(&self) -> bool {
        self.tenancy.has_own() || self.requests.iter().any(|request| request.ownership == Ownership::Volume)
    }

    async fn session(&mut self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        let session = self.stores.log_in(&self.store, self.log_in(workload, tenure)).await?;
        if tenure == Tenure::Volume {
            self.tenancy.take(&session)?;
        }
        self.login = (tenure == Tenure::Shared).then(|| Arc::clone(&session));
        self.identify(&*session);
        Ok(session)
    }

    async fn log_in(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        match self.source.whole() {
            Some(whole) => whole.session(workload, Arc::clone(&self.site)).await,
            None => self.source.session(workload, tenure).await,
        }
    }

    /// Nothing is read before who announces changes of it to this reader has been asked to.
    fn identify(&mut self, session: &dyn Session) {
        if self.identity.as_deref() == Some(session.identity()) {
            return;
        }
        self.identity = Some(Arc::from(session.identity()));
        self.entries.clear();
        if let Some(own) = session.changes(&self.requests) {
            self.announcements = Announcements(Some(own));
        }
    }

    /// Prolongs what is due of what the volume owns, in a turn like any call.
    pub async fn tend(&mut self, now: Instant) {
        let is_due = self.tenancy.next_due().is_some_and(|at| at <= now);
        let turn = if is_due { self.stores.turn(&self.store).await.map(Some) } else { Ok(None) };
        // Who gets no turn tries again: nothing ends by that.
        let Ok(_turn) = turn else { return };
        self.tenancy.tend(now).await;
    }

    /// Passes on newer tokens to logins that go on using them by themselves.
    pub fn hand_over(&self, workload: &Workload) {
        self.login.iter().chain(self.tenancy.session()).for_each(|login| login.hand_over(workload));
    }

    /// Reads `asked` in up to three rounds, each for what the one before could not bring.
    ///
    /// The first round asks through the login that the volume has, which others may share. If the store refuses that
    /// login for some requests, the second round logs in anew and asks for those again: a token that ended between two
    /// reads is no reason to call a secret denied. The third round is for answers with a lease. Who reads through a
    /// shared login cannot own a lease, for the login's end would end the lease of everybody. An example: three pods
    /// share a login, and a class of theirs names `database/creds/shop`. The first pod reads it, sees the lease, gives
    /// that login up, and reads the path again through a login of its own, which ends with the pod.
    async fn read(
        &mut self,
        workload: &Workload,
        session: Arc<dyn Session>,
        asked: Vec<Request>,
        demand: Demand,
    ) -> Readout {
        let mut session = session;
        let got = self.ask(&session, asked, demand).await;
        let mut got = self.ask_what_was_held_back(&session, got, demand).await;
        if let Some(again) = self.log_in_again(workload, &session, &got).await {
            session = again;
            let (refused, rest): (Vec<_>, Vec<_>) = got.into_iter().partition(|(_, got)| is_refusal(got));
            got = rest;
            got.extend(
                self.ask(&session, refused.into_iter().map(|(request, _)| request).collect(), demand).await,
            );
        }
        let (leased, got): (Vec<_>, Vec<_>) =
            got.into_iter().partition(|(_, got)| matches!(got, Ok(Got::Leased)));
        let (mut readout, mut again) = self.accept(&session, got);
        again.extend(leased.into_iter().map(|(request, _)| request));
        if !again.is_empty() {
            readout.extend(self.read_for_itself(workload, again, demand).await);
        }
        readout
    }

    /// Asks for what was not asked because the store was left alone, where another call of the same round, the one
    /// that tried, found it answering again.
    async fn ask_what_was_held_back(
        &mut self,
        session: &Arc<dyn Session>,
        got: Vec<(Request, Result<Got>)>,
        demand: Demand,
    ) -> Vec<(Request, Result<Got>)> {
        let held_back = |(_, got): &(Request, Result<Got>)| got.as_ref().is_err_and(Error::is_unasked);
        let (again, mut rest): (Vec<_>, Vec<_>) = got.into_iter().partition(held_back);
        if again.is_empty() || rest.is_empty() || !self.may_ask() {
            rest.extend(again);
            return rest;
        }
        rest.extend(self.ask(session, again.into_iter().map(|(request, _)| request).collect(), demand).await);
        rest
    }

    /// A login that the store refuses may have ended before its time: one more is worth a try.
    async fn log_in_again(
        &mut self,
        workload: &Workload,
        session: &Arc<dyn Session>,
        got: &[(Request, Result<Got>)],
    ) -> Option<Arc<dyn Session>> {
        let refused = got.iter().any(|(_, got)| is_refusal(got));
        let identity = session.identity();
        let may = refused && self.store.health(|health| health.may_log_in_again(identity, Instant::now()));
        if !may {
            return None;
        }
        session.discard();
        if self.tenancy.holds(session) {
            self.tenancy.retire();
        }
        let again = self.session(workload, self.tenure()).await.ok()?;
        (!Arc::ptr_eq(&again, session)).then_some(again)
    }

    /// Sorts out what the volume owns. Readings that hang on a login that others have too
    /// are given back, to be read again.
    fn accept(
        &mut self,
        session: &Arc<dyn Session>,
        got: Vec<(Request, Result<Got>)>,
    ) -> (Readout, Vec<Request>) {
        let (mut readout, mut again) = (Readout::new(), Vec::new());
        for (request, got) in got {
            let outcome = match got {
                Ok(Got::Shared(held)) => Ok(held),
                Ok(Got::Own(held)) => {
                    if is_leased(&held) {
                        self.stores.readings.remember_leased(&self.store.name, &request);
                        if !self.make_own(session) {
                            self.tenancy.abandon(session);
                            again.push(request);
                            continue;
                        }
                    }
                    self.tenancy.hold(&request, &held);
                    Ok(held)
                }
                Ok(Got::Leased) => continue,
                Err(error) => Err(error),
            };
            readout.insert(request, outcome);
        }
        (readout, again)
    }

    fn make_own(&mut self, session: &Arc<dyn Session>) -> bool {
        if self.tenancy.holds(session) {
            return true;
        }
        let claimed = session.leases().is_none_or(|leases| leases.claim(self.tenancy.volume()));
        let own = claimed && self.tenancy.take(session).is_ok();
        if own {
            self.login = None;
        }
        own
    }

    async fn read_for_itself(&mut self, workload: &Workload, asked: Vec<Request>, demand: Demand) -> Readout {
        let session = match self.session(workload, Tenure::Volume).await {
            Ok(session) => session,
            Err(error) => return asked.into_iter().map(|request| (request, Err(error.clone()))).collect(),
        };
        let mut readout = Readout::new();
        let caller = self.caller(&session, demand);
        for requests in session.calls(asked) {
            for (request, outcome) in caller.read_own(requests).await {
                if let Ok(held) = &outcome {
                    self.tenancy.hold(&request, held);
                }
                readout.insert(request, outcome);
            }
        }
        readout
    }

    fn caller(&self, session: &Arc<dyn Session>, demand: Demand) -> Caller {
        let (stores, session) = (Arc::clone(&self.stores), Arc::clone(session));
        Caller { stores, store: self.store.clone(), session, demand }
    }

    async fn ask(
        &mut self,
        session: &Arc<dyn Session>,
        asked: Vec<Request>,
        demand: Demand,
    ) -> Vec<(Request, Result<Got>)> {
        let (mut got, mut due, mut entries) = (Vec::new(), Vec::new(), BTreeMap::new());
        // Before they are put together: a call is not to be made of what few need.
        for request in asked {
            let entry = self.shared_entry(&request);
            let held = entry.as_ref().and_then(|entry| entry.granted());
            match held.filter(|held| demand.is_met_by(held)) {
                Some(held) => got.push((request, Ok(Got::Shared(held)))),
                None => {
                    entries.extend(entry.map(|entry| (request.clone(), entry)));
                    due.push(request);
                }
            }
        }
        let caller = self.caller(session, demand);
        let call = |requests| {
            let (shared, own) = apart(requests, &mut entries);
            caller.clone().read(shared, own)
        };
        let calls: Vec<_> = session.calls(due).into_iter().map(call).collect();
        let read: Vec<_> = stream::iter(calls).buffer_unordered(MOST_CALLS_OF_A_VOLUME).collect().await;
        got.extend(read.into_iter().flatten());
        got
    }

    /// The entry for `request`, unless its answer is the volume's own.
    fn shared_entry(&mut self, request: &Request) -> Option<Arc<Entry>> {
        let own = request.ownership == Ownership::Volume
            || self.stores.readings.is_leased(&self.store.name, request);
        let identity = self.identity.as_ref().filter(|_| !own)?;
        let key = Key {
            store: Arc::clone(&self.store.name),
            identity: Arc::clone(identity),
            request: request.clone(),
        };
        let readings = &self.stores.readings;
        Some(Arc::clone(self.entries.entry(request.clone()).or_insert_with(|| readings.entry(&key))))
    }

    /// What this node serves to the same identity already, however old, and the store has not refused since: for
    /// `start: cached`.
    pub fn granted(&self) -> Readout {
        let held = |request: &Request| {
            self.tenancy
                .current(request)
                .or_else(|| self.entries.get(request).and_then(|entry| entry.granted()))
        };
        self.requests.iter().filter_map(|request| Some((request.clone(), Ok(held(request)?)))).collect()
    }

    /// Lets go of a shared reading: it was taken back.
    pub fn forget(&mut self, request: &Request) {
        if let Some(entry) = self.entries.get(request) {
            entry.forget();
        }
    }

    /// When the next shared reading is due.
    pub fn next_due(&self, refresh: Duration) -> Option<Instant> {
        let held = self.entries.values().filter_map(|entry| entry.last_good());
        held.map(|held| due(&held, refresh)).min()
    }

    /// How many readings of the store this process holds.
    pub fn total(&self) -> usize {
        self.stores.readings.count(&self.store.name).max(self.requests.len())
    }

    /// Looks at, or changes, what is known of the store.
    pub fn health<T>(&self, change: impl FnOnce(&mut StoreHealth) -> T) -> T {
        self.store.health(change)
    }
}

/// Those of `requests` that have an entry, which is taken out of `entries`, and the others.
fn apart(
    requests: Vec<Request>,
    entries: &mut BTreeMap<Request, Arc<Entry>>,
) -> (Vec<(Request, Arc<Entry>)>, Vec<Request>) {
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    for request in requests {
        match entries.remove(&request) {
            Some(entry) => shared.push((request, entry)),
            None => own.push(request),
        }
    }
    (shared, own)
}

fn is_leased(held: &Held) -> bool {
    held.reading.validity.as_ref().is_some_and(|validity| validity.lease.is_some())
}

fn is_refusal(got: &Result<Got>) -> bool {
    got.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthenticated))
}
