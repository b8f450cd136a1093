//! Lines that wait to be written, so that nobody waits for a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Most bytes that wait in all.
const MOST_BYTES: usize = 16 << 20;
/// Most bytes that wait of one tenant.
const MOST_OF_ONE: usize = 2 << 20;
/// Most lines that are written together. A crash loses at most these.
const MOST_LINES: usize = 4096;
/// How long lines are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(50);
/// The pause before lines are written again that could not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes lines. It may take long.
pub(super) trait Write: Send + Sync {
    /// Writes these lines. Returns them if they are to be written later; they are then the first of the next call.
    /// `is_behind` if earlier lines are still to be written, of which it has taken charge.
    fn write(&self, lines: Vec<String>) -> Left;
    /// Nothing is left to be written.
    fn end(&self);
}

/// What is left after a write.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) lines: Vec<String>,
    pub(super) is_behind: bool,
}

/// Lines that a thread of its own writes.
#[derive(Debug)]
pub(super) struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<(String, String)>,
    bytes: usize,
    of: BTreeMap<String, usize>,
    lost: u64,
    /// Whether the thread is at work on lines that it has taken.
    is_busy: bool,
    /// Whether somebody waits until all is written.
    is_awaited: bool,
    has_ended: bool,
}

impl Queue {
    fn push(&mut self, tenant: &str, line: String) -> bool {
        let own = self.of.get(tenant).copied().unwrap_or_default();
        if own.saturating_add(line.len()) > MOST_OF_ONE || self.bytes.saturating_add(line.len()) > MOST_BYTES
        {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        self.bytes += line.len();
        self.of.insert(tenant.to_owned(), own + line.len());
        self.lines.push_back((tenant.to_owned(), line));
        true
    }

    fn take(&mut self) -> Vec<String> {
        let count = self.lines.len().min(MOST_LINES);
        let taken: Vec<_> = self.lines.drain(..count).collect();
        for (tenant, line) in &taken {
            self.bytes = self.bytes.saturating_sub(line.len());
            if let Some(own) = self.of.get_mut(tenant) {
                *own = own.saturating_sub(line.len());
            }
        }
        self.of.retain(|_, bytes| *bytes > 0);
        taken.into_iter().map(|(_, line)| line).collect()
    }
}

impl Spool {
    /// Has a thread write to `writer`. `gap` makes the line that says how many lines are missing.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(super) fn start(writer: Arc<dyn Write>, gap: fn(u64) -> String) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        // Nothing joins this thread: a write may hang with its disk. Who ends the process waits for it for a while.
        thread::Builder::new().name("audit".to_owned()).spawn(move || own.run(writer.as_ref(), gap))?;
        Ok(Self(shared))
    }

    /// Queues `line`. Returns false if there is no room for it; the trail will say so.
    pub(super) fn push(&self, tenant: &str, line: String) -> bool {
        let taken = self.0.lock().push(tenant, line);
        self.0.changed.notify_all();
        taken
    }

    /// Waits until all lines are written, at most `patience`. Returns whether all are.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut queue = self.0.lock();
        loop {
            if queue.lines.is_empty() && !queue.is_busy {
                return true;
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            queue.is_awaited = true;
            self.0.changed.notify_all();
            queue = self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, writer: &dyn Write, gap: fn(u64) -> String) {
        let mut left = Left::default();
        while let Some(lines) = self.next(left, gap) {
            left = writer.write(lines);
            let is_done = left.lines.is_empty() && !left.is_behind;
            if is_done {
                self.done();
            } else {
                self.pause();
            }
        }
        writer.end();
    }

    /// The lines to write next; `None` if there are none and never will be.
    fn next(&self, left: Left, gap: fn(u64) -> String) -> Option<Vec<String>> {
        let mut queue = self.lock();
        // What is behind goes first, and alone: what waits here is not sealed yet, and its room is bounded.
        if left.is_behind || !left.lines.is_empty() {
            return (!queue.has_ended).then_some(left.lines);
        }
        while queue.lines.is_empty() && queue.lost == 0 {
            if queue.has_ended {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_busy = true;
        if !queue.is_awaited && !queue.has_ended && queue.lines.len() < MOST_LINES {
            queue = self.gather(queue);
        }
        let lost = std::mem::take(&mut queue.lost);
        let mut lines = queue.take();
        if lost > 0 {
            lines.push(gap(lost));
        }
        Some(lines)
    }

    fn gather<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let begun = Instant::now();
        while !queue.is_awaited && !queue.has_ended {
            let left = GATHER.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    fn done(&self) {
        let mut queue = self.lock();
        queue.is_busy = false;
        if queue.lines.is_empty() {
            queue.is_awaited = false;
        }
        self.changed.notify_all();
    }

    fn pause(&self) {
        let begun = Instant::now();
        let mut queue = self.lock();
        while !queue.has_ended {
            let left = PAUSE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
