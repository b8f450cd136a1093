//! A snapshot as an edition of a FUSE volume.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Once};

use fuse_session::{Lent, Protection, Slot, Store};
use fuse_tree::{Ask, Contents, Edition, File, Invalid, Moment, Source};
use provider::{FileMode, ObjectPath, SecretBytes};
use serde::{Deserialize, Serialize};

use super::shown::Frame;
use crate::mode::{Appearance, Error, Listing, ShownFile, version_name};
use crate::snapshot::Snapshot;

/// The number of a volume's first edition.
pub(super) const FIRST: u64 = 1;

/// The files of an edition as they were put into memory that is wiped.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<(ObjectPath, u32, Arc<dyn Contents>)>);

impl Shelf {
    /// The files, read back.
    pub(super) fn read(&self) -> Vec<ShownFile> {
        let read = |(path, mode, contents): &(ObjectPath, u32, Arc<dyn Contents>)| ShownFile {
            path: path.clone(),
            contents: bytes_of(&**contents),
            mode: *mode,
        };
        self.0.iter().map(read).collect()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, _, contents)| contents.len()).sum()
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn bytes_of(contents: &dyn Contents) -> SecretBytes {
    let mut bytes = vec![0; usize::try_from(contents.len()).unwrap_or_default()];
    let copied = contents.copy(0, &mut bytes).unwrap_or_default();
    bytes.truncate(copied);
    SecretBytes::from(bytes)
}

/// What the next process has to know of an edition beside its values, of which it has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    number: u64,
    name: String,
    changed: (u64, u32),
    stage: Stage,
    files: Vec<Entry>,
    /// Whether nobody knows what the files hold before they are opened. Earlier versions do not say: there it is known.
    #[serde(default)]
    is_asked: bool,
}

/// A file as its path, its mode, its length in bytes, and whether it was withdrawn. Values follow each other in this
/// order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(String, u32, usize, bool);

/// Files whose contents nobody knows before they are opened: permission bits by path.
pub(super) type Listed = BTreeMap<String, u32>;

/// How far an edition came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// It is to be shown next. Perhaps it is.
    Next,
    /// It is shown, or was shown last and still has its name.
    Shown,
    /// It has no name any more. Handles and containers may have files of it.
    Unnamed,
}

/// An edition as it is handed to the next process.
#[derive(Debug)]
pub(super) struct Legacy {
    manifest: Manifest,
    values: Arc<Store>,
}

