//! One served volume: reads when it is time, shows what it read, until it is stopped.

mod class;
mod on_open;
mod round;

use std::sync::Arc;
use std::time::Duration;

use manifest::Class;
use provider::{Error, ErrorKind, ObjectPath, Workload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::mode::Mounted;
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

/// Longest pause after a failed refresh: a store that heals is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A person wants a volume read.
#[derive(Debug)]
pub struct Order {
    /// What was read before is not good enough.
    pub at: Instant,
    /// Tells which files changed, or what went wrong.
    pub reply: oneshot::Sender<Result<Vec<ObjectPath>, String>>,
}

/// One served volume.
#[derive(Debug)]
pub struct Served {
    /// The wish that made it, for the account that the newest tokens tell.
    pub publish: Publish,
    /// What it is to show; absent while its class is.
    pub content: Option<Content>,
    /// Its mount.
    pub mounted: Arc<dyn Mounted>,
    /// What a store on this node is told of it, and lent for it.
    pub(super) site: Arc<VolumeSite>,
    /// What its files are asked for by, where they are read when they are opened: it has no content then.
    on_open: Option<Arc<OnOpen>>,
    parts: Arc<Parts>,
    showing: Showing,
    failures: u32,
    retry_at: Option<Instant>,
    failed: Option<Error>,
    /// Why the class cannot be followed, if it cannot. What was served goes on being served.
    class_error: Option<String>,
    /// The class that an earlier process followed, until there is a newer one.
    last_class: Option<Class>,
    /// Whether tokens and credentials were lost with an earlier process.
    lost_credentials: bool,
    /// When the store last confirmed what an earlier task showed, where this one goes on with it.
    confirmed: Option<Instant>,
    /// Whether the task before ended by itself, and nothing was read since.
    begun_anew: bool,
    /// The denials that the audit trail has.
    audited: Audited,
    /// Its tokens and credentials, and the word that newer ones came.
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

    /// A volume that an earlier process mounted. It is read as soon as its class, if only as it was then, and
    /// credentials if it had some, are there.
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

    /// A volume that another driver mounted: kubelet just brought the tokens.
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

    /// A volume whose task ended by itself. What it shows is as old as it was then.
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

    /// What is to stay of the volume where its task ends by itself.
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
        let brought = newest.listen();
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
            newest,
            brought,
            state,
            writing: Arc::default(),
        }
    }

    /// Keeps the volume fresh until `stop`, then gives it back as it is.
    pub(super) async fn run(mut self, orders: &mut mpsc::Receiver<Order>, stop: &CancellationToken) -> Self {
        let mut classes = self.parts.classes.changes();
        // The class may have been edited since it was read for this volume, while its store was asked.
        classes.mark_changed();
        self.tell_of_expiries();
        loop {
            let due = self.next_due();
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Stop,
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
        // A record that was written later would outlive its volume.
        drop(self.writing.lock().await);
        self
    }

    async fn on(&mut self, wake: Wake) {
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
                // Whoever asked may have gone.
                let _ = reply.send(outcome.map_err(|error| error.to_string()));
            }
            Wake::Order(None) | Wake::Stop => {}
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

    /// Whether what stores and classes say is followed. Until the class is known, it is.
    fn rotates(&self) -> bool {
        self.content.as_ref().is_none_or(Content::rotates)
    }

    /// Whether what is shown stays as it is until somebody orders otherwise.
    fn is_static(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.is_kept_fresh())
    }

    /// New tokens are used at once where the old ones, or their absence, stood in the way.
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

    /// Whether nothing can be read until kubelet brings tokens and credentials again.
    fn awaits_credentials(&self) -> bool {
        let needed = |content: &Content| content.reader.source().needs_credentials();
        self.lost_credentials && self.content.as_ref().is_some_and(needed)
    }

    /// Writes down how the volume is served now.
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

    /// The record of the volume showing `snapshot`: it keeps that there were credentials, though they are lost.
    fn record(&self, class: Option<&Class>, snapshot: &Snapshot) -> VolumeRecord {
        VolumeRecord::new(&self.publish, class, snapshot, self.mounted.mode(), self.mounted.mount_id())
            .with_credentials(self.newest.has_credentials() || self.lost_credentials)
            .read_on_open(self.on_open.is_some())
    }

    /// Goes on to use what it was lent: it could not be taken away.
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
