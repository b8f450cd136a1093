//! Decides what to do about a Secret, from what a class wants, what exists, and who wrote it. Pure.
//!
//! Every node that serves a class applies its Secrets under the same field manager. So the API server keeps what others
//! wrote, and removes what the class no longer claims. Two rules prevent nodes and classes from overwriting each other
//! again and again. First, a node overwrites what its class wrote only if it is *entitled* to: because its own files
//! changed, or because its store confirmed them after the node saw the difference. Second, if two classes want one key
//! with different values, the class that has the key keeps it.
//!
//! An example of the first rule: a password rotates, and node A reads the new value a minute before node B. A writes
//! the Secret. B sees that the Secret differs from its own old file, but its file did not change and the store did not
//! confirm it since. So B leaves the Secret alone, and soon reads the new value itself.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use provider::SecretBytes;

use super::live::{Live, MANAGED};
use super::plan::{OPAQUE, Wanted};

/// The beginning of the field managers of all classes.
pub(super) const MANAGER: &str = "secretfs/";
/// Longest name of a field manager, in bytes.
const LONGEST: usize = 128;

/// Types that the API server fills with credentials. A class must not be a way to get them.
const CREDENTIALS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// What one field manager claims of a Secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    /// Name of the Secret.
    pub(super) name: String,
    /// Its `type`; `None` if the manager no longer claims anything.
    pub(super) kind: Option<String>,
    /// Labels that the manager claims.
    pub(super) labels: BTreeMap<String, String>,
    /// Annotations that the manager claims.
    pub(super) annotations: BTreeMap<String, String>,
    /// Keys that the manager claims, with their bytes.
    pub(super) data: BTreeMap<String, SecretBytes>,
    /// Owners of the Secret. It is deleted together with the last of them.
    pub(super) owners: Vec<OwnerReference>,
    /// The version on which this was decided; `None` if the Secret does not exist yet.
    pub(super) version: Option<String>,
}

/// What to do.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Nothing: the Secret is as it should be, or we may not change it.
    Leave,
    /// Apply this manifest. Then remove these keys, even if others wrote them too.
    Write(Box<Manifest>, BTreeSet<String>),
    /// Delete the Secret, if it is still this very one.
    Delete {
        /// `metadata.uid` of that Secret.
        uid: String,
        /// `metadata.resourceVersion` of that Secret.
        version: String,
    },
}

/// What to do, and what is wrong.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// What to do.
    pub(super) step: Step,
    /// What differs from what the class wants, in texts for people.
    pub(super) faults: Vec<String>,
    /// Whether something differs that this node may not overwrite yet.
    pub(super) waits: bool,
}

impl Verdict {
    fn leave(fault: Option<String>) -> Self {
        Self { step: Step::Leave, faults: fault.into_iter().collect(), waits: false }
    }
}

/// The field manager of a class: its name, shortened if it is too long.
pub(super) fn manager(class: &str) -> String {
    let whole = format!("{MANAGER}{class}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let hash = digest::digest(&digest::SHA256, class.as_bytes());
    let hash: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = whole.chars().take(LONGEST - hash.len() - 1).collect();
    format!("{kept}-{hash}")
}

/// Decides about one Secret of one class.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    /// The class's field manager.
    pub(super) manager: &'a str,
    /// What the class wants.
    pub(super) wanted: &'a Wanted,
    /// The owners of the Secret that this node knows.
    pub(super) owners: &'a [OwnerReference],
    /// Field managers of other classes that want this Secret too.
    pub(super) rivals: &'a BTreeSet<String>,
    /// Whether this node may overwrite what its class wrote.
    pub(super) entitled: bool,
}

