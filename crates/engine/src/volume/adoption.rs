//! Taking over volumes that are already mounted: by an earlier process of ours, or by another driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use metrics::Withdrawal;
use mounter::MountId;
use provider::{FileMode, ObjectPath, Workload, for_tenant};

use crate::mode::{Appearance, Lost, Mode, Mounted, ShownFile};
use crate::snapshot::{File, Snapshot};
use crate::volume::covered::without;
use crate::volume::parts::Parts;
use crate::volume::record::VolumeRecord;
use crate::volume::served::Served;
use crate::volume::table::{Hold, unrecorded};
use crate::volume::{Error, Publish, Volumes, blocking};

impl Volumes {
    /// Takes over the volumes that an earlier process mounted, and ends the logins of volumes that no longer exist.
    /// Returns the number of volumes in the table afterwards.
    ///
    /// # Errors
    ///
    /// The records cannot be read, or the mounter cannot be asked.
    pub async fn restore(&self) -> anyhow::Result<usize> {
        let records = self.parts().records.load()?;
        let lost = self.resume(&records).await?;
        let mut adopted = Vec::new();
        for record in records {
            let id = record.id.clone();
            if let Some(lost) = lost.iter().find(|lost| lost.target == record.target) {
                self.give_up_lost(&record, lost);
                continue;
            }
            let tenant = record.publish().subject.identity.namespace;
            match for_tenant(&tenant, self.adopt(record)).await {
                Ok(found) => adopted.extend(found),
                Err(error) => {
                    tracing::warn!(volume = %id, %error, "a volume could not be taken over; kubelet's next call mounts it anew");
                }
            }
        }
        // Not before: each reads its store at once, and those that show something new take all threads for it. The others
        // would wait for these.
        for (hold, served) in adopted {
            self.serve(served);
            drop(hold);
        }
        let live: BTreeSet<_> = self.lock().keys().cloned().collect();
        self.parts().revocations.end_orphans(&live)?;
        Ok(live.len())
    }

    /// Goes on with the volumes that the process before served itself, before anything asks for files there.
    async fn resume(&self, records: &[VolumeRecord]) -> Result<Vec<Lost>, Error> {
        let known = |record: &VolumeRecord| {
            let (access, withheld) = (record.confinement(), self.parts().withheld(record));
            let appearance = Appearance { access, withheld, ..record.appearance() };
            (record.mode.clone(), record.target.clone(), appearance)
        };
        let volumes: Vec<_> = records.iter().map(known).collect();
        let parts = Arc::clone(self.parts());
        blocking(move || Ok(parts.modes.resume(&volumes)?)).await
    }

    /// Nobody can serve the volume any more. Its mount stays until its pod goes or it is published anew: whoever uses it
    /// gets errors, and no empty directory.
    fn give_up_lost(&self, record: &VolumeRecord, lost: &Lost) {
        self.parts().reporter.lost(&record.publish(), &lost.why);
        if let Err(error) = self.parts().records.remove(&record.id) {
            tracing::warn!(volume = %record.id, %error, "its record stays");
        }
    }

    /// Takes a volume over, to be served. `None` if it is served already, or is gone.
    async fn adopt(&self, record: VolumeRecord) -> Result<Option<(Hold<'_>, Served)>, Error> {
        let hold = self.hold(&record.id)?;
        if self.entry(&record.id).is_some() {
            return Ok(None);
        }
        let publish = record.publish();
        let mode = self.parts().modes.get(&record.mode).map_err(|error| Error::Invalid(error.to_string()))?;
        let Some((mounted, files)) = self.find(Some(mode), &publish, record.mount.clone()).await? else {
            let dropped = self.parts().records.remove(&record.id);
            dropped.map_err(|error| Error::Invalid(format!("its record stays: {error}")))?;
            return Ok(None);
        };
        if record.on_open {
            self.adopt_on_open(&record, mounted);
            return Ok(None);
        }
        let shown = self.parts().shown(&publish, Some(&record), files);
        let shown = self.take_covered_away(&publish, &record, &mounted, shown).await?;
        Ok(Some((hold, Served::adopted(Arc::clone(self.parts()), &record, mounted, shown))))
    }

