//! Marks: the newest state that was seen of each namespace, kept where a writer of the database cannot change it.
//!
//! A mark is in memory while a process runs, and in a file beside the root key (`root.key.mark`) if that directory can
//! be written. Without either of them, nobody could distinguish an old state from the newest.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use provider::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Known, Versions, older};
use crate::durable;
use crate::keys::StoreId;
use crate::name::{Item, ItemName, Name};
use crate::pin::refuse_writable;
use crate::root_file::RootKeySource;
use crate::root_file::parent;

/// The longest file that is read or written, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// The most versions of an item that are kept beyond the checkpoint. The newest are kept.
const MOST_SEEN: usize = 64;
/// How long to wait for other processes that write the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// The newest state that was seen of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The number of its newest checkpoint.
    pub(crate) sequence: u64,
    /// Versions that were read since that checkpoint and that it does not have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<ItemName, Versions>,
    /// Whether the file lacks some of these.
    #[serde(skip)]
    pub(crate) is_unsaved: bool,
}

/// The marks of a store, by namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marks {
    store: StoreId,
    pub(crate) namespaces: BTreeMap<Name, Mark>,
}

impl Mark {
    /// Advances to `checkpoint`. `before` is the checkpoint that this process held until now.
    ///
    /// # Errors
    ///
    /// `Denied`: `checkpoint` is older, or lacks something that was seen or signed before.
    pub(crate) fn advance(
        &mut self,
        namespace: &Name,
        checkpoint: Option<&Checkpoint>,
        before: Option<&Checkpoint>,
    ) -> Result<()> {
        let sequence = checkpoint.map_or(0, |checkpoint| checkpoint.sequence);
        if sequence < self.sequence {
            return Err(older(&format!("the checkpoint of namespace {namespace} is an older one, or gone")));
        }
        let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.sequence > self.sequence) else {
            return Ok(());
        };
        find_all(namespace, self.sequence, &self.seen, checkpoint)?;
        // Its signer may not know that checkpoint, because the database may have shown an older state to the signer.
        if let Some(before) = before {
            find_all(namespace, before.sequence, &before.items, checkpoint)?;
        }
        *self = Self { sequence, seen: BTreeMap::new(), is_unsaved: true };
        Ok(())
    }

    /// Remembers versions of `item` that `checkpoint` lacks, or has in another state. Returns whether there is anything
    /// new.
    pub(crate) fn observe(&mut self, item: &ItemName, known: Option<&Versions>, rows: &Versions) -> bool {
        let is_new = |(version, row): &(&u64, &Known)| {
            known.and_then(|known| known.get(version)).is_none_or(|known| known.gone != row.gone)
        };
        let mut changed = false;
        for (version, row) in rows.iter().filter(is_new) {
            changed |= add(self.seen.entry(item.clone()).or_default(), *version, row);
        }
        changed
    }

    /// A copy of the mark for the file. From now on the mark counts as saved.
    pub(crate) fn take_unsaved(&mut self) -> Self {
        self.is_unsaved = false;
        self.clone()
    }

    /// Keeps the newer of both marks. If they have the same checkpoint, joins what both have seen.
    fn merge(&mut self, other: &Self) {
        if other.sequence > self.sequence {
            *self = other.clone();
        } else if other.sequence == self.sequence {
            for (item, others) in &other.seen {
                let seen = self.seen.entry(item.clone()).or_default();
                others.iter().for_each(|(version, row)| _ = add(seen, *version, row));
            }
        }
    }
}

/// Adds a version, or its deletion. Before the next checkpoint a deleted version stays deleted. Returns whether this is
/// new.
fn add(seen: &mut Versions, version: u64, row: &Known) -> bool {
    if let Some(known) = seen.get_mut(&version) {
        let is_news = row.gone && !known.gone;
        known.gone |= row.gone;
        return is_news;
    }
    if seen.len() >= MOST_SEEN && seen.first_key_value().is_some_and(|(oldest, _)| version < *oldest) {
        return false;
    }
    seen.insert(version, row.clone());
    while seen.len() > MOST_SEEN {
        seen.pop_first();
    }
    true
}

impl Marks {
    pub(crate) fn none(store: StoreId) -> Self {
        Self { store, namespaces: BTreeMap::new() }
    }

