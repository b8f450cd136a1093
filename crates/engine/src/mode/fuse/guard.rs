//! Who may open the files of one volume.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use callers::{Callers, Found, PodDirectory, Processes};
use fuse_tree::{Access, Caller, Policy, Purpose, Ruling, Who};
use manifest::AccessRules;

use super::front::Front;
use super::opens::{Doer, Kind, Opens, Read};
use crate::mode::{self, Confinement, Due, Error, Opening};
use crate::snapshot::Made;

/// How many denials of one volume are told, each container and file once.
const TOLD_MAX: usize = 256;
/// The directories between a target and the directory of its pod: `volumes/PLUGIN/NAME/mount`.
const BELOW_POD: usize = 4;

/// Judges each open and each read by the rules of the class, and counts opens where somebody wants to know. Otherwise it asks
/// nobody.
#[derive(Debug)]
pub(super) struct Guard {
    front: Arc<dyn Front>,
    target: PathBuf,
    /// Whether there are rules. Without them this is all that an open costs.
    has_rules: AtomicBool,
    confined: RwLock<Option<Arc<Confined>>>,
    told: Mutex<BTreeSet<(String, String)>>,
    watch: Option<Watch>,
}

/// Who opens files, for the audit trail.
#[derive(Debug)]
struct Watch {
    opens: Opens,
    /// The containers of the pod, if there is a pod and they can be told apart. Rules do not depend on it.
    callers: Option<Arc<Callers>>,
    /// All threads, if they can be seen.
    processes: Option<Arc<Processes>>,
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
    pub(super) fn new(
        front: &Arc<dyn Front>,
        target: &Path,
        confinement: Option<&Confinement>,
        tells_opens: bool,
    ) -> Self {
        let (has_rules, confined, told) = Default::default();
        let (front, target) = (Arc::clone(front), target.to_owned());
        let mut guard = Self { front, target, has_rules, confined, told, watch: None };
        guard.watch = tells_opens.then(|| guard.watch());
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

    fn watch(&self) -> Watch {
        let callers = pod_of(&self.target).and_then(|pod| self.callers(pod).ok());
        Watch { opens: Opens::default(), callers, processes: self.front.processes().ok() }
    }

    /// The files of this edition were made of this. It is shown from now on, or soon.
    pub(super) fn shows(&self, edition: u64, made: &[Made]) {
        self.watch.iter().for_each(|watch| watch.opens.shows(edition, made));
    }

    /// The files of the edition that is shown were made of this.
    pub(super) fn explain(&self, made: &[Made]) {
        self.watch.iter().for_each(|watch| watch.opens.explain(made));
    }

    /// Whether opens are counted.
    pub(super) fn knows_opens(&self) -> bool {
        self.watch.is_some()
    }

    /// Takes what is known of opens.
    pub(super) fn take_opens(&self, due: Due) -> Vec<Opening> {
        self.watch.as_ref().map_or_else(Vec::new, |watch| watch.opens.take(due))
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

    /// Who opens a file or reads from it, as far as that is known.
    pub(super) fn describe(&self, caller: Caller) -> mode::Caller {
        let who = self.recognise(caller, Purpose::Open);
        let pod = self.confined().map(|confined| confined.pod.clone());
        let Doer { pid, uid, .. } = self.watch.as_ref().map(|watch| watch.doer(caller)).unwrap_or_default();
        let pod = pod.or_else(|| pod_of(&self.target).map(str::to_owned));
        mode::Caller { pod, container: name_of(&who).map(str::to_owned), uid, pid }
    }

    /// Counts an open of a file that was read for it. It brought this version, or failed.
    pub(super) fn count_read(&self, caller: Caller, path: &str, (version, read): (u64, Read)) {
        let Some(watch) = &self.watch else { return };
        let who = self.recognise(caller, Purpose::Open);
        let container = name_of(&who).unwrap_or_default();
        let kind = Kind { container, path, edition: version, is_allowed: matches!(read, Read::Made(_)) };
        watch.opens.count_read(kind, || Some(read), || watch.doer(caller));
    }

    /// Tells of a denial once.
    fn tell(&self, confined: &Confined, access: &Access<'_>) {
        let container = name_of(access.who).unwrap_or_default();
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

    /// Who opens a file that everybody may open.
    fn watched(&self, caller: Caller, purpose: Purpose) -> Who {
        let callers =
            self.watch.as_ref().filter(|_| purpose == Purpose::Open).and_then(|watch| watch.callers.as_ref());
        match callers.map(|callers| callers.find(caller.tid)) {
            Some(Found::Caller(caller)) => Who::Named(caller.container.shared()),
            Some(Found::Stranger | Found::Nameless) | None => Who::Anybody,
        }
    }

    /// Counts an open that is done, or a use that is denied.
    fn count(&self, access: &Access<'_>, is_allowed: bool) {
        let is_done = access.purpose == Purpose::Open && access.is_here;
        let Some(watch) = self.watch.as_ref().filter(|_| !is_allowed || is_done) else { return };
        let container = name_of(access.who).unwrap_or_default();
        let kind = Kind { container, path: access.path, edition: access.edition, is_allowed };
        watch.opens.count(kind, || watch.doer(access.caller));
    }
}

impl Watch {
    /// What is known of a thread that waits for its answer.
    fn doer(&self, caller: Caller) -> Doer {
        let thread = self.processes.as_ref().filter(|_| caller.tid != 0);
        let thread = thread.and_then(|processes| processes.thread(caller.tid).ok());
        let told = (caller.uid != u32::MAX).then_some(caller.uid);
        Doer {
            pid: (caller.tid != 0).then_some(caller.tid),
            uid: thread.as_ref().and_then(|thread| thread.uid().ok()).or(told),
            // Which program a thread runs, a process without capabilities may know of its own user's threads alone.
            program: thread.as_ref().and_then(callers::Thread::executable),
            name: thread.as_ref().and_then(callers::Thread::name),
        }
    }
}

impl Policy for Guard {
    fn recognise(&self, caller: Caller, purpose: Purpose) -> Who {
        let Some(confined) = self.confined() else { return self.watched(caller, purpose) };
        let Some(callers) = &confined.callers else { return Who::NotYet };
        match callers.find(caller.tid) {
            Found::Caller(caller) => Who::Named(caller.container.shared()),
            Found::Stranger => Who::Stranger,
            Found::Nameless => Who::NotYet,
        }
    }

    fn judge(&self, access: &Access<'_>) -> Ruling {
        let Some(confined) = self.confined() else {
            self.count(access, true);
            return Ruling::Allow;
        };
        match access.who {
            Who::Named(name) if confined.rules.allow(name, access.path) => {
                self.count(access, true);
                Ruling::Allow
            }
            Who::Named(_) | Who::Stranger => {
                self.count(access, false);
                self.tell(&confined, access);
                Ruling::Deny
            }
            // There are rules since a moment ago.
            Who::NotYet | Who::Anybody => Ruling::NotYet,
        }
    }
}

/// The name of a container that was recognised.
fn name_of(who: &Who) -> Option<&str> {
    match who {
        Who::Named(name) => Some(name),
        Who::Stranger | Who::NotYet | Who::Anybody => None,
    }
}

/// The pod of a volume, if kubelet mounts it where it mounts those of pods.
fn pod_of(target: &Path) -> Option<&str> {
    let mut above = target.ancestors().skip(BELOW_POD.checked_sub(1)?);
    let (volumes, pod) = (above.next()?, above.next()?);
    let is_pods = volumes.file_name()? == "volumes";
    pod.file_name()?.to_str().filter(|_| is_pods)
}

/// Where kubelet keeps what belongs to the pod, by where it mounts a volume of it.
fn pod_directory<'a>(target: &'a Path, pod: &str) -> Option<&'a Path> {
    let directory = target.ancestors().nth(BELOW_POD)?;
    (directory.file_name()? == pod).then_some(directory)
}