    /// Takes files away that orders cover, before the volume is served. Returns what it shows then.
    async fn take_covered_away(
        &self,
        publish: &Publish,
        record: &VolumeRecord,
        mounted: &Arc<dyn Mounted>,
        shown: Snapshot,
    ) -> Result<Snapshot, Error> {
        let (class, paths) = (record.last_class(), shown.iter().map(|(path, _)| path));
        let withdrawn = self.parts().covered_files(publish, class.as_ref(), paths);
        if withdrawn.is_empty() {
            return Ok(shown);
        }
        let (rest, there) = (without(&shown, &withdrawn), Arc::clone(mounted));
        let (next, gone) = (rest.clone(), withdrawn.clone());
        blocking(move || Ok(there.replace(&next, &gone)?)).await?;
        let (orders, provider) = (
            self.parts().in_force.on(&publish.subject, &publish.class),
            class.map(|class| class.provider).unwrap_or_default(),
        );
        let withdrawn = (&withdrawn, Withdrawal::Revoked, orders.first());
        self.parts().reporter.withdrawn(publish, &provider, &shown, withdrawn);
        Ok(rest)
    }

    /// Finds the mount of a volume and the files that it shows. Without `mode`, tries every mode.
    async fn find(
        &self,
        mode: Option<&Arc<dyn Mode>>,
        publish: &Publish,
        made: Option<MountId>,
    ) -> Result<Option<(Arc<dyn Mounted>, Vec<ShownFile>)>, Error> {
        let (parts, mode, wish) = (Arc::clone(self.parts()), mode.cloned(), publish.clone());
        blocking(move || {
            parts.mounter.take_back(&wish.target)?;
            let Some(mounted) = parts.adopt(mode.as_deref(), &wish, made.as_ref())? else {
                return Ok(None);
            };
            let files = mounted.contents()?;
            Ok(Some((Arc::<dyn Mounted>::from(mounted), files)))
        })
        .await
    }

    /// Serves a volume that another driver mounted. Its files stay as they are until its store is read. Returns `false`
    /// if the mount holds no files: no container can have started with it then, so it is filled like a new volume.
    pub(super) async fn take_over(&self, publish: &Publish, workload: &Workload) -> Result<bool, Error> {
        let Some((mounted, files)) =
            self.find(None, publish, None).await?.filter(|(_, files)| !files.is_empty())
        else {
            return Ok(false);
        };
        let shown = self.parts().shown(publish, None, files);
        let record = VolumeRecord::new(publish, None, &shown, mounted.mode(), mounted.mount_id())
            .with_credentials(workload.has_credentials());
        let saved = self.parts().records.save(&record);
        saved.map_err(|source| unrecorded(publish, source))?;
        let provider = self.provider_of(&publish.class).await.unwrap_or_default();
        tracing::info!(volume = %publish.id, "taking over a volume that another driver mounted");
        self.parts().reporter.published(publish, &provider, &shown);
        let (parts, wish) = (Arc::clone(self.parts()), publish.clone());
        self.serve(Served::taken_over(parts, wish, workload.clone(), mounted, shown));
        Ok(true)
    }
}

impl Parts {
    /// The files that an earlier process showed, and that orders take back: nobody may read them even before the volume
    /// is taken over.
    fn withheld(&self, record: &VolumeRecord) -> BTreeSet<ObjectPath> {
        let paths: Vec<_> =
            record.files.keys().filter_map(|path| ObjectPath::try_from(path.as_str()).ok()).collect();
        self.covered_files(&record.publish(), record.last_class().as_ref(), paths.iter())
    }

    /// The snapshot that a mount shows. Versions and modes come from the record if it has them, otherwise from the
    /// files.
    pub(super) fn shown(
        &self,
        publish: &Publish,
        record: Option<&VolumeRecord>,
        files: Vec<ShownFile>,
    ) -> Snapshot {
        let default = publish.appearance.file_mode();
        let file = |shown: ShownFile| {
            let recorded = record.and_then(|record| record.files.get(shown.path.as_str()));
            let computed = || self.key.fingerprint(&shown.path, shown.contents.expose());
            let fingerprint = recorded.map_or_else(computed, |file| file.fingerprint.clone());
            let version = recorded.and_then(|file| file.version.clone());
            let looks = Some(shown.mode).filter(|mode| *mode != default);
            let mode = recorded.map_or(looks, |file| file.mode);
            let mode = mode.and_then(|mode| FileMode::try_from(u64::from(mode)).ok());
            (shown.path, File { contents: shown.contents, mode, fingerprint, version })
        };
        files.into_iter().map(file).collect()
    }
}
