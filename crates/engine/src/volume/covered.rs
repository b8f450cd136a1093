//! Which files of a mounted volume orders take back, before its store was asked: of a volume that an earlier process
//! mounted, or that cannot be completed now.

use std::collections::BTreeSet;

use manifest::{Class, OnRevoked};
use provider::{ObjectPath, Source};

use crate::revocation::{Named, On};
use crate::snapshot::Snapshot;
use crate::volume::Publish;
use crate::volume::parts::{Parts, source_of};

impl Parts {
    /// The files among `paths` that orders take back from the volume of `publish`, which followed `class` last. All, if
    /// an order covers everything or the class is not known and an order names an object: then nobody can say that a
    /// file is none of it.
    pub(super) fn covered_files<'a>(
        &self,
        publish: &Publish,
        class: Option<&Class>,
        paths: impl Iterator<Item = &'a ObjectPath>,
    ) -> BTreeSet<ObjectPath> {
        let orders = self.in_force.on(&publish.subject, &publish.class);
        if orders.is_empty() || class.is_some_and(|class| self.policy(class).on_ordered == OnRevoked::Keep) {
            return BTreeSet::new();
        }
        let source = class.and_then(|class| source_of(&self.providers, class).ok());
        match (orders.whole(), class.zip(source)) {
            (None, Some((class, source))) => {
                let listed = Listed { class, source: &*source, orders: &orders };
                paths.filter(|path| listed.takes_back(path)).cloned().collect()
            }
            (Some(_), _) | (None, None) => paths.cloned().collect(),
        }
    }
}

/// A class, as its author listed its objects, and the orders that concern one volume of it.
struct Listed<'a> {
    class: &'a Class,
    source: &'a dyn Source,
    orders: &'a On,
}

impl Listed<'_> {
    /// Whether an order takes the file at `path` back: the file of an object that it covers, one that is composed of such
    /// an object, or an older version of one of these.
    fn takes_back(&self, path: &ObjectPath) -> bool {
        let newest = path.as_str().rsplit_once(".previous").map_or(path.as_str(), |(newest, _)| newest);
        [path.as_str(), newest].into_iter().any(|path| self.is_covered(path))
    }

    fn is_covered(&self, path: &str) -> bool {
        let composed = self.class.settings.files.iter().find(|composed| composed.path.as_str() == path);
        let mut objects = self.source.objects().iter().enumerate();
        match composed {
            Some(composed) => objects.any(|(index, object)| {
                composed.from.iter().any(|(_, name)| *name == object.name) && self.covers(index)
            }),
            None => match objects.find(|(_, object)| object.path.as_str() == path) {
                Some((index, _)) => self.covers(index),
                // Only an answer of the store tells what it is called there.
                None => self.orders.of(Named { name: path, path, origin: None }).is_some(),
            },
        }
    }

    fn covers(&self, index: usize) -> bool {
        self.orders.of_listed(self.source, index).is_some()
    }
}

/// `shown` without these files.
pub(super) fn without(shown: &Snapshot, taken: &BTreeSet<ObjectPath>) -> Snapshot {
    let files = shown.iter().filter(|(path, _)| !taken.contains(*path));
    let rest: Snapshot = files.map(|(path, file)| (path.clone(), file.clone())).collect();
    let made = shown.objects().iter().filter(|made| made.asked.paths().any(|path| !taken.contains(path)));
    rest.made_of(made.cloned().collect())
}
