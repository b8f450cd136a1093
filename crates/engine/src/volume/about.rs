//! What a failure is about, for the audit trail: the store, and the objects that the store did not return.

use std::collections::BTreeSet;

use manifest::{Class, Composed};
use provider::{ObjectRef, Origin, Scope, Source, Tree};

use crate::snapshot::Asked;

/// Most objects that the audit trail names for one failure. kubelet repeats a publish that fails, and a class may have
/// thousands of objects.
const MOST: usize = 64;

/// What a failure is about, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The provider that the class names; empty if the class is not known.
    pub provider: String,
    /// The store's address.
    pub store: Option<String>,
    /// The objects that failed. Empty if no answer of the store told which objects there are.
    pub objects: Vec<Asked>,
}

impl About {
    /// A failure of a class of which only the provider is known.
    pub(super) fn provider(name: &str) -> Self {
        Self { provider: name.to_owned(), ..Self::default() }
    }

    /// A failure of everything that `class` asks of `source`.
    pub(super) fn all(class: &Class, source: &dyn Source) -> Self {
        let asked = |(index, object)| asked(class, object, source.origin(index));
        let objects = source.objects().iter().enumerate().map(asked);
        Self::objects(class, source, objects.chain(source.trees().iter().map(listed)))
    }

    /// A failure of these `objects` of `source`.
    pub(super) fn objects(class: &Class, source: &dyn Source, objects: impl Iterator<Item = Asked>) -> Self {
        Self {
            provider: class.provider.clone(),
            store: Some(match (source.objects(), source.trees()) {
                ([], [tree, ..]) => tree.address.clone(),
                _ => source.origin(0).address,
            }),
            objects: objects.take(MOST).collect(),
        }
    }
}

/// Stands for all objects of a tree whose content no answer has told yet.
fn listed(tree: &Tree) -> Asked {
    let origin =
        Origin { address: tree.address.clone(), scope: Scope::Whole, path: tree.name.clone(), key: None };
    Asked { name: tree.name.clone(), origin, file: None, composed: Vec::new() }
}

/// Describes `object` of `class`, which the store keeps at `origin`.
pub(super) fn asked(class: &Class, object: &ObjectRef, origin: Origin) -> Asked {
    let holds = |composed: &&Composed| composed.from.iter().any(|(_, name)| *name == object.name);
    Asked {
        name: object.name.clone(),
        origin,
        file: object.file.then(|| object.path.clone()),
        composed: class.settings.files.iter().filter(holds).map(|composed| composed.path.clone()).collect(),
    }
}

/// The names of the objects whose denial is already in the audit trail. The empty name stands for the class itself.
#[derive(Debug, Default)]
pub(super) struct Audited(BTreeSet<String>);

impl Audited {
    /// Removes from `about` the objects that are already in the audit trail. `None` if nothing new is left.
    pub(super) fn news(&mut self, mut about: About) -> Option<About> {
        if about.objects.is_empty() {
            return self.0.insert(String::new()).then_some(about);
        }
        about.objects.retain(|asked| self.0.insert(asked.name.clone()));
        (!about.objects.is_empty()).then_some(about)
    }
}
