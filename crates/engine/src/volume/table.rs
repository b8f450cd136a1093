//! The table of volumes: publish, republish, unpublish.

mod asking;
mod leaving;
mod mounting;
mod on_open;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use provider::{Workload, for_tenant};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

pub use asking::RefreshOutcome;
pub(super) use mounting::unrecorded;

use crate::unfinished::Unfinished;
use crate::volume::about::About;
use crate::volume::admission::{Admission, Bounds};
use crate::volume::coverage::{Coverage, Opened};
use crate::volume::parts::Parts;
use crate::volume::refusals::Refusals;
use crate::volume::remains::Remains;
use crate::volume::report::Happening;
use crate::volume::served::{Order, Served};
use crate::volume::status::VolumeState;
use crate::volume::upkeep;
use crate::volume::{ClassName, Credentials, Error, Publish, Published, VolumeId, blocking};

/// How many refresh orders may wait while a volume is reading.
const ORDERS: usize = 16;
/// How many volumes of one namespace may wait for their turn to be mounted.
const MOST_WAITING: usize = 4096;

/// Every volume of this process.
#[derive(Debug)]
pub struct Volumes {
    parts: Arc<Parts>,
    table: Mutex<HashMap<VolumeId, Arc<Entry>>>,
    /// The volumes that calls are working on.
    held: Mutex<BTreeSet<VolumeId>>,
    refusals: Mutex<Refusals>,
    /// Turns for mounting. A call takes one when it has something to mount, and never holds one while it waits for a
    /// store.
    mounting: Arc<Admission>,
    calls: TaskTracker,
    stopping: CancellationToken,
    /// Ends first readings that are under way.
    given_up: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// What the volume is. A new task starts with this if the task ends by itself.
    pub(super) remains: Remains,
    orders: mpsc::Sender<Order>,
    /// Texts of other modules about what differs from what the class asks for.
    remarks: Mutex<BTreeMap<&'static str, Vec<String>>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<Served>>>,
    /// The containers that mount single files of it and were reported.
    pub(super) sub_paths: Mutex<BTreeSet<String>>,
    coverage: Mutex<Coverage>,
}

impl Entry {
    fn state(&self) -> VolumeState {
        let sub_paths = self.sub_paths.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.remains.state.borrow().clone();
        let state = if self.is_unattended() {
            VolumeState { next_try: None, ..state.unattended(None) }
        } else {
            state
        };
        VolumeState { sub_paths: sub_paths.iter().cloned().collect(), opened: self.opened(), ..state }
    }

    /// What its containers opened last, where that is known.
    fn opened(&self) -> Option<Vec<Opened>> {
        let is_known = self.remains.mounted.knows_opens();
        is_known.then(|| self.coverage.lock().unwrap_or_else(PoisonError::into_inner).list())
    }

    /// Aborts the task, as a fault would.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.iter().for_each(JoinHandle::abort);
    }

    /// Whether the task has ended although nobody stopped it.
    fn is_unattended(&self) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.as_ref().is_some_and(JoinHandle::is_finished) && !self.stop.is_cancelled()
    }
}