impl Judge<'_> {
    /// Decides about the Secret `live`; `None` if it does not exist.
    pub(super) fn judge(&self, live: Option<&Live>) -> Verdict {
        let (name, kind) = (&self.wanted.name, &self.wanted.kind);
        if CREDENTIALS.contains(&kind.as_str()) {
            return Verdict::leave(Some(format!(
                "Secret {name} of type {kind} is never made; choose another type"
            )));
        }
        let Some(live) = live else { return self.absent() };
        if !live.managed {
            return Verdict::leave(Some(format!(
                "Secret {name} exists and is not managed by secretfs, so it stays as it is; delete it, \
                 choose another secretName, or hand it over: label it {MANAGED}=true"
            )));
        }
        if live.kind != self.wanted.kind {
            return Verdict::leave(Some(format!(
                "Secret {name} is of type {} and the class wants {}, but a type cannot change; delete the Secret, \
                 and it is made anew within minutes",
                live.kind, self.wanted.kind
            )));
        }
        Comparison::new(self, live).verdict()
    }

    /// The verdict if the Secret does not exist.
    fn absent(&self) -> Verdict {
        let wanted = self.wanted;
        if wanted.kind != OPAQUE && !wanted.absent.is_empty() {
            let fault = format!(
                "Secret {} of type {} is not made: there is no file yet for {}",
                wanted.name,
                wanted.kind,
                list(&wanted.absent)
            );
            return Verdict { faults: [self.faults(), vec![fault]].concat(), ..Verdict::leave(None) };
        }
        let incomplete = wanted.kind != OPAQUE && !wanted.unusable.is_empty();
        let step = if incomplete || wanted.data.is_empty() || self.owners.is_empty() {
            Step::Leave
        } else {
            Step::Write(
                Box::new(self.manifest(wanted.data.clone(), self.owners.to_vec(), None)),
                BTreeSet::new(),
            )
        };
        Verdict { step, faults: self.faults(), waits: false }
    }

    fn manifest(
        &self,
        data: BTreeMap<String, SecretBytes>,
        owners: Vec<OwnerReference>,
        version: Option<String>,
    ) -> Manifest {
        Manifest {
            name: self.wanted.name.clone(),
            kind: Some(self.wanted.kind.clone()),
            labels: self.labels(),
            annotations: self.wanted.annotations.clone(),
            data,
            owners,
            version,
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.wanted.labels.clone();
        labels.insert(MANAGED.to_owned(), "true".to_owned());
        labels
    }

    fn faults(&self) -> Vec<String> {
        self.wanted.faults.clone()
    }
}

/// Compares the Secret that is wanted with the one that exists.
struct Comparison<'a> {
    judge: &'a Judge<'a>,
    live: &'a Live,
    data: BTreeMap<String, SecretBytes>,
    remove: BTreeSet<String>,
    faults: Vec<String>,
    differs: bool,
    waits: bool,
}

impl<'a> Comparison<'a> {
    fn new(judge: &'a Judge<'a>, live: &'a Live) -> Self {
        let (data, remove) = (BTreeMap::new(), BTreeSet::new());
        let faults = judge.faults();
        Self { judge, live, data, remove, faults, differs: judge.entitled, waits: false }
    }

    fn verdict(mut self) -> Verdict {
        for (key, value) in &self.judge.wanted.data {
            self.compare(key, value);
        }
        self.judge.wanted.unusable.iter().for_each(|key| self.keep(key));
        self.judge.wanted.absent.iter().for_each(|key| self.withdraw(key));
        let unnamed: Vec<_> =
            self.own_keys().filter(|key| !self.judge.wanted.names(key)).map(str::to_owned).collect();
        unnamed.iter().for_each(|key| self.let_go(key));
        self.compare_marks();
        let owners = self.owners();
        let step = self.step(owners);
        Verdict { step, faults: self.faults, waits: self.waits }
    }

    fn compare(&mut self, key: &str, value: &SecretBytes) {
        let current = self.live.data.get(key);
        let same = current.is_some_and(|current| current.expose() == value.expose());
        let rival = self.rival(key);
        match (same, rival, current) {
            (false, Some(rival), _) => {
                let other = rival.strip_prefix(MANAGER).unwrap_or(rival);
                self.faults.push(format!(
                    "key {key} of Secret {} is written by class {other} with another value, so it stays as it is; \
                     choose another key or another secretName",
                    self.judge.wanted.name
                ));
            }
            (false, None, Some(current)) if self.is_own(key) && !self.judge.entitled => {
                self.data.insert(key.to_owned(), current.clone());
                self.waits = true;
            }
            _ => {
                self.differs |= !same || !self.is_own(key);
                self.data.insert(key.to_owned(), value.clone());
            }
        }
    }

    /// Keeps the value of a key whose file cannot be used.
    fn keep(&mut self, key: &str) {
        if let Some(current) = self.live.data.get(key).filter(|_| self.rival(key).is_none()) {
            self.data.insert(key.to_owned(), current.clone());
        }
    }

    /// Removes a key whose file is gone, even if others wrote it too. Leaves a key that another class claims.
    fn withdraw(&mut self, key: &str) {
        if self.live.data.contains_key(key) && self.rival(key).is_none() {
            if self.judge.entitled {
                self.remove.insert(key.to_owned());
            } else if self.is_own(key) {
                self.let_go(key);
            }
        }
    }

