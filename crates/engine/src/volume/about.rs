//! What a failure is about, for the audit trail: the store, and the objects that it did not give.

use std::collections::BTreeSet;

use manifest::{Class, Composed};
use provider::{ObjectRef, Origin, Scope, Source, Tree};

use crate::snapshot::Asked;

/// Most objects that are named of one failure: kubelet repeats a publish that fails, and a class may have thousands.
const MOST: usize = 64;

/// What a failure is about, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The provider that the class names; empty where the class is not known.
    pub provider: String,
    /// The store's address.
    pub store: Option<String>,
    /// The objects that stand in the way; none where no answer told which there are.
    pub objects: Vec<Asked>,
}

impl About {
    /// About the class, of which no more is known than its provider.
    pub(super) fn provider(name: &str) -> Self {
        Self { provider: name.to_owned(), ..Self::default() }
    }

    /// About all that `class` asks of `source`.
    pub(super) fn all(class: &Class, source: &dyn Source) -> Self {
        let asked = |(index, object)| asked(class, object, source.origin(index));
        let objects = source.objects().iter().enumerate().map(asked);
        Self::objects(class, source, objects.chain(source.trees().iter().map(listed)))
    }

    /// About `objects` of `source`.
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

/// All that a listing finds: what that is, nobody has told.
fn listed(tree: &Tree) -> Asked {
    let origin =
        Origin { address: tree.address.clone(), scope: Scope::Whole, path: tree.name.clone(), key: None };
    Asked { name: tree.name.clone(), origin, file: None, composed: Vec::new() }
}

/// `object` of `class`, which its store keeps at `origin`.
pub(super) fn asked(class: &Class, object: &ObjectRef, origin: Origin) -> Asked {
    let holds = |composed: &&Composed| composed.from.iter().any(|(_, name)| *name == object.name);
    Asked {
        name: object.name.clone(),
        origin,
        file: object.file.then(|| object.path.clone()),
        composed: class.settings.files.iter().filter(holds).map(|composed| composed.path.clone()).collect(),
    }
}

/// The objects whose denial is in the audit trail already, by name; an empty one is the class itself.
#[derive(Debug, Default)]
pub(super) struct Audited(BTreeSet<String>);

impl Audited {
    /// What is new in a denial, if anything is.
    pub(super) fn news(&mut self, mut about: About) -> Option<About> {
        if about.objects.is_empty() {
            return self.0.insert(String::new()).then_some(about);
        }
        about.objects.retain(|asked| self.0.insert(asked.name.clone()));
        (!about.objects.is_empty()).then_some(about)
    }
}
