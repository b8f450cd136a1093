//! One refresh of a served volume: it reads what is due, shows it and reports it. Also decides when the next one is
//! due.

use std::sync::Arc;
use std::time::Duration;

use provider::{Doubling, Error, ErrorKind, Moment as _, ObjectPath, Span};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{LONGEST_PAUSE, Served, tell_if_unsaved};
use crate::readings::spread;
use crate::revocation::On;
use crate::snapshot::Snapshot;
use crate::volume::about::Audited;
use crate::volume::content::{Assembled, Content};
use crate::volume::demand::Demand;
use crate::volume::freshness::Notice;
use crate::volume::parts::Parts;
use crate::volume::report::{Outlook, is_denial};
use crate::volume::store_health::Attempt;
use crate::volume::{self, Publish};

/// Pauses after failed refreshes.
const PAUSES: Doubling =
    Doubling { first: Duration::from_secs(1), longest: LONGEST_PAUSE, spread: [0.1, 1.0] };
/// How old a reading may become if rotation is off.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// How often a volume that waits for nothing wakes up.
const IDLE: Duration = Duration::from_secs(3600);

/// How a reading ended.
enum Read {
    /// Everything was asked for. The first error of an object that the class needs, if there was one.
    Done(Option<Error>),
    /// There are new orders. Nothing was judged.
    Overtaken,
}

/// Waits for orders that concern the volume of `publish` and are not `known`. Those of others end no reading.
async fn other_orders(changes: &mut watch::Receiver<u64>, parts: &Parts, publish: &Publish, known: &On) {
    while changes.changed().await.is_ok() {
        if parts.in_force.on(&publish.subject, &publish.class) != *known {
            return;
        }
    }
    std::future::pending().await
}

impl Served {
    /// Reads what is due, or was read before `not_before`, and shows it. Returns the files that changed.
    pub(super) async fn refresh(
        &mut self,
        not_before: Option<Instant>,
        notice: Notice,
    ) -> Result<Vec<ObjectPath>, volume::Error> {
        if self.awaits_credentials() {
            return Err(volume::Error::Invalid("the volume waits for kubelet's next token".to_owned()));
        }
        let begun = Instant::now();
        let error = loop {
            match self.read(not_before, notice).await? {
                Read::Done(error) => break error,
                Read::Overtaken => drop(self.obey().await),
            }
        };
        let provider =
            self.content.as_ref().map_or_else(String::new, |content| content.class().provider.clone());
        self.tell_of_expiries();
        let shown = self.show().await;
        let outcome = error.map_or(shown, |source| Err(volume::Error::Provider { provider, source }));
        self.parts.reporter.refresh_took(begun.elapsed());
        self.note(outcome.as_ref().err().map(as_provider_error).as_ref());
        outcome
    }

    /// Reads what is due. Orders to take something of this volume back do not wait for the store: they end the reading.
    async fn read(&mut self, not_before: Option<Instant>, notice: Notice) -> Result<Read, volume::Error> {
        let attempt = if self.failures > 0 { Attempt::Retry } else { Attempt::First };
        let Some(content) = &mut self.content else {
            return Err(volume::Error::ClassNotFound(self.publish.class.clone()));
        };
        let refresh = if content.rotates() { content.refresh() } else { NEVER };
        let demand = Demand { refresh, not_before, attempt };
        let (workload, orders) = (self.newest.get(), content.orders().clone());
        let ordered = other_orders(&mut self.in_force, &self.parts, &self.publish, &orders);
        let read = async {
            content.reader.tend(Instant::now()).await;
            content.read(&workload, demand, notice).await
        };
        tokio::select! {
            biased;
            () = ordered => {}
            error = read => return Ok(Read::Done(error)),
        }
        // The reading may have left the tmpfs of a store mounted.
        self.site.end().await;
        self.site.resume().await;
        Ok(Read::Overtaken)
    }

    /// Reports objects that expire, if that is new.
    pub(super) fn tell_of_expiries(&mut self) {
        if let Some(words) = self.content.as_mut().and_then(Content::expiring) {
            self.parts.reporter.expiring(&self.publish, words);
        }
    }

