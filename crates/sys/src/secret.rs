//! Small values in pages that neither the kernel nor another process can read.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Resource, getrlimit};

use crate::memory::{Pages, secret};

/// Bytes of the pages that values share. A larger value has pages of its own.
const CHUNK: usize = 64 << 10;
/// Room is given out in blocks of so many bytes.
const BLOCK: usize = 64;

/// A value in `memfd_secret` memory. It does not change, and is wiped on drop.
///
/// All values of a process take at most half of the memory that it may lock (`RLIMIT_MEMLOCK`): the other half is for
/// [`HandedPages`](crate::HandedPages) and [`PrivatePages`](crate::PrivatePages).
pub struct SecretBox {
    pages: Arc<Pages>,
    chunk: u64,
    blocks: Range<usize>,
    len: usize,
}

/// The pages of a process that have values.
#[derive(Debug)]
struct Heap {
    chunks: Vec<Chunk>,
    /// Of the newest chunk. No two chunks have the same.
    number: u64,
}

struct Chunk {
    number: u64,
    pages: Arc<Pages>,
    is_used: Vec<bool>,
    free: usize,
}

static HEAP: Mutex<Heap> = Mutex::new(Heap { chunks: Vec::new(), number: 0 });

fn heap() -> MutexGuard<'static, Heap> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SecretBox {
    /// Copies `value`. `None` where the kernel has no such memory, or not so much of it for this process.
    pub fn new(value: &[u8]) -> Option<Self> {
        let (chunk, pages, blocks) = heap().take(value.len())?;
        // SAFETY: the blocks are inside of the pages, have room for the value, and are nobody else's until they are given
        // back, which only `drop` does.
        unsafe { pages.write(blocks.start * BLOCK, value) };
        Some(Self { pages, chunk, blocks, len: value.len() })
    }

    /// How many bytes of secret memory a value of `len` bytes takes.
    pub fn size(len: usize) -> usize {
        len.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
    }

    /// How many bytes all values of this process may take. Who shares them out asks before each [`new`](Self::new).
    pub fn most() -> usize {
        most()
    }

    /// The value.
    pub fn expose(&self) -> &[u8] {
        let start = self.blocks.start * BLOCK;
        // SAFETY: the range is inside of the blocks of this value, and nobody writes to them before `drop`.
        unsafe { self.pages.part(start..start + self.len) }
    }
}

impl Drop for SecretBox {
    fn drop(&mut self) {
        // SAFETY: as in `new`; nothing borrows the value any more.
        unsafe { self.pages.wipe_part(self.blocks.start * BLOCK..self.blocks.end * BLOCK) };
        heap().give_back(self.chunk, &self.blocks);
    }
}

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secret bytes", self.len)
    }
}

impl Heap {
    fn take(&mut self, len: usize) -> Option<(u64, Arc<Pages>, Range<usize>)> {
        let count = len.div_ceil(BLOCK).max(1);
        if let Some(taken) = self.chunks.iter_mut().find_map(|chunk| chunk.take(count)) {
            return Some(taken);
        }
        self.add(len.max(CHUNK))?;
        self.chunks.last_mut()?.take(count)
    }

    fn add(&mut self, len: usize) -> Option<()> {
        let len = len.div_ceil(BLOCK).checked_mul(BLOCK)?;
        let locked: usize = self.chunks.iter().map(Chunk::len).sum();
        if locked.checked_add(len)? > most() {
            return None;
        }
        let pages = Arc::new(secret(len).ok()?);
        self.number = self.number.checked_add(1)?;
        let (number, free) = (self.number, len / BLOCK);
        self.chunks.push(Chunk { number, pages, is_used: vec![false; free], free });
        Some(())
    }

    /// Pages without values go, but for those of one chunk.
    fn give_back(&mut self, number: u64, blocks: &Range<usize>) {
        let Some(at) = self.chunks.iter().position(|chunk| chunk.number == number) else { return };
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        chunk.give_back(blocks);
        let is_spare = chunk.is_empty() && (chunk.len() > CHUNK || self.has_another_spare(number));
        if is_spare {
            self.chunks.swap_remove(at);
        }
    }

    fn has_another_spare(&self, number: u64) -> bool {
        self.chunks.iter().any(|chunk| chunk.number != number && chunk.is_empty())
    }
}

