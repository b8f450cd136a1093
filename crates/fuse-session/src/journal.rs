use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use sys::SharedPages;

use crate::wire::REQUEST_MAX;

/// What a journal of this layout begins with.
const HEAD: [u8; 16] = *b"fuse-journal/1\n\0";
/// Where the slots begin. Before them: [`HEAD`], then the counts of both kinds.
const SLOTS: usize = 64;
/// Before each request: the key of its volume.
const KEY: usize = 8;
/// The longest request that may wait: an open or a read, with an extension.
const WAITING_MAX: usize = 248;
const READING_SLOT: usize = KEY + REQUEST_MAX;
const WAITING_SLOT: usize = KEY + WAITING_MAX;
/// The most slots that a journal of another process may have of each kind.
const COUNT_MAX: usize = 4096;

/// The requests that a process has read and not answered, in a memory file that outlives it.
///
/// It has a slot for each thread that reads, into which the kernel writes, and one for each request that may wait. There
/// are no contents of files in it.
#[derive(Debug)]
pub struct Journal {
    file: OwnedFd,
    pages: SharedPages,
    shape: Shape,
    free: Mutex<Vec<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    reading: usize,
    waiting: usize,
}

impl Shape {
    fn len(self) -> usize {
        SLOTS + self.reading * READING_SLOT + self.waiting * WAITING_SLOT
    }

    fn waiting_slot(self, slot: usize) -> usize {
        SLOTS + self.reading * READING_SLOT + slot * WAITING_SLOT
    }
}

fn reading_slot(slot: usize) -> usize {
    SLOTS + slot * READING_SLOT
}

impl Journal {
    /// An empty journal for so many threads and waiting requests.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn new(reading: usize, waiting: usize) -> io::Result<Self> {
        let shape = Shape { reading: reading.min(COUNT_MAX), waiting: waiting.min(COUNT_MAX) };
        let file = rustix::fs::memfd_create("fuse-journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, shape.len() as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let journal = Self::mapped(file, shape)?;
        journal.pages.store(0, &HEAD)?;
        journal.store_u64(HEAD.len(), shape.reading as u64)?;
        journal.store_u64(HEAD.len() + 8, shape.waiting as u64)?;
        Ok(journal)
    }

    /// The journal of an earlier process, to look up what it left.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is none, or of another layout.
    pub fn of_earlier(file: OwnedFd) -> io::Result<Self> {
        let len = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or_default();
        let is_sealed = rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::SHRINK);
        if !is_sealed || len < SLOTS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let shape = Shape::read(&SharedPages::new(file.as_fd(), SLOTS)?)?;
        if shape.len() > len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Self::mapped(file, shape)
    }

    fn mapped(file: OwnedFd, shape: Shape) -> io::Result<Self> {
        let pages = SharedPages::new(file.as_fd(), shape.len())?;
        let free = Mutex::new((0..shape.waiting).rev().collect());
        Ok(Self { file, pages, shape, free })
    }

    /// Has the kernel write the next request from `device` into the slot of a thread. It stays there until it is
    /// [done](Self::done).
    pub(crate) fn read(&self, thread: usize, volume: u64, device: BorrowedFd<'_>) -> io::Result<usize> {
        let slot = reading_slot(thread);
        self.done(thread)?;
        self.store_u64(slot, volume)?;
        self.pages.read_from(device, slot + KEY, REQUEST_MAX)
    }

    /// Copies the request of a thread.
    pub(crate) fn load(&self, thread: usize, into: &mut [u8]) -> io::Result<()> {
        self.pages.load(reading_slot(thread) + KEY, into)
    }

    /// A thread has answered, or given to those that wait, what it read.
    pub(crate) fn done(&self, thread: usize) -> io::Result<()> {
        // Its length.
        self.pages.store(reading_slot(thread) + KEY, &[0; 4])
    }

    /// Keeps a request that waits. `None` where too many do.
    pub(crate) fn keep(&self, volume: u64, request: &[u8]) -> Option<usize> {
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let at = self.shape.waiting_slot(slot);
        let kept = self.pages.store(at + KEY, request.get(..WAITING_MAX).unwrap_or(request));
        if kept.and_then(|()| self.store_u64(at, volume)).is_err() {
            self.answered(slot);
            return None;
        }
        Some(slot)
    }

    /// A request that waited is answered.
    pub(crate) fn answered(&self, slot: usize) {
        let _ = self.pages.store(self.shape.waiting_slot(slot) + KEY, &[0; 4]);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    /// What a process left unanswered of a volume. A few of these may be answered all the same: nobody waits for those.
    pub(crate) fn left(&self, volume: u64) -> Vec<Vec<u8>> {
        let reading = (0..self.shape.reading).map(|slot| (reading_slot(slot), REQUEST_MAX));
        let waiting = (0..self.shape.waiting).map(|slot| (self.shape.waiting_slot(slot), WAITING_MAX));
        reading.chain(waiting).filter_map(|(at, longest)| self.request(volume, at, longest)).collect()
    }

    fn request(&self, volume: u64, at: usize, longest: usize) -> Option<Vec<u8>> {
        if self.load_u64(at).ok()? != volume {
            return None;
        }
        let mut len = [0; 4];
        self.pages.load(at + KEY, &mut len).ok()?;
        let len = usize::try_from(u32::from_ne_bytes(len)).ok().filter(|len| (1..=longest).contains(len))?;
        let mut request = vec![0; len];
        self.pages.load(at + KEY, &mut request).ok()?;
        Some(request)
    }

    fn store_u64(&self, at: usize, value: u64) -> io::Result<()> {
        self.pages.store(at, &value.to_ne_bytes())
    }

    fn load_u64(&self, at: usize) -> io::Result<u64> {
        load_u64(&self.pages, at)
    }
}

