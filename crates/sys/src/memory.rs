use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// How well pages are protected from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Not swapped, and neither the kernel nor another process can read them (`memfd_secret`).
    Secret,
    /// Not swapped.
    Locked,
    /// Like other memory, but not in core dumps and not in forked processes.
    Ordinary,
}

/// A mapping of this process, for reading and writing.
#[derive(Debug)]
pub(crate) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// The first `len` bytes of `file`, which has so many and never shrinks, and which no other process writes to.
    pub(crate) fn of_file(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), len, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        Self::mapped(address, len)
    }

    fn anonymous(len: usize) -> io::Result<Self> {
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, rights, kind, -1, 0) };
        Self::mapped(address, len)
    }

    fn mapped(address: *mut libc::c_void, len: usize) -> io::Result<Self> {
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped and readable as long as `self` lives, and nobody else writes to it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and writable; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The bytes of `range`.
    ///
    /// # Safety
    ///
    /// The range is inside of these pages, and nobody writes to it as long as it is borrowed.
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &[u8] {
        // SAFETY: inside of the mapping, by the caller's word.
        let start = unsafe { self.start.add(range.start) };
        // SAFETY: mapped and readable as long as `self` lives; nobody writes to it, by the caller's word.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), range.len()) }
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    ///
    /// There is room for them behind `at`, and nobody else reads or writes there meanwhile.
    pub(crate) unsafe fn write(&self, at: usize, bytes: &[u8]) {
        // SAFETY: inside of the mapping, by the caller's word.
        let start = unsafe { self.start.add(at) };
        // SAFETY: as above; `bytes` is borrowed, and so is none of what is written to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
    }

    /// Wipes `range`.
    ///
    /// # Safety
    ///
    /// As of [`write`](Self::write).
    pub(crate) unsafe fn wipe_part(&self, range: Range<usize>) {
        for at in range {
            // SAFETY: inside of the mapping, by the caller's word.
            let byte = unsafe { self.start.add(at) };
            // SAFETY: as above; volatile, so that it is written though nobody reads it.
            unsafe { byte.write_volatile(0) };
        }
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// Wipes the first `len` bytes, as far as there are so many.
    pub(crate) fn wipe(&mut self, len: usize) {
        for byte in self.bytes_mut().iter_mut().take(len) {
            // SAFETY: a reference is valid to write to; volatile, so that it is written though nobody reads it.
            unsafe { std::ptr::write_volatile(byte, 0) };
        }
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn lock(&self) -> io::Result<()> {
        // SAFETY: exactly the range that is mapped; locking changes no content.
        let locked = unsafe { libc::mlock(self.start.as_ptr().cast(), self.len) };
        if locked < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the mapping belongs to no thread, and it is written only through `&mut`.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

/// Pages of this process only. They are zero at first, and wiped on drop.
pub struct PrivatePages {
    pages: Pages,
    protection: Protection,
}

impl PrivatePages {
    /// At least one page, with room for `len` bytes and the best protection that this system has.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Self::protected(Protection::Secret, len)
            .or_else(|_| Self::protected(Protection::Locked, len))
            .or_else(|_| Self::protected(Protection::Ordinary, len))
    }

    /// The same with this protection. A system call that takes pages instead of bytes, such as a write to `/dev/fuse`,
    /// cannot copy from [`Protection::Secret`].
    ///
    /// # Errors
    ///
    /// The kernel has no such pages, or not so many for this process (`RLIMIT_MEMLOCK`).
    pub fn protected(protection: Protection, len: usize) -> io::Result<Self> {
        let len = len.max(1);
        let pages = match protection {
            Protection::Secret => secret(len)?,
            Protection::Locked => anonymous(len).and_then(|pages| pages.lock().map(|()| pages))?,
            Protection::Ordinary => anonymous(len)?,
        };
        Ok(Self { pages, protection })
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

    /// Wipes the first `len` bytes, as far as there are so many.
    pub fn wipe(&mut self, len: usize) {
        self.pages.wipe(len);
    }
}

/// A file of `len` bytes that neither the kernel nor another process can read, unless it maps it.
pub(crate) fn secret_file(len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let file = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let file = i32::try_from(file).ok().filter(|file| *file >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel just made this descriptor for us.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    rustix::fs::ftruncate(&file, len as u64)?;
    Ok(file)
}

pub(crate) fn secret(len: usize) -> io::Result<Pages> {
    // Nobody else has the file.
    let pages = Pages::of_file(secret_file(len)?.as_fd(), len)?;
    advise(&pages, libc::MADV_DONTFORK)?;
    Ok(pages)
}

fn anonymous(len: usize) -> io::Result<Pages> {
    let pages = Pages::anonymous(len)?;
    advise(&pages, libc::MADV_DONTDUMP)?;
    advise(&pages, libc::MADV_WIPEONFORK)?;
    Ok(pages)
}

pub(crate) fn advise(pages: &Pages, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: exactly the range that is mapped; none of the advices used changes content in this process.
    let advised = unsafe { libc::madvise(pages.start.as_ptr().cast(), pages.len, advice) };
    if advised < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Drop for PrivatePages {
    fn drop(&mut self) {
        self.pages.wipe(usize::MAX);
    }
}

impl fmt::Debug for PrivatePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ({:?})", self.pages.len, self.protection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_each_protection_keep_what_is_written_until_they_are_wiped() {
        for protection in [Protection::Secret, Protection::Locked, Protection::Ordinary] {
            let Ok(mut pages) = PrivatePages::protected(protection, 5000) else {
                assert_ne!(protection, Protection::Ordinary);
                continue;
            };
            assert!(pages.bytes().iter().all(|byte| *byte == 0));
            pages.bytes_mut()[4990..].fill(7);

            assert_eq!((pages.protection(), pages.bytes()[4999]), (protection, 7));
            assert_eq!(format!("{pages:?}"), format!("5000 bytes ({protection:?})"));
            pages.wipe(9999);
            assert!(pages.bytes().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_best_pages_that_there_are_come_first() {
        let best = [Protection::Secret, Protection::Locked, Protection::Ordinary]
            .into_iter()
            .find(|protection| PrivatePages::protected(*protection, 1).is_ok());

        assert_eq!(Some(PrivatePages::new(0).unwrap().protection()), best);
    }
}