/// Reserves a volume for one call. Other calls get the error that it is busy.
pub(super) struct Hold<'a> {
    held: &'a Mutex<BTreeSet<VolumeId>>,
    id: VolumeId,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Volumes {
    /// A table without volumes.
    pub fn new(parts: Parts) -> Arc<Self> {
        let mounts = parts.limits.mounts;
        let bounds = Bounds { process: mounts, namespace: mounts, place: mounts, waiting: MOST_WAITING };
        Arc::new(Self {
            parts: Arc::new(parts),
            table: Mutex::default(),
            held: Mutex::default(),
            refusals: Mutex::default(),
            mounting: Admission::new(bounds),
            calls: TaskTracker::new(),
            stopping: CancellationToken::new(),
            given_up: CancellationToken::new(),
        })
    }

    /// The parts that the volumes work with.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// A receiver of everything that happens to volumes from now on.
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.parts.reporter.listen()
    }

    /// Mounts a volume. If it is mounted already, replaces its credentials by the new ones.
    ///
    /// If the caller goes away, the work goes on within the caller's deadline. So an abandoned call leaves either a
    /// complete volume or nothing.
    ///
    /// # Errors
    ///
    /// See [`Error`]. After an error, nothing is mounted that was not mounted before.
    pub async fn publish(
        self: &Arc<Self>,
        publish: Publish,
        credentials: Credentials,
    ) -> Result<Published, Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (volumes, workload) = (Arc::clone(self), publish.workload(credentials));
        let tenant = publish.subject.identity.namespace.clone();
        let call = for_tenant(&tenant, async move { volumes.publish_held(publish, workload).await });
        let call = self.calls.spawn(call.in_current_span());
        call.await.unwrap_or_else(|error| {
            tracing::error!(error = %Unfinished::from(error), "a publish stopped before its end");
            Err(Error::Unfinished)
        })
    }

    /// Ends every first reading that is under way or begins later, because nobody waits for them any more.
    pub fn give_up(&self) {
        self.given_up.cancel();
    }

    /// The provider that a class names, if the class is known.
    pub async fn provider_of(&self, class: &ClassName) -> Option<String> {
        self.parts.classes.get(class).await.ok().map(|class| class.provider.clone())
    }

    async fn publish_held(&self, publish: Publish, workload: Workload) -> Result<Published, Error> {
        let _hold = self.hold(&publish.id)?;
        let mut about = About::default();
        let outcome = self.publish_known_or_new(&publish, &workload, &mut about).await;
        if let Err(error) = &outcome {
            self.parts.reporter.refused(&publish, &about, error.provider_kind(), &error.to_string());
        }
        self.note_refusal(&publish, outcome.as_ref().err());
        outcome
    }

    /// Publishes a volume that is in the table, is only mounted, or is new. The caller reports failures of all three in
    /// one way.
    async fn publish_known_or_new(
        &self,
        publish: &Publish,
        workload: &Workload,
        about: &mut About,
    ) -> Result<Published, Error> {
        if let Some(entry) = self.entry(&publish.id) {
            about.provider = entry.remains.state.borrow().provider.clone().unwrap_or_default();
            if let Some(published) = self.republish(&entry, publish, workload).await? {
                return Ok(published);
            }
        }
        // If a volume of a pod is mounted but not in the table, another driver mounted it, or a process of ours whose
        // record is lost. For kubelet the volume is published, so no error may be final.
        let stands = publish.subject.pod.is_some() && self.is_mounted(publish).await;
        let stays = |error| if stands { Error::NotTakenOver(Box::new(error)) } else { error };
        if stands && self.take_over(publish, workload).await.map_err(stays)? {
            return Ok(Published::Already);
        }
        self.first_publish(publish, workload, about).await.map_err(stays)?;
        Ok(Published::Mounted)
    }

    /// Keeps the failure for people who ask why a volume is not mounted, and forgets it once the volume is mounted. A
    /// served volume is mounted, even if another request with its id fails.
    fn note_refusal(&self, publish: &Publish, error: Option<&Error>) {
        let is_served = self.entry(&publish.id).is_some();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if !is_served => refusals.note(publish, &error.to_string(), Instant::now()),
            _ => refusals.forget(&publish.id),
        }
    }

    /// Whether anything is mounted at the target. Most often the kernel tells at once; a thread that may wait costs more
    /// than all other work of a publish that changes nothing.
    async fn is_mounted(&self, publish: &Publish) -> bool {
        if let Some(is_mounted) = self.parts.modes.is_mounted_at_once(&publish.target) {
            return is_mounted;
        }
        let (modes, target) = (self.parts.modes.clone(), publish.target.clone());
        blocking(move || Ok(modes.is_mounted(&target)?)).await.unwrap_or(true)
    }

    /// Gives a served volume its new tokens, for its next reading. Asks no store, and does not wait for a reading that
    /// is under way. `None` if the mount is gone: the volume is then no longer served.
    async fn republish(
        &self,
        entry: &Entry,
        publish: &Publish,
        workload: &Workload,
    ) -> Result<Option<Published>, Error> {
        differences(&entry.remains.publish, publish)?;
        if !self.is_mounted(&entry.remains.publish).await {
            tracing::warn!(volume = %publish.id, "the mount is gone; mounting again");
            self.stop(&publish.id).await;
            return Ok(None);
        }
        entry.remains.newest.set(workload.clone());
        if entry.is_unattended() {
            self.serve(entry.remains.begin_anew().await);
        }
        Ok(Some(Published::Already))
    }

    pub(super) fn serve(&self, served: Served) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let stop = CancellationToken::new();
        let remains = served.remains();
        let task = for_tenant(
            &remains.publish.subject.identity.namespace,
            upkeep::keep(served, inbox, stop.clone()),
        );
        let task = Mutex::new(Some(tokio::spawn(task)));
        let entry = Arc::new(Entry {
            remains,
            orders,
            stop,
            task,
            remarks: Mutex::default(),
            sub_paths: Mutex::default(),
            coverage: Mutex::default(),
        });
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(entry.remains.publish.id.clone(), entry);
    }

    pub(super) fn hold(&self, id: &VolumeId) -> Result<Hold<'_>, Error> {
        let fresh = self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        if fresh { Ok(Hold { held: &self.held, id: id.clone() }) } else { Err(Error::Busy(id.clone())) }
    }

    pub(super) fn entry(&self, id: &VolumeId) -> Option<Arc<Entry>> {
        self.lock().get(id).cloned()
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<VolumeId, Arc<Entry>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a repeated publish asks for the same volume. Tokens and credentials may differ.
fn differences(old: &Publish, new: &Publish) -> Result<(), Error> {
    let published = |how: String, elsewhere| Error::Published { id: new.id.clone(), how, elsewhere };
    if old.target != new.target {
        return Err(published(format!("at {}", old.target.display()), true));
    }
    let differing = [
        (old.class != new.class, format!("with class {}", old.class)),
        (!old.subject.is_same_pod(&new.subject), "for another pod".to_owned()),
        (old.attributes != new.attributes, "with other volume attributes".to_owned()),
        (old.appearance != new.appearance, "with another fsGroup or mount flag".to_owned()),
    ];
    match differing.into_iter().find(|(differs, _)| *differs) {
        Some((_, how)) => Err(published(how, false)),
        None => Ok(()),
    }
}
