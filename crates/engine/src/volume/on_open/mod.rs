//! Files that are read when somebody opens them, and not before: who may open one, one reading for all who ask at
//! once, and the end of what was read.
//!
//! What a file holds is lent to who opens it, and taken back when its time is over: the bytes are in this process
//! alone, in [`SecretBytes`](provider::SecretBytes), which is ordinary memory that is wiped and not yet memory that the
//! kernel hides (`memfd_secret`). At once it is taken back when the store announces something new,
//! when its class is edited, when somebody orders a refresh, when the pod's tokens name another account, and when the
//! volume is taken away. A reading that was under way then is made again: nobody is given what is older.

mod failure;
mod held;
mod reading;
mod wanted;

use std::panic::AssertUnwindSafe;
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
use self::reading::{Brought, Given, Place};
pub(super) use self::wanted::{Wanted, require_asking};
use crate::mode::{self, Caller, Door, Loan};
use crate::volume::Publish;
use crate::volume::admission::Lane;
use crate::volume::credentials::Newest;
use crate::volume::parts::Parts;
use crate::volume::reader::Reader;
use crate::volume::site::VolumeSite;

/// Nobody waits longer, whatever patience he has.
const MOST_PATIENCE: Duration = Duration::from_secs(60);
/// Who waited for a reading has at least so long to read what it brought.
const LEAST_HELD: Duration = Duration::from_secs(1);
/// How long what readings left may take to be let go.
const LET_GO: Duration = Duration::from_secs(1);

/// One volume whose files are read when they are opened.
#[derive(Debug)]
pub(super) struct OnOpen {
    place: Arc<Place>,
    newest: Newest,
    lane: Lane,
    state: Mutex<State>,
    /// What goes on after readings: one task for each file that is held.
    after: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// Absent while the class is.
    wanted: Option<Wanted>,
    holding: Holding,
    over: CancellationToken,
}

