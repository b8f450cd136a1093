//! Reading a class once, for another program that shows the files.

use std::sync::Arc;
use std::time::Duration;

use manifest::{Class, OnRevoked};
use mounter::Mounter;
use provider::{ErrorKind, Moment as _, Providers, Workload, for_tenant};
use tokio::time::Instant;

use crate::mode::{Appearance, DEFAULT_MAX_BYTES};
use crate::snapshot::{FingerprintKey, Snapshot};
use crate::subject::Subject;
use crate::volume::about::About;
use crate::volume::boundary::unconfined;
use crate::volume::content::Content;
use crate::volume::first::{Waits, read_first, require_token};
use crate::volume::freshness::Policy;
use crate::volume::pace::Pace;
use crate::volume::parts::source_of;
use crate::volume::reader::Reader;
use crate::volume::report::Reporter;
use crate::volume::revocations::Revocations;
use crate::volume::site::VolumeSite;
use crate::volume::stores::Stores;
use crate::volume::tenancy::Tenancy;
use crate::volume::{ClassName, Error, Publish, VolumeId};

/// Reads classes. Mounts nothing, keeps nothing and polls nothing.
#[derive(Debug)]
pub struct Once {
    /// The providers, by the names that classes use.
    pub providers: Providers,
    /// The stores, and what is known of each.
    pub stores: Arc<Stores>,
    /// Ends logins.
    pub revocations: Arc<Revocations>,
    /// Keeps encrypted logins.
    pub mounter: Arc<dyn Mounter>,
    /// Writes the audit trail, the log and the metrics.
    pub reporter: Reporter,
    /// Makes fingerprints.
    pub key: Arc<FingerprintKey>,
}

impl Once {
    /// Reads the files of `class` for `workload` within `patience`. Afterwards ends the logins that belong to this
    /// volume alone.
    ///
    /// # Errors
    ///
    /// The errors of a publish. `Invalid` also if an object has a lease, because nobody would end it.
    pub async fn read(
        &self,
        class: Class,
        workload: Workload,
        patience: Duration,
    ) -> Result<Snapshot, Error> {
        let mut about = About::provider(&class.provider);
        let publish = wish(&class, &workload, patience.min(class.settings.timeout));
        let tenant = &workload.identity.namespace;
        let read = for_tenant(tenant, self.try_read(class, &publish, &workload, &mut about)).await;
        match &read {
            Ok(snapshot) => self.reporter.published(&publish, &about.provider, snapshot),
            Err(error) => {
                self.reporter.refused(&publish, &about, error.provider_kind(), &error.to_string());
            }
        }
        read
    }

    /// Does the reading. Sets `about` to what a failure is about.
    async fn try_read(
        &self,
        class: Class,
        publish: &Publish,
        workload: &Workload,
        about: &mut About,
    ) -> Result<Snapshot, Error> {
        if !class.settings.access.is_empty() {
            return Err(unconfined(&class));
        }
        let source = source_of(&self.providers, &class)?;
        require_token(workload, source.audience()).inspect_err(|_| *about = About::all(&class, &*source))?;
        let tenancy = Tenancy::new(publish, class.provider.clone(), Arc::clone(&self.revocations));
        let site = Arc::new(VolumeSite::new(Arc::clone(&self.mounter), publish, 0));
        let reader = Reader::new(Arc::clone(&self.stores), source, tenancy, site);
        // Only calls that run at the same time share a reading.
        let pace = Pace { refresh: Duration::ZERO, rotates: false };
        let policy = Policy::of(&class.settings, OnRevoked::default());
        let mut content =
            Content::new(Arc::new(class), reader, pace, policy, Arc::clone(&self.key), DEFAULT_MAX_BYTES);
        let deadline = Instant::now().later(publish.timeout);
        let read = read_first(&mut content, workload, Duration::ZERO, deadline, Waits::ForTheStore).await;
        let snapshot = read.and_then(|_| files(&mut content));
        if let Err(error) = &snapshot {
            *about = content.about(error.provider_kind());
        }
        content.reader.tenancy.end_all();
        snapshot
    }
}

fn files(content: &mut Content) -> Result<Snapshot, Error> {
    if let Some((request, _)) = content.reader.tenancy.lease_ends().first() {
        let leased = content.objects().find(|(object, _)| object.request == *request);
        let name = leased.map_or("?", |(object, _)| object.name.as_str());
        return Err(Error::Invalid(format!(
            "object {name:?} has a lease, which nobody would renew or end: the provider protocol does not tell \
             when a volume ends; mount it with secretfs's own driver"
        )));
    }
    let provider = content.class().provider.clone();
    let assembled = content.assemble(&Snapshot::default());
    assembled.map(|assembled| assembled.snapshot).map_err(|source| match source.kind() {
        ErrorKind::Invalid => Error::Invalid(source.to_string()),
        _ => Error::Provider { provider, source },
    })
}

/// The request that a driver would make to mount this class.
fn wish(class: &Class, workload: &Workload, timeout: Duration) -> Publish {
    Publish {
        id: VolumeId(workload.volume.clone()),
        target: std::path::PathBuf::new(),
        class: ClassName::from(class),
        subject: Subject::from(workload),
        attributes: std::collections::BTreeMap::new(),
        appearance: Appearance::default(),
        timeout,
    }
}
