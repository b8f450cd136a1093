//! The mount that one open file lies on. The kernel is asked, not who serves the file system: that may be a process which
//! hangs.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

/// The mount table as the calling thread sees it.
pub const TABLE: &str = "/proc/thread-self/mountinfo";
/// Asks the kernel alone.
const KERNEL_ONLY: AtFlags = AtFlags::EMPTY_PATH.union(AtFlags::STATX_DONT_SYNC);
/// Asks for a number that no other mount of this boot ever gets (since Linux 6.8).
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type, such as `tmpfs`. For one mount the kernel gives the part before the dot of `fuse.name`, in its table the
    /// whole name.
    pub kind: OsString,
    /// The source that it names.
    pub source: OsString,
}

/// What the mount shows that `file` lies on; `None` if it is mounted nowhere in this thread's mount namespace.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to, or its table cannot be read.
pub fn mounted_at(file: impl AsFd) -> io::Result<Option<FileSystem>> {
    if let Some(unique) = unique_number(&file)?
        && let Ok(found) = sys::mount_by_number(unique)
    {
        return Ok(found.map(|shown| FileSystem { kind: shown.kind, source: shown.source }));
    }
    // An older kernel tells it only in the table of all mounts, which takes longer the more there are.
    let number = mount_number(file)?;
    let listed = crate::mounts(&std::fs::read(TABLE)?).find(|mount| Some(mount.id) == number);
    Ok(listed.map(|mount| FileSystem { kind: mount.kind.into(), source: mount.source.into() }))
}

/// The number of the mount that `file` lies on, which no other mount of this boot ever gets; `None` before Linux 6.8.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn unique_number(file: impl AsFd) -> io::Result<Option<u64>> {
    number(file, MNT_ID_UNIQUE)
}

/// The number of the mount that `file` lies on, as the mount table has it.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn mount_number(file: impl AsFd) -> io::Result<Option<u64>> {
    number(file, StatxFlags::MNT_ID)
}

fn number(file: impl AsFd, which: StatxFlags) -> io::Result<Option<u64>> {
    let told = rustix::fs::statx(file, "", KERNEL_ONLY, which)?;
    Ok((told.stx_mask & which.bits() != 0).then_some(told.stx_mnt_id))
}

/// Whether something is mounted with its root at the open `directory`.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn is_mount_root(directory: impl AsFd) -> io::Result<bool> {
    let stat = rustix::fs::statx(directory, "", KERNEL_ONLY, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_kernel_tells_of_one_mount_what_its_table_of_all_mounts_tells() {
        let table = fs::read(TABLE).unwrap();
        let mut compared = 0;

        for listed in crate::mounts(&table) {
            let Ok(root) = rustix::fs::open(&listed.point, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            else {
                continue;
            };
            if mount_number(&root).unwrap() != Some(listed.id) {
                continue; // Another mount hides it.
            }
            let Some(found) = unique_number(&root).unwrap().map(sys::mount_by_number) else {
                continue;
            };
            match found {
                Ok(found) => {
                    let found = found.expect("a mount of this namespace");
                    let kind = listed.kind.split('.').next().unwrap();
                    assert_eq!(
                        (found.kind.to_str().unwrap(), found.source.as_os_str()),
                        (kind, listed.source.as_os_str())
                    );
                    assert!(is_mount_root(&root).unwrap(), "{listed:?}");
                    compared += 1;
                }
                // Linux before 6.8, or before 6.13.
                Err(error) => assert!(
                    matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::OPNOTSUPP)),
                    "{error}"
                ),
            }
        }

        println!("{compared} mounts compared");
    }
}
