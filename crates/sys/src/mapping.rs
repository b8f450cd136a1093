use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

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
