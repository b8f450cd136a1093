//! Mounting and taking over volumes whose files are read when they are opened.

use std::sync::Arc;

use manifest::Class;
use provider::{Moment as _, Source, Workload};
use tokio::time::Instant;

use super::mounting::{save, shown};
use crate::mode::{Appearance, Door, Listing, Mode, Mounted};
use crate::snapshot::Snapshot;
use crate::volume::boundary::confinement;
use crate::volume::on_open::{OnOpen, Wanted, require_asking};
use crate::volume::parts::Parts;
use crate::volume::record::VolumeRecord;
use crate::volume::served::Served;
use crate::volume::{Credentials, Error, Publish, Volumes, blocking};

impl Volumes {
    /// Mounts a volume with the files of `class`. Reads none of them.
    pub(super) async fn publish_on_open(
        &self,
        publish: &Publish,
        workload: &Workload,
        (class, mode, source): (Arc<Class>, Arc<dyn Mode>, Arc<dyn Source>),
    ) -> Result<(), Error> {
        let parts = self.parts();
        require_asking(&class, mode.name(), mode.abilities(), &parts.modes.asking())?;
        if let Some(order) = parts.in_force.on(&publish.subject, &publish.class).whole() {
            return Err(Error::Provider { provider: class.provider.clone(), source: order.error() });
        }
        let wanted = Wanted::new(Arc::clone(&class), source)?;
        let access = confinement(publish, &class)?;
        let on_open = OnOpen::new(Arc::clone(parts), publish.clone(), workload.clone(), Some(wanted.clone()));
        let record = VolumeRecord::new(publish, Some(&class), &Snapshot::default(), mode.name(), None)
            .with_credentials(workload.has_credentials())
            .read_on_open(true);
        let deadline = Instant::now().later(publish.timeout.min(class.settings.timeout));
        let turn = self.turn_to_mount(publish, &class.provider, deadline).await?;
        let wish =
            Publish { appearance: Appearance { access, ..publish.appearance.clone() }, ..publish.clone() };
        let (shared, listing, door) = (Arc::clone(parts), wanted.listing(), on_open.door());
        let mounted = blocking(move || {
            let _turn = turn;
            let mounted = show(&shared, &*mode, &wish, (&listing, &door), record);
            mounted.inspect_err(|_| drop(shared.records.remove(&wish.id)))
        });
        let mounted = mounted.await?;
        parts.reporter.published(publish, &class.provider, &Snapshot::default());
        self.serve(Served::asking(&on_open, mounted));
        Ok(())
    }

    /// Serves a volume that an earlier process mounted. Its files can be read once this process knows its class.
    pub(in crate::volume) fn adopt_on_open(&self, record: &VolumeRecord, mounted: Arc<dyn Mounted>) {
        let publish = record.publish();
        let workload = publish.workload(Credentials::default());
        let on_open = OnOpen::new(Arc::clone(self.parts()), publish, workload, None);
        self.serve(Served::asking_again(&on_open, record, mounted));
    }
}

/// Mounts the files, or lists them in the mount that is already there. Writes `record` before anybody can see the
/// files.
fn show(
    parts: &Parts,
    mode: &dyn Mode,
    publish: &Publish,
    (listing, door): (&Listing, &Arc<dyn Door>),
    record: VolumeRecord,
) -> Result<Arc<dyn Mounted>, Error> {
    if let Some(mounted) = parts.adopt(Some(mode), publish, None)? {
        mounted.confine(publish.appearance.access.as_ref())?;
        save(parts, publish, &VolumeRecord { mount: mounted.mount_id(), ..record })?;
        mounted.list(listing, door)?;
        return Ok(Arc::from(mounted));
    }
    let appearance = publish.appearance_of_tenant();
    let prepared = mode.prepare_on_open(&publish.target, listing, &appearance, door)?;
    let record = VolumeRecord { mount: prepared.mount_id(), ..record };
    save(parts, publish, &record)?;
    shown(parts, publish, prepared, record)
}