    /// The marks of only one namespace.
    pub(crate) fn one(store: StoreId, namespace: &Name, mark: Mark) -> Self {
        Self { store, namespaces: BTreeMap::from([(namespace.clone(), mark)]) }
    }

    /// Reads the marks of `store` from the file beside `root`.
    ///
    /// # Errors
    ///
    /// `Denied`: the file is damaged, belongs to another store, or others may write it.
    pub(crate) fn load(root: &RootKeySource, store: StoreId) -> Result<Self> {
        let path = root.mark_file();
        let found = read(&path)?;
        match found {
            None => Ok(Self::none(store)),
            Some(marks) if marks.store == store => Ok(marks),
            Some(_) => Err(unusable(&path, "is of another store")),
        }
    }

    /// Notes that `namespace` has a checkpoint of this number now.
    pub(crate) fn raise(&mut self, namespace: &Name, sequence: u64) {
        self.namespaces.insert(namespace.clone(), Mark { sequence, ..Mark::default() });
    }

    /// The mark of `namespace`.
    pub(crate) fn of(&self, namespace: &Name) -> Mark {
        self.namespaces.get(namespace).cloned().unwrap_or_default()
    }

    /// Adds these marks to the file beside `root`. If the versions that were read since a checkpoint do not fit, only the
    /// numbers of the checkpoints are added.
    ///
    /// # Errors
    ///
    /// The directory cannot be written, or not everything fits into the longest file that is read.
    pub(crate) fn save(&self, root: &RootKeySource) -> io::Result<()> {
        let path = root.mark_file();
        let _lock = lock(&path)?;
        let before = read(&path).ok().flatten().filter(|marks| marks.store == self.store);
        let before = before.unwrap_or_else(|| Self::none(self.store));
        let joined = before.joined(self);
        // The process that put the value has often saved the mark already. Then the reader does not wait for the disk.
        if joined == before && !before.namespaces.is_empty() {
            return Ok(());
        }
        let (text, fits) = match joined.text() {
            Ok(text) => (text, Ok(())),
            // A writer who fills the file with versions must not prevent it from knowing the checkpoints.
            Err(error) => (before.joined(&self.sequences()).text()?, Err(error)),
        };
        durable::replace(&path, &text, 0o600)?;
        fits
    }

    /// Replaces the file by these marks.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub(crate) fn save_alone(&self, root: &RootKeySource) -> io::Result<()> {
        let path = root.mark_file();
        let _lock = lock(&path)?;
        durable::replace(&path, &self.text()?, 0o600)
    }

    fn joined(&self, others: &Self) -> Self {
        let mut all = self.clone();
        for (namespace, mark) in &others.namespaces {
            all.namespaces.entry(namespace.clone()).or_default().merge(mark);
        }
        all
    }

    fn sequences(&self) -> Self {
        let mut sequences = Self::none(self.store);
        self.namespaces.iter().for_each(|(namespace, mark)| sequences.raise(namespace, mark.sequence));
        sequences
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let text = serde_json::to_vec(self)?;
        if text.len() as u64 > MAX_FILE {
            let most = MAX_FILE / 1024 / 1024;
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {most} MiB to write"),
            ));
        }
        Ok(text)
    }
}

/// Checks that `checkpoint` contains everything that was `known` at checkpoint number `at`. Each newer checkpoint must,
/// unless it or a checkpoint in between accepted an older state.
fn find_all(
    namespace: &Name,
    at: u64,
    known: &BTreeMap<ItemName, Versions>,
    checkpoint: &Checkpoint,
) -> Result<()> {
    if checkpoint.restored > at {
        return Ok(());
    }
    for (name, versions) in known {
        let item = Item { namespace: namespace.clone(), name: name.clone() };
        let found = checkpoint.of(name);
        for (version, known) in versions {
            find(at, known, found.and_then(|found| found.get(version)))
                .map_err(|what| older(&format!("version {version} of {item} {what}")))?;
        }
    }
    Ok(())
}

fn find(at: u64, known: &Known, signed: Option<&Known>) -> std::result::Result<(), &'static str> {
    let signed = signed.ok_or("was there, and is not in the next checkpoint")?;
    if known.gone && !signed.gone && signed.back.is_none_or(|back| back <= at) {
        return Err("was deleted, and is back in the next checkpoint");
    }
    if known.admits(signed) { Ok(()) } else { Err("is not what it was") }
}

