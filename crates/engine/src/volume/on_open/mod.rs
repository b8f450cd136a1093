//! Files that are read when a process opens them, and not before. This module checks who may open a file, makes one
//! reading for all processes that open it at the same time, and takes back what was read.
//!
//! The contents of a file are lent to the process that opens it. The bytes stay in this process only, in
//! [`SecretBytes`](provider::SecretBytes), so in memory that the kernel hides as far as it may be locked. They are taken
//! back when their time is over. They are taken back at once if the store announces something new, the class is edited,
//! somebody orders a refresh or takes secrets back, the pod's tokens name another account, or the volume is unpublished. A reading that is under way at that time is made again, so that nobody gets an older value.

mod failure;
mod held;
mod reading;
mod wanted;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use provider::{Moment as _, ObjectPath, Workload};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::failure::Failure;
use self::held::{Held, Holding, Reading, Ticket};
use self::reading::{Brought, Place};
pub(super) use self::wanted::{Wanted, require_asking};
use crate::mode::{self, Caller, Door, Loan};
use crate::revocation::On;
use crate::volume::Publish;
use crate::volume::admission::Lane;
use crate::volume::credentials::Newest;
use crate::volume::parts::Parts;
use crate::volume::reader::Reader;
use crate::volume::site::VolumeSite;

/// Longest wait of a caller, even if it would wait longer.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// Shortest time that a caller has to read what it waited for.
const LEAST_HELD: Duration = Duration::from_secs(1);
/// How long a reading waits for tokens that a restart lost.
const FOR_TOKENS: Duration = Duration::from_secs(15);
/// How long the tasks behind readings may take to end when the volume ends.
const LET_GO: Duration = Duration::from_secs(1);

/// One volume whose files are read when they are opened.
#[derive(Debug)]
pub(super) struct OnOpen {
    place: Arc<Place>,
    newest: Newest,
    lane: Lane,
    state: Mutex<State>,
    /// Whether each open is told to the audit trail here. If the mode counts opens, it tells them.
    tells_opens: AtomicBool,
    /// The tasks that wait for the end of contents: one for each file that has some.
    after: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// What the class asks for; `None` until the class is known.
    wanted: Option<Wanted>,
    holding: Holding,
    over: CancellationToken,
}

impl OnOpen {
    /// The volume of `publish`. Nothing is read yet. Without `wanted`, it has no files until its class is known.
    pub(super) fn new(
        parts: Arc<Parts>,
        publish: Publish,
        workload: Workload,
        wanted: Option<Wanted>,
    ) -> Arc<Self> {
        let site = parts.site(&publish);
        let lane = Lane::new(publish.subject.namespace(), &publish.id.0);
        let after = TaskTracker::new();
        after.close();
        Arc::new(Self {
            place: Arc::new(Place { parts, publish, site }),
            newest: Newest::new(workload),
            lane,
            state: Mutex::new(State { wanted, ..State::default() }),
            tells_opens: AtomicBool::new(false),
            after,
        })
    }

    /// Tells each open to the audit trail, because the mode does not.
    pub(super) fn tell_opens(&self) {
        self.tells_opens.store(true, Ordering::Release);
    }

    /// The door where the mode asks for contents. It does not keep the volume alive.
    pub(super) fn door(self: &Arc<Self>) -> Arc<dyn Door> {
        Arc::new(OfVolume(Arc::downgrade(self)))
    }

    /// The parts, the request and the site of the volume.
    pub(super) fn place(&self) -> (&Arc<Parts>, &Publish, &Arc<VolumeSite>) {
        (&self.place.parts, &self.place.publish, &self.place.site)
    }

    /// The volume's tokens and credentials.
    pub(super) fn newest(&self) -> &Newest {
        &self.newest
    }

