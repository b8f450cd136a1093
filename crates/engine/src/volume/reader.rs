//! How one volume reads from its store: its logins, the readings that it shares, and those that it owns alone.

use std::collections::{BTreeMap, BTreeSet};
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

/// Most calls to its store that one volume makes at the same time.
const MOST_CALLS_OF_A_VOLUME: usize = 16;

/// The result of a round, by request.
pub type Readout = BTreeMap<Request, Result<Arc<Held>>>;

/// Reads from the store for one volume.
#[derive(Debug)]
pub struct Reader {
    stores: Arc<Stores>,
    source: Arc<dyn Source>,
    store: Store,
    requests: Vec<Request>,
    /// The requests that it does not read, because orders cover all that they bring.
    held_back: BTreeSet<Request>,
    /// The shared entries that this volume reads. Holding them keeps them alive.
    entries: BTreeMap<Request, Arc<Entry>>,
    identity: Option<Arc<str>>,
    announcements: Announcements,
    /// The login that it shares with other volumes. It is held here because providers drop logins that nobody holds.
    login: Option<Arc<dyn Session>>,
    /// The login, leases and readings that the volume owns alone.
    pub tenancy: Tenancy,
    site: Arc<dyn Site>,
}

/// The store's announcements, if it makes any.
struct Announcements(Option<Box<dyn Changes>>);

impl fmt::Debug for Announcements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Announcements").field(&self.0.is_some()).finish()
    }
}

impl Reader {
    /// A reader of the requests of `source`, for the volume at `site`.
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
            held_back: BTreeSet::new(),
            entries: BTreeMap::new(),
            identity: None,
            announcements,
            login: None,
            tenancy,
            site,
        }
    }

    /// Reads the requests of another source from now on. Readings that the volume owns are made again.
    pub fn set_source(&mut self, source: Arc<dyn Source>) {
        let tenancy = Tenancy::clone_empty(&self.tenancy);
        let mut next = Self::new(Arc::clone(&self.stores), source, tenancy, Arc::clone(&self.site));
        std::mem::swap(&mut next.tenancy, &mut self.tenancy);
        next.tenancy.retain(&next.requests);
        next.tenancy.reissue();
        *self = next;
    }

    /// Waits until the store announces a change, and returns when that was noticed. The reader listens from before its
    /// first read, so it misses no change.
    pub async fn announced(&mut self) -> std::time::Instant {
        match &mut self.announcements.0 {
            Some(changes) => changes.changed().await,
            None => std::future::pending().await,
        }
    }

    /// The source whose requests are read.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Whether the store may be asked now: its breaker is closed or lets a probe through, and no `Retry-After` is
    /// running.
    pub fn may_ask(&self) -> bool {
        self.store.health(|health| health.look(Instant::now()).is_ok())
    }

    /// The name of the store.
    pub fn store(&self) -> &Arc<str> {
        &self.store.name
    }

    /// The identity of the last login, as the store knows it.
    pub fn identity(&self) -> Option<&Arc<str>> {
        self.identity.as_ref()
    }

    /// Reads every request whose reading is not good enough for `demand`. The result has an entry for each request.
    pub async fn round(&mut self, workload: &Workload, demand: Demand) -> Readout {
        let mut readout = Readout::new();
        let mut asked = Vec::new();
        for request in self.requests.iter().filter(|request| !self.held_back.contains(request)) {
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

    /// Whether the volume needs a login of its own. A volume that owns one of its readings uses its own login for all
    /// of them.
    fn tenure(&self) -> Tenure {
        let own = |request: &Request| {
            request.ownership == Ownership::Volume
                || self.tenancy.owns(request)
                || self.stores.readings.is_leased(&self.store.name, request)
        };
        if self.requests.iter().any(own) { Tenure::Volume } else { Tenure::Shared }
    }

    /// Whether the volume reads, or recently read, something that belongs to it alone.
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

    /// Notes the identity of a login. For a new identity, subscribes to announcements before anything is read, so that
    /// no change is missed.
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

    /// Renews leases and logins of the volume that are due. It takes a turn for this, like any call.
    pub async fn tend(&mut self, now: Instant) {
        let is_due = self.tenancy.next_due().is_some_and(|at| at <= now);
        let turn = if is_due { self.stores.turn(&self.store).await.map(Some) } else { Ok(None) };
        // Without a turn, the next round tries again: nothing ends because of that.
        let Ok(_turn) = turn else { return };
        self.tenancy.tend(now).await;
    }

    /// Passes newer tokens to logins that keep using them in the background.
    pub fn hand_over(&self, workload: &Workload) {
        self.login.iter().chain(self.tenancy.session()).for_each(|login| login.hand_over(workload));
    }

    /// Reads `asked` in up to three rounds, each for the requests that the one before could not answer.
    ///
    /// The first round uses the login that the volume has, which other volumes may share. If the store refuses some of
    /// its requests, the second round makes a new login and asks for those again: a token that ended between two reads
    /// is no reason to call a secret denied. The third round is for answers with a lease. A volume cannot own a lease
    /// that it read through a shared login, because the end of that login would end the leases of all volumes that
    /// share it. An example: three pods share a login, and their class names `database/creds/shop`. The first pod reads
    /// it and sees the lease. It gives that login up, and reads the path again through a login of its own, which ends
    /// with the pod.
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

    /// Repeats requests that were not sent because the breaker was open, if another call of the same round was the
    /// probe that found the store working again.
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

    /// Makes a new login if the store refused some requests, because the old login may have ended before its time.
    /// `None` if there is no new login.
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

    /// Keeps the readings that the volume owns. Returns the requests whose lease belongs to a shared login: they must
    /// be read again.
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
        // Fresh readings are left out before requests are grouped into calls, so that a call asks for nothing that
        // nobody needs.
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

    /// The shared entry for `request`. `None` if the answer belongs to this volume alone.
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

    /// The readings that this node already has for the same identity, of any age, except those that the store refused
    /// later. For `start: cached`.
    pub fn granted(&self) -> Readout {
        let held = |request: &Request| {
            self.tenancy
                .current(request)
                .or_else(|| self.entries.get(request).and_then(|entry| entry.granted()))
        };
        self.requests.iter().filter_map(|request| Some((request.clone(), Ok(held(request)?)))).collect()
    }

    /// Reads these requests no more, and lets go of what it holds of them. Unless their files stay, leases among them
    /// end: at once if nothing else is read, otherwise when the others were read through another login.
    /// Returns whether one is read again that was not.
    pub fn hold_back(&mut self, requests: BTreeSet<Request>, files_stay: bool) -> bool {
        self.entries.retain(|request, _| !requests.contains(request));
        let news = requests.iter().any(|request| self.tenancy.owns(request));
        if news && !files_stay {
            let rest: Vec<_> =
                self.requests.iter().filter(|request| !requests.contains(request)).cloned().collect();
            match rest.is_empty() {
                true => self.tenancy.end_all(),
                false => self.tenancy.give_up(&rest),
            }
        }
        let released = self.held_back.iter().any(|request| !requests.contains(request));
        self.held_back = requests;
        released
    }

    /// Drops a shared reading, because its object was withdrawn.
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

    /// How many readings of the store this process holds. The brake needs this number.
    pub fn total(&self) -> usize {
        self.stores.readings.count(&self.store.name).max(self.requests.len())
    }

    /// Runs `change` on what is known of the store. It may change it.
    pub fn health<T>(&self, change: impl FnOnce(&mut StoreHealth) -> T) -> T {
        self.store.health(change)
    }
}

/// Splits `requests` into those with an entry in `entries`, which is taken out, and the others.
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
