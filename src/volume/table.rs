//! The table of volumes: publish, republish, unpublish.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use provider::{Moment as _, ObjectPath, Workload};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::failpoint;
use crate::mode::{Mode, Mounted, Usage};
use crate::mounter::MountId;
use crate::snapshot::Snapshot;
use crate::unfinished::Unfinished;
use crate::volume::about::About;
use crate::volume::admission::{Admission, Bounds, Turn};
use crate::volume::content::{Assembled, Content};
use crate::volume::first::{read_first, require_token};
use crate::volume::parts::Parts;
use crate::volume::record::VolumeRecord;
use crate::volume::refusals::{Refusal, Refusals};
use crate::volume::report::Happening;
use crate::volume::served::{Order, Served};
use crate::volume::status::VolumeState;
use crate::volume::upkeep::{self, Remains};
use crate::volume::{ClassName, Credentials, Error, Publish, Published, VolumeId, blocking};

/// Orders that may wait for a volume that is reading.
const ORDERS: usize = 16;
/// How long a volume may take to stop.
const STOP: Duration = Duration::from_secs(5);
/// How long calls in flight may take when the process stops.
const DRAIN: Duration = Duration::from_secs(20);
/// Volumes of one namespace that may wait for their turn to be mounted.
const MOST_WAITING: usize = 4096;
/// How long somebody waits for an ordered refresh.
const REFRESH: Duration = Duration::from_secs(60);

/// Every volume of this process.
#[derive(Debug)]
pub struct Volumes {
    parts: Arc<Parts>,
    table: Mutex<HashMap<VolumeId, Arc<Entry>>>,
    /// Volumes that a call works on.
    held: Mutex<BTreeSet<VolumeId>>,
    refusals: Mutex<Refusals>,
    /// Taken when there is something to mount, never while a store is waited for.
    mounting: Arc<Admission>,
    calls: TaskTracker,
    stopping: CancellationToken,
    /// Ends first readings that are under way.
    given_up: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// What it is, and with what its task is begun anew.
    pub(super) remains: Remains,
    orders: mpsc::Sender<Order>,
    /// What other parts found not to be as the class wants it.
    remarks: Mutex<Vec<String>>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<Served>>>,
    /// Containers that mount single files of it, as far as that was told.
    pub(super) sub_paths: Mutex<BTreeSet<String>>,
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
        VolumeState { sub_paths: sub_paths.iter().cloned().collect(), ..state }
    }

    /// Ends its task as nobody should.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.iter().for_each(JoinHandle::abort);
    }

    /// Whether its task has ended though nobody stopped it.
    fn is_unattended(&self) -> bool {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.as_ref().is_some_and(JoinHandle::is_finished) && !self.stop.is_cancelled()
    }
}

/// What came of an ordered refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The volume shows what the store says now; these files changed.
    Refreshed(Vec<ObjectPath>),
    /// It does not, and why.
    Failed(String),
}

