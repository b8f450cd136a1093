//! What a reading process has seen of each namespace. Each read compares the database with it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use provider::{Error, ErrorKind, Result};

use crate::checkpoint::{Checkpoint, Versions, compare, older, refuse_absence};
use crate::fetch::{Fetched, Latest};
use crate::keys::StoreId;
use crate::ledger::check_key;
use crate::mark::{Mark, Marks};
use crate::name::Name;
use crate::read::Wanted;
use crate::root_file::RootKeySource;

/// The most stores that are remembered for one root key: the present one, and stores that a restore put in its place.
const MOST_STORES: usize = 8;
/// After a failed write of the file, how long to wait before the next try, if nothing new is read meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// The newest state that this process has seen.
#[derive(Debug)]
pub(crate) struct Memory {
    root: RootKeySource,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    marks: BTreeMap<[u8; 16], Marks>,
    checkpoints: BTreeMap<Name, (StoreId, Arc<Checkpoint>)>,
    /// When the last write of the file failed. `None` if it succeeded.
    failed: Option<Instant>,
}

impl Memory {
    pub(crate) fn new(root: RootKeySource) -> Self {
        Self { root, seen: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &RootKeySource {
        &self.root
    }

    /// Whether `store` was seen in the present form, by this process or by the one that wrote the mark beside the root
    /// key.
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

    /// The number of the checkpoint of `namespace` that this process holds completely.
    pub(crate) fn sequence(&self, namespace: &Name) -> Option<u64> {
        self.seen().checkpoints.get(namespace).map(|(_, checkpoint)| checkpoint.sequence)
    }

    /// Compares the fetched rows with what is known. Returns the checkpoint that applies to them.
    ///
    /// # Errors
    ///
    /// `Denied`: the rows are older than what is known, or differ from it.
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

    /// Remembers what was read, also in the file if the file lacks it.
    pub(crate) fn observe(&self, wanted: &Wanted, fetched: &Fetched, checkpoint: Option<&Checkpoint>) {
        let (store, namespace) = (fetched.pin.store, &wanted.item.namespace);
        let Some(mark) = self.unsaved(wanted, fetched, checkpoint) else { return };
        let saved = Marks::one(store, namespace, mark).save(&self.root);
        let mut seen = self.seen();
        if saved.is_err()
            && let Ok(mark) = seen.mark(&self.root, store, namespace)
        {
            mark.is_unsaved = true;
        }
        let failed = saved.is_err().then(Instant::now);
        let failed_before = std::mem::replace(&mut seen.failed, failed);
        drop(seen);
        self.tell(saved, failed_before.is_some());
    }

    /// The mark of the namespace, if the read brought something new or if it is time to write the file again after a
    /// failure.
    fn unsaved(&self, wanted: &Wanted, fetched: &Fetched, checkpoint: Option<&Checkpoint>) -> Option<Mark> {
        let item = &wanted.item.name;
        let mut seen = self.seen();
        let may_retry = seen.failed.is_none_or(|failed| failed.elapsed() >= RETRY);
        let mark = seen.mark(&self.root, fetched.pin.store, &wanted.item.namespace).ok()?;
        if mark.sequence != checkpoint.map_or(0, |checkpoint| checkpoint.sequence) {
            return None;
        }
        let known = checkpoint.and_then(|checkpoint| checkpoint.of(item));
        let is_news = mark.observe(item, known, &fetched.shown.versions);
        (is_news || mark.is_unsaved && may_retry).then(|| mark.take_unsaved())
    }

    /// Logs when the file cannot be written any more, and when it can again.
    fn tell(&self, saved: io::Result<()>, failed_before: bool) {
        let file = self.root.mark_file();
        match saved {
            Err(error) if !failed_before => tracing::warn!(
                file = %file.display(), %error,
                "how new the embedded store is, is kept in memory only until this file can be written: it is tried again"
            ),
            Ok(()) if failed_before => tracing::info!(
                file = %file.display(),
                "how new the embedded store is, is written beside the root key again"
            ),
            _ => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The newest checkpoint of `namespace` that this process holds.
    fn known(&self, store: StoreId, namespace: &Name) -> Option<Arc<Checkpoint>> {
        let known = self.checkpoints.get(namespace).filter(|(of, _)| *of == store);
        known.map(|(_, checkpoint)| Arc::clone(checkpoint))
    }

    /// Keeps the checkpoint to which the mark was just advanced, to compare the next one with it.
    fn keep(&mut self, store: StoreId, namespace: &Name, checkpoint: Option<&Arc<Checkpoint>>) {
        if let Some(checkpoint) = checkpoint {
            self.checkpoints.insert(namespace.clone(), (store, Arc::clone(checkpoint)));
        }
    }

    /// The mark of `namespace`. At the first use it comes from the file.
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

/// Compares the version that the class names, too.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Digest, Known, Shown};
    use crate::heard::hearing;
    use crate::keys::RootKey;
    use crate::name::ServiceAccounts;
    use crate::pin::Pin;

    fn wanted() -> Wanted {
        let item = crate::name::Item { namespace: "shop".parse().unwrap(), name: "api".parse().unwrap() };
        Wanted { item, key: "value".parse().unwrap(), version: None }
    }

    /// An item with versions up to `newest`, none of them signed.
    fn fetched(pin: Pin, newest: u64) -> Fetched {
        let keys = Digest::of([("value", None)].into_iter());
        let known =
            || Known { accounts: ServiceAccounts::Any, keys, contents: None, gone: false, back: None };
        let versions = (1..=newest).map(|version| (version, known())).collect();
        let shown = Shown { newest, from: 0, versions };
        Fetched { pin, namespace: None, checkpoint: Latest::None, shown, chosen: None }
    }

    fn saved(memory: &Memory, pin: Pin) -> Option<Versions> {
        let mark = Marks::load(memory.root(), pin.store).unwrap().of(&wanted().item.namespace);
        mark.seen.get(&wanted().item.name).cloned()
    }

    #[test]
    fn a_mark_that_could_not_be_written_is_written_with_the_next_news_or_after_a_while_and_both_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::new(RootKeySource::beside(directory.path()));
        let pin = Pin { store: StoreId::random().unwrap(), root: *RootKey::generate().unwrap().public() };
        // The directory makes the lock file fail, as a read-only or full file system would.
        let obstacle = memory.root().mark_file().with_extension("mark.lock");
        let told = Arc::new(Mutex::new(Vec::new()));
        let hear = Arc::clone(&told);
        let observe = |newest| memory.observe(&wanted(), &fetched(pin, newest), None);
        let fail_at = |newest| {
            std::fs::create_dir(&obstacle).unwrap();
            (1..=newest).for_each(observe);
            std::fs::remove_dir(&obstacle).unwrap();
        };

        hearing(
            move |event| hear.lock().unwrap().push(event.to_owned()),
            || {
                fail_at(2);
                observe(3);
                assert_eq!(saved(&memory, pin).unwrap().len(), 3);

                std::fs::remove_file(obstacle.clone()).unwrap();
                fail_at(4);
                observe(4);
                assert_eq!(saved(&memory, pin).unwrap().len(), 3, "not at each read");
                memory.seen().failed = Instant::now().checked_sub(RETRY);
                observe(4);
                assert_eq!(saved(&memory, pin).unwrap().len(), 4);
            },
        );

        let told = told.lock().unwrap();
        assert_eq!(told.len(), 4, "{told:?}");
        for (told, word) in told.iter().zip([
            "in memory only",
            "beside the root key again",
            "in memory only",
            "beside the root key again",
        ]) {
            assert!(told.contains(word), "{told}");
        }
    }
}
