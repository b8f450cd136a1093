//! What waits to be written: lines, and marks where lines are missing. Plain state.

use std::collections::VecDeque;
use std::fmt;

/// Bytes that may wait: minutes of a busy log, and little beside what a process may use.
const MOST_BYTES: usize = 1024 * 1024;

/// What is written next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A line with its line end.
    Line(Vec<u8>),
    /// So many lines are missing here.
    Gap(u64),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Gap(_) => 0,
        }
    }

    /// Lines that are lost if this is.
    fn lines(&self) -> u64 {
        match self {
            Self::Line(_) => 1,
            Self::Gap(lines) => *lines,
        }
    }
}

/// Is told of each line that was lost.
pub type Counter = Box<dyn Fn(u64) + Send>;

/// All lines that were lost.
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
    /// Lines that were lost since a gap was queued.
    untold: u64,
    lost: Lost,
    /// Whether something is being written.
    writing: bool,
    /// Whether the last writing failed.
    broken: bool,
}

impl Queue {
    /// Queues `line` if there is room. Whether there was.
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

    /// What is to be written now. A gap at the end is told when the stream flows, and not over and over where it fails.
    pub(super) fn pop(&mut self) -> Option<Item> {
        if self.items.is_empty() && !self.broken {
            self.tell_gap();
        }
        let item = self.items.pop_front()?;
        self.writing = true;
        Some(item)
    }

    /// `item` was written, or failed to be. Its room is free from now on.
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

    /// Whether nothing waits to be written and nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && !self.writing && (self.untold == 0 || self.broken)
    }

    /// Whether the stream failed at the last try.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Tells `counter` from now on, and at once what was lost so far.
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
