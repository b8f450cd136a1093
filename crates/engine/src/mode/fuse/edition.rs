//! A snapshot as an edition of a FUSE volume.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};

use fuse_session::{Protection, Store};
use fuse_tree::{Contents, Edition, File, Invalid, Moment, Source};
use provider::{ObjectPath, SecretBytes};

use crate::mode::{Appearance, Error, ShownFile, version_name};
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

/// The edition of this number that shows `snapshot`, and its files.
pub(super) fn of(
    number: u64,
    snapshot: &Snapshot,
    appearance: &Appearance,
) -> Result<(Edition, Shelf), Error> {
    let room = usize::try_from(snapshot.bytes()).unwrap_or(usize::MAX);
    let mut store = Store::with_room(room).map_err(|error| no_memory(&error))?;
    snapshot
        .iter()
        .try_for_each(|(_, file)| store.push(file.contents.expose()))
        .map_err(|error| no_memory(&error))?;
    let (store, slots) = store.build();
    tell_of(store.protection());
    let mut shelf = Shelf::default();
    let mut files = BTreeMap::new();
    for ((path, file), slot) in snapshot.iter().zip(slots) {
        let mode = file.mode.map_or_else(|| appearance.file_mode(), |mode| mode.bits());
        let contents: Arc<dyn Contents> = Arc::new(slot);
        shelf.0.push((path.clone(), mode, Arc::clone(&contents)));
        files.insert(path.to_string(), File { mode, source: Source::Known(contents) });
    }
    Ok((Edition { number, name: version_name(), changed: now(), files }, shelf))
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
