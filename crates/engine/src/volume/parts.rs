//! What every volume of the process works with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use class::Classes;
use manifest::{Class, OnRevoked};
use mounter::{MountId, Mounter};
use provider::{Invalid, Moment as _, Providers, Source, Span};
use tokio::time::{Instant, timeout_at};

use crate::mode::{self, Mode, Modes, Mounted};
use crate::snapshot::FingerprintKey;
use crate::volume::access::Access;
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

/// How long a class that a starting pod names may be on its way.
const CLASS_ARRIVES: Duration = Duration::from_secs(2);

/// What every volume of the process works with.
#[derive(Debug)]
pub struct Parts {
    /// Stores by name.
    pub providers: Providers,
    /// Classes by name.
    pub classes: Arc<dyn Classes>,
    /// The ways of showing files.
    pub modes: Modes,
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
    /// Who may open a file that is read then.
    pub access: Arc<dyn Access>,
    /// Room for who opens such files, and for what they hold.
    pub rooms: Rooms,
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
    /// How old what was read for others of the same identity may be when a volume starts on it, whatever its class
    /// says of `refresh`.
    pub max_shared_age: Duration,
    /// Whether a pod's volume attributes may override its class, as the upstream driver lets them.
    pub legacy_overrides: bool,
    /// How long the bytes of a file that was read when it was opened may stay in this process, from the answer of its
    /// store on; at most [`MOST_HELD`](Self::MOST_HELD).
    pub hold: Duration,
    /// Volumes that are mounted at one time; more wait, with what they read.
    pub mounts: usize,
    /// Largest size of a volume in bytes, and so of what its files are composed of in memory, and of what a store on
    /// this node may put into what it is lent.
    pub volume_bytes: u64,
    /// What holds where a class does not say.
    pub defaults: Defaults,
    /// Whose the target paths are.
    pub targets: Targets,
}

/// Whose the target paths are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Targets {
    /// People's: what is mounted there is taken over or away only if it is the very mount that this program made.
    #[default]
    People,
    /// The driver's: kubelet made them for it, and whatever is mounted there is its to take over and away.
    Driver,
}

/// What holds where a class does not say.
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
    /// As often as suits the provider.
    #[default]
    ByProvider,
    /// At this interval.
    Every(Duration),
    /// Not after the mount, as with the upstream driver where rotation is off.
    Off,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_refresh: Duration::from_secs(1),
            max_shared_age: Duration::from_secs(60),
            legacy_overrides: false,
            hold: Duration::from_secs(30),
            mounts: 32,
            volume_bytes: mode::DEFAULT_MAX_BYTES,
            defaults: Defaults::default(),
            targets: Targets::Driver,
        }
    }
}

impl Limits {
    /// Longest [`hold`](Self::hold): what is meant to be read when it is used is not kept like what is read before.
    pub const MOST_HELD: Duration = Duration::from_secs(300);

    /// How long the bytes of an opened file may stay.
    pub fn held_opened(&self) -> Duration {
        self.hold.min(Self::MOST_HELD)
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

    /// How values of a class are kept fresh. The class's word goes before the administrator's, and his before
    /// the provider's.
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

    /// What becomes of the files of a class when its store does not confirm them.
    pub(super) fn policy(&self, class: &Class) -> Policy {
        Policy::of(&class.settings, self.limits.defaults.on_revoked)
    }

    /// How the files of a class are shown.
    pub(super) fn mode(&self, class: &Class) -> Result<Arc<dyn Mode>, Error> {
        let invalid = |error| Error::Invalid(format!("class {}/{}: {error}", class.namespace, class.name));
        self.modes.get(class.settings.mode.name()).cloned().map_err(invalid)
    }

    /// What is mounted already where `publish` wants its volume, in `mode`, or in whatever mode there is. On people's
    /// paths that is `made` or nothing.
    pub(super) fn adopt(
        &self,
        mode: Option<&dyn Mode>,
        publish: &Publish,
        made: Option<&MountId>,
    ) -> Result<Option<Box<dyn Mounted>>, mode::Error> {
        let failed = || mounter::Error::of("look at", &publish.target);
        if self.limits.targets == Targets::People
            && (made.is_none() || MountId::at(&publish.target).map_err(failed())?.as_ref() != made)
        {
            return Ok(None);
        }
        match mode {
            Some(mode) => mode.adopt(&publish.target, &publish.appearance),
            None => self.modes.adopt(&publish.target, &publish.appearance),
        }
    }

    /// Takes away what is mounted at `target`: on people's paths `made` alone.
    pub(super) fn take_away(&self, target: &Path, made: Option<&MountId>) -> Result<(), mounter::Error> {
        match (self.limits.targets, made) {
            (Targets::Driver, _) => self.mounter.detach(target),
            (Targets::People, Some(made)) => self.mounter.unmount(target, made),
            (Targets::People, None) => Ok(()),
        }
    }

    /// What a store on this node is told of a volume, and lent for it.
    pub(super) fn site(&self, publish: &Publish) -> Arc<VolumeSite> {
        Arc::new(VolumeSite::new(Arc::clone(&self.mounter), publish, self.limits.volume_bytes))
    }

    /// The content of a class for the volume at `site`, of which nothing is read yet.
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
        Content::new(class, reader, pace, policy, Arc::clone(&self.key), self.limits.volume_bytes)
    }
}

/// What a class asks of its provider.
pub(super) fn source_of(providers: &Providers, class: &Class) -> Result<Arc<dyn Source>, Error> {
    let name = ClassName::from(class);
    let provider = providers.get(&class.provider).ok_or_else(|| {
        let known: Vec<_> = providers.names().collect();
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
    let source = provider.source(&class.namespace, &class.parameters).map_err(invalid)?;
    if source.whole().is_some() {
        // Which objects there are is not known before the answer.
        return Ok(source);
    }
    match manifest::compose::verify(&class.settings, source.objects(), source.trees()) {
        faults if faults.is_empty() => Ok(source),
        faults => Err(invalid(faults)),
    }
}