impl Legacy {
    /// What an earlier process handed over. `lend` says what values of so many bytes in a file take of what may be locked.
    pub(super) fn read(
        about: &[u8],
        file: OwnedFd,
        lend: impl FnOnce(usize, BorrowedFd<'_>) -> Option<Lent>,
    ) -> Result<(Self, Vec<Slot>), Error> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::Failed(format!("an edition is unreadable: {error}").into())
        };
        let manifest: Manifest = serde_json::from_slice(about).map_err(|error| unreadable(&error))?;
        let lengths: Vec<usize> = manifest.files.iter().map(|Entry(_, _, len, _)| *len).collect();
        let lent = lend(lengths.iter().fold(0, |sum, len| sum.saturating_add(*len)), file.as_fd());
        let (values, slots) = Store::of_earlier(file, &lengths, lent).map_err(|error| unreadable(&error))?;
        Ok((Self { manifest, values }, slots))
    }

    pub(super) fn number(&self) -> u64 {
        self.manifest.number
    }

    pub(super) fn stage(&self) -> Stage {
        self.manifest.stage
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.manifest.stage = stage;
    }

    /// Whether nobody knows what its files hold before they are opened.
    pub(super) fn is_asked(&self) -> bool {
        self.manifest.is_asked
    }

    /// The edition, as it was listed: `ask` finds out what its files hold.
    pub(super) fn asked_edition(&self, ask: &Arc<dyn Ask>) -> (Edition, Listed) {
        let (seconds, nanoseconds) = self.manifest.changed;
        let files = self.manifest.files.iter().map(|file| (file.0.clone(), file.1)).collect();
        let changed = Moment { seconds, nanoseconds };
        (asked_edition(self.number(), &self.manifest.name, changed, &files, ask), files)
    }

    /// Notes that files were withdrawn. `false` if it has none of them.
    pub(super) fn withdraw(&mut self, paths: &[&str]) -> bool {
        let listed = self.manifest.files.iter_mut();
        let withdrawn =
            listed.filter(|Entry(path, _, _, is_gone)| !is_gone && paths.contains(&path.as_str()));
        withdrawn.map(|Entry(_, _, _, is_gone)| *is_gone = true).count() > 0
    }

    /// Paths of files that were withdrawn.
    pub(super) fn withdrawn(&self) -> impl Iterator<Item = &str> {
        let withdrawn = self.manifest.files.iter().filter(|Entry(_, _, _, is_gone)| *is_gone);
        withdrawn.map(|Entry(path, ..)| path.as_str())
    }

    /// What is to be kept of it: words about it, and the file with its values.
    pub(super) fn to_keep(&self) -> Result<(Vec<u8>, BorrowedFd<'_>), Error> {
        let about = serde_json::to_vec(&self.manifest).map_err(|error| Error::Failed(error.into()))?;
        let file = self.values.file().ok_or_else(|| Error::Failed("its values are in no file".into()))?;
        Ok((about, file))
    }

    /// An edition without values, as the next process gets it.
    fn of_asked(edition: &Edition) -> Result<Self, Error> {
        let files = edition.files.iter().map(|(path, file)| Entry(path.clone(), file.mode, 0, false));
        let (number, name, stage) = (edition.number, edition.name.clone(), Stage::Next);
        let changed = (edition.changed.seconds, edition.changed.nanoseconds);
        let manifest = Manifest { number, name, changed, stage, files: files.collect(), is_asked: true };
        // What is kept is a file, also of an edition that has no values.
        let store = Store::to_hand_over(1, None).map_err(|error| no_memory(&error))?;
        Ok(Self { manifest, values: store.build().0 })
    }

    /// Hands it over to nobody. Its values are wiped when the last reader has gone.
    pub(super) fn end(&self) {
        self.values.hand_over_no_more();
    }

    /// The edition, as it was shown, and its files.
    pub(super) fn edition(&self, slots: Vec<Slot>) -> Result<(Edition, Shelf), Error> {
        let (mut shelf, mut files) = (Shelf::default(), BTreeMap::new());
        for (Entry(path, mode, _, _), slot) in self.manifest.files.iter().zip(slots) {
            let object = ObjectPath::try_from(path.as_str()).map_err(|error| Error::Failed(error.into()))?;
            shelf.put(&mut files, &object, *mode, slot);
        }
        let (seconds, nanoseconds) = self.manifest.changed;
        let changed = Moment { seconds, nanoseconds };
        let edition = Edition { number: self.number(), name: self.manifest.name.clone(), changed, files };
        Ok((edition, shelf))
    }
}

impl Shelf {
    fn put(&mut self, files: &mut BTreeMap<String, File>, path: &ObjectPath, mode: u32, slot: Slot) {
        let contents: Arc<dyn Contents> = Arc::new(slot);
        self.0.push((path.clone(), mode, Arc::clone(&contents)));
        files.insert(path.to_string(), File { mode, source: Source::Known(contents) });
    }
}

/// Refuses a snapshot that leaves no room for a rotation.
pub(super) fn fits(snapshot: &Snapshot, max_bytes: u64) -> Result<(), Error> {
    let bytes = snapshot.bytes();
    if bytes.saturating_mul(2) <= max_bytes {
        return Ok(());
    }
    let told = format!(
        "the files have {bytes} bytes, which is more than half of the {max_bytes} that a volume may have; the other \
         half is for the next version (--max-volume-bytes)"
    );
    Err(Error::TooLarge(told.into()))
}

/// An edition that was just made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) edition: Edition,
    pub(super) shelf: Shelf,
    /// For the next process, if it is to be handed over.
    pub(super) legacy: Option<Legacy>,
}

