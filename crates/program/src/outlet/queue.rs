//! The queue of an outlet: lines, and marks for missing lines. Plain state.

use std::collections::VecDeque;
use std::fmt;

/// Most bytes in the queue: minutes of a busy log, and little compared with the memory limit of a process.
const MOST_BYTES: usize = 1024 * 1024;

/// What is written next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A line with its line end.
    Line(Vec<u8>),
    /// This many lines are missing here.
    Gap(u64),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Gap(_) => 0,
        }
    }

    /// How many lines are lost if this item is not written.
    fn lines(&self) -> u64 {
        match self {
            Self::Line(_) => 1,
            Self::Gap(lines) => *lines,
        }
    }
}

/// Called with the number of lines at each loss.
pub type Counter = Box<dyn Fn(u64) + Send>;

/// The number of all lost lines, and who is told.
#[derive(Default)]
struct Lost {
    lines: u64,
    counter: Option<Counter>,
}

impl Lost {
    fn inc(&mut self) {
        self.lines = self.lines.saturating_add(1);
        if let Some(count) = &self.counter {
            count(1);
        }
    }
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lost({})", self.lines)
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Lines that were lost after the last queued gap.
    untold: u64,
    lost: Lost,
    /// Whether an item is being written.
    writing: bool,
    /// Whether the last write failed.
    broken: bool,
}

impl Queue {
    /// Queues `line` if there is room. Returns whether there was.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        if self.bytes.saturating_add(line.len()) > MOST_BYTES {
            self.untold = self.untold.saturating_add(1);
            self.lost.inc();
            return false;
        }
        self.tell_gap();
        self.bytes += line.len();
        self.items.push_back(Item::Line(line.to_vec()));
        true
    }

    /// The next item to write. A gap at the end of the queue is returned only while the stream works: a broken stream
    /// would get it over and over.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if self.items.is_empty() && !self.broken {
            self.tell_gap();
        }
        let item = self.items.pop_front()?;
        self.writing = true;
        Some(item)
    }

    /// Notes that `item` was written (`done`) or that the write failed. Either way its room is free again.
    pub(super) fn wrote(&mut self, item: &Item, done: bool) {
        self.writing = false;
        self.broken = !done;
        self.bytes = self.bytes.saturating_sub(item.bytes());
        if !done {
            self.untold = self.untold.saturating_add(item.lines());
            if matches!(item, Item::Line(_)) {
                self.lost.inc();
            }
        }
    }

    /// Whether no line is queued and none is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && !self.writing && (self.untold == 0 || self.broken)
    }

    /// Whether the last write failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Sets `counter`, and calls it at once with the lines lost so far.
    pub(super) fn count_in(&mut self, counter: Counter) {
        counter(self.lost.lines);
        self.lost.counter = Some(counter);
    }

    fn tell_gap(&mut self) {
        if self.untold > 0 {
            self.items.push_back(Item::Gap(std::mem::take(&mut self.untold)));
        }
    }
}