    /// What the class asks for, once the class is known.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.lock().wanted.clone()
    }

    /// Whether the class of `wanted` differs from the class that the volume follows now.
    pub(super) fn is_new(&self, wanted: &Wanted) -> bool {
        self.lock().wanted.as_ref().is_none_or(|old| old.class() != wanted.class())
    }

    /// Serves the files of `wanted` from now on. Everything that was read before is taken back.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut state = self.lock();
        state.holding.take_back_all(Instant::now());
        state.wanted = Some(wanted);
    }

    /// Takes back everything. Returns the paths of the files that had contents.
    pub(super) fn take_back(&self) -> Vec<ObjectPath> {
        self.lock().holding.take_back_all(Instant::now())
    }

    /// Takes back what these orders cover. Returns the paths of the files that had contents.
    pub(super) fn obey(&self, orders: &On) -> BTreeSet<ObjectPath> {
        let Some(wanted) = self.wanted() else { return BTreeSet::new() };
        let is_covered =
            |path: &ObjectPath| wanted.part(path).is_some_and(|part| part.revoked_by(orders).is_some());
        let paths = self.lock().holding.paths();
        let covered: Vec<_> = paths.into_iter().filter(is_covered).collect();
        let (mut state, now) = (self.lock(), Instant::now());
        covered.into_iter().filter(|path| state.holding.take_back(path, now)).collect()
    }

    /// Takes back what was read for another account than the newest tokens name.
    pub(super) fn follow_identity(&self) {
        let identity = self.newest.identity();
        self.lock().holding.retain(&identity);
    }

    /// Ends the volume, because it is unpublished. When this returns, no contents are held, except if tasks took too
    /// long to end, which is logged.
    pub(super) async fn end(&self) {
        {
            let mut state = self.lock();
            state.over.cancel();
            state.holding.take_back_all(Instant::now());
        }
        if timeout(LET_GO, self.after.wait()).await.is_err() {
            tracing::warn!(volume = %self.place.publish.id, "the readings of opened files end late");
        }
    }

    /// Serves files again, because the volume could not be unmounted.
    pub(super) fn resume(&self) {
        self.lock().over = CancellationToken::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contents of the file at `path`, for `caller`.
    async fn give(
        self: &Arc<Self>,
        path: &ObjectPath,
        caller: &Caller,
        patience: Duration,
    ) -> Result<Loan, Failure> {
        let Place { parts, publish, .. } = &*self.place;
        parts.access.judge(publish, path, caller).map_err(Failure::NotAllowed)?;
        self.require_unrevoked(path)?;
        if let Some(loan) = self.held(path)? {
            return Ok(loan);
        }
        let _room = parts.rooms.for_caller(&self.lane).ok_or(Failure::Crowded)?;
        let over = self.lock().over.clone();
        let patience = patience.min(MOST_PATIENCE);
        let deadline = Instant::now().later(patience);
        tokio::select! {
            biased;
            () = over.cancelled() => Err(Failure::Gone),
            loan = timeout_at(deadline, self.read(path)) => loan.unwrap_or_else(|_| Err(Failure::Late {
                waiting_for: "its store has not answered yet".to_owned(),
                waited: patience,
            })),
        }
    }

    /// Refuses a file of which an order takes a part back.
    fn require_unrevoked(&self, path: &ObjectPath) -> Result<(), Failure> {
        let Place { parts, publish, .. } = &*self.place;
        let orders = parts.in_force.on(&publish.subject, &publish.class);
        let part = if orders.is_empty() { None } else { self.wanted().and_then(|wanted| wanted.part(path)) };
        let Some(part) = part else { return Ok(()) };
        let refused = part.revoked_by(&orders).map(|source| {
            let provider = part.class().provider.clone();
            Failure::Store { provider, source }
        });
        refused.map_or(Ok(()), Err)
    }

    fn held(&self, path: &ObjectPath) -> Result<Option<Loan>, Failure> {
        let identity = self.newest.identity();
        let mut state = self.lock();
        if state.over.is_cancelled() {
            return Err(Failure::Gone);
        }
        Ok(state.holding.get(path, &identity, Instant::now()))
    }

    /// Waits for the reading of the file, together with all other callers. If the result was taken back meanwhile,
    /// reads again while somebody waits.
    async fn read(self: &Arc<Self>, path: &ObjectPath) -> Result<Loan, Failure> {
        loop {
            match self.reading(path)?.await {
                Err(Failure::Overtaken) => {
                    if let Some(loan) = self.held(path)? {
                        return Ok(loan);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    fn reading(self: &Arc<Self>, path: &ObjectPath) -> Result<Reading, Failure> {
        let mut state = self.lock();
        let State { wanted, holding, .. } = &mut *state;
        let class_awaited =
            || Failure::Unasked(format!("class {} is not known yet", self.place.publish.class));
        let part = wanted.as_ref().ok_or_else(class_awaited)?.part(path).ok_or(Failure::NotListed)?;
        let not_before = holding.taken_back();
        Ok(holding.reading(path, |ticket| {
            let (on_open, path) = (Arc::clone(self), path.clone());
            async move {
                let workload = on_open.workload(&part).await;
                let read = on_open.place.read(&path, part, workload, not_before);
                let read = AssertUnwindSafe(read).catch_unwind().await;
                on_open.finish(&path, ticket, read.unwrap_or(Err(Failure::Unfinished)))
            }
            .boxed()
        }))
    }

    /// The workload, with tokens if the store needs some. A restart loses them, and kubelet may bring them soon.
    async fn workload(&self, part: &Wanted) -> Workload {
        if part.source().needs_credentials() {
            let mut newest = self.newest.listen();
            let brought = newest.wait_for(Workload::has_credentials);
            // Without any, the reading tells what is missing.
            drop(timeout(FOR_TOKENS, brought).await);
        }
        self.newest.get()
    }

    fn finish(
        self: &Arc<Self>,
        path: &ObjectPath,
        ticket: Ticket,
        read: Result<Brought, Failure>,
    ) -> Result<Loan, Failure> {
        // An order may have come during the reading. One that comes from now on ends it, or takes back what is held.
        let is_allowed = self.require_unrevoked(path);
        let (loan, after) = {
            let mut state = self.lock();
            if !state.holding.ended(path, ticket) {
                return Err(Failure::Overtaken);
            }
            is_allowed?;
            let brought = read?;
            if brought.identity != self.newest.identity() {
                return Err(Failure::Overtaken);
            }
            self.hold(&mut state.holding, path, ticket, brought)?
        };
        // Not while the state is locked: when the process stops, a spawned future is dropped at once, and its drop
        // locks the state.
        drop(self.after.spawn(after));
        Ok(loan)
    }

    /// Keeps what a reading returned, and returns the task that waits for its end.
    fn hold(
        self: &Arc<Self>,
        holding: &mut Holding,
        path: &ObjectPath,
        ticket: Ticket,
        brought: Brought,
    ) -> Result<(Loan, impl Future<Output = ()> + use<>), Failure> {
        let rooms = &self.place.parts.rooms;
        let room = loop {
            match rooms.for_bytes(&self.lane, brought.bytes) {
                Some(room) => break room,
                None if holding.evict() => {}
                None => return Err(Failure::NoRoom),
            }
        };
        let Brought { loan, identity, at, held, reader, .. } = brought;
        let soonest = Instant::now().later(LEAST_HELD);
        let until = at.later(held).max(soonest);
        let released = CancellationToken::new();
        let kept = released.clone().drop_guard();
        holding.hold(path, Held { loan: loan.clone(), ticket, identity, until, _room: room, _kept: kept });
        let expiry = Expiry { on_open: Arc::downgrade(self), path: path.clone(), ticket };
        Ok((loan, expiry.wait(reader, until, released)))
    }
}

/// Takes back what a reading returned when it is dropped, so that this happens even if the waiting task is dropped.
struct Expiry {
    on_open: Weak<OnOpen>,
    path: ObjectPath,
    ticket: Ticket,
}

impl Expiry {
    /// Waits until the time is over, the store announces something new, or the contents were taken back for another
    /// reason. Then drops the readings and the login as well.
    async fn wait(self, mut reader: Reader, until: Instant, released: CancellationToken) {
        let is_old = tokio::select! {
            biased;
            () = released.cancelled() => false,
            _ = reader.announced() => true,
            () = sleep_until(until) => false,
        };
        if let Some(on_open) = self.on_open.upgrade().filter(|_| is_old) {
            let _ = on_open.lock().holding.take_back(&self.path, Instant::now());
        }
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        if let Some(on_open) = self.on_open.upgrade() {
            on_open.lock().holding.expire(&self.path, self.ticket);
        }
    }
}

/// The door of one volume, while the volume is served.
#[derive(Debug)]
struct OfVolume(Weak<OnOpen>);

#[async_trait]
impl Door for OfVolume {
    async fn open(
        &self,
        path: &ObjectPath,
        caller: &Caller,
        patience: Duration,
    ) -> Result<Loan, mode::Error> {
        let on_open = self.0.upgrade().ok_or(Failure::Gone)?;
        let outcome = on_open.give(path, caller, patience).await;
        let Place { parts, publish, .. } = &*on_open.place;
        let provider = on_open.wanted().map(|wanted| wanted.class().provider.clone()).unwrap_or_default();
        match outcome {
            Ok(loan) => {
                if on_open.tells_opens.load(Ordering::Acquire) {
                    parts.reporter.opened(publish, caller, &provider, loan.made());
                }
                Ok(loan)
            }
            Err(failure) => {
                if on_open.tells_opens.load(Ordering::Acquire) {
                    let is_denial = failure.is_denial();
                    parts.reporter.not_opened(publish, caller, (&provider, path), is_denial, &failure);
                }
                Err(failure.into())
            }
        }
    }
}