/// The edition of this number that shows `snapshot` in a volume with this frame.
pub(super) fn of(number: u64, snapshot: &Snapshot, frame: &Frame) -> Result<Made, Error> {
    let (room, appearance, hands_over) =
        (usize::try_from(snapshot.bytes()).unwrap_or(usize::MAX), &frame.appearance, frame.hands_over);
    let lent = hands_over.then(|| frame.lockable.take(&appearance.tenant, room));
    let is_told = lent.as_ref().is_some_and(Option::is_none);
    let made = lent.map_or_else(|| Store::with_room(room), |lent| Store::to_hand_over(room, lent));
    let mut store = made.map_err(|error| no_memory(&error))?;
    snapshot
        .iter()
        .try_for_each(|(_, file)| store.push(file.contents.expose()))
        .map_err(|error| no_memory(&error))?;
    let (values, slots) = store.build();
    if !is_told {
        tell_of(values.protection());
    }
    let (mut shelf, mut files, mut listed) = (Shelf::default(), BTreeMap::new(), Vec::new());
    for ((path, file), slot) in snapshot.iter().zip(slots) {
        let mode = file.mode.map_or_else(|| appearance.file_mode(), |mode| mode.bits());
        listed.push(Entry(path.to_string(), mode, file.contents.expose().len(), false));
        shelf.put(&mut files, path, mode, slot);
    }
    let edition = Edition { number, name: version_name(), changed: now(), files };
    let changed = (edition.changed.seconds, edition.changed.nanoseconds);
    let (name, stage, is_asked) = (edition.name.clone(), Stage::Next, false);
    let manifest = Manifest { number, name, changed, stage, files: listed, is_asked };
    Ok(Made { edition, shelf, legacy: hands_over.then_some(Legacy { manifest, values }) })
}

/// The permission bits of the files of `listing`.
pub(super) fn listed(listing: &Listing, appearance: &Appearance) -> Listed {
    let bits = |mode: &Option<FileMode>| mode.map_or_else(|| appearance.file_mode(), |mode| mode.bits());
    listing.iter().map(|(path, mode)| (path.to_string(), bits(mode))).collect()
}

/// The edition of this number that shows `files`, to be handed over if `hands_over`. `ask` finds out what they hold.
pub(super) fn asked(
    number: u64,
    files: &Listed,
    ask: &Arc<dyn Ask>,
    hands_over: bool,
) -> Result<Made, Error> {
    let edition = asked_edition(number, &version_name(), now(), files, ask);
    let legacy = if hands_over { Some(Legacy::of_asked(&edition)?) } else { None };
    Ok(Made { edition, shelf: Shelf::default(), legacy })
}

fn asked_edition(number: u64, name: &str, changed: Moment, files: &Listed, ask: &Arc<dyn Ask>) -> Edition {
    let file = |mode: &u32| File { mode: *mode, source: Source::Asked(Arc::clone(ask)) };
    let files = files.iter().map(|(path, mode)| (path.clone(), file(mode))).collect();
    Edition { number, name: name.to_owned(), changed, files }
}

/// Warns once where values may leave memory for the disk: users may lock little.
fn tell_of(protection: Protection) {
    static TOLD: Once = Once::new();
    if protection == Protection::Ordinary {
        TOLD.call_once(|| {
            tracing::warn!(
                "the values are in memory that the kernel may swap: raise the limit of locked memory (`ulimit -l`, \
                 LimitMEMLOCK= of a service), or turn swap off"
            );
        });
    }
}

fn no_memory(error: &std::io::Error) -> Error {
    Error::Failed(format!("no memory for the files: {error}").into())
}

/// The tree does not take an edition: paths of classes are stricter than its own rules, so this tells of a fault.
pub(super) fn unfit(invalid: Invalid) -> Error {
    Error::Failed(invalid.into())
}

fn now() -> Moment {
    let now = jiff::Timestamp::now();
    Moment {
        seconds: u64::try_from(now.as_second()).unwrap_or_default(),
        nanoseconds: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
    }
}