fn read(path: &Path) -> Result<Option<Marks>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, &format!("cannot be opened: {error}"))),
    };
    refuse_writable(path, &file)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(path, &format!("cannot be read: {error}")))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| unusable(path, "is damaged"))
}

fn unusable(path: &Path, what: &str) -> Error {
    let text = format!("the mark of how new the store is, {}, {what}", path.display());
    Error::new(ErrorKind::Denied, text).remedy(
        "find out who writes beside the root key; if the store is as you expect it, `secretfs store restore \
         --accept-older` makes a new mark",
    )
}

/// Prevents others from writing the file at `path` until the lock is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // The directory may be another user's, and a link there could lead anywhere.
    let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(name)?;
    durable::give_to_owner(&file, parent(path))?;
    let began = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::checkpoint::Digest;
    use crate::name::ServiceAccounts;

    fn seen(versions: std::ops::Range<u64>, gone: bool) -> Versions {
        let keys = Digest::of([("value", None)].into_iter());
        let known = || Known { accounts: ServiceAccounts::Any, keys, contents: None, gone, back: None };
        versions.map(|version| (version, known())).collect()
    }

    fn mark(sequence: u64, versions: Versions) -> Mark {
        let seen = BTreeMap::from([("api".parse().unwrap(), versions)]);
        Mark { sequence, seen, is_unsaved: false }
    }

    #[test]
    fn what_others_saw_is_joined_to_the_newest_and_keeps_every_deletion() {
        for (gone, others_gone) in [(true, false), (false, true)] {
            let mut kept = mark(7, seen(1..51, gone));

            kept.merge(&mark(7, seen(31..101, others_gone)));

            let (_, kept) = kept.seen.pop_first().unwrap();
            assert_eq!(kept.keys().copied().collect::<Vec<_>>(), (37..101).collect::<Vec<_>>());
            assert!((37..51).all(|version| kept.get(&version).unwrap().gone));
        }
    }

    #[test]
    fn what_the_file_has_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKeySource::beside(directory.path());
        let (store, namespace) = (StoreId::random().unwrap(), "shop".parse().unwrap());
        let save = |mark| Marks::one(store, &namespace, mark).save(&root).unwrap();
        let file = || std::fs::metadata(root.mark_file()).unwrap().ino();
        save(mark(8, seen(1..3, false)));
        let first = file();

        save(mark(8, seen(1..3, false)));
        save(mark(7, seen(1..3, false)));
        assert_eq!(file(), first);

        save(mark(8, seen(1..4, false)));
        assert_ne!(file(), first);
        assert_eq!(Marks::load(&root, store).unwrap().of(&namespace), mark(8, seen(1..4, false)));
    }

    #[test]
    fn versions_that_are_older_than_those_kept_are_news_once_at_most() {
        let (item, mut kept) = ("api".parse().unwrap(), Mark::default());
        let rows = seen(1..101, false);
        assert!(kept.observe(&item, None, &rows));
        let before = kept.clone();

        assert!(!kept.observe(&item, None, &rows));

        assert_eq!(kept, before);
        assert!(kept.observe(&item, None, &seen(50..51, true)), "a deletion");
    }

    #[test]
    fn a_mark_that_grows_too_long_stays_readable_and_follows_checkpoints() {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKeySource::beside(directory.path());
        let (store, namespace) = (StoreId::random().unwrap(), "shop".parse().unwrap());
        let save = |mark| Marks::one(store, &namespace, mark).save(&root);
        let load = || Marks::load(&root, store).unwrap().of(&namespace);
        let accounts = (0..1100).map(|number| format!("{number:0250}").parse().unwrap());
        let accounts = ServiceAccounts::Only(accounts.collect());
        let mut endless = seen(1..65, false);
        endless.values_mut().for_each(|known| known.accounts = accounts.clone());
        save(mark(7, seen(70..71, false))).unwrap();

        assert_eq!(save(mark(7, endless.clone())).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(load(), mark(7, seen(70..71, false)));
        assert_eq!(save(mark(9, endless)).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(load(), Mark { sequence: 9, ..Mark::default() });
    }
}
