//! The verbs for a process that may not mount: `fusermount3`, which every distribution installs with the right to, mounts
//! and unmounts FUSE file systems for it, and nothing else. As on a host with privileges, taken away is only what this
//! program mounted itself, known by its own number, and directories that this process made.

mod fusermount;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use secretfs_mounter::{Place, absent};

use self::fusermount::Way;
use crate::host::{Made, covered, is_seen, mount_root, not_hidden, nothing_below};
use crate::identity::MountId;
use crate::local::{Roots, anywhere as place};
use crate::{Error, LocalMounter, Mounter, Tmpfs, table};

/// How long an unmount waits for who still reads, before it takes the mount out of the tree regardless.
const BUSY: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

/// The verbs without privileges. Those that need some are refused.
#[derive(Debug)]
pub struct UnprivilegedMounter {
    /// For what needs no privileges: sockets, and blobs in memory.
    verbs: LocalMounter,
    made: Made,
}

impl Default for UnprivilegedMounter {
    /// One that has made nothing yet.
    fn default() -> Self {
        Self { verbs: LocalMounter::new(Roots::default()), made: Made::default() }
    }
}

impl UnprivilegedMounter {
    /// Mounts a FUSE file system at `target`, which is made if it is missing, and returns the kernel's end. Who uses the
    /// mount waits until somebody serves that. Only this user may enter, and the kernel judges modes. No set-id, no
    /// devices, no execution.
    ///
    /// # Errors
    ///
    /// Something is mounted at `target` already, `fusermount3` is not installed or refuses, or `/dev/fuse` cannot be
    /// opened. The error says what to do. Nothing is mounted, and a `target` made by this call is gone again.
    pub fn mount_fuse(&self, target: &Path) -> Result<OwnedFd, Error> {
        place(target).and_then(|place| self.mount_at(target, &place)).map_err(Error::of("mount", target))
    }

    /// The mount at `target`, of which [`mount_fuse`](Self::mount_fuse) returned the kernel's end.
    ///
    /// # Errors
    ///
    /// Something else was mounted there meanwhile.
    pub fn mounted_fuse(&self, target: &Path) -> Result<MountId, Error> {
        fuse_at(target).map_err(Error::of("look at", target))
    }

    fn mount_at(&self, target: &Path, place: &Place) -> io::Result<OwnedFd> {
        let made = place.make_directory()?;
        if made {
            self.made.note(target, place)?;
        }
        let mounted = nothing_at(place).and_then(|()| fusermount::mount(target));
        if mounted.is_err() {
            // The error says what failed first.
            let _ = self.made.remove(target, place);
        }
        mounted
    }

    fn unmount_at(&self, target: &Path, place: &Place, mount: &MountId) -> io::Result<()> {
        take(place, target, mount)?;
        self.made.remove(target, place)
    }
}

fn nothing_at(place: &Place) -> io::Result<()> {
    match mount_root(place)? {
        Some(_) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "something is mounted there already")),
        None => Ok(()),
    }
}

fn fuse_at(target: &Path) -> io::Result<MountId> {
    let mount = MountId::at(target)?.ok_or(io::ErrorKind::NotFound)?;
    let is_ours = table::ours()?.iter().any(|found| found.id == mount.number());
    if is_ours { Ok(mount) } else { Err(covered()) }
}

/// Unmounts `mount` if that is what is seen at `place`, the place of `target`. That it is gone is fine.
///
/// `fusermount3` unmounts by path, and nothing of others: so the path is looked at immediately before. What is mounted
/// below would go with it, so nothing may be.
fn take(place: &Place, target: &Path, mount: &MountId) -> io::Result<()> {
    let start = Instant::now();
    loop {
        if !is_seen(place, mount)? {
            return not_hidden(target, mount);
        }
        nothing_below(mount)?;
        let is_late = start.elapsed() >= BUSY;
        let way = if is_late { Way::FromReaders } else { Way::WhenFree };
        match fusermount::unmount(target, way) {
            Err(_) if !is_late => thread::sleep(PAUSE),
            Err(error) if is_seen(place, mount)? => return Err(error),
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

/// What needs root.
fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn no_tmpfs() -> Error {
    Error::of("make", Path::new("a tmpfs"))(refused(
        "this process runs without root, and mode tmpfs needs it",
    ))
}

fn no_entry(target: &Path) -> Error {
    Error::of("enter", target)(refused(
        "this process runs without root, and only root serves mounts of others",
    ))
}

impl Mounter for UnprivilegedMounter {
    fn create(&self, _: &Tmpfs) -> Result<OwnedFd, Error> {
        Err(no_tmpfs())
    }

    fn attach(&self, _: BorrowedFd<'_>, target: &Path) -> Result<(), Error> {
        Err(Error::of("mount", target)(refused(
            "this process runs without root, and mounts by fusermount3 alone",
        )))
    }

    fn open_fuse(&self) -> Result<OwnedFd, Error> {
        Err(Error::of("open", Path::new("/dev/fuse"))(refused(
            "this process runs without root, and gets it from fusermount3 with a mount",
        )))
    }

    fn create_fuse(&self, _: BorrowedFd<'_>, _: Option<&str>) -> Result<OwnedFd, Error> {
        self.open_fuse()
    }

    fn enter_fuse(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        Err(no_entry(target))
    }

    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        Err(no_entry(target))
    }

    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        Err(no_entry(target))
    }

    fn resize(&self, _: BorrowedFd<'_>, _: u64, _: u64) -> Result<(), Error> {
        Err(no_tmpfs())
    }

    fn lend(&self, _: &Tmpfs, target: &Path) -> Result<OwnedFd, Error> {
        Err(Error::of("lend a directory beside", target)(refused(
            "this process runs without root, and a provider that writes files itself needs it",
        )))
    }

    /// Nothing is ever lent.
    fn take_back(&self, _: &Path) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&self, target: &Path) -> Result<(), Error> {
        Err(Error::of("unmount", target)(refused(
            "this process runs without root, and takes away only its own",
        )))
    }

    fn unmount(&self, target: &Path, mount: &MountId) -> Result<(), Error> {
        absent(place(target))
            .and_then(|place| match place {
                Some(place) => self.unmount_at(target, &place, mount),
                None => not_hidden(target, mount),
            })
            .map_err(Error::of("unmount", target))
    }

    fn listen(&self, path: &Path) -> Result<UnixListener, Error> {
        self.verbs.listen(path)
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error> {
        self.verbs.keep(name, blob)
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.verbs.kept()
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        self.verbs.forget(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_root_is_refused_in_words_and_what_does_not_is_done() {
        let mounter = UnprivilegedMounter::default();
        let tmpfs = Tmpfs { size: 1, inodes: 1, mode: 0o700, gid: 0, selinux_context: None };

        let made = mounter.create(&tmpfs).unwrap_err().to_string();
        let lent = mounter.lend(&tmpfs, Path::new("/mnt/app")).unwrap_err().to_string();
        mounter.keep("a", b"blob").unwrap();

        assert!(made.contains("mode tmpfs needs it"), "{made}");
        assert!(lent.contains("a provider that writes files itself needs it"), "{lent}");
        assert_eq!(mounter.kept().unwrap(), [("a".to_owned(), b"blob".to_vec())]);
    }
}
