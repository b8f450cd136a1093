use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};

use crate::memory::{Pages, Protection, advise, secret_file};

/// `f_type` of `memfd_secret` files.
const SECRETMEM_MAGIC: u64 = 0x5345_434d;

/// Pages in a file that outlives the process as long as somebody holds it, so that the next process maps them again. They
/// are zero at first.
///
/// One process uses them at a time. Where they are [`Protection::Secret`], who holds the file and does not map it cannot
/// read them.
pub struct HandedPages {
    file: OwnedFd,
    pages: Pages,
    protection: Protection,
    is_last: AtomicBool,
}

impl HandedPages {
    /// At least one page, with room for `len` bytes and the best protection that this system has.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Self::secret(len).or_else(|_| Self::sealed(len, true))
    }

    /// The same in pages that count for nothing that a process may have little of: the kernel may swap them.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn ordinary(len: usize) -> io::Result<Self> {
        Self::sealed(len, false)
    }

    fn secret(len: usize) -> io::Result<Self> {
        let file = secret_file(len.max(1))?;
        Self::mapped(file, len, Protection::Secret)
    }

    /// An ordinary memory file, locked if that is wanted and allowed.
    fn sealed(len: usize, locks: bool) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("values", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, len.max(1) as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::mapped(file, len, wanted(locks))
    }

    /// Whether the kernel has [`Protection::Secret`] at all.
    pub fn can_be_secret() -> bool {
        static CAN: OnceLock<bool> = OnceLock::new();
        *CAN.get_or_init(|| secret_file(1).is_ok())
    }

    /// Whether `file` is one of [`Protection::Secret`]. Such a file can be mapped in no other way.
    pub fn is_secret(file: BorrowedFd<'_>) -> bool {
        rustix::fs::fstatfs(file).is_ok_and(|about| about.f_type as u64 == SECRETMEM_MAGIC)
    }

    /// The first `len` bytes of what an earlier process made. What is not secret is locked if `locks` and if that is
    /// allowed.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is no such file or has fewer bytes; the kernel maps no more for this process.
    pub fn of_earlier(file: OwnedFd, len: usize, locks: bool) -> io::Result<Self> {
        let size = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
        let is_secret = Self::is_secret(file.as_fd());
        // An access past the end would be fatal. A file of `memfd_secret` never shrinks.
        let stays = is_secret
            || rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        if !stays || size < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Self::mapped(file, len, if is_secret { Protection::Secret } else { wanted(locks) })
    }

    /// The pages of a file, with this protection or, if they cannot be locked, as ordinary ones.
    fn mapped(file: OwnedFd, len: usize, wanted: Protection) -> io::Result<Self> {
        let pages = Pages::of_file(file.as_fd(), len.max(1))?;
        advise(&pages, libc::MADV_DONTFORK)?;
        if wanted != Protection::Secret {
            advise(&pages, libc::MADV_DONTDUMP)?;
        }
        let is_unlocked = wanted == Protection::Locked && pages.lock().is_err();
        let protection = if is_unlocked { Protection::Ordinary } else { wanted };
        Ok(Self { file, pages, protection, is_last: AtomicBool::new(false) })
    }

    /// The protection of these pages.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.pages.bytes()
    }

    /// The bytes, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.pages.bytes_mut()
    }

    /// Has the pages wiped on drop: no later process wants them.
    pub fn are_last(&self) {
        self.is_last.store(true, Ordering::Release);
    }
}

fn wanted(locks: bool) -> Protection {
    if locks { Protection::Locked } else { Protection::Ordinary }
}

impl AsFd for HandedPages {
    /// The file, for who keeps it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for HandedPages {
    fn drop(&mut self) {
        if *self.is_last.get_mut() {
            self.pages.wipe(usize::MAX);
        }
    }
}

impl fmt::Debug for HandedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ({:?}) to hand over", self.bytes().len(), self.protection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(pages: &HandedPages, len: usize) -> io::Result<HandedPages> {
        HandedPages::of_earlier(pages.as_fd().try_clone_to_owned()?, len, true)
    }

    #[test]
    fn what_one_process_wrote_the_next_reads_until_they_are_the_last() {
        for make in [HandedPages::new, |len| HandedPages::sealed(len, true)] {
            let mut pages = make(5000).unwrap();
            pages.bytes_mut()[4990..].fill(7);

            let found = next(&pages, 5000).unwrap();
            assert_eq!((found.bytes()[4999], found.protection()), (7, pages.protection()));
            drop(pages);
            assert_eq!(found.bytes()[4999], 7);
            let again = next(&found, 5000).unwrap();
            found.are_last();
            drop(found);
            assert!(again.bytes().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_file_that_is_shorter_or_could_be_is_refused() {
        let pages = HandedPages::new(4096).unwrap();
        let open = rustix::fs::memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&open, 4096).unwrap();

        assert_eq!(next(&pages, 4097).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(HandedPages::of_earlier(open, 1, true).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn pages_that_are_to_count_for_nothing_are_locked_by_no_process() {
        let mut pages = HandedPages::ordinary(5000).unwrap();
        pages.bytes_mut()[4990..].fill(7);
        let found =
            HandedPages::of_earlier(pages.as_fd().try_clone_to_owned().unwrap(), 5000, false).unwrap();

        assert_eq!(
            (pages.protection(), found.protection(), HandedPages::is_secret(pages.as_fd())),
            (Protection::Ordinary, Protection::Ordinary, false)
        );
        assert_eq!(found.bytes()[4999], 7);
    }

    #[test]
    fn nobody_reads_secret_pages_by_their_file() {
        let Ok(mut pages) = HandedPages::secret(10) else { return };
        pages.bytes_mut().fill(7);

        assert!(rustix::io::pread(&pages, &mut [0; 10], 0).is_err());
    }
}
