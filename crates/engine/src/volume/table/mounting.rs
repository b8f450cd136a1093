//! Mounting a volume for the first time.

use std::collections::BTreeSet;
use std::sync::Arc;

use manifest::FetchWhen;
use program::failpoint;
use provider::{Moment as _, Workload};
use tokio::time::{Instant, timeout_at};

use crate::mode::{Appearance, Mode, Mounted, Prepared};
use crate::snapshot::Snapshot;
use crate::volume::about::About;
use crate::volume::admission::Turn;
use crate::volume::boundary::confinement;
use crate::volume::content::{Assembled, Content};
use crate::volume::first::{Waits, read_first, require_token};
use crate::volume::parts::Parts;
use crate::volume::record::VolumeRecord;
use crate::volume::served::Served;
use crate::volume::{Error, Publish, Volumes, blocking};

impl Volumes {
    /// Reads the class and mounts the volume. Sets `about` to what a failure is about.
    pub(super) async fn first_publish(
        &self,
        publish: &Publish,
        workload: &Workload,
        about: &mut About,
    ) -> Result<(), Error> {
        let class = self.parts.awaited_class(&publish.class, &publish.attributes).await?;
        *about = About::provider(&class.provider);
        let (mode, source) = (self.parts.mode(&class)?, self.parts.source(&class)?);
        require_token(workload, source.audience()).inspect_err(|_| *about = About::all(&class, &*source))?;
        self.parts.require_boundary(publish, &class).await?;
        if class.settings.fetch == FetchWhen::OnOpen {
            return self.publish_on_open(publish, workload, (class, mode, source)).await;
        }
        let deadline = Instant::now().later(publish.timeout.min(class.settings.timeout));
        let site = self.parts.site(publish);
        let mut content = self.parts.content(publish, class, source, &site);
        let shared_age = self.parts.limits.max_shared_age;
        let read = tokio::select! {
            biased;
            () = self.given_up.cancelled() => Err(Error::Stopping),
            read = read_first(&mut content, workload, shared_age, deadline, Waits::ForTheStore) => read,
        };
        let mounted = match read {
            Ok(cached) => {
                let mounted = self.mount(publish, workload, (&mut content, mode), deadline).await;
                mounted.map(|mounted| (mounted, cached))
            }
            Err(error) => Err(error),
        };
        match mounted {
            Ok(((mounted, snapshot), cached)) => {
                self.parts.reporter.published(publish, &about.provider, &snapshot);
                if let Some(cached) = cached {
                    self.parts.reporter.started_cached(publish, cached);
                }
                let (parts, wish, workload) = (Arc::clone(&self.parts), publish.clone(), workload.clone());
                self.serve(Served::new(parts, wish, workload, (content, site), mounted, snapshot));
                Ok(())
            }
            Err(error) => {
                *about = content.about(error.provider_kind());
                site.end().await;
                content.reader.tenancy.end_all();
                Err(error)
            }
        }
    }

    /// Writes the record, then shows the mount. A crash between the two leaves a record without a mount, which the next
    /// start removes.
    async fn mount(
        &self,
        publish: &Publish,
        workload: &Workload,
        (content, mode): (&mut Content, Arc<dyn Mode>),
        deadline: Instant,
    ) -> Result<(Arc<dyn Mounted>, Snapshot), Error> {
        failpoint::hit("publish.fetched");
        let provider = content.class().provider.clone();
        let wrap = |source| Error::Provider { provider: provider.clone(), source };
        let Assembled { snapshot, .. } = content.assemble(&Snapshot::default()).map_err(wrap)?;
        let record = VolumeRecord::new(publish, Some(content.class()), &snapshot, mode.name(), None)
            .with_credentials(workload.has_credentials());
        let turn = self.turn_to_mount(publish, &provider, deadline).await?;
        let access = confinement(publish, content.class())?;
        let appearance = Appearance { access, ..publish.appearance.clone() };
        let publish = Publish { appearance, ..publish.clone() };
        let (parts, shown) = (Arc::clone(&self.parts), snapshot.clone());
        let mounted = blocking(move || {
            let _turn = turn;
            let mounted = show(&parts, &*mode, &publish, &shown, record);
            mounted.inspect_err(|_| drop(parts.records.remove(&publish.id)))
        })
        .await?;
        failpoint::hit("publish.mounted");
        Ok((mounted, snapshot))
    }

    pub(super) async fn turn_to_mount(
        &self,
        publish: &Publish,
        provider: &str,
        deadline: Instant,
    ) -> Result<Turn, Error> {
        let begun = Instant::now();
        let entered = timeout_at(deadline, self.mounting.enter(publish.subject.namespace(), "mounts"));
        match entered.await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Error::Deadline {
                provider: provider.to_owned(),
                waited: begun.elapsed(),
                waiting_for: "its turn among the volumes that are being mounted".to_owned(),
            }),
        }
    }
}

pub(in crate::volume) fn unrecorded(publish: &Publish, source: std::io::Error) -> mounter::Error {
    mounter::Error::of("record the volume at", &publish.target)(source)
}

/// Mounts `snapshot`, or shows it in the mount that is already there. Writes `record` before anybody can see the files.
fn show(
    parts: &Parts,
    mode: &dyn Mode,
    publish: &Publish,
    snapshot: &Snapshot,
    record: VolumeRecord,
) -> Result<Arc<dyn Mounted>, Error> {
    if let Some(mounted) = parts.adopt(Some(mode), publish, None)? {
        mounted.confine(publish.appearance.access.as_ref())?;
        save(parts, publish, &VolumeRecord { mount: mounted.mount_id(), ..record })?;
        mounted.replace(snapshot, &BTreeSet::new())?;
        return Ok(Arc::from(mounted));
    }
    let prepared = mode.prepare(&publish.target, snapshot, &publish.appearance_of_tenant())?;
    let record = VolumeRecord { mount: prepared.mount_id(), ..record };
    save(parts, publish, &record)?;
    shown(parts, publish, prepared, record)
}

/// Shows what was prepared. A mount that was not known before it was seen goes into the record now.
pub(super) fn shown(
    parts: &Parts,
    publish: &Publish,
    prepared: Box<dyn Prepared>,
    record: VolumeRecord,
) -> Result<Arc<dyn Mounted>, Error> {
    let mounted: Arc<dyn Mounted> = Arc::from(prepared.show()?);
    let made = mounted.mount_id();
    if record.mount.is_none() && made.is_some() {
        let record = VolumeRecord { mount: made.clone(), ..record };
        if let Err(error) = save(parts, publish, &record) {
            if let Err(error) = parts.take_away(&publish.target, made.as_ref()) {
                tracing::warn!(%error, "a volume without a record stays mounted");
            }
            return Err(error.into());
        }
    }
    Ok(mounted)
}

pub(super) fn save(parts: &Parts, publish: &Publish, record: &VolumeRecord) -> Result<(), mounter::Error> {
    parts.records.save(record).map_err(|source| unrecorded(publish, source))?;
    failpoint::hit("publish.recorded");
    Ok(())
}
