//! What people and other modules ask of volumes: states, sizes, files, and refreshes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use provider::ObjectPath;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Entry;
use crate::mode::{Due, Usage};
use crate::snapshot::Snapshot;
use crate::volume::refusals::Refusal;
use crate::volume::served::Order;
use crate::volume::status::VolumeState;
use crate::volume::{Error, VolumeId, Volumes, blocking};

/// How long an order waits until the volume takes it, and then how long it waits for the result.
const REFRESH: Duration = Duration::from_secs(60);

/// The result of an ordered refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The volume shows what the store says now. These files changed.
    Refreshed(Vec<ObjectPath>),
    /// The refresh failed, for this reason.
    Failed(String),
}

impl Volumes {
    /// The volumes that were requested lately and are not mounted.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).list(Instant::now())
    }

    /// The space and the files that the volume at `path` uses.
    ///
    /// # Errors
    ///
    /// `NotPublished` if the volume is not published at `path`; `Mount` or `MounterAway` if its file system cannot be
    /// asked.
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

    /// The state of every volume, by id.
    pub fn states(&self) -> BTreeMap<VolumeId, VolumeState> {
        self.lock().iter().map(|(id, entry)| (id.clone(), entry.state())).collect()
    }

    /// The state of one volume, if it is served.
    pub fn state(&self, id: &VolumeId) -> Option<VolumeState> {
        self.entry(id).map(|entry| entry.state())
    }

    /// The snapshot that a served volume showed last. Asks nobody. `None` if the volume is not served, or if its files
    /// are read only when they are opened.
    pub fn shown(&self, id: &VolumeId) -> Option<Arc<Snapshot>> {
        let entry = self.entry(id)?;
        entry.remains.on_open.is_none().then(|| entry.remains.showing.get())
    }

    /// The files that orders take back and that a volume shows all the same, by volume: in a moment there are none. Files
    /// that stay because their class says so are not among them.
    pub fn covered(&self) -> BTreeMap<VolumeId, BTreeSet<ObjectPath>> {
        let entries: Vec<_> = self.lock().iter().map(|(id, entry)| (id.clone(), Arc::clone(entry))).collect();
        let covered = |(id, entry): (VolumeId, Arc<Entry>)| {
            let (publish, shown) = (entry.remains.publish(), entry.remains.showing.get());
            if self.parts.in_force.on(&publish.subject, &publish.class).is_empty() {
                return None;
            }
            let class = self.parts.records.of(&id).and_then(|record| record.last_class());
            let paths = shown.iter().map(|(path, _)| path);
            let covered = self.parts.covered_files(&publish, class.as_ref(), paths);
            (!covered.is_empty()).then_some((id, covered))
        };
        entries.into_iter().filter_map(covered).collect()
    }

    /// Writes to the audit trail who opened which files since it was called last. Waits for nobody.
    pub fn audit_opens(&self, due: Due) {
        let entries: Vec<_> = self.lock().values().cloned().collect();
        entries.iter().for_each(|entry| self.audit_opens_of(entry, due));
    }

    pub(super) fn audit_opens_of(&self, entry: &Entry, due: Due) {
        let remains = &entry.remains;
        let opens = remains.mounted.take_opens(due);
        if opens.is_empty() {
            return;
        }
        let (shown, provider) = (remains.showing.get(), remains.state.borrow().provider.clone());
        let provider = provider.unwrap_or_default();
        let mut coverage = entry.coverage.lock().unwrap_or_else(PoisonError::into_inner);
        for opening in &opens {
            coverage.note(opening, &shown);
            self.parts.reporter.seen(&remains.publish, &provider, &shown, opening);
        }
    }

    /// Replaces the remarks on a volume about `subject`: texts for people about what differs from what its class asks for.
    pub fn remark(&self, id: &VolumeId, subject: &'static str, remarks: Vec<String>) {
        if let Some(entry) = self.entry(id) {
            let mut known = entry.remarks.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(subject, remarks);
        }
    }

    /// The remarks that [`remark`](Self::remark) set.
    pub fn remarks(&self, id: &VolumeId) -> Vec<String> {
        let Some(entry) = self.entry(id) else { return Vec::new() };
        let known = entry.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().cloned().collect()
    }

    /// Makes a volume show what its store says at `ordered` or later, and waits for that. Volumes that get one order
    /// share readings. A revocation that is found so withdraws files at once. `None` if the volume is not served.
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
}
