use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
        Self::secret(len).or_else(|_| Self::sealed(len))
    }

    fn secret(len: usize) -> io::Result<Self> {
        let file = secret_file(len.max(1))?;
        Self::mapped(file, len, Protection::Secret)
    }

    /// An ordinary memory file, locked where that is allowed.
    fn sealed(len: usize) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("values", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, len.max(1) as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::mapped(file, len, Protection::Ordinary)
    }

    /// The first `len` bytes of what an earlier process made.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is no such file or has fewer bytes; the kernel maps no more for this process.
    pub fn of_earlier(file: OwnedFd, len: usize) -> io::Result<Self> {
        let size = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
        let is_secret = rustix::fs::fstatfs(&file)?.f_type as u64 == SECRETMEM_MAGIC;
        // An access past the end would be fatal. A file of `memfd_secret` never shrinks.
        let stays = is_secret
            || rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        if !stays || size < len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Self::mapped(file, len, if is_secret { Protection::Secret } else { Protection::Ordinary })
    }

    fn mapped(file: OwnedFd, len: usize, protection: Protection) -> io::Result<Self> {
        let pages = Pages::of_file(file.as_fd(), len.max(1))?;
        advise(&pages, libc::MADV_DONTFORK)?;
        let protection = match protection {
            Protection::Secret => Protection::Secret,
            _ => {
                advise(&pages, libc::MADV_DONTDUMP)?;
                if pages.lock().is_ok() { Protection::Locked } else { Protection::Ordinary }
            }
        };
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
        HandedPages::of_earlier(pages.as_fd().try_clone_to_owned()?, len)
    }

    #[test]
    fn what_one_process_wrote_the_next_reads_until_they_are_the_last() {
        for make in [HandedPages::new, HandedPages::sealed] {
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
        assert_eq!(HandedPages::of_earlier(open, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn nobody_reads_secret_pages_by_their_file() {
        let Ok(mut pages) = HandedPages::secret(10) else { return };
        pages.bytes_mut().fill(7);

        assert!(rustix::io::pread(&pages, &mut [0; 10], 0).is_err());
    }
}
