//! Finds out what is mounted at a target.

use std::path::Path;

use anyhow::{Context as _, bail};
use engine::volume::record::VolumeRecord;
use engine::volume::{Publish, VolumeId};

use crate::host::{self, Left};
use crate::process::Process;

/// What is mounted at a target, seen by the owner of the target.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing is mounted there.
    Free,
    /// A mount that a process of secretfs left there. That process is gone.
    Ours(Box<VolumeRecord>),
}

impl Standing {
    /// Examines `target`, whose state is in `state`.
    ///
    /// # Errors
    ///
    /// Something else is mounted at the target, over it or below it. A volume there would hide it.
    pub(super) fn at(target: &Path, state: &Path) -> anyhow::Result<Self> {
        if let Some(Left { record, mount }) = host::Left::of(state) {
            return Ok(Self::Ours(Box::new(VolumeRecord { mount: Some(mount), ..record })));
        }
        host::none_hidden(target, state)?;
        let at = target.display();
        if mounter::ours_at(target)?.is_some() {
            bail!(
                "{at} is already mounted by a secretfs with another state directory; end it by `secretfs umount {at}`"
            );
        }
        if mounter::is_mount_root(target)? {
            bail!("something is mounted at {at} already and stays; unmount it, or choose another directory");
        }
        if let Some(below) = mounter::mounted_below(target).context("the mount table")? {
            let below = below.display();
            bail!(
                "{below} is mounted below {at} and would be hidden; unmount it, or choose another directory"
            );
        }
        Ok(Self::Free)
    }

    /// Serves the existing mount again, even if its store is away. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The mount cannot be read or written.
    pub(super) async fn adopt(self, process: &Process, publish: &mut Publish) -> anyhow::Result<bool> {
        let Self::Ours(record) = self else { return Ok(false) };
        if record.owner.is_none() {
            // An earlier version made it, so its files keep their appearance until it is unmounted.
            publish.appearance = record.appearance();
        }
        let (id, target): (VolumeId, &Path) = (record.id.clone(), &record.target);
        process.volumes.parts().records.save(&record).context("the volume's record")?;
        process.volumes.restore().await?;
        if process.volumes.state(&id).is_some() {
            tracing::info!(mounted_at = %record.target.display(), "goes on serving what an earlier process mounted");
            return Ok(true);
        }
        if !mounter::is_mount_root(target)? {
            tracing::info!(mounted_at = %target.display(), "the files of a process that is gone are mounted anew");
            return Ok(false);
        }
        bail!("{} cannot be taken over; `secretfs umount` takes it away", record.target.display())
    }
}