    /// Shows the current contents, if they are complete and differ from the files. Returns the files that changed.
    pub(super) async fn show(&mut self) -> Result<Vec<ObjectPath>, volume::Error> {
        let Some(content) = &mut self.content else { return Ok(Vec::new()) };
        let (provider, shown) = (content.class().provider.clone(), self.showing.get());
        let wrap = |source| volume::Error::Provider { provider: provider.clone(), source };
        content.complete().map_err(wrap)?;
        let assembled = content.assemble(&shown).map_err(wrap)?;
        let (reason, order) = (content.withdrawal(), content.withdrawing_order().cloned());
        if assembled.snapshot.same_versions(&shown) {
            self.learn(&shown, assembled.snapshot);
            self.parts.reporter.unchanged(&provider);
            self.settled();
            return Ok(Vec::new());
        }
        self.learn_of_the_old(&shown, &assembled.snapshot);
        self.replace(&assembled).await?;
        let Assembled { snapshot, withdrawn } = assembled;
        let snapshot = Arc::new(snapshot);
        // Before the reports, because a listener may look at the files at once.
        self.showing.set(&snapshot);
        let reporter = &self.parts.reporter;
        reporter.withdrawn(&self.publish, &provider, &shown, (&withdrawn, reason, order.as_ref()));
        let mut changed = reporter.rotated(&self.publish, &provider, &shown, &snapshot);
        changed.extend(withdrawn);
        self.settled();
        Ok(changed)
    }

    /// Takes note of what the files were made of, which this process did not know if an earlier one showed them.
    fn learn(&self, shown: &Snapshot, same: Snapshot) {
        if shown.objects().is_empty() && !same.objects().is_empty() {
            self.mounted.made_of(same.objects());
            self.showing.set(&Arc::new(same));
        }
    }

    /// The same of files that are replaced at once, if the earlier process followed the same class.
    fn learn_of_the_old(&self, shown: &Snapshot, next: &Snapshot) {
        if !shown.objects().is_empty() {
            return;
        }
        let before = self.parts.records.of(&self.publish.id).and_then(|record| record.last_class());
        let class = self.content.as_ref().map(|content| &**content.class());
        if before.is_some() && before.as_ref() == class {
            self.mounted.made_of(&shown.made_of_the_same(next.objects()));
        }
    }

    pub(super) async fn replace(&self, assembled: &Assembled) -> Result<(), volume::Error> {
        program::failpoint::hit("refresh.read");
        let snapshot = assembled.snapshot.clone();
        let class = self.content.as_ref().map(|content| &**content.class());
        let record = self.record(class, &snapshot);
        let (mounted, records, withdrawn) =
            (Arc::clone(&self.mounted), self.parts.records.clone(), assembled.withdrawn.clone());
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let recorded = volume::blocking(move || {
            let _writing = writing;
            mounted.replace(&snapshot, &withdrawn)?;
            program::failpoint::hit("refresh.shown");
            Ok(records.save(&record))
        })
        .await?;
        tell_if_unsaved(recorded);
        Ok(())
    }

    /// The volume shows everything that it holds, so old logins may end.
    pub(super) fn settled(&mut self) {
        if let Some(content) = &mut self.content {
            content.reader.tenancy.settled(Instant::now());
        }
    }

    /// Records how a refresh ended, and sets the time of the next try.
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

    /// Writes a denial to the audit trail: each object once, until a refresh ends in another way.
    fn audit_denial(&mut self, error: &Error) {
        let content = self.content.as_ref().filter(|_| is_denial(error.kind()));
        let Some(content) = content else { return self.audited = Audited::default() };
        if let Some(news) = self.audited.news(content.about(Some(error.kind()))) {
            self.parts.reporter.denied(&self.publish, &news, error);
        }
    }

    /// How long to wait after a failed refresh.
    fn pause(&self, error: &Error) -> Span {
        let refresh = Span::from(self.content.as_ref().map_or(LONGEST_PAUSE, Content::refresh));
        let pause = match error.kind() {
            ErrorKind::Unavailable => PAUSES.pause(self.failures, fastrand::f64()),
            _ => refresh.times(spread()),
        };
        // Up to a second longer than the store asked, by chance, so that not all volumes come back at once.
        let asked = error.wait().map(|wait| Span::from(wait).plus(Span::from_secs(1).times(fastrand::f64())));
        asked.map_or(pause, |asked| pause.max(asked))
    }

    pub(super) fn next_due(&self) -> Instant {
        let now = Instant::now();
        let idle = now.later(IDLE);
        if self.on_open.is_some() {
            return self.retry_at.unwrap_or(idle);
        }
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
        // If something is due already, it was tried just now. The pause prevents a busy loop.
        let floor = now.later(Duration::from_millis(if self.failures > 0 { 500 } else { 1 }));
        times.into_iter().flatten().min().map_or(idle, |at| at.max(floor))
    }
}

/// Turns a failure of our own into one like the store's, so that both are recorded in the same way.
fn as_provider_error(error: &volume::Error) -> Error {
    match error {
        volume::Error::Provider { source, .. } => source.clone(),
        other => Error::new(ErrorKind::Unavailable, other.to_string()),
    }
}
