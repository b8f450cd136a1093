//! What every volume of the process works with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use manifest::Class;
use provider::{Invalid, Source};
use tokio::time::{Instant, timeout_at};

use crate::class::Classes;
use crate::mode::Mode;
use crate::mounter::Mounter;
use crate::providers::Providers;
use crate::snapshot::FingerprintKey;
use crate::volume::content::Content;
use crate::volume::reader::{Reader, Stores};
use crate::volume::record::Records;
use crate::volume::report::Reporter;
use crate::volume::revocations::Revocations;
use crate::volume::site::VolumeSite;
use crate::volume::tenancy::Tenancy;
use crate::volume::{ClassName, Error, Publish};

/// How long a class that a starting pod names may be on its way.
const CLASS_ARRIVES: Duration = Duration::from_secs(2);

/// What every volume of the process works with.
#[derive(Debug)]
pub struct Parts {
    /// Stores by name.
    pub providers: Providers,
    /// Classes by name.
    pub classes: Arc<dyn Classes>,
    /// How files are shown.
    pub mode: Arc<dyn Mode>,
    /// The privileged verbs.
    pub mounter: Arc<dyn Mounter>,
    /// What survives a restart.
    pub records: Records,
    /// Logins that must be ended.
    pub revocations: Arc<Revocations>,
    /// Who is told.
    pub reporter: Reporter,
    /// What is known of stores.
    pub stores: Arc<Stores>,
    /// Makes fingerprints.
    pub key: Arc<FingerprintKey>,
    /// Settings of the process.
    pub limits: Limits,
}

/// What the administrator allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Shortest refresh interval, whatever a class says.
    pub min_refresh: Duration,
    /// Whether a pod's volume attributes may override its class, as the upstream driver lets them.
    pub legacy_overrides: bool,
    /// Publishes under way at one time; more wait.
    pub publishes: usize,
    /// Most bytes that a store on this node may put into what it is lent.
    pub lent_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_refresh: Duration::from_secs(1),
            legacy_overrides: false,
            publishes: 64,
            lent_bytes: crate::mode::Tmpfs::DEFAULT_MAX_BYTES,
        }
    }
}

impl Parts {
    /// The class of that name, as a pod with these volume attributes sees it.
    pub(super) async fn effective_class(
        &self,
        name: &ClassName,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Arc<Class>, Error> {
        let class = self.classes.get(name).await?;
        if attributes.is_empty() {
            return Ok(class);
        }
        let overridden = class.overridden_by(attributes, self.limits.legacy_overrides);
        Ok(Arc::new(overridden.map_err(|error| Error::Invalid(format!("volume attributes: {error}")))?))
    }

    /// The same, for a pod that starts. A class that is not there may be on its way: people apply
    /// it together with the pod.
    pub(super) async fn awaited_class(
        &self,
        name: &ClassName,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Arc<Class>, Error> {
        let mut changes = self.classes.changes();
        let deadline = Instant::now() + CLASS_ARRIVES;
        loop {
            let found = self.effective_class(name, attributes).await;
            let may_arrive = matches!(found, Err(Error::ClassNotFound(_) | Error::ClassNotYet(_)));
            if !may_arrive || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return found;
            }
        }
    }

    /// What a class asks of its provider.
    pub(super) fn source(&self, class: &Class) -> Result<Arc<dyn Source>, Error> {
        let name = ClassName { namespace: class.namespace.clone(), name: class.name.clone() };
        let provider = self.providers.get(&class.provider).ok_or_else(|| {
            let known: Vec<_> = self.providers.names().collect();
            let provider = &class.provider;
            Error::Invalid(format!(
                "class {name}: provider {provider:?} is not known; known are {}",
                known.join(", ")
            ))
        })?;
        let invalid = |faults: Vec<Invalid>| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Error::Invalid(format!("class {name}: {}", faults.join("; ")))
        };
        let source = provider.source(&class.parameters).map_err(invalid)?;
        if source.whole().is_some() {
            // Which objects there are is not known before the answer.
            return Ok(source);
        }
        match manifest::compose::verify(&class.settings, source.objects()) {
            faults if faults.is_empty() => Ok(source),
            faults => Err(invalid(faults)),
        }
    }

    /// How old readings of a class may grow.
    pub(super) fn refresh(&self, class: &Class) -> Duration {
        let provider = self.providers.get(&class.provider).map(|provider| provider.default_refresh());
        let wanted = class.settings.refresh.or(provider).unwrap_or(Duration::from_secs(60));
        wanted.max(self.limits.min_refresh)
    }

    /// What a store on this node is told of a volume, and lent for it.
    pub(super) fn site(&self, publish: &Publish) -> Arc<VolumeSite> {
        Arc::new(VolumeSite::new(Arc::clone(&self.mounter), publish, self.limits.lent_bytes))
    }

    /// The content of a class for the volume at `site`, of which nothing is read yet.
    pub(super) fn content(
        &self,
        publish: &Publish,
        class: Arc<Class>,
        source: Arc<dyn Source>,
        site: &Arc<VolumeSite>,
    ) -> Content {
        let tenancy = Tenancy::new(publish.id.clone(), class.provider.clone(), Arc::clone(&self.revocations));
        let site = Arc::<VolumeSite>::clone(site);
        let reader = Reader::new(Arc::clone(&self.stores), source, tenancy, site);
        let refresh = self.refresh(&class);
        Content::new(class, reader, refresh, Arc::clone(&self.key))
    }
}
