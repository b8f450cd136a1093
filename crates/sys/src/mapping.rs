use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// The smallest page of Linux. With larger pages some bytes stay unused.
const PAGE: usize = 4096;

/// A file mapped for reading.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, shared.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a length of 0, or another error of mmap(2).
    pub fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Copies the bytes. If the file has become shorter than the mapping, the kernel sends SIGBUS to the process.
    pub fn read(&self) -> Vec<u8> {
        (0..self.len).map(|at| self.byte(at)).collect()
    }

    /// How many of its pages the kernel has in memory.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn resident_pages(&self) -> io::Result<usize> {
        let mut pages = vec![0_u8; self.len.div_ceil(PAGE)];
        // SAFETY: the range is mapped as long as `self` lives, and `pages` has a byte for each of its pages.
        let told = unsafe { libc::mincore(self.start.as_ptr().cast(), self.len, pages.as_mut_ptr()) };
        if told < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages.iter().filter(|page| **page & 1 == 1).count())
    }

    fn byte(&self, at: usize) -> u8 {
        assert!(at < self.len);
        // SAFETY: `at` is within the mapping, which lives as long as `self`.
        let byte = unsafe { self.start.add(at) };
        // SAFETY: as above; volatile, since another process may change the file at any time.
        unsafe { byte.read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped, and nothing borrows from it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the mapping belongs to no thread, and is only read, by volatile copies.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}
