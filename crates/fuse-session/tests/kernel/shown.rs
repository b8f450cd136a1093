//! What the volumes of tests show: the same in each process.

use std::sync::Arc;

use fuse_tree::{Edition, File, Look, Moment, Plain, Policy, Source, Volume};

pub(crate) const LOOK: Look = Look { uid: 0, gid: 0, directory_mode: 0o755 };

/// An edition of files with these contents.
pub(crate) fn edition(number: u64, files: &[(&str, &[u8])]) -> Edition {
    let sources = files.iter().map(|(path, bytes)| (*path, Source::Known(Plain::of(*bytes))));
    edition_of(number, sources)
}

/// An edition of files from these sources.
pub(crate) fn edition_of<'a>(number: u64, files: impl IntoIterator<Item = (&'a str, Source)>) -> Edition {
    let file = |(path, source): (&str, _)| (path.to_owned(), File { mode: 0o444, source });
    let files = files.into_iter().map(file).collect();
    Edition {
        number,
        name: format!("..v{number}"),
        changed: Moment { seconds: 1_700_000_000, nanoseconds: 5 },
        files,
    }
}

/// A volume that shows an edition.
pub(crate) fn showing(name: &str, policy: Arc<dyn Policy>, edition: Edition) -> Arc<Volume> {
    let (volume, number) = (Volume::new(name, LOOK, policy), edition.number);
    volume.add(edition).unwrap();
    volume.show(number).unwrap();
    Arc::new(volume)
}
