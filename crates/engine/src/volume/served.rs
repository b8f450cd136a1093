//! The task of one served volume: it reads when a refresh is due and shows what it read, until it is stopped.

mod class;
mod on_open;
mod ordered;
mod round;

use std::sync::Arc;
use std::time::Duration;

use manifest::Class;
use provider::{Error, ErrorKind, ObjectPath, Workload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::mode::Mounted;
use crate::revocation::On;
use crate::snapshot::Snapshot;
use crate::volume::about::Audited;
use crate::volume::content::Content;
use crate::volume::credentials::Newest;
use crate::volume::freshness::Notice;
use crate::volume::on_open::OnOpen;
use crate::volume::parts::Parts;
use crate::volume::record::VolumeRecord;
use crate::volume::remains::{Remains, Writing};
use crate::volume::showing::Showing;
use crate::volume::site::VolumeSite;
use crate::volume::status::{self, VolumeState};
use crate::volume::{self, Credentials, Publish};

/// Longest pause after a failed refresh, so that a store that works again is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A person's order to refresh a volume.
#[derive(Debug)]
pub struct Order {
    /// When the order was given. Readings that were made before are not good enough.
    pub at: Instant,
    /// Receives the files that changed, or what went wrong.
    pub reply: oneshot::Sender<Result<Vec<ObjectPath>, String>>,
}

/// One served volume.
#[derive(Debug)]
pub struct Served {
    /// The request that made it, with the identity that the newest tokens name.
    pub publish: Publish,
    /// What the volume is to show; `None` until its class is known.
    pub content: Option<Content>,
    /// Its mount.
    pub mounted: Arc<dyn Mounted>,
    /// What a store on this node learns of the volume, and gets to write its files into.
    pub(super) site: Arc<VolumeSite>,
    /// Reads the files when they are opened, for volumes of that kind. Such a volume has no content.
    on_open: Option<Arc<OnOpen>>,
    parts: Arc<Parts>,
    showing: Showing,
    failures: u32,
    retry_at: Option<Instant>,
    failed: Option<Error>,
    /// Why the class cannot be followed, if it cannot. The volume then goes on with what it served before.
    class_error: Option<String>,
    /// The class that an earlier process followed, until a newer one is found.
    last_class: Option<Class>,
    /// Whether an earlier process had tokens or credentials that are lost.
    lost_credentials: bool,
    /// When the store last confirmed the files, as the task before this one knew it.
    confirmed: Option<Instant>,
    /// Whether the task before this one ended by itself and nothing was read since.
    begun_anew: bool,
    /// The denials that are already in the audit trail.
    audited: Audited,
    /// The order that people were told of although its files stay.
    told_order: Option<String>,
    /// The orders that the files follow already, and a notice of others.
    followed: Option<On>,
    in_force: watch::Receiver<u64>,
    /// The tokens and credentials; `brought` notifies of newer ones.
    newest: Newest,
    brought: watch::Receiver<Workload>,
    state: watch::Sender<VolumeState>,
    writing: Writing,
}

enum Wake {
    Timer,
    Order(Option<Order>),
    Credentials,
    Pushed(std::time::Instant),
    Class,
    Revocations,
    Stop,
}

impl Served {
    /// A volume that was just mounted for `workload` and shows `shown`.
    pub(super) fn new(
        parts: Arc<Parts>,
        publish: Publish,
        workload: Workload,
        (content, site): (Content, Arc<VolumeSite>),
        mounted: Arc<dyn Mounted>,
        shown: Snapshot,
    ) -> Self {
        let (newest, showing) = (Newest::new(workload), Showing::new(shown));
        let mut served = Self::bare(parts, publish, newest, mounted, showing, site);
        served.content = Some(content);
        served.settled();
        served.describe();
        served
    }

    /// A volume that an earlier process mounted. It is read as soon as its class is known (or the class that the
    /// earlier process followed is used), and, if it had credentials, as soon as kubelet sends new ones.
    pub fn adopted(
        parts: Arc<Parts>,
        record: &VolumeRecord,
        mounted: Arc<dyn Mounted>,
        shown: Snapshot,
    ) -> Self {
        let publish = record.publish();
        let site = parts.site(&publish);
        let newest = Newest::new(publish.workload(Credentials::default()));
        let mut served = Self::bare(parts, publish, newest, mounted, Showing::new(shown), site);
        served.lost_credentials = record.had_credentials;
        served.last_class = record.last_class();
        served.describe();
        served
    }

    /// A volume that another driver mounted. kubelet just sent its tokens.
    pub fn taken_over(
        parts: Arc<Parts>,
        publish: Publish,
        workload: Workload,
        mounted: Arc<dyn Mounted>,
        shown: Snapshot,
    ) -> Self {
        let site = parts.site(&publish);
        let (newest, showing) = (Newest::new(workload), Showing::new(shown));
        let served = Self::bare(parts, publish, newest, mounted, showing, site);
        served.describe();
        served
    }

    /// A volume whose task ended by itself. Its files are as old as they were for that task.
    pub(super) fn begun_anew(remains: Remains, record: Option<&VolumeRecord>, shown: &Arc<Snapshot>) -> Self {
        let publish = remains.publish();
        let confirmed = remains.state.borrow().confirmed;
        let Remains { parts, mounted, showing, site, newest, state, writing, on_open, .. } = remains;
        showing.set(shown);
        let mut served = Self::bare(parts, publish, newest, mounted, showing, site);
        served.lost_credentials =
            !served.newest.has_credentials() && record.is_some_and(|record| record.had_credentials);
        served.last_class = record.and_then(VolumeRecord::last_class);
        served.begun_anew = true;
        Self { confirmed, state, writing, on_open, ..served }
    }

    /// What stays of the volume if its task ends by itself.
    pub(super) fn remains(&self) -> Remains {
        Remains {
            parts: Arc::clone(&self.parts),
            publish: self.publish.clone(),
            newest: self.newest.clone(),
            mounted: Arc::clone(&self.mounted),
            showing: self.showing.clone(),
            on_open: self.on_open.clone(),
            site: Arc::clone(&self.site),
            state: self.state.clone(),
            writing: Arc::clone(&self.writing),
        }
    }

    fn bare(
        parts: Arc<Parts>,
        publish: Publish,
        newest: Newest,
        mounted: Arc<dyn Mounted>,
        showing: Showing,
        site: Arc<VolumeSite>,
    ) -> Self {
        let state = watch::Sender::new(VolumeState::new(&publish));
        let (brought, mut in_force) = (newest.listen(), parts.in_force.changes());
        // Orders may have come since the volume was first read.
        in_force.mark_changed();
        Self {
            publish,
            content: None,
            mounted,
            site,
            on_open: None,
            parts,
            showing,
            failures: 0,
            retry_at: None,
            failed: None,
            class_error: None,
            last_class: None,
            lost_credentials: false,
            confirmed: None,
            begun_anew: false,
            audited: Audited::default(),
            told_order: None,
            followed: None,
            in_force,
            newest,
            brought,
            state,
            writing: Arc::default(),
        }
    }

    /// Keeps the volume fresh until `stop`, then returns it as it is.
    pub(super) async fn run(mut self, orders: &mut mpsc::Receiver<Order>, stop: &CancellationToken) -> Self {
        let mut classes = self.parts.classes.changes();
        // While the store was asked for the first time, the class may have been edited.
        classes.mark_changed();
        self.tell_of_expiries();
        loop {
            let due = self.next_due();
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Stop,
                Ok(()) = self.in_force.changed() => Wake::Revocations,
                Ok(()) = self.brought.changed() => Wake::Credentials,
                order = orders.recv() => Wake::Order(order),
                at = announced(&mut self.content) => Wake::Pushed(at),
                Ok(()) = classes.changed() => Wake::Class,
                () = sleep_until(due) => Wake::Timer,
            };
            if matches!(wake, Wake::Stop | Wake::Order(None)) {
                break;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.on(wake) => {}
            }
            self.describe();
        }
        // Waits for writes that are under way: a record that is written later would outlive its volume.
        drop(self.writing.lock().await);
        self
    }

    async fn on(&mut self, wake: Wake) {
        if matches!(wake, Wake::Revocations) {
            return self.follow_orders().await;
        }
        if let Some(on_open) = self.on_open.clone() {
            return self.on_asking(&on_open, wake).await;
        }
        match wake {
            Wake::Timer => self.on_timer().await,
            Wake::Pushed(_) | Wake::Class if !self.rotates() => {}
            Wake::Pushed(at) => drop(self.refresh(Some(Instant::from_std(at)), Notice::Pushed).await),
            Wake::Class => self.on_class().await,
            Wake::Credentials => self.on_credentials().await,
            Wake::Order(Some(Order { at, reply })) => {
                if self.content.is_none() || !self.rotates() {
                    self.on_class().await;
                }
                if let Some(content) = &mut self.content {
                    content.reader.tenancy.reissue();
                }
                let outcome = self.refresh(Some(at), Notice::Pushed).await;
                // The caller may have stopped waiting.
                let _ = reply.send(outcome.map_err(|error| error.to_string()));
            }
            Wake::Order(None) | Wake::Revocations | Wake::Stop => {}
        }
    }

    async fn on_timer(&mut self) {
        if self.content.is_none() {
            return self.on_class().await;
        }
        if !self.is_static() {
            drop(self.refresh(None, Notice::Polled).await);
        }
    }

    /// Whether the volume follows its store and its class. It does until the class is known.
    fn rotates(&self) -> bool {
        self.content.as_ref().is_none_or(Content::rotates)
    }

    /// Whether the files stay as they are until somebody orders a refresh.
    fn is_static(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.is_kept_fresh())
    }

    /// Takes new tokens. Reads at once if the volume waited for tokens, or if the store refused the old ones.
    async fn on_credentials(&mut self) {
        self.publish.subject.identity = self.newest.identity();
        if let Some(content) = &self.content {
            content.reader.hand_over(&self.newest.get());
        }
        let refused = |error: &Error| {
            matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::NoCredential)
        };
        let waited = self.awaits_credentials();
        self.lost_credentials &= !self.newest.has_credentials();
        if (waited || self.failed.as_ref().is_some_and(refused)) && !self.is_static() {
            drop(self.refresh(None, Notice::Polled).await);
        }
    }

    /// Whether nothing can be read until kubelet sends tokens or credentials again.
    fn awaits_credentials(&self) -> bool {
        let needed = |content: &Content| content.reader.source().needs_credentials();
        self.lost_credentials && self.content.as_ref().is_some_and(needed)
    }

    /// Writes the record of the volume as it is served now.
    async fn save(&self) {
        let class = self.content.as_ref().map(|content| &**content.class());
        let record = self.record(class, &self.showing.get());
        let records = self.parts.records.clone();
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let saved = volume::blocking(move || {
            let _writing = writing;
            Ok(records.save(&record))
        });
        if let Ok(saved) = saved.await {
            tell_if_unsaved(saved);
        }
    }

    /// The record of the volume with the files of `snapshot`. If the credentials are lost, it still says that there
    /// were some.
    fn record(&self, class: Option<&Class>, snapshot: &Snapshot) -> VolumeRecord {
        VolumeRecord::new(&self.publish, class, snapshot, self.mounted.mode(), self.mounted.mount_id())
            .with_credentials(self.newest.has_credentials() || self.lost_credentials)
            .read_on_open(self.on_open.is_some())
    }

    /// Serves the volume again, because it could not be unmounted.
    pub(super) async fn resume(&self) {
        self.site.resume().await;
        if let Some(on_open) = &self.on_open {
            on_open.resume();
        }
    }

    pub(super) fn describe(&self) {
        if let Some(on_open) = &self.on_open {
            return self.describe_asking(on_open);
        }
        let (content, shown) = (self.content.as_ref(), self.showing.get());
        let state = status::describe(&self.publish, content, &shown, self.failed.as_ref());
        let state = if self.begun_anew { state.unattended(self.confirmed) } else { state };
        let class_error = self.class_error.clone().map(|error| (ErrorKind::Invalid, error));
        self.state.send_replace(VolumeState {
            failure: class_error.or(state.failure),
            next_try: (!self.awaits_credentials() && !self.is_static()).then(|| self.next_due()),
            is_kept_fresh: !self.is_static(),
            awaits_credentials: self.awaits_credentials(),
            ..state
        });
    }
}

fn tell_if_unsaved(saved: std::io::Result<()>) {
    saved.unwrap_or_else(|error| tracing::warn!(%error, "a volume record could not be written"));
}

async fn announced(content: &mut Option<Content>) -> std::time::Instant {
    match content {
        Some(content) => content.reader.announced().await,
        None => std::future::pending().await,
    }
}