/// Holds a volume for one call; others are told that it is busy.
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
    /// No volumes yet.
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

    /// What the volumes work with.
    pub fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// Everything that happens to volumes from now on.
    pub fn listen(&self) -> broadcast::Receiver<Happening> {
        self.parts.reporter.listen()
    }

    /// Mounts a volume, or takes the new credentials of one that is mounted in place of those before.
    ///
    /// The work goes on if the caller goes away, within the caller's own deadline: a call
    /// that was given up leaves either a whole volume or nothing.
    ///
    /// # Errors
    ///
    /// Nothing is mounted that was not before.
    pub async fn publish(
        self: &Arc<Self>,
        publish: Publish,
        credentials: Credentials,
    ) -> Result<Published, Error> {
        if self.stopping.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (volumes, workload) = (Arc::clone(self), publish.workload(credentials));
        let call = async move { volumes.publish_held(publish, workload).await };
        let call = self.calls.spawn(call.in_current_span());
        call.await.unwrap_or_else(|error| {
            tracing::error!(error = %Unfinished::from(error), "a publish did not come to its end");
            Err(Error::Unfinished)
        })
    }

    /// Gives up every first reading, those under way and those to come: nobody waits for them any more.
    pub fn give_up(&self) {
        self.given_up.cancel();
    }

    /// The provider that a class names, as far as the class is known.
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

    /// Whatever is known of the volume, a failure is told in one way.
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
        // What is mounted for a pod that this process does not know, another driver mounted, or a process of
        // ours whose record is lost. To kubelet the volume is published, so no error may be final.
        let stands = publish.subject.pod.is_some() && self.is_mounted(publish).await;
        let stays = |error| if stands { Error::NotTakenOver(Box::new(error)) } else { error };
        if stands && self.take_over(publish, workload).await.map_err(stays)? {
            return Ok(Published::Already);
        }
        self.first_publish(publish, workload, about).await.map_err(stays)?;
        Ok(Published::Mounted)
    }

    /// Keeps for people who ask why a volume is not mounted; forgets it once it is. One that is served is mounted,
    /// whatever else was asked for under its name.
    fn note_refusal(&self, publish: &Publish, error: Option<&Error>) {
        let is_served = self.entry(&publish.id).is_some();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) if !is_served => refusals.note(publish, &error.to_string(), Instant::now()),
            _ => refusals.forget(&publish.id),
        }
    }

    /// The volumes that were asked for lately and are not mounted.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).list(Instant::now())
    }

    async fn is_mounted(&self, publish: &Publish) -> bool {
        let (modes, target) = (self.parts.modes.clone(), publish.target.clone());
        blocking(move || Ok(modes.is_mounted(&target)?)).await.unwrap_or(true)
    }

    /// Takes the new tokens of a volume that is served, also while it reads: they are there for its next reading. Asks
    /// no store. `None` if it is served no more, for its mount is gone.
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

    /// Tells in `about` what a failure is about.
    async fn first_publish(
        &self,
        publish: &Publish,
        workload: &Workload,
        about: &mut About,
    ) -> Result<(), Error> {
        let class = self.parts.awaited_class(&publish.class, &publish.attributes).await?;
        *about = About::provider(&class.provider);
        let (mode, source) = (self.parts.mode(&class)?, self.parts.source(&class)?);
        require_token(workload, source.audience()).inspect_err(|_| *about = About::all(&class, &*source))?;
        let deadline = Instant::now().later(publish.timeout.min(class.settings.timeout));
        let site = self.parts.site(publish);
        let mut content = self.parts.content(publish, class, source, &site);
        let shared_age = self.parts.limits.max_shared_age;
        let read = tokio::select! {
            biased;
            () = self.given_up.cancelled() => Err(Error::Stopping),
            read = read_first(&mut content, workload, shared_age, deadline) => read,
        };
        let mounted = match read {
            Ok(cached) => {
                let mounted = self.mount(publish, workload, (&mut content, mode), deadline).await;
                mounted.map(|mounted| (mounted, cached))
            }
            Err(error) => Err(error),
        };
        match mounted {
            Ok(((mounted, snapshot), cached)) => {
                self.parts.reporter.published(publish, &about.provider, &snapshot);
                if let Some(cached) = cached {
                    self.parts.reporter.started_cached(publish, cached);
                }
                let (parts, wish, workload) = (Arc::clone(&self.parts), publish.clone(), workload.clone());
                self.serve(Served::new(parts, wish, workload, (content, site), mounted, snapshot));
                Ok(())
            }
            Err(error) => {
                *about = content.about(error.provider_kind());
                site.end().await;
                content.reader.tenancy.end_all();
                Err(error)
            }
        }
    }

    /// Record, then mount: a crash between the two leaves a record without a mount, which the next start drops.
    async fn mount(
        &self,
        publish: &Publish,
        workload: &Workload,
        (content, mode): (&mut Content, Arc<dyn Mode>),
        deadline: Instant,
    ) -> Result<(Arc<dyn Mounted>, Snapshot), Error> {
        failpoint::hit("publish.fetched");
        let provider = content.class().provider.clone();
        let wrap = |source| Error::Provider { provider: provider.clone(), source };
        let Assembled { snapshot, .. } = content.assemble(&Snapshot::default()).map_err(wrap)?;
        let record = VolumeRecord::new(publish, Some(content.class()), &snapshot, mode.name(), None)
            .with_credentials(workload.has_credentials());
        let turn = self.turn_to_mount(publish, &provider, deadline).await?;
        let (parts, publish, shown) = (Arc::clone(&self.parts), publish.clone(), snapshot.clone());
        let mounted = blocking(move || {
            let _turn = turn;
            let mounted = show(&parts, &*mode, &publish, &shown, record);
            mounted.inspect_err(|_| drop(parts.records.remove(&publish.id)))
        })
        .await?;
        failpoint::hit("publish.mounted");
        Ok((mounted, snapshot))
    }

    async fn turn_to_mount(
        &self,
        publish: &Publish,
        provider: &str,
        deadline: Instant,
    ) -> Result<Turn, Error> {
        let begun = Instant::now();
        let entered = timeout_at(deadline, self.mounting.enter(publish.subject.namespace(), "mounts"));
        match entered.await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Error::Deadline {
                provider: provider.to_owned(),
                waited: begun.elapsed(),
                waiting_for: "its turn among the volumes that are being mounted".to_owned(),
            }),
        }
    }

    pub(super) fn serve(&self, served: Served) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let stop = CancellationToken::new();
        let remains = served.remains();
        let task = Mutex::new(Some(tokio::spawn(upkeep::keep(served, inbox, stop.clone()))));
        let entry = Arc::new(Entry {
            remains,
            orders,
            stop,
            task,
            remarks: Mutex::default(),
            sub_paths: Mutex::default(),
        });
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(entry.remains.publish.id.clone(), entry);
    }

    /// Takes a volume away. One that was never heard of is fine.
    ///
    /// # Errors
    ///
    /// `Busy`, or the kernel refuses; calling again is safe.
    pub async fn unpublish(&self, id: &VolumeId, target: &Path) -> Result<(), Error> {
        let _hold = self.hold(id)?;
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
        let elsewhere = self.entry(id).is_some_and(|entry| entry.remains.publish.target != target);
        if elsewhere {
            return self.take_away(target, None).await;
        }
        let made = self.entry(id).and_then(|entry| entry.remains.mounted.mount_id());
        let served = self.stop(id).await;
        failpoint::hit("unpublish.stopped");
        if let Err(error) = self.take_away(target, made).await {
            if let Some(served) = served {
                served.site.resume().await;
                self.serve(served);
            }
            return Err(error);
        }
        failpoint::hit("unpublish.detached");
        self.let_go(id, served);
        Ok(())
    }

    /// Ends what a volume that is unmounted still holds. What cannot be ended now is ended later.
    fn let_go(&self, id: &VolumeId, served: Option<Served>) {
        if let Some(mut served) = served {
            if let Some(content) = &mut served.content {
                content.reader.tenancy.end_all();
            }
            self.parts.reporter.unpublished(&served.publish);
        }
        if let Err(error) = self.parts.revocations.end_all_of(id) {
            tracing::warn!(volume = %id, %error, "logins of the volume may last until their own end");
        }
        if let Err(error) = self.parts.records.remove(id) {
            tracing::warn!(volume = %id, %error, "the volume's record stays until the next start");
        }
    }

    async fn take_away(&self, target: &Path, made: Option<MountId>) -> Result<(), Error> {
        let (parts, target) = (Arc::clone(&self.parts), target.to_owned());
        blocking(move || Ok(parts.take_away(&target, made.as_ref())?)).await
    }

    /// Stops serving a volume and gives back what it was. The mount stays.
    async fn stop(&self, id: &VolumeId) -> Option<Served> {
        let entry = self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(id)?;
        entry.stop.cancel();
        let mut task = entry.task.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let served = match timeout(STOP, &mut task).await {
            Ok(served) => served.ok(),
            Err(_) => {
                task.abort();
                None
            }
        };
        // A refresh that was broken off may have left a directory lent.
        entry.remains.site.end().await;
        served
    }

    /// What the volume published at `path` takes.
    ///
    /// # Errors
    ///
    /// `NotPublished` if it is not published there.
    pub async fn usage(&self, id: &VolumeId, path: &Path) -> Result<Usage, Error> {
        let Some(entry) = self.entry(id) else {
            return Err(Error::NotPublished(id.clone(), String::new()));
        };
        if entry.remains.publish.target != path {
            let where_it_is =
                format!(" at {}; it is at {}", path.display(), entry.remains.publish.target.display());
            return Err(Error::NotPublished(id.clone(), where_it_is));
        }
        let mounted = Arc::clone(&entry.remains.mounted);
        blocking(move || Ok(mounted.usage()?)).await
    }

    /// How every volume is doing, by id.
    pub fn states(&self) -> BTreeMap<VolumeId, VolumeState> {
        self.lock().iter().map(|(id, entry)| (id.clone(), entry.state())).collect()
    }

    /// What a served volume shows; `None` if it is not served, or if its mode does not know before a file is opened.
    /// Nobody is asked: it is what was shown last.
    pub fn shown(&self, id: &VolumeId) -> Option<Arc<Snapshot>> {
        let entry = self.entry(id)?;
        let mode = self.parts.modes.get(entry.remains.mounted.mode()).ok()?;
        (!mode.abilities().knows_contents_when_opened).then(|| entry.remains.showing.get())
    }

    /// Notes, for people who ask, what is not as the volume's class wants it; in place of what was noted before.
    pub fn remark(&self, id: &VolumeId, remarks: Vec<String>) {
        if let Some(entry) = self.entry(id) {
            *entry.remarks.lock().unwrap_or_else(PoisonError::into_inner) = remarks;
        }
    }

    /// What was noted.
    pub(super) fn remarks(&self, id: &VolumeId) -> Vec<String> {
        let remarks =
            |entry: Arc<Entry>| entry.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.entry(id).map(remarks).unwrap_or_default()
    }

    /// Has a volume show what its store says at `ordered` or later: volumes of one order share what is
    /// read for it. A revocation found so is an ordered one.
    pub async fn refresh(&self, id: &VolumeId, ordered: Instant) -> Option<RefreshOutcome> {
        let entry = self.entry(id)?;
        let (reply, answer) = oneshot::channel();
        let late = |_| RefreshOutcome::Failed("the volume is busy reading; try again".to_owned());
        let sent = timeout(REFRESH, entry.orders.send(Order { at: ordered, reply })).await;
        Some(match sent {
            Ok(Ok(())) => timeout(REFRESH, answer).await.map_or_else(late, |answer| match answer {
                Ok(Ok(changed)) => RefreshOutcome::Refreshed(changed),
                Ok(Err(error)) => RefreshOutcome::Failed(error),
                Err(_) => RefreshOutcome::Failed("the volume was taken away".to_owned()),
            }),
            Ok(Err(_)) => RefreshOutcome::Failed("the volume was taken away".to_owned()),
            Err(elapsed) => late(elapsed),
        })
    }

    /// Takes no more calls, lets those in flight finish, stops every volume. Mounts stay.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.calls.close();
        if timeout(DRAIN, self.calls.wait()).await.is_err() {
            tracing::warn!("some calls did not finish; kubelet repeats them");
        }
        let ids: Vec<_> = self.lock().keys().cloned().collect();
        futures::future::join_all(ids.iter().map(|id| self.stop(id))).await;
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

