use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A file that is mapped for reading and writing, so that its contents outlive the process.
#[derive(Debug)]
pub struct SharedPages {
    start: NonNull<u8>,
    len: usize,
}

impl SharedPages {
    /// Maps the first `len` bytes of `file`. It has to be sealed against shrinking: an access past its end is fatal.
    ///
    /// # Errors
    ///
    /// The kernel refuses, as it does for a length of 0.
    pub fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Copies bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// The bytes are not within the mapping.
    pub fn load(&self, offset: usize, into: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, into.len())?;
        // SAFETY: `range` is within the mapping.
        let from = unsafe { self.start.as_ptr().add(range.start) };
        for (at, byte) in into.iter_mut().enumerate() {
            // SAFETY: `at` is below the length of `range`.
            let from = unsafe { from.add(at) };
            // SAFETY: as above; volatile, since another process may map the file too.
            *byte = unsafe { from.read_volatile() };
        }
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    ///
    /// The bytes would not be within the mapping.
    pub fn store(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let range = self.range(offset, bytes.len())?;
        // SAFETY: `range` is within the mapping.
        let to = unsafe { self.start.as_ptr().add(range.start) };
        for (at, byte) in bytes.iter().enumerate() {
            // SAFETY: `at` is below the length of `range`.
            let to = unsafe { to.add(at) };
            // SAFETY: as above; volatile, so that it is written before what is written next.
            unsafe { to.write_volatile(*byte) };
        }
        Ok(())
    }

    /// Makes the kernel read from `file` directly to `offset`, so that the bytes are never only in this process's
    /// memory.
    ///
    /// # Errors
    ///
    /// As read(2); also if the place is not within the mapping.
    pub fn read_from(&self, file: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<usize> {
        let range = self.range(offset, len)?;
        // SAFETY: `range` is within the mapping.
        let to = unsafe { self.start.as_ptr().add(range.start) };
        // SAFETY: the kernel writes no more than `len` bytes, which are within the mapping; nothing borrows them.
        let count = unsafe { libc::read(file.as_raw_fd(), to.cast(), len) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn range(&self, offset: usize, len: usize) -> io::Result<Range<usize>> {
        let end =
            offset.checked_add(len).filter(|end| *end <= self.len).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(offset..end)
    }
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and nothing borrows from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the mapping belongs to no thread. All accesses are volatile copies, of whatever another thread wrote.
unsafe impl Send for SharedPages {}
// SAFETY: as above.
unsafe impl Sync for SharedPages {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    use rustix::fs::MemfdFlags;

    #[test]
    fn what_one_mapping_stores_or_reads_another_loads() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let one = SharedPages::new(file.as_fd(), 4096).unwrap();
        let (from, mut to) = std::io::pipe().unwrap();
        to.write_all(b"def").unwrap();

        one.store(10, b"abc").unwrap();
        assert_eq!(one.read_from(from.as_fd(), 13, 9).unwrap(), 3);
        drop(one);

        let mut bytes = [0; 7];
        SharedPages::new(file.as_fd(), 4096).unwrap().load(10, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcdef\0");
    }

    #[test]
    fn nothing_outside_of_the_mapping_is_touched() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let pages = SharedPages::new(file.as_fd(), 4096).unwrap();

        assert!(pages.store(4094, b"abc").is_err() && pages.store(4093, b"abc").is_ok());
        assert!(pages.load(usize::MAX, &mut [0; 2]).is_err());
        assert!(pages.read_from(file.as_fd(), 4096, 1).is_err());
    }
}