impl OnOpen {
    /// The volume of `publish`, of which nothing is read and, without `wanted`, no file is known yet.
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
            after,
        })
    }

    /// Where its mode asks. The volume ends though the mode keeps it.
    pub(super) fn door(self: &Arc<Self>) -> Arc<dyn Door> {
        Arc::new(OfVolume(Arc::downgrade(self)))
    }

    /// The parts, the wish and the site of the volume.
    pub(super) fn place(&self) -> (&Arc<Parts>, &Publish, &Arc<VolumeSite>) {
        (&self.place.parts, &self.place.publish, &self.place.site)
    }

    /// Its tokens and credentials.
    pub(super) fn newest(&self) -> &Newest {
        &self.newest
    }

    /// What is asked for it, once that is known.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.lock().wanted.clone()
    }

    /// Whether `wanted` differs from what is asked for it.
    pub(super) fn is_new(&self, wanted: &Wanted) -> bool {
        self.lock().wanted.as_ref().is_none_or(|old| old.class() != wanted.class())
    }

    /// Has the files of `wanted` from now on.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut state = self.lock();
        state.holding.take_back_all(Instant::now());
        state.wanted = Some(wanted);
    }

    /// Takes back everything, and tells of which files something was held.
    pub(super) fn take_back(&self) -> Vec<ObjectPath> {
        self.lock().holding.take_back_all(Instant::now())
    }

    /// Takes back what was read for another account than the newest tokens name.
    pub(super) fn follow_identity(&self) {
        let identity = self.newest.identity();
        self.lock().holding.retain(&identity);
    }

    /// Gives nothing any more: the volume is taken away. Nothing is held once this has come back.
    pub(super) async fn end(&self) {
        {
            let mut state = self.lock();
            state.over.cancel();
            state.holding.take_back_all(Instant::now());
        }
        if timeout(LET_GO, self.after.wait()).await.is_err() {
            tracing::warn!(volume = %self.place.publish.id, "what was read for opened files is let go late");
        }
    }

    /// Gives again: the volume could not be taken away.
    pub(super) fn resume(&self) {
        self.lock().over = CancellationToken::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file at `path` holds, for `caller`.
    async fn give(
        self: &Arc<Self>,
        path: &ObjectPath,
        caller: &Caller,
        patience: Duration,
    ) -> Result<Given, Failure> {
        let Place { parts, publish, .. } = &*self.place;
        parts.access.judge(publish, path, caller).map_err(Failure::NotAllowed)?;
        if let Some(given) = self.held(path)? {
            return Ok(given);
        }
        let _room = parts.rooms.for_caller(&self.lane).ok_or(Failure::Crowded)?;
        let over = self.lock().over.clone();
        let patience = patience.min(MOST_PATIENCE);
        let deadline = Instant::now().later(patience);
        tokio::select! {
            biased;
            () = over.cancelled() => Err(Failure::Gone),
            given = timeout_at(deadline, self.read(path)) => given.unwrap_or_else(|_| Err(Failure::Late {
                waiting_for: "its store has not answered yet".to_owned(),
                waited: patience,
            })),
        }
    }

    fn held(&self, path: &ObjectPath) -> Result<Option<Given>, Failure> {
        let identity = self.newest.identity();
        let mut state = self.lock();
        if state.over.is_cancelled() {
            return Err(Failure::Gone);
        }
        Ok(state.holding.get(path, &identity, Instant::now()))
    }

    /// Waits for one reading with all who wait for it. One that was overtaken is made again, for as long as somebody waits.
    async fn read(self: &Arc<Self>, path: &ObjectPath) -> Result<Given, Failure> {
        loop {
            match self.reading(path)?.await {
                Err(Failure::Overtaken) => {
                    if let Some(given) = self.held(path)? {
                        return Ok(given);
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
                let workload = on_open.newest.get();
                let read = on_open.place.read(&path, part, workload, not_before);
                let read = AssertUnwindSafe(read).catch_unwind().await;
                on_open.finish(&path, ticket, read.unwrap_or(Err(Failure::Unfinished)))
            }
            .boxed()
        }))
    }

    fn finish(
        self: &Arc<Self>,
        path: &ObjectPath,
        ticket: Ticket,
        read: Result<Brought, Failure>,
    ) -> Result<Given, Failure> {
        let (given, after) = {
            let mut state = self.lock();
            if !state.holding.ended(path, ticket) {
                return Err(Failure::Overtaken);
            }
            let brought = read?;
            if brought.identity != self.newest.identity() {
                return Err(Failure::Overtaken);
            }
            self.hold(&mut state.holding, path, ticket, brought)?
        };
        // Not while the state is held: where the process stops, what is spawned is dropped at once.
        drop(self.after.spawn(after));
        Ok(given)
    }

    /// Holds what was brought, and tells what is to go on meanwhile.
    fn hold(
        self: &Arc<Self>,
        holding: &mut Holding,
        path: &ObjectPath,
        ticket: Ticket,
        brought: Brought,
    ) -> Result<(Given, impl Future<Output = ()> + use<>), Failure> {
        let rooms = &self.place.parts.rooms;
        let room = loop {
            match rooms.for_bytes(&self.lane, brought.bytes) {
                Some(room) => break room,
                None if holding.evict() => {}
                None => return Err(Failure::NoRoom),
            }
        };
        let Brought { given, identity, at, reader, .. } = brought;
        let soonest = Instant::now().later(LEAST_HELD);
        let until = at.later(self.place.parts.limits.held_opened()).max(soonest);
        let released = CancellationToken::new();
        let kept = released.clone().drop_guard();
        holding.hold(path, Held { given: given.clone(), ticket, identity, until, _room: room, _kept: kept });
        let expiry = Expiry { on_open: Arc::downgrade(self), path: path.clone(), ticket };
        Ok((given, expiry.wait(reader, until, released)))
    }
}

/// Sees to it that what a reading brought is taken back, whatever becomes of the task that waits for it.
struct Expiry {
    on_open: Weak<OnOpen>,
    path: ObjectPath,
    ticket: Ticket,
}

impl Expiry {
    /// Waits until the time is over, something new is announced, or what was brought is taken back for another reason;
    /// then lets go of the readings and the login as well.
    async fn wait(self, mut reader: Reader, until: Instant, released: CancellationToken) {
        let is_old = tokio::select! {
            biased;
            () = released.cancelled() => false,
            _ = reader.announced() => true,
            () = sleep_until(until) => false,
        };
        if let Some(on_open) = self.on_open.upgrade().filter(|_| is_old) {
            on_open.lock().holding.take_back(&self.path, Instant::now());
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

/// The door of one volume, for as long as that is served.
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
            Ok(given) => {
                parts.reporter.opened(publish, caller, &provider, &given.made);
                Ok(given.loan)
            }
            Err(failure) => {
                let is_denial = failure.is_denial();
                parts.reporter.not_opened(publish, caller, (&provider, path), is_denial, &failure);
                Err(failure.into())
            }
        }
    }
}
