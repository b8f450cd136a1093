use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use mountinfo::{Mount, TABLE};
use rustix::event::{PollFd, PollFlags, Timespec};
use secretfs_mounter::{SOURCE, is_file_system_of_ours};

use crate::Error;

/// Where file systems that we made are mounted, as this process sees the mount table; one mounted
/// on another counts twice.
///
/// # Errors
///
/// The mount table cannot be read.
pub fn mounted() -> io::Result<Vec<PathBuf>> {
    Ok(ours()?.into_iter().map(|mount| mount.point).collect())
}

/// The same, with all that the table says of them.
pub(crate) fn ours() -> io::Result<Vec<Mount>> {
    Ok(mountinfo::mounts(&fs::read(TABLE)?).filter(is_ours).collect())
}

/// Where something is mounted below `directory`, but not at it, if anywhere.
///
/// # Errors
///
/// The mount table cannot be read.
pub fn mounted_below(directory: &Path) -> io::Result<Option<PathBuf>> {
    let below = |mount: &Mount| mount.point.starts_with(directory) && mount.point != directory;
    Ok(mountinfo::mounts(&fs::read(TABLE)?).find(below).map(|mount| mount.point))
}

/// Where something is mounted on the mount of this number, if anywhere.
pub(crate) fn mounted_on(number: u64) -> io::Result<Option<PathBuf>> {
    Ok(mountinfo::mounts(&fs::read(TABLE)?).find(|mount| mount.parent == number).map(|mount| mount.point))
}

fn is_ours(mount: &Mount) -> bool {
    is_file_system_of_ours(mount.kind.as_ref(), mount.source.as_ref(), SOURCE)
}

/// The mount table, and whether it changed.
#[derive(Debug)]
pub struct MountTable(File);

impl MountTable {
    /// Takes note of changes from now on.
    ///
    /// # Errors
    ///
    /// The mount table cannot be opened.
    pub fn open() -> io::Result<Self> {
        Ok(Self(File::open(TABLE)?))
    }

    /// Whether something was mounted or unmounted since the last call. Costs one system call.
    pub fn changed(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::PRI)];
        // Where the kernel does not tell, it is better to look once too often.
        rustix::event::poll(&mut polled, Some(&Timespec::default())) != Ok(0)
    }

    /// The table as it is: [`mountinfo::mounts`] reads it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read() -> Result<Vec<u8>, Error> {
        fs::read(TABLE).map_err(Error::of("read", Path::new(TABLE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_file_systems_of_ours_are_found() {
        let table = b"36 35 0:30 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1k
40 35 0:31 / /mnt/app ro,noexec - tmpfs secretfs rw,noswap
41 35 0:32 / /mnt/shop ro,noexec - fuse.secretfs secretfs rw
42 35 0:33 / /mnt/x rw - ext4 secretfs rw
43 35 0:34 / /mnt/y rw - fuse.other secretfs rw";

        let ours: Vec<PathBuf> = mountinfo::mounts(table).filter(is_ours).map(|mount| mount.point).collect();

        assert_eq!(ours, [Path::new("/mnt/app"), Path::new("/mnt/shop")]);
    }
}
