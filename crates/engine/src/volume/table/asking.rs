//! What people, and parts that make something else of volumes, ask of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use provider::ObjectPath;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Entry;
use crate::mode::Usage;
use crate::snapshot::Snapshot;
use crate::volume::refusals::Refusal;
use crate::volume::served::Order;
use crate::volume::status::VolumeState;
use crate::volume::{Error, VolumeId, Volumes, blocking};

/// How long somebody waits for an ordered refresh.
const REFRESH: Duration = Duration::from_secs(60);

/// What came of an ordered refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The volume shows what the store says now; these files changed.
    Refreshed(Vec<ObjectPath>),
    /// It does not, and why.
    Failed(String),
}

impl Volumes {
    /// The volumes that were asked for lately and are not mounted.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).list(Instant::now())
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

    /// What was noted of a volume by [`remark`](Self::remark).
    pub fn remarks(&self, id: &VolumeId) -> Vec<String> {
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
}
