//! What stays of a volume where its task ends: with it another goes on.

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

/// Held by what writes files and records, which goes on where whoever waits for it is stopped.
pub(super) type Writing = Arc<Mutex<()>>;

/// What stays of a volume whose task ended.
#[derive(Debug, Clone)]
pub(super) struct Remains {
    pub(super) parts: Arc<Parts>,
    pub(super) publish: Publish,
    pub(super) newest: Newest,
    pub(super) mounted: Arc<dyn Mounted>,
    pub(super) showing: Showing,
    /// What its files are asked for by, where they are read when they are opened.
    pub(super) on_open: Option<Arc<OnOpen>>,
    pub(super) site: Arc<VolumeSite>,
    pub(super) state: watch::Sender<VolumeState>,
    pub(super) writing: Writing,
}

impl Remains {
    /// The wish that made the volume, for the account that the newest tokens tell.
    pub(super) fn publish(&self) -> Publish {
        let subject = Subject { identity: self.newest.identity(), ..self.publish.subject.clone() };
        Publish { subject, ..self.publish.clone() }
    }
}
