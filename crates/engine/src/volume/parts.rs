//! The parts that every volume of the process works with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use class::Classes;
use manifest::{AccessUnsafe, Class, OnRevoked};
use mounter::{MountId, Mounter};
use provider::{Invalid, Moment as _, Providers, Source, Span};
use tokio::time::{Instant, timeout_at};

use crate::mode::{self, Mode, Modes, Mounted};
use crate::revocation::InForce;
use crate::snapshot::FingerprintKey;
use crate::volume::access::Access;
use crate::volume::boundary::{Breach, Pods, confinement, unconfined};
use crate::volume::content::Content;
use crate::volume::freshness::Policy;
use crate::volume::pace::Pace;
use crate::volume::reader::Reader;
use crate::volume::record::Records;
use crate::volume::report::Reporter;
use crate::volume::revocations::Revocations;
use crate::volume::room::Rooms;
use crate::volume::site::VolumeSite;
use crate::volume::stores::Stores;
use crate::volume::tenancy::Tenancy;
use crate::volume::{ClassName, Error, Publish};

/// How long a starting pod waits for a class that does not exist yet.
const CLASS_ARRIVES: Duration = Duration::from_secs(2);

/// The parts that every volume of the process works with.
#[derive(Debug)]
pub struct Parts {
    /// The providers, by the names that classes use.
    pub providers: Providers,
    /// The classes, by name.
    pub classes: Arc<dyn Classes>,
    /// The modes: the ways to show files.
    pub modes: Modes,
    /// Does the privileged operations, such as mounting.
    pub mounter: Arc<dyn Mounter>,
    /// The records of volumes, which survive a restart.
    pub records: Records,
    /// Ends logins.
    pub revocations: Arc<Revocations>,
    /// Writes the audit trail, the log and the metrics, and notifies listeners.
    pub reporter: Reporter,
    /// The stores, and what is known of each.
    pub stores: Arc<Stores>,
    /// Decides which process may open a file that is read when it is opened.
    pub access: Arc<dyn Access>,
    /// What only the API server knows of pods, for classes with access rules.
    pub pods: Arc<dyn Pods>,
    /// The orders to take secrets back that hold now.
    pub in_force: Arc<InForce>,
    /// The bounds for callers that open such files, and for the bytes that these hold.
    pub rooms: Rooms,
    /// Makes fingerprints.
    pub key: Arc<FingerprintKey>,
    /// Settings of the process.
    pub limits: Limits,
}

/// What the administrator allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Shortest refresh interval, even if a class asks for a shorter one.
    pub min_refresh: Duration,
    /// How old a reading of another volume with the same identity may be when a new volume starts with it. The class's
    /// `refresh` does not change this.
    pub max_shared_age: Duration,
    /// Whether a pod's volume attributes may override every provider parameter of its class, as with the upstream
    /// driver.
    pub legacy_overrides: bool,
    /// How long the contents of a file that was read when it was opened may stay in this process, counted from the
    /// store's answer, if its class does not say; at most [`MOST_HELD`](manifest::MOST_HELD).
    pub hold: Duration,
    /// How many volumes may be mounted at the same moment. Others wait, and hold what they read.
    pub mounts: usize,
    /// Largest size of a volume in bytes. The bound also holds for its composed files in memory, and for the tmpfs that
    /// a store on this node gets for it.
    pub volume_bytes: u64,
    /// Settings for classes that do not say.
    pub defaults: Defaults,
    /// Who owns the target paths.
    pub targets: Targets,
}

/// Who owns the target paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Targets {
    /// People own them. A mount there is taken over or unmounted only if it is the very mount that this program made.
    #[default]
    People,
    /// The driver owns them: kubelet made them for it. So it may take over or unmount whatever is mounted there.
    Driver,
}

/// Settings for classes that do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defaults {
    /// `secretfs.dev/on-revoked`.
    pub on_revoked: OnRevoked,
    /// `secretfs.dev/refresh`.
    pub rotation: Rotation,
}

/// Whether and how often values are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// At the interval that the provider declares.
    #[default]
    ByProvider,
    /// At this interval.
    Every(Duration),
    /// Never after the mount, as with the upstream driver if its rotation is off.
    Off,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_refresh: Duration::from_secs(1),
            max_shared_age: Duration::from_secs(60),
            legacy_overrides: false,
            hold: manifest::HELD,
            mounts: 32,
            volume_bytes: mode::DEFAULT_MAX_BYTES,
            defaults: Defaults::default(),
            targets: Targets::Driver,
        }
    }
}

impl Limits {
    /// How long the contents of an opened file may stay: as its class says, or [`hold`](Self::hold), within the bound.
    pub fn held_opened(&self, class: Option<Duration>) -> Duration {
        class.unwrap_or(self.hold).min(manifest::MOST_HELD)
    }
}

impl Parts {
    /// The class of this name, as a pod with these volume attributes sees it.
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

