//! One served volume: reads when it is time, shows what it read, until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use manifest::Class;
use provider::{Doubling, Error, ErrorKind, Moment as _, ObjectPath, Span, Workload};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::mode::Mounted;
use crate::readings::spread;
use crate::snapshot::Snapshot;
use crate::volume::about::Audited;
use crate::volume::content::{Assembled, Content};
use crate::volume::credentials::Newest;
use crate::volume::freshness::Notice;
use crate::volume::parts::Parts;
use crate::volume::reader::Demand;
use crate::volume::record::VolumeRecord;
use crate::volume::report::{Outlook, is_denial};
use crate::volume::showing::Showing;
use crate::volume::site::VolumeSite;
use crate::volume::status::{self, VolumeState};
use crate::volume::store_health::Attempt;
use crate::volume::upkeep::Remains;
use crate::volume::{self, Credentials, Publish};

/// Longest pause after a failed refresh: a store that heals is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pauses after failed refreshes.
const PAUSES: Doubling =
    Doubling { first: Duration::from_secs(1), longest: LONGEST_PAUSE, spread: [0.1, 1.0] };
/// How old a reading may grow where rotation is off.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// A volume with nothing to wait for looks around this often.
const IDLE: Duration = Duration::from_secs(3600);

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

/// Held by what writes files and records, which goes on where whoever waits for it is stopped.
pub(super) type Writing = Arc<Mutex<()>>;

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
        let Remains { parts, mounted, showing, site, newest, state, writing, .. } = remains;
        showing.set(shown);
        let mut served = Self::bare(parts, publish, newest, mounted, showing, site);
        served.lost_credentials =
            !served.newest.has_credentials() && record.is_some_and(|record| record.had_credentials);
        served.last_class = record.and_then(VolumeRecord::last_class);
        served.begun_anew = true;
        Self { confirmed, state, writing, ..served }
    }

    /// What is to stay of the volume where its task ends by itself.
    pub(super) fn remains(&self) -> Remains {
        Remains {
            parts: Arc::clone(&self.parts),
            publish: self.publish.clone(),
            newest: self.newest.clone(),
            mounted: Arc::clone(&self.mounted),
            showing: self.showing.clone(),
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

    /// Follows an edit of the class. One that is gone, broken or not known yet leaves the volume as it is.
    async fn on_class(&mut self) {
        let found = self.parts.effective_class(&self.publish.class, &self.publish.attributes).await;
        let changed = match found.and_then(|class| self.take_class(class)) {
            Ok(changed) => {
                (self.class_error, self.last_class) = (None, None);
                changed
            }
            Err(error) => {
                self.note_class(&error);
                self.take_last_class()
            }
        };
        if changed {
            if !self.is_static() {
                drop(self.refresh(None, Notice::Polled).await);
            }
            self.save().await;
        }
    }

    fn note_class(&mut self, error: &volume::Error) {
        let text = error.to_string();
        let told = self.class_error.as_ref() == Some(&text);
        if !told && !matches!(error, volume::Error::ClassNotYet(_)) {
            let error = Error::new(ErrorKind::Invalid, text.clone());
            let provider = self.content.as_ref().map_or("", |content| &content.class().provider);
            self.parts.reporter.failed(&self.publish, provider, &error, Outlook::Stay, false);
        }
        self.class_error = Some(text);
        if self.content.is_none() {
            self.retry_at = Some(Instant::now().later(LONGEST_PAUSE));
        }
    }

    /// Serves what an earlier process served, where nothing newer can be had. Tells whether it does.
    fn take_last_class(&mut self) -> bool {
        let last = self.last_class.take().filter(|_| self.content.is_none());
        last.is_some_and(|class| self.take_class(Arc::new(class)).unwrap_or(false))
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
    }

    /// Serves `class` from now on. Tells whether it differs from what was served.
    fn take_class(&mut self, class: Arc<Class>) -> Result<bool, volume::Error> {
        if self.content.as_ref().is_some_and(|content| **content.class() == *class) {
            return Ok(false);
        }
        let source = self.parts.source(&class)?;
        let (pace, policy) = (self.parts.pace(&class), self.parts.policy(&class));
        match &mut self.content {
            Some(content) if content.class().provider == class.provider => {
                content.edit(class, source, pace, policy)
            }
            old => {
                let kept = self.parts.revocations.kept_of(&self.publish.id)?;
                let mut content = self.parts.content(&self.publish, class, source, &self.site);
                content.reader.tenancy.inherit(kept);
                content.carry(&self.showing.get(), self.confirmed.unwrap_or_else(Instant::now));
                *old = Some(content);
            }
        }
        Ok(true)
    }

    /// Reads what is due, or was made before `not_before`, and shows it. Tells which files changed.
    async fn refresh(
        &mut self,
        not_before: Option<Instant>,
        notice: Notice,
    ) -> Result<Vec<ObjectPath>, volume::Error> {
        if self.awaits_credentials() {
            return Err(volume::Error::Invalid("the volume waits for kubelet's next token".to_owned()));
        }
        let attempt = if self.failures > 0 { Attempt::Retry } else { Attempt::First };
        let Some(content) = &mut self.content else {
            return Err(volume::Error::ClassNotFound(self.publish.class.clone()));
        };
        let begun = Instant::now();
        content.reader.tend(begun).await;
        let refresh = if content.rotates() { content.refresh() } else { NEVER };
        let demand = Demand { refresh, not_before, attempt };
        let error = content.read(&self.newest.get(), demand, notice).await;
        let provider = content.class().provider.clone();
        let shown = self.show().await;
        let outcome = error.map_or(shown, |source| Err(volume::Error::Provider { provider, source }));
        self.parts.reporter.refresh_took(begun.elapsed());
        self.note(outcome.as_ref().err().map(as_provider_error).as_ref());
        outcome
    }

    /// Shows what is there now, if it is complete and differs from what is shown. Tells which files changed.
    async fn show(&mut self) -> Result<Vec<ObjectPath>, volume::Error> {
        let Some(content) = &mut self.content else { return Ok(Vec::new()) };
        let (provider, shown) = (content.class().provider.clone(), self.showing.get());
        let wrap = |source| volume::Error::Provider { provider: provider.clone(), source };
        content.complete().map_err(wrap)?;
        let assembled = content.assemble(&shown).map_err(wrap)?;
        let reason = content.withdrawal();
        if assembled.snapshot.same_versions(&shown) {
            self.parts.reporter.unchanged(&provider);
            self.settled();
            return Ok(Vec::new());
        }
        self.replace(&assembled).await?;
        let Assembled { snapshot, withdrawn } = assembled;
        let snapshot = Arc::new(snapshot);
        // Before anybody is told, who then looks at it.
        self.showing.set(&snapshot);
        let reporter = &self.parts.reporter;
        reporter.withdrawn(&self.publish, &provider, &shown, &withdrawn, reason);
        let mut changed = reporter.rotated(&self.publish, &provider, &shown, &snapshot);
        changed.extend(withdrawn);
        self.settled();
        Ok(changed)
    }

    async fn replace(&self, assembled: &Assembled) -> Result<(), volume::Error> {
        crate::failpoint::hit("refresh.read");
        let snapshot = assembled.snapshot.clone();
        let class = self.content.as_ref().map(|content| &**content.class());
        let record = self.record(class, &snapshot);
        let (mounted, records, withdrawn) =
            (Arc::clone(&self.mounted), self.parts.records.clone(), assembled.withdrawn.clone());
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let recorded = volume::blocking(move || {
            let _writing = writing;
            mounted.replace(&snapshot, &withdrawn)?;
            crate::failpoint::hit("refresh.shown");
            Ok(records.save(&record))
        })
        .await?;
        tell_if_unsaved(recorded);
        Ok(())
    }

    /// What is held is what is shown.
    fn settled(&mut self) {
        if let Some(content) = &mut self.content {
            content.reader.tenancy.settled(Instant::now());
        }
    }

    /// Takes note of how a refresh ended, and sets the time of the next try.
    fn note(&mut self, error: Option<&Error>) {
        let now = Instant::now();
        match error {
            None => {
                if self.failed.take().is_some() {
                    self.parts.reporter.recovered(&self.publish);
                }
                self.failures = 0;
                self.retry_at = None;
                self.audited = Audited::default();
                (self.begun_anew, self.confirmed) = (false, None);
            }
            Some(error) => {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now.later(self.pause(error)));
                let again = self.failed.as_ref().is_some_and(|failed| failed.kind() == error.kind());
                let provider = self.content.as_ref().map_or("", |content| &content.class().provider);
                let outlook =
                    self.content.as_ref().map_or(Outlook::Stay, |content| content.outlook(error.kind()));
                self.parts.reporter.failed(&self.publish, provider, error, outlook, again);
                self.audit_denial(error);
                self.failed = Some(error.clone());
            }
        }
    }

    /// Each object once, until the refresh ends in another way.
    fn audit_denial(&mut self, error: &Error) {
        let content = self.content.as_ref().filter(|_| is_denial(error.kind()));
        let Some(content) = content else { return self.audited = Audited::default() };
        if let Some(news) = self.audited.news(content.about(Some(error.kind()))) {
            self.parts.reporter.denied(&self.publish, &news, error);
        }
    }

    /// How long to leave a failing refresh alone.
    fn pause(&self, error: &Error) -> Span {
        let refresh = Span::from(self.content.as_ref().map_or(LONGEST_PAUSE, Content::refresh));
        let pause = match error.kind() {
            ErrorKind::Unavailable => PAUSES.pause(self.failures, fastrand::f64()),
            _ => refresh.times(spread()),
        };
        // A second more than asked for, spread out, so that not everybody comes back at once.
        let asked = error.wait().map(|wait| Span::from(wait).plus(Span::from_secs(1).times(fastrand::f64())));
        asked.map_or(pause, |asked| pause.max(asked))
    }

    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let idle = now.later(IDLE);
        if self.awaits_credentials() {
            return idle;
        }
        let Some(content) = &self.content else { return self.retry_at.unwrap_or(now) };
        if self.is_static() {
            return idle;
        }
        let polled = content.rotates().then(|| content.reader.next_due(content.refresh())).flatten();
        let refresh = self.retry_at.or(polled);
        let times = [refresh, content.reader.tenancy.next_due(), content.reconsider_at()];
        // Something that is due already was tried just now: do not spin.
        let floor = now.later(Duration::from_millis(if self.failures > 0 { 500 } else { 1 }));
        times.into_iter().flatten().min().map_or(idle, |at| at.max(floor))
    }

    pub(super) fn describe(&self) {
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

/// A refresh that failed for a reason of our own is noted like one that the store failed.
fn as_provider_error(error: &volume::Error) -> Error {
    match error {
        volume::Error::Provider { source, .. } => source.clone(),
        other => Error::new(ErrorKind::Unavailable, other.to_string()),
    }
}
