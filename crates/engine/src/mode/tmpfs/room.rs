//! How large a volume's tmpfs is.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

use super::super::Usage;
use crate::snapshot::Snapshot;

/// Smallest size of a volume, in bytes.
const MIN_BYTES: u64 = 1 << 20;
/// Extra room in addition to the files, in bytes.
const SLACK_BYTES: u64 = 64 << 10;
/// Extra inodes in addition to the files: the root, `..data`, its successor, and some more.
const SLACK_INODES: u64 = 16;
/// A symbolic link with a longer text needs a page of its own.
const SHORT_LINK: usize = 127 - "..data/".len();

/// Limits of a tmpfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) inodes: u64,
}

impl Room {
    /// The limits of a new volume: twice the size of its files, because during a rotation it holds the old and the new
    /// ones.
    pub(super) fn for_volume(snapshot: &Snapshot, max_bytes: u64) -> io::Result<Self> {
        let set = Self::of(snapshot);
        let bytes = 2 * (set.bytes + SLACK_BYTES);
        if bytes > max_bytes {
            return Err(too_large(bytes, max_bytes));
        }
        Ok(Self { bytes: bytes.max(MIN_BYTES.min(max_bytes)), inodes: 2 * (set.inodes + SLACK_INODES) })
    }

    /// The limits that the tmpfs at `root` needs before `snapshot` is written in addition to what it holds. `None` if
    /// it has enough room.
    pub(super) fn to_grow(
        root: BorrowedFd<'_>,
        snapshot: &Snapshot,
        max_bytes: u64,
    ) -> io::Result<Option<Self>> {
        let now = usage(root)?;
        let wanted = Self::for_volume(snapshot, max_bytes)?;
        // Old versions that a process holds open count as well.
        let set = Self::of(snapshot);
        let needed =
            Self { bytes: now.used_bytes + set.bytes, inodes: now.used_inodes + set.inodes + SLACK_INODES };
        if needed.bytes > max_bytes {
            return Err(too_large(needed.bytes, max_bytes));
        }
        let grown = Self {
            bytes: now.total_bytes.max(wanted.bytes).max(needed.bytes),
            inodes: now.total_inodes.max(wanted.inodes).max(needed.inodes),
        };
        let fits = grown.bytes <= now.total_bytes && grown.inodes <= now.total_inodes;
        Ok((!fits).then_some(grown))
    }

    /// The limits for a tmpfs that was made without limits. `None` if it has some.
    pub(super) fn to_bound(root: BorrowedFd<'_>, max_bytes: u64) -> io::Result<Option<Self>> {
        let now = usage(root)?;
        if now.used_bytes > max_bytes {
            return Err(too_large(now.used_bytes, max_bytes));
        }
        let bytes = (2 * (now.used_bytes + SLACK_BYTES)).max(MIN_BYTES).min(max_bytes);
        let is_bound = (1..=max_bytes).contains(&now.total_bytes);
        Ok((!is_bound).then(|| Self { bytes, inodes: 2 * (now.used_inodes + SLACK_INODES) }))
    }

    /// The space that the files of `snapshot` need, with the directories and links that show them.
    fn of(snapshot: &Snapshot) -> Self {
        let page = rustix::param::page_size() as u64;
        let files: u64 =
            snapshot.iter().map(|(_, file)| (file.contents.len() as u64).next_multiple_of(page)).sum();
        let tops: BTreeSet<&str> = snapshot.iter().map(|(path, _)| path.top()).collect();
        let long_links = tops.iter().filter(|top| top.len() > SHORT_LINK).count() as u64;
        let directories: BTreeSet<&str> =
            snapshot.iter().flat_map(|(path, _)| ancestors(path.as_str())).collect();
        Self {
            bytes: files + long_links * page,
            inodes: (snapshot.len() + tops.len() + directories.len() + 1) as u64,
        }
    }
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

fn too_large(needed: u64, max_bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        format!(
            "the files need {needed} bytes, what a rotation takes beside them included, and a volume may have \
             {max_bytes}; make them smaller, or raise --max-volume-bytes"
        ),
    )
}

/// The space that the tmpfs at `root` uses, and its limits.
pub(super) fn usage(root: BorrowedFd<'_>) -> io::Result<Usage> {
    let stat = rustix::fs::fstatvfs(root)?;
    Ok(Usage {
        total_bytes: stat.f_blocks * stat.f_frsize,
        used_bytes: stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize,
        total_inodes: stat.f_files,
        used_inodes: stat.f_files.saturating_sub(stat.f_ffree),
    })
}