    /// The same for a pod that starts. Waits for a class that does not exist yet: people often apply it together with
    /// the pod.
    pub(super) async fn awaited_class(
        &self,
        name: &ClassName,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Arc<Class>, Error> {
        let mut changes = self.classes.changes();
        let deadline = Instant::now().later(CLASS_ARRIVES);
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
        let source = source_of(&self.providers, class)?;
        if let Some(exposure) = source.exposure() {
            self.reporter.exposed(class, exposure);
        }
        Ok(source)
    }

    /// How the values of a class are kept fresh. The class decides; if it does not say, the administrator, and then the
    /// provider.
    pub(super) fn pace(&self, class: &Class) -> Pace {
        let provider = self.providers.get(&class.provider).map(|provider| provider.default_refresh());
        let (default, rotates) = match self.limits.defaults.rotation {
            Rotation::ByProvider => (provider, true),
            Rotation::Every(interval) => (Some(interval), true),
            Rotation::Off => (provider, false),
        };
        let wanted = class.settings.refresh.or(default).unwrap_or(Duration::from_secs(60));
        let rotates = rotates || class.settings.refresh.is_some();
        Pace { refresh: Span::capped(wanted.max(self.limits.min_refresh)).get(), rotates }
    }

    /// What happens to the files of a class if its store does not confirm them.
    pub(super) fn policy(&self, class: &Class) -> Policy {
        Policy::of(&class.settings, self.limits.defaults.on_revoked)
    }

    /// Checks that the rules of `class` can hold in the pod of `publish`. Asks nobody where there are no rules.
    ///
    /// # Errors
    ///
    /// They cannot, and the class does not allow that; or nobody tells.
    pub(super) async fn require_boundary(&self, publish: &Publish, class: &Class) -> Result<(), Error> {
        if confinement(publish, class)?.is_none() || class.settings.access_unsafe == AccessUnsafe::Allow {
            return Ok(());
        }
        let Some(pod) = &publish.subject.pod else { return Err(unconfined(class)) };
        let told = self.pods.breaches(publish.subject.namespace(), pod).await;
        let unknown =
            |why| Error::ClassNotYet(format!("class {} has access rules, and {why}", publish.class));
        let breaches: Vec<String> = told.map_err(unknown)?.iter().map(Breach::to_string).collect();
        if breaches.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "class {} has access rules, which keep nobody out in this pod: {}; change the pod, or write \
             secretfs.dev/access-unsafe: allow",
            publish.class,
            breaches.join(", ")
        )))
    }

    /// The mode that shows the files of a class.
    pub(super) fn mode(&self, class: &Class) -> Result<Arc<dyn Mode>, Error> {
        let invalid = |error| Error::Invalid(format!("class {}/{}: {error}", class.namespace, class.name));
        self.modes.get(class.settings.mode.name()).cloned().map_err(invalid)
    }

    /// The mount that is already at the target of `publish`. Looks for `mode` only, or for any mode if it is `None`. If
    /// people own the target paths, only the mount `made` is found.
    pub(super) fn adopt(
        &self,
        mode: Option<&dyn Mode>,
        publish: &Publish,
        made: Option<&MountId>,
    ) -> Result<Option<Box<dyn Mounted>>, mode::Error> {
        if self.limits.targets == Targets::People
            && (made.is_none() || self.mounter.mounted_at(&publish.target)?.as_ref() != made)
        {
            return Ok(None);
        }
        match mode {
            Some(mode) => mode.adopt(&publish.target, &publish.appearance),
            None => self.modes.adopt(&publish.target, &publish.appearance),
        }
    }

    /// Unmounts what is mounted at `target`. If people own the target paths, only the mount `made`.
    pub(super) fn take_away(&self, target: &Path, made: Option<&MountId>) -> Result<(), mounter::Error> {
        match (self.limits.targets, made) {
            (Targets::Driver, _) => self.mounter.detach(target),
            (Targets::People, Some(made)) => self.mounter.unmount(target, made),
            (Targets::People, None) => Ok(()),
        }
    }

    /// What a store on this node learns of a volume, and gets to write its files into.
    pub(super) fn site(&self, publish: &Publish) -> Arc<VolumeSite> {
        Arc::new(VolumeSite::new(Arc::clone(&self.mounter), publish, self.limits.volume_bytes))
    }

    /// The content of a class for the volume at `site`. Nothing is read yet.
    pub(super) fn content(
        &self,
        publish: &Publish,
        class: Arc<Class>,
        source: Arc<dyn Source>,
        site: &Arc<VolumeSite>,
    ) -> Content {
        let tenancy = Tenancy::new(publish, class.provider.clone(), Arc::clone(&self.revocations));
        let site = Arc::<VolumeSite>::clone(site);
        let reader = Reader::new(Arc::clone(&self.stores), source, tenancy, site);
        let (pace, policy) = (self.pace(&class), self.policy(&class));
        let key = Arc::clone(&self.key);
        let mut content = Content::new(class, reader, pace, policy, key, self.limits.volume_bytes);
        content.obey(self.in_force.on(&publish.subject, &publish.class));
        content
    }
}

/// What a class asks of its provider.
pub(in crate::volume) fn source_of(providers: &Providers, class: &Class) -> Result<Arc<dyn Source>, Error> {
    let name = ClassName::from(class);
    let provider = providers.get(&class.provider).ok_or_else(|| {
        let known: Vec<_> = providers.names().collect();
        let provider = &class.provider;
        Error::Invalid(format!(
            "class {name}: provider {provider:?} is not known; known are {}",
            known.join(", ")
        ))
    })?;
    let invalid = |faults: Vec<Invalid>| Error::Invalid(format!("class {name}: {}", Invalid::all(&faults)));
    let source = provider.source_of(&class.namespace, &class.name, &class.parameters).map_err(invalid)?;
    if source.whole().is_some() {
        // The objects are not known before the answer, so nothing can be checked yet.
        return Ok(source);
    }
    match manifest::compose::verify(&class.settings, source.objects(), source.trees()) {
        faults if faults.is_empty() => Ok(source),
        faults => Err(invalid(faults)),
    }
}