    /// Gives up a key that the class no longer names. The key stays until this node is entitled to write.
    fn let_go(&mut self, key: &str) {
        if !self.judge.entitled {
            self.keep(key);
            self.waits = true;
        }
    }

    fn compare_marks(&mut self) {
        let (labels, annotations) = (self.judge.labels(), &self.judge.wanted.annotations);
        let lacks = |live: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>| {
            wanted.iter().any(|(key, value)| live.get(key) != Some(value))
        };
        self.waits |= lacks(&self.live.labels, &labels) || lacks(&self.live.annotations, annotations);
    }

    /// The owners that the class wrote and that are still there, and the owners that this node knows.
    fn owners(&mut self) -> Vec<OwnerReference> {
        let own = self.live.applied_by(self.judge.manager).map(|writer| &writer.owners);
        let kept = self.live.owners.iter().filter(|owner| own.is_some_and(|own| own.contains(&owner.uid)));
        let mut owners: Vec<_> = kept.cloned().collect();
        for owner in self.judge.owners {
            self.differs |= !self.live.owners.iter().any(|live| live.uid == owner.uid);
            if !owners.iter().any(|kept| kept.uid == owner.uid) {
                owners.push(owner.clone());
            }
        }
        owners
    }

    fn step(&mut self, owners: Vec<OwnerReference>) -> Step {
        let wanted = self.judge.wanted;
        let others = others_keys(self.live, self.judge.manager, &self.remove);
        let claims = self.live.applied_by(self.judge.manager).is_some();
        let broken = wanted.kind != OPAQUE && !self.remove.is_empty();
        if others.is_empty() && (broken || self.data.is_empty()) && self.judge.entitled {
            return Step::Delete { uid: self.live.uid.clone(), version: self.live.version.clone() };
        }
        if broken {
            self.faults.push(format!(
                "Secret {} of type {} would have to lose {}, and holds {} of others; delete it",
                wanted.name,
                wanted.kind,
                list(&self.remove),
                list(&others)
            ));
            return Step::Leave;
        }
        if !self.differs || (self.data.is_empty() && !claims) {
            return Step::Leave;
        }
        let owners = if self.data.is_empty() { Vec::new() } else { owners };
        let data = std::mem::take(&mut self.data);
        let manifest = self.judge.manifest(data, owners, Some(self.live.version.clone()));
        let shared = |key: &String| self.live.shares(key, self.judge.manager);
        Step::Write(Box::new(manifest), self.remove.iter().filter(|key| shared(key)).cloned().collect())
    }

    fn own_keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = self.live.applied_by(self.judge.manager);
        own.into_iter().flat_map(|writer| writer.keys.iter().map(String::as_str))
    }

    fn is_own(&self, key: &str) -> bool {
        self.live.applied_by(self.judge.manager).is_some_and(|writer| writer.keys.contains(key))
    }

    /// The field manager of the other class that has `key`.
    fn rival(&self, key: &str) -> Option<&'a str> {
        let rival = |name: &str| name != self.judge.manager && self.judge.rivals.contains(name);
        let mut writers = self.live.writers.iter().filter(|writer| writer.applies && rival(&writer.name));
        writers.find(|writer| writer.keys.contains(key)).map(|writer| writer.name.as_str())
    }
}

/// Decides what to do about a Secret that a class no longer names.
pub(super) fn release(name: &str, manager: &str, live: &Live) -> Step {
    if !live.managed || live.applied_by(manager).is_none() {
        return Step::Leave;
    }
    if others_keys(live, manager, &BTreeSet::new()).is_empty() {
        return Step::Delete { uid: live.uid.clone(), version: live.version.clone() };
    }
    let nothing =
        Manifest { name: name.to_owned(), version: Some(live.version.clone()), ..Manifest::default() };
    Step::Write(Box::new(nothing), BTreeSet::new())
}

/// The keys that stay if `manager` claims nothing and the keys `removed` are removed.
fn others_keys(live: &Live, manager: &str, removed: &BTreeSet<String>) -> BTreeSet<String> {
    let own = |key: &str| live.applied_by(manager).is_some_and(|writer| writer.keys.contains(key));
    let stays = |key: &&String| !removed.contains(*key) && (!own(key) || live.shares(key, manager));
    live.data.keys().filter(stays).cloned().collect()
}

fn list(keys: &BTreeSet<String>) -> String {
    keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
