//! Trees: directories of a class whose files only the store's answers tell, beside the objects that the class lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use manifest::{Composed, Settings, compose};
use provider::{
    Error, ErrorKind, Object, ObjectPath, ObjectRef, Origin, Packed, Reading, Request, Result, Scope, Source,
    Tree,
};

use crate::snapshot::Snapshot;
use crate::volume::reader::Readout;

/// The objects that a class lists, and the files that its trees have.
#[derive(Debug, Clone)]
pub(super) struct Grown {
    source: Arc<dyn Source>,
    /// The objects that the class lists, then one for each leaf.
    objects: Arc<[ObjectRef]>,
    leaves: Arc<[Leaf]>,
    /// The trees whose files are known, by index.
    told: BTreeSet<usize>,
}

/// A file of a tree.
#[derive(Debug, Clone)]
struct Leaf {
    /// The index of its tree among those of the source.
    tree: usize,
    /// Its path below the tree's directory.
    path: Arc<str>,
    /// The store's name for it; empty if no answer told it.
    name: Arc<str>,
    /// Whether the store has a value for it.
    is_there: bool,
}

/// The files that an answer tells of a tree, or why it tells nothing.
type Told = Result<Vec<Leaf>>;

impl Grown {
    /// The objects of `source`. Nothing is known of its trees yet.
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self::with(source, Vec::new(), BTreeSet::new())
    }

    fn with(source: Arc<dyn Source>, leaves: Vec<Leaf>, told: BTreeSet<usize>) -> Self {
        let mut objects = source.objects().to_vec();
        let (mut kept, trees) = (Vec::new(), source.trees());
        for leaf in leaves {
            let object = trees.get(leaf.tree).and_then(|tree| tree.object(&leaf.path, !leaf.is_there).ok());
            if let Some(object) = object {
                objects.push(object);
                kept.push(leaf);
            }
        }
        Self { objects: objects.into(), leaves: kept.into(), told, source }
    }

    /// The same objects, plus the files of `shown` that are in the directory of a tree. Leaves out files for which
    /// `made` is true: they are composed of objects, or are older versions.
    pub(super) fn carried(&self, shown: &Snapshot, made: impl Fn(&str) -> bool) -> Self {
        let is_listed = |path: &ObjectPath| self.objects.iter().any(|object| object.path == *path);
        let leaf = |path: &ObjectPath| {
            let mut trees = self.source.trees().iter().enumerate();
            let (tree, found) = trees.find(|(_, tree)| tree.file && tree.may_have(path.as_str()))?;
            let below = path.as_str().strip_prefix(found.directory.as_str())?.strip_prefix('/')?;
            Some(Leaf { tree, path: below.into(), name: "".into(), is_there: true })
        };
        let files =
            shown.iter().map(|(path, _)| path).filter(|path| !is_listed(path) && !made(path.as_str()));
        let leaves: Vec<_> = files.filter_map(leaf).collect();
        let told = leaves.iter().map(|leaf| leaf.tree).collect();
        Self::with(Arc::clone(&self.source), leaves, told)
    }

    /// The files after an edit of the class. A tree keeps its files if its request and its directory stay the same.
    pub(super) fn edited(&self, source: Arc<dyn Source>) -> Self {
        let before = self.source.trees();
        let now: BTreeMap<usize, usize> =
            before.iter().enumerate().filter_map(same_in(source.trees())).collect();
        let moved = |leaf: &Leaf| Some(Leaf { tree: *now.get(&leaf.tree)?, ..leaf.clone() });
        let leaves = self.leaves.iter().filter_map(moved).collect();
        let told = self.told.iter().filter_map(|tree| now.get(tree).copied()).collect();
        Self::with(source, leaves, told)
    }

    /// The files after the answers in `readout`, and the errors of trees that it tells nothing of, by request. A file
    /// that its tree no longer lists stays an object if `stays` says so for its index: the policy of the class decides
    /// about it.
    pub(super) fn learn(
        &self,
        settings: &Settings,
        readout: &Readout,
        stays: impl Fn(usize) -> bool,
    ) -> (Self, BTreeMap<Request, Error>) {
        let (mut leaves, mut told, mut untold) = (Vec::new(), self.told.clone(), BTreeMap::new());
        let mut news = false;
        for (index, tree) in self.source.trees().iter().enumerate() {
            match readout
                .get(&tree.request)
                .map(|outcome| listed(tree, index, outcome.as_ref().map(|held| &held.reading)))
            {
                Some(Ok(listed)) => {
                    leaves.extend(self.left_over(index, tree, &listed, &stays));
                    leaves.extend(listed);
                    told.insert(index);
                    news = true;
                }
                Some(Err(error)) => {
                    leaves.extend(self.of_tree(index).map(|(_, leaf)| leaf.clone()));
                    untold.insert(tree.request.clone(), error);
                }
                None => leaves.extend(self.of_tree(index).map(|(_, leaf)| leaf.clone())),
            }
        }
        let grown = Self::with(Arc::clone(&self.source), leaves, told);
        match compose::clashes(settings, &grown.objects, self.source.objects().len()).first() {
            Some(clash) if news => (self.clone(), self.all_untold(&clash.to_string())),
            _ => (grown, untold),
        }
    }

    fn of_tree(&self, tree: usize) -> impl Iterator<Item = (usize, &Leaf)> {
        let first = self.source.objects().len();
        let leaves = (first..).zip(self.leaves.iter());
        leaves.filter(move |(_, leaf)| leaf.tree == tree)
    }

    /// The leaves that are no longer in `listed`, except those whose path conflicts with a listed one.
    fn left_over(
        &self,
        index: usize,
        tree: &Tree,
        listed: &[Leaf],
        stays: impl Fn(usize) -> bool,
    ) -> Vec<Leaf> {
        let paths = listed.iter().filter_map(|leaf| Some(tree.object(&leaf.path, false).ok()?.path));
        let paths: BTreeSet<_> = paths.collect();
        // Checked first, because most leaves are still listed.
        let is_in_the_way = |path: &ObjectPath| {
            paths.contains(path)
                || paths.iter().any(|other| other.is_ancestor_of(path) || path.is_ancestor_of(other))
        };
        let left = self.of_tree(index).filter(|(at, _)| {
            self.objects.get(*at).is_some_and(|object| !is_in_the_way(&object.path)) && stays(*at)
        });
        left.map(|(_, leaf)| Leaf { is_there: false, ..leaf.clone() }).collect()
    }

    fn all_untold(&self, why: &str) -> BTreeMap<Request, Error> {
        let error =
            Error::new(ErrorKind::Invalid, why.to_owned()).remedy("give the listing another directory");
        let trees = self.source.trees().iter();
        trees.map(|tree| (tree.request.clone(), error.clone().of(&tree.name))).collect()
    }

    /// All objects.
    pub(super) fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    fn leaf(&self, index: usize) -> Option<&Leaf> {
        index.checked_sub(self.source.objects().len()).and_then(|at| self.leaves.get(at))
    }

    /// Whether object `index` is a file of a tree.
    pub(super) fn is_leaf(&self, index: usize) -> bool {
        self.leaf(index).is_some()
    }

    /// Whether object `index` is a file of a tree that must not miss files.
    pub(super) fn needs(&self, index: usize) -> bool {
        let tree = self.leaf(index).and_then(|leaf| self.source.trees().get(leaf.tree));
        tree.is_some_and(|tree| !tree.optional)
    }

    /// Takes object `index` out of `reading`.
    pub(super) fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        let Some(leaf) = self.leaf(index) else { return self.source.extract(index, reading) };
        let gone = || Error::new(ErrorKind::NotFound, "the store does not list it any more");
        let Reading { body, version, .. } = Packed::at(reading, &leaf.path)?.ok_or_else(gone)?.found()?;
        Ok(Object { contents: body, significant: None, version })
    }

    /// Where the store keeps object `index`.
    pub(super) fn origin(&self, index: usize) -> Origin {
        let Some(leaf) = self.leaf(index) else { return self.source.origin(index) };
        let tree = self.source.trees().get(leaf.tree);
        Origin {
            address: tree.map(|tree| tree.address.clone()).unwrap_or_default(),
            scope: Scope::Whole,
            path: leaf.name.to_string(),
            key: tree.and_then(|tree| tree.jmes_path.clone()),
        }
    }

    /// When object `index` expires, in seconds since 1970. `None` for files of trees: listings do not keep it.
    pub(super) fn expires(&self, index: usize, reading: &Reading) -> Option<i64> {
        match self.leaf(index) {
            Some(_) => None,
            None => self.source.expires(index, reading),
        }
    }

    /// Checks that the files of every tree are known, and that `files` can be composed of them.
    ///
    /// # Errors
    ///
    /// The error of a tree from `untold`, or `unread` of its name if it was never asked. `NotFound` if an object for a
    /// composed file is missing.
    pub(super) fn complete(
        &self,
        files: &[Composed],
        untold: &BTreeMap<Request, Error>,
        unread: impl Fn(&str) -> Error,
    ) -> Result<()> {
        let mut trees = self.source.trees().iter().enumerate();
        if let Some((_, tree)) = trees.find(|(index, _)| !self.told.contains(index)) {
            return Err(untold.get(&tree.request).cloned().unwrap_or_else(|| unread(&tree.name)));
        }
        self.lacking(files).map_or(Ok(()), |(tree, name)| Err(without(tree, name)))
    }

    /// Why no file can be composed of object `index`, which was found without a value.
    pub(super) fn valueless(&self, index: usize) -> Option<Error> {
        let tree = self.source.trees().get(self.leaf(index)?.tree)?;
        Some(without(tree, &self.objects.get(index)?.name))
    }

    /// The first object that one of `files` is composed of and that its tree misses, and that tree.
    fn lacking<'a>(&'a self, files: &'a [Composed]) -> Option<(&'a Tree, &'a str)> {
        let names = files.iter().flat_map(|composed| &composed.from).map(|(_, name)| name.as_str());
        let mut missing = names.filter(|name| self.objects.iter().all(|object| object.name != *name));
        missing.find_map(|name| {
            let tree = self.source.trees().iter().find(|tree| tree.may_have(name))?;
            (!tree.optional).then_some((tree, name))
        })
    }
}