impl Shape {
    fn read(pages: &SharedPages) -> io::Result<Self> {
        let mut head = [0; HEAD.len()];
        pages.load(0, &mut head)?;
        let count = |at| load_u64(pages, at).map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let shape = Self { reading: count(HEAD.len())?, waiting: count(HEAD.len() + 8)? };
        let is_ours = head == HEAD && shape.reading <= COUNT_MAX && shape.waiting <= COUNT_MAX;
        if is_ours { Ok(shape) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

fn load_u64(pages: &SharedPages, at: usize) -> io::Result<u64> {
    let mut value = [0; 8];
    pages.load(at, &mut value)?;
    Ok(u64::from_ne_bytes(value))
}

impl AsFd for Journal {
    /// The memory file, for who keeps it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn request(unique: u8) -> Vec<u8> {
        let mut bytes = vec![unique; 48];
        bytes[..4].copy_from_slice(&48_u32.to_ne_bytes());
        bytes
    }

    fn of_next(journal: &Journal) -> Journal {
        Journal::of_earlier(journal.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn the_next_process_finds_what_was_read_and_what_waits_until_it_is_answered() {
        let journal = Journal::new(2, 2).unwrap();
        let (device, mut kernel) = io::pipe().unwrap();
        kernel.write_all(&request(1)).unwrap();

        assert_eq!(journal.read(1, 77, device.as_fd()).unwrap(), 48);
        let slot = journal.keep(77, &request(2)).unwrap();
        journal.keep(78, &request(3)).unwrap();

        assert_eq!(of_next(&journal).left(77), [request(1), request(2)]);
        assert_eq!(of_next(&journal).left(78), [request(3)]);
        journal.done(1).unwrap();
        journal.answered(slot);
        assert!(of_next(&journal).left(77).is_empty());
    }

    #[test]
    fn no_more_requests_wait_than_there_are_slots() {
        let journal = Journal::new(0, 1).unwrap();
        let slot = journal.keep(1, &request(1)).unwrap();

        assert_eq!(journal.keep(1, &request(2)), None);
        journal.answered(slot);
        assert!(journal.keep(1, &request(2)).is_some());
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let file = |len, seal: bool| {
            let file =
                rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            rustix::fs::ftruncate(&file, len).unwrap();
            if seal {
                rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
            }
            file
        };
        for (len, seal) in [(0, true), (4096, false), (4096, true)] {
            assert_eq!(Journal::of_earlier(file(len, seal)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let absurd = file(4096, true);
        let head = [HEAD.as_slice(), &1000_u64.to_ne_bytes(), &u64::MAX.to_ne_bytes()].concat();
        rustix::io::pwrite(&absurd, &head, 0).unwrap();
        assert_eq!(Journal::of_earlier(absurd).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
