//! Who may open the files of one volume.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use callers::{Callers, Found, PodDirectory};
use fuse_tree::{Access, Caller, Policy, Ruling, Who};
use manifest::AccessRules;

use super::front::Front;
use crate::mode::{Confinement, Error};

/// How many denials of one volume are told, each container and file once.
const TOLD_MAX: usize = 256;
/// The directories between a target and the directory of its pod: `volumes/PLUGIN/NAME/mount`.
const BELOW_POD: usize = 4;

/// Judges each open and each read by the rules of the class. Without rules it asks nobody.
#[derive(Debug)]
pub(super) struct Guard {
    front: Arc<dyn Front>,
    target: PathBuf,
    /// Whether there are rules. Without them this is all that an open costs.
    has_rules: AtomicBool,
    confined: RwLock<Option<Arc<Confined>>>,
    told: Mutex<BTreeSet<(String, String)>>,
}

#[derive(Debug)]
struct Confined {
    rules: AccessRules,
    pod: String,
    /// Who asks; nobody is known where the mounter could not be asked.
    callers: Option<Arc<Callers>>,
}

impl Guard {
    /// The guard of the volume at `target`. If callers cannot be told apart, nobody may open anything until
    /// [`confine`](Self::confine) succeeds.
    pub(super) fn new(front: &Arc<dyn Front>, target: &Path, confinement: Option<&Confinement>) -> Self {
        let (has_rules, confined, told) = Default::default();
        let guard = Self { front: Arc::clone(front), target: target.to_owned(), has_rules, confined, told };
        if let Some(Confinement { pod, rules }) = confinement {
            guard.set(Some(Confined { rules: rules.clone(), pod: pod.clone(), callers: None }));
            if let Err(error) = guard.confine(confinement) {
                tracing::warn!(target = %guard.target.display(), %error, "containers cannot be told apart, so none may open a file");
            }
        }
        guard
    }

    /// Judges by these rules from now on.
    ///
    /// # Errors
    ///
    /// Callers cannot be told apart. The rules of before hold.
    pub(super) fn confine(&self, confinement: Option<&Confinement>) -> Result<(), Error> {
        let Some(Confinement { pod, rules }) = confinement else {
            self.set(None);
            return Ok(());
        };
        let callers = Some(self.callers(pod)?);
        self.set(Some(Confined { rules: rules.clone(), pod: pod.clone(), callers }));
        Ok(())
    }

    /// Checks that callers can be told apart if there are rules.
    pub(super) fn require_sight(&self) -> Result<(), Error> {
        match self.confined() {
            Some(confined) if confined.callers.is_none() => self.callers(&confined.pod).map(drop),
            _ => Ok(()),
        }
    }

    fn set(&self, confined: Option<Confined>) {
        let mut place = self.confined.write().unwrap_or_else(PoisonError::into_inner);
        // First, so that nobody is judged by no rules.
        self.has_rules.store(confined.is_some(), Ordering::Release);
        *place = confined.map(Arc::new);
    }

    fn confined(&self) -> Option<Arc<Confined>> {
        if !self.has_rules.load(Ordering::Acquire) {
            return None;
        }
        self.confined.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn callers(&self, pod: &str) -> Result<Arc<Callers>, Error> {
        let known = self.confined().filter(|confined| confined.pod == pod);
        if let Some(callers) = known.and_then(|confined| confined.callers.clone()) {
            return Ok(callers);
        }
        let table = std::fs::read(mountinfo::TABLE).map_err(|error| Error::Failed(error.into()))?;
        let directory = pod_directory(&self.target, pod).and_then(|path| PodDirectory::find(&table, path));
        let nowhere = || format!("{} is not in the directory of its pod", self.target.display());
        let directory = directory.ok_or_else(|| Error::Failed(nowhere().into()))?;
        Ok(Arc::new(Callers::new(pod.to_owned(), directory, self.front.processes()?)))
    }

    /// Tells of a denial once.
    fn tell(&self, confined: &Confined, access: &Access<'_>) {
        let container = match access.who {
            Who::Named(name) => name,
            Who::Stranger | Who::NotYet | Who::Anybody => "",
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX || !told.insert((container.to_owned(), access.path.to_owned())) {
            return;
        }
        drop(told);
        let (uid, executable) =
            confined.callers.as_ref().map_or((None, None), |callers| callers.describe(access.caller.tid));
        let (executable, path, pod) = (executable.unwrap_or_default(), access.path, &confined.pod);
        tracing::warn!(pod, container, path, uid, executable = %executable.display(), "no rule of secretfs.dev/access lets this process open the file");
    }
}

impl Policy for Guard {
    fn recognise(&self, caller: Caller) -> Who {
        let Some(confined) = self.confined() else { return Who::Anybody };
        let Some(callers) = &confined.callers else { return Who::NotYet };
        match callers.find(caller.tid) {
            Found::Caller(caller) => Who::Named(caller.container.shared()),
            Found::Stranger => Who::Stranger,
            Found::Nameless => Who::NotYet,
        }
    }

    fn judge(&self, access: &Access<'_>) -> Ruling {
        let Some(confined) = self.confined() else { return Ruling::Allow };
        match access.who {
            Who::Named(name) if confined.rules.allow(name, access.path) => Ruling::Allow,
            Who::Named(_) | Who::Stranger => {
                self.tell(&confined, access);
                Ruling::Deny
            }
            // There are rules since a moment ago.
            Who::NotYet | Who::Anybody => Ruling::NotYet,
        }
    }
}

/// Where kubelet keeps what belongs to the pod, by where it mounts a volume of it.
fn pod_directory<'a>(target: &'a Path, pod: &str) -> Option<&'a Path> {
    let directory = target.ancestors().nth(BELOW_POD)?;
    (directory.file_name()? == pod).then_some(directory)
}