/// Maps a tree of before to the index of the same tree in `now`.
fn same_in(now: &[Tree]) -> impl FnMut((usize, &Tree)) -> Option<(usize, usize)> {
    move |(index, tree)| {
        let is_same = |other: &Tree| other.request == tree.request && other.directory == tree.directory;
        Some((index, now.iter().position(is_same)?))
    }
}

/// The leaves in an answer.
fn listed(tree: &Tree, index: usize, outcome: std::result::Result<&Reading, &Error>) -> Told {
    let listed: Told = outcome.map_err(Clone::clone).and_then(|reading| {
        let packed = Packed::all(reading)?;
        if packed.len() > tree.most {
            return Err(Tree::overfull(tree.most));
        }
        let leaf = |packed: &Packed<'_>| {
            let odd = |why: provider::InvalidPath| {
                let message = format!("the store has {:?}: {why}", packed.name);
                Error::new(ErrorKind::Invalid, message).remedy("give it another name, or list less")
            };
            tree.object(packed.path, false).map_err(odd)?;
            let (path, name) = (packed.path.into(), packed.name.into());
            Ok(Leaf { tree: index, path, name, is_there: !packed.is_bare() })
        };
        packed.iter().map(leaf).collect()
    });
    match listed {
        Ok(leaves) if leaves.is_empty() && !tree.optional => Err(nothing().of(&tree.name)),
        Err(error) if tree.optional && error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| error.of(&tree.name)),
    }
}

/// A composed file is made of `name`, of which `tree` has no value.
fn without(tree: &Tree, name: &str) -> Error {
    let message = format!("a composed file is made of {name}, which {} does not have", tree.name);
    Error::new(ErrorKind::NotFound, message).remedy("correct secretfs.dev/files, or create it in the store")
}

fn nothing() -> Error {
    Error::new(ErrorKind::NotFound, "the store lists nothing")
        .remedy("correct what is listed, or say that it may be empty by optional: true")
}