pub(super) fn unrecorded(publish: &Publish, source: std::io::Error) -> crate::mounter::Error {
    crate::mounter::Error::of("record the volume at", &publish.target)(source)
}

/// Mounts `snapshot`, or shows it in what is mounted there already; writes `record` down before anybody can see it.
fn show(
    parts: &Parts,
    mode: &dyn Mode,
    publish: &Publish,
    snapshot: &Snapshot,
    record: VolumeRecord,
) -> Result<Arc<dyn Mounted>, Error> {
    if let Some(mounted) = parts.adopt(Some(mode), publish, None)? {
        save(parts, publish, &VolumeRecord { mount: mounted.mount_id(), ..record })?;
        mounted.replace(snapshot, &BTreeSet::new())?;
        return Ok(Arc::from(mounted));
    }
    let prepared = mode.prepare(&publish.target, snapshot, &publish.appearance)?;
    save(parts, publish, &VolumeRecord { mount: prepared.mount_id(), ..record })?;
    Ok(Arc::from(prepared.show()?))
}

fn save(parts: &Parts, publish: &Publish, record: &VolumeRecord) -> Result<(), crate::mounter::Error> {
    parts.records.save(record).map_err(|source| unrecorded(publish, source))?;
    failpoint::hit("publish.recorded");
    Ok(())
}

/// Whether a repeated publish asks for the same volume. Tokens and credentials may differ.
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