impl Chunk {
    fn len(&self) -> usize {
        self.is_used.len() * BLOCK
    }

    fn is_empty(&self) -> bool {
        self.free == self.is_used.len()
    }

    /// The first `count` blocks beside each other that are free.
    fn take(&mut self, count: usize) -> Option<(u64, Arc<Pages>, Range<usize>)> {
        if self.free < count {
            return None;
        }
        let mut run = 0;
        let is_end = |is_used: &bool| {
            run = if *is_used { 0 } else { run + 1 };
            run == count
        };
        let end = self.is_used.iter().position(is_end)? + 1;
        let blocks = end - count..end;
        self.is_used.get_mut(blocks.clone())?.fill(true);
        self.free -= count;
        Some((self.number, Arc::clone(&self.pages), blocks))
    }

    fn give_back(&mut self, blocks: &Range<usize>) {
        if let Some(given) = self.is_used.get_mut(blocks.clone()) {
            given.fill(false);
            self.free += blocks.len();
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} blocks are free", self.free, self.is_used.len())
    }
}

/// Most bytes of all values, by the limit at the first question.
fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    let by_limit = |limit: u64| usize::try_from(limit / 2).unwrap_or(usize::MAX);
    *MOST.get_or_init(|| getrlimit(Resource::Memlock).current.map_or(usize::MAX, by_limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other tests of this program use the heap of the process too.
    fn empty() -> Heap {
        Heap { chunks: Vec::new(), number: 0 }
    }

    #[test]
    fn a_value_reads_as_it_was_beside_others_of_all_sizes() {
        let values: Vec<Vec<u8>> = [0, 1, 63, 64, 65, 5000, CHUNK, CHUNK + 1]
            .into_iter()
            .map(|len: usize| (0..len).map(|at| u8::try_from((at + len) % 251).unwrap()).collect())
            .collect();
        let Some(boxes) = values.iter().map(|value| SecretBox::new(value)).collect::<Option<Vec<_>>>() else {
            println!("not tried: this kernel, or this user's RLIMIT_MEMLOCK, gives no such memory");
            return;
        };

        assert!(boxes.iter().zip(&values).all(|(kept, value)| kept.expose() == value));
        assert_eq!(format!("{:?}", boxes[4]), "65 secret bytes");
        let threads: Vec<_> = (0..4_u8)
            .map(|n| {
                std::thread::spawn(move || {
                    (0..500).all(|_| SecretBox::new(&[n; 200]).is_none_or(|kept| kept.expose() == [n; 200]))
                })
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        assert!(boxes.iter().zip(&values).all(|(kept, value)| kept.expose() == value));
    }

    #[test]
    fn what_is_given_back_is_used_again_and_pages_without_values_go() {
        let mut heap = empty();
        if heap.add(CHUNK).is_none() {
            println!("not tried: this kernel, or this user's RLIMIT_MEMLOCK, gives no such memory");
            return;
        }
        let (first, _, blocks) = heap.take(100).unwrap();
        let (_, _, next) = heap.take(1).unwrap();
        assert_eq!((blocks.clone(), next), (0..2, 2..3));
        heap.give_back(first, &blocks);
        assert_eq!(heap.take(65).unwrap().2, 0..2);

        let (large, _, all) = heap.take(CHUNK + 1).unwrap();
        let (other, _, most) = heap.take(CHUNK - BLOCK).unwrap();
        assert_eq!(heap.chunks.len(), 3);
        heap.give_back(large, &all);
        assert_eq!(heap.chunks.len(), 2, "a large value has pages of its own");
        heap.give_back(other, &most);
        assert_eq!(heap.chunks.len(), 2, "the pages of one chunk stay");
        heap.give_back(first, &(0..3));
        assert_eq!(heap.chunks.len(), 1);
    }

    #[test]
    fn values_take_at_most_half_of_what_may_be_locked() {
        let mut heap = empty();
        let most = most();
        if most == usize::MAX || heap.add(CHUNK).is_none() {
            println!("not tried: there is no such memory, or no limit of it");
            return;
        }

        while heap.chunks.len() < 1000 && heap.take(CHUNK).is_some() {}

        let locked: usize = heap.chunks.iter().map(Chunk::len).sum();
        assert!(locked <= most, "{locked} of {most}");
        assert!(heap.add(most).is_none());
    }
}
