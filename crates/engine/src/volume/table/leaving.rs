//! Unpublishing volumes, and the end of the process.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mounter::MountId;
use program::failpoint;
use tokio::time::timeout;

use crate::mode::Due;
use crate::volume::served::Served;
use crate::volume::{Error, VolumeId, Volumes, blocking};

/// How long a volume may take to stop.
const STOP: Duration = Duration::from_secs(5);
/// How long running calls may take when the process stops.
const DRAIN: Duration = Duration::from_secs(20);

impl Volumes {
    /// Unmounts a volume and forgets it. Succeeds if the volume does not exist.
    ///
    /// # Errors
    ///
    /// `Busy`, or the kernel refuses to unmount. Calling again is safe.
    pub async fn unpublish(&self, id: &VolumeId, target: &Path) -> Result<(), Error> {
        let _hold = self.hold(id)?;
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
        let elsewhere = self.entry(id).is_some_and(|entry| entry.remains.publish.target != target);
        if elsewhere {
            return self.take_away(target, None).await;
        }
        let entry = self.entry(id);
        let made = entry.as_ref().and_then(|entry| entry.remains.mounted.mount_id());
        let served = self.stop(id).await;
        failpoint::hit("unpublish.stopped");
        if let Err(error) = self.take_away(target, made).await {
            if let Some(served) = served {
                served.resume().await;
                self.serve(served);
            }
            return Err(error);
        }
        if let Some(entry) = entry {
            self.audit_opens_of(&entry, Due::All);
        }
        self.let_go(id, served);
        Ok(())
    }

    /// Ends the logins of an unmounted volume and removes its record. What fails now is done later.
    fn let_go(&self, id: &VolumeId, served: Option<Served>) {
        if let Some(mut served) = served {
            if let Some(content) = &mut served.content {
                content.reader.tenancy.end_all();
            }
            self.parts.reporter.unpublished(&served.publish);
        }
        if let Err(error) = self.parts.revocations.end_all_of(id) {
            tracing::warn!(volume = %id, %error, "logins of the volume may last until their own end");
        }
        if let Err(error) = self.parts.records.remove(id) {
            tracing::warn!(volume = %id, %error, "the volume's record stays until the next start");
        }
    }

    /// Unmounts the volume, and keeps nothing of it for a later process.
    async fn take_away(&self, target: &Path, made: Option<MountId>) -> Result<(), Error> {
        let (parts, target) = (Arc::clone(&self.parts), target.to_owned());
        blocking(move || {
            parts.take_away(&target, made.as_ref())?;
            failpoint::hit("unpublish.detached");
            parts.modes.forget(&target);
            Ok(())
        })
        .await
    }

    /// Stops serving a volume and returns it. The mount stays. `None` if it was not served, or if its task did not stop
    /// in time.
    pub(super) async fn stop(&self, id: &VolumeId) -> Option<Served> {
        let entry = self.table.lock().unwrap_or_else(PoisonError::into_inner).remove(id)?;
        entry.stop.cancel();
        if let Some(on_open) = &entry.remains.on_open {
            on_open.end().await;
        }
        let mut task = entry.task.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let served = match timeout(STOP, &mut task).await {
            Ok(served) => served.ok(),
            Err(_) => {
                task.abort();
                None
            }
        };
        // An interrupted refresh may have left the tmpfs of a store mounted.
        entry.remains.site.end().await;
        served
    }

    /// Takes no more calls, lets running calls finish, and stops every volume. The mounts stay.
    pub async fn drain(&self) {
        self.stopping.cancel();
        self.calls.close();
        if timeout(DRAIN, self.calls.wait()).await.is_err() {
            tracing::warn!("some calls did not finish; kubelet repeats them");
        }
        let entries: Vec<_> = self.lock().iter().map(|(id, entry)| (id.clone(), Arc::clone(entry))).collect();
        futures::future::join_all(entries.iter().map(|(id, _)| self.stop(id))).await;
        entries.iter().for_each(|(_, entry)| self.audit_opens_of(entry, Due::All));
    }
}
