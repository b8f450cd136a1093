//! What stays of a volume if its task ends by itself. Another task goes on with it.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::mode::Mounted;
use crate::subject::Subject;
use crate::volume::Publish;
use crate::volume::credentials::Newest;
use crate::volume::on_open::OnOpen;
use crate::volume::parts::Parts;
use crate::volume::showing::Showing;
use crate::volume::site::VolumeSite;
use crate::volume::status::VolumeState;

/// The lock of the work that writes files and records. This work runs to its end even if the task that waits for it is
/// stopped.
pub(super) type Writing = Arc<Mutex<()>>;

/// What stays of a volume whose task ended.
#[derive(Debug, Clone)]
pub(super) struct Remains {
    pub(super) parts: Arc<Parts>,
    pub(super) publish: Publish,
    pub(super) newest: Newest,
    pub(super) mounted: Arc<dyn Mounted>,
    pub(super) showing: Showing,
    /// Reads the files when they are opened, for volumes of that kind.
    pub(super) on_open: Option<Arc<OnOpen>>,
    pub(super) site: Arc<VolumeSite>,
    pub(super) state: watch::Sender<VolumeState>,
    pub(super) writing: Writing,
}

impl Remains {
    /// The request that made the volume, with the identity that the newest tokens name.
    pub(super) fn publish(&self) -> Publish {
        let subject = Subject { identity: self.newest.identity(), ..self.publish.subject.clone() };
        Publish { subject, ..self.publish.clone() }
    }
}
