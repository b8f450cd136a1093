//! What a process that reads has seen of each namespace, and holds against the database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use provider::{Error, ErrorKind, Result};

use crate::checkpoint::{Checkpoint, Versions, compare, older, refuse_absence};
use crate::fetch::{Fetched, Latest};
use crate::keys::StoreId;
use crate::ledger::check_key;
use crate::mark::{Mark, Marks};
use crate::name::Name;
use crate::read::Wanted;
use crate::root_file::RootKeySource;

/// Most stores that are remembered under one root key: one, and those that were restored in its place.
const MOST_STORES: usize = 8;

/// The newest that was seen.
#[derive(Debug)]
pub(crate) struct Memory {
    root: RootKeySource,
    seen: Mutex<Seen>,
    /// The file could not be written, which is told once.
    is_alone: AtomicBool,
}

#[derive(Debug, Default)]
struct Seen {
    marks: BTreeMap<[u8; 16], Marks>,
    checkpoints: BTreeMap<Name, (StoreId, Arc<Checkpoint>)>,
}

impl Memory {
    pub(crate) fn new(root: RootKeySource) -> Self {
        Self { root, seen: Mutex::default(), is_alone: AtomicBool::new(false) }
    }

    pub(crate) fn root(&self) -> &RootKeySource {
        &self.root
    }

    /// Whether `store` was seen in the present form, here or by whoever wrote the mark beside the root key.
    ///
    /// # Errors
    ///
    /// `Denied`: that mark cannot be used.
    pub(crate) fn knows(&self, store: StoreId) -> Result<bool> {
        if self.seen().marks.contains_key(&store.0) {
            return Ok(true);
        }
        Ok(!Marks::load(&self.root, store)?.namespaces.is_empty())
    }

    /// The number of the checkpoint of `namespace` that is known to the letter.
    pub(crate) fn sequence(&self, namespace: &Name) -> Option<u64> {
        self.seen().checkpoints.get(namespace).map(|(_, checkpoint)| checkpoint.sequence)
    }

    /// Compares what was fetched with what is known; gives the checkpoint that holds for it.
    ///
    /// # Errors
    ///
    /// `Denied`: it is older, or not what it was.
    pub(crate) fn check(&self, wanted: &Wanted, fetched: &Fetched) -> Result<Option<Arc<Checkpoint>>> {
        let namespace = &wanted.item.namespace;
        let another = match &fetched.checkpoint {
            Latest::Another(signed) => Some(Arc::new(signed.open(&fetched.pin, namespace)?)),
            Latest::None | Latest::Known => None,
        };
        let (mut seen, store) = (self.seen(), fetched.pin.store);
        let before = seen.known(store, namespace);
        let checkpoint = match &fetched.checkpoint {
            Latest::Known => Some(before.clone().ok_or_else(|| of_another(namespace))?),
            Latest::None | Latest::Another(_) => another,
        };
        let mark = seen.mark(&self.root, store, namespace)?;
        mark.advance(namespace, checkpoint.as_deref(), before.as_deref())?;
        seen.keep(store, namespace, checkpoint.as_ref());
        let mark = seen.mark(&self.root, store, namespace)?;
        let known = checkpoint.as_ref().and_then(|checkpoint| checkpoint.of(&wanted.item.name));
        for known in [known, mark.seen.get(&wanted.item.name)].into_iter().flatten() {
            agree(wanted, known, fetched)?;
        }
        if let Some(checkpoint) = &checkpoint {
            let key = fetched.namespace.as_ref().map(|row| row.key.public.id());
            check_key(namespace, checkpoint, key)?;
        }
        Ok(checkpoint)
    }

    /// Remembers what was read.
    pub(crate) fn observe(&self, wanted: &Wanted, fetched: &Fetched, checkpoint: Option<&Checkpoint>) {
        let (store, namespace, item) = (fetched.pin.store, &wanted.item.namespace, &wanted.item.name);
        let sequence = checkpoint.map_or(0, |checkpoint| checkpoint.sequence);
        let news = {
            let mut seen = self.seen();
            let Ok(mark) = seen.mark(&self.root, store, namespace) else { return };
            if mark.sequence != sequence {
                return;
            }
            let known = checkpoint.and_then(|checkpoint| checkpoint.of(item));
            let is_news = mark.observe(item, known, &fetched.shown.versions) | mark.take_unsaved();
            is_news.then(|| Marks::one(store, namespace, mark.clone()))
        };
        if let Some(news) = news {
            self.save(&news);
        }
    }

    fn save(&self, news: &Marks) {
        if self.is_alone.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = news.save(&self.root) {
            self.is_alone.store(true, Ordering::Relaxed);
            tracing::info!(
                file = %self.root.mark_file().display(), %error,
                "how new the embedded store is, is kept in memory only: the directory of the root key cannot be written"
            );
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The newest checkpoint of `namespace` that was followed.
    fn known(&self, store: StoreId, namespace: &Name) -> Option<Arc<Checkpoint>> {
        let known = self.checkpoints.get(namespace).filter(|(of, _)| *of == store);
        known.map(|(_, checkpoint)| Arc::clone(checkpoint))
    }

    /// Keeps what the mark was just brought to, so that the next is compared with it.
    fn keep(&mut self, store: StoreId, namespace: &Name, checkpoint: Option<&Arc<Checkpoint>>) {
        if let Some(checkpoint) = checkpoint {
            self.checkpoints.insert(namespace.clone(), (store, Arc::clone(checkpoint)));
        }
    }

    /// The mark of `namespace`, from the file at first.
    fn mark(&mut self, root: &RootKeySource, store: StoreId, namespace: &Name) -> Result<&mut Mark> {
        if !self.marks.contains_key(&store.0) {
            if self.marks.len() == MOST_STORES {
                return Err(too_many());
            }
            self.marks.insert(store.0, Marks::load(root, store)?);
        }
        let marks = self.marks.entry(store.0).or_insert_with(|| Marks::none(store));
        Ok(marks.namespaces.entry(namespace.clone()).or_default())
    }
}

fn agree(wanted: &Wanted, known: &Versions, fetched: &Fetched) -> Result<()> {
    if fetched.shown.newest == 0 {
        return refuse_absence(&wanted.item, known);
    }
    if fetched.shown.versions.contains_key(&fetched.shown.newest) {
        compare(&wanted.item, known, &fetched.shown)?;
        return named(wanted, known, fetched);
    }
    Err(older(&format!("version {} of {} has vanished", fetched.shown.newest, wanted.item)))
}

/// A version that the class names is compared too.
fn named(wanted: &Wanted, known: &Versions, fetched: &Fetched) -> Result<()> {
    let Some(version) = wanted.version else { return Ok(()) };
    let only = known.iter().filter(|(known, _)| **known == version);
    let only = only.map(|(version, known)| (*version, known.clone())).collect();
    let shown = crate::checkpoint::Shown { from: version, ..fetched.shown.clone() };
    compare(&wanted.item, &only, &shown)
}

fn of_another(namespace: &Name) -> Error {
    older(&format!("the checkpoint of namespace {namespace} is of another store"))
}

fn too_many() -> Error {
    Error::new(ErrorKind::Denied, "the database claims to be yet another store")
        .remedy("find out who writes to it; if it was restored that often, start this process again")
}
