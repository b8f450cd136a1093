//! Whether a trail is what was written.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::Serialize;

use crate::checkpoint::Checkpoint;
use crate::key::{Code, Key};
use crate::line::Sealed;

/// Most lines that a crash may have lost: more than any batch has.
pub const GAP_MAX: u64 = 65_536;
/// Most bytes of a line. Longer ones are no lines of a trail.
pub const LINE_MAX: u64 = 16 << 20;
/// How far ahead of the first line a trail may begin whose older files are gone.
const START_MAX: u64 = 1 << 32;
/// How many faults are told one by one.
const FAULTS_MAX: usize = 100;

/// A line, or its absence, that shows a change of the trail. Lines are counted from 1, over all files together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// The line is not as it was written.
    Changed {
        /// Which line.
        line: u64,
    },
    /// These are no lines of the chain, and stand between lines of it or after them.
    Foreign {
        /// The first of them.
        line: u64,
        /// How many.
        count: u64,
    },
    /// The line stands behind one that was written after it, or twice.
    Disordered {
        /// Which line.
        line: u64,
        /// Its number in the chain.
        seq: u64,
    },
    /// Lines of the chain are missing.
    Missing {
        /// The number of the first one.
        from: u64,
        /// The number of the last one.
        to: u64,
        /// The line before which they are missing.
        line: u64,
    },
    /// Lines are missing at the end: a checkpoint knows a later one.
    Truncated {
        /// The number of the newest line that is there, if any is.
        last: Option<u64>,
        /// The number that the checkpoint knows.
        checkpoint: u64,
    },
    /// A checkpoint knows another line of this number, or one that is not there.
    Contradicted {
        /// The number.
        seq: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { line } => write!(f, "line {line} is not as it was written"),
            Self::Foreign { line, count: 1 } => write!(f, "line {line} is no part of the chain"),
            Self::Foreign { line, count } => {
                write!(f, "{count} lines from line {line} on are no part of the chain")
            }
            Self::Disordered { line, seq } => write!(f, "line {line} (record {seq}) is in the wrong place"),
            Self::Missing { from, to, line } => {
                write!(f, "records {from} to {to} are missing before line {line}")
            }
            Self::Truncated { last: Some(last), checkpoint } => {
                write!(f, "the trail ends with record {last}, and a checkpoint knows record {checkpoint}")
            }
            Self::Truncated { last: None, checkpoint } => {
                write!(f, "the trail has no record, and a checkpoint knows record {checkpoint}")
            }
            Self::Contradicted { seq } => write!(f, "record {seq} is not the one that a checkpoint knows"),
        }
    }
}

/// Lines that a crash lost, by the word of who wrote next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The number of the first one.
    pub from: u64,
    /// The number of the last one.
    pub to: u64,
    /// The line before which they are missing, counted from 1.
    pub line: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that are as they were written.
    pub verified: u64,
    /// The numbers of the first and the last of these.
    pub first: Option<u64>,
    /// See `first`.
    pub last: Option<u64>,
    /// The highest number that a checkpoint knew.
    pub checkpoint: Option<u64>,
    /// Lines before the chain began. Nothing is known of them.
    pub before: u64,
    /// Lines of other chains. They need their own key.
    pub others: u64,
    /// Lines that a crash cut short.
    pub torn: u64,
    /// What crashes lost.
    pub gaps: Vec<Gap>,
    /// What somebody changed: at most a hundred, one by one.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub fault_count: u64,
}

impl Report {
    /// Whether there is a trail and nobody changed anything. Gaps are no change: they are told.
    pub fn is_intact(&self) -> bool {
        self.fault_count == 0 && self.verified > 0
    }

    fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

/// Checks lines one by one.
#[derive(Debug)]
pub struct Verifier {
    id: String,
    /// The number of the next line, and its key.
    next: (u64, Key),
    /// The code of the line before, where that is known.
    last: Option<Code>,
    /// Whether a line of the chain was seen.
    has_begun: bool,
    /// Whether the trail may begin with a later line.
    may_begin_later: bool,
    /// The lines right before that are none of the chain: the first one, and how many.
    foreign: Option<(u64, u64)>,
    line: u64,
    checkpoints: BTreeMap<u64, Code>,
    report: Report,
}

impl Verifier {
    /// A verification with the chain's first key. `may_begin_later` if older files were deleted on purpose.
    pub fn new(key: Key, checkpoints: impl IntoIterator<Item = Checkpoint>, may_begin_later: bool) -> Self {
        let id = key.id();
        let own = checkpoints.into_iter().filter(|checkpoint| checkpoint.id == id);
        let mut report = Report::default();
        let mut known = BTreeMap::new();
        for Checkpoint { seq, code, .. } in own {
            let before = known.insert(seq, code.clone());
            if before.is_some_and(|before| before != code) {
                report.fault(Fault::Contradicted { seq });
            }
        }
        report.checkpoint = known.last_key_value().map(|(seq, _)| *seq);
        let (next, last, foreign) = ((0, key), None, None);
        let id = id.0;
        Self {
            id,
            next,
            last,
            has_begun: false,
            may_begin_later,
            foreign,
            line: 0,
            checkpoints: known,
            report,
        }
    }

    /// Checks the next line, which has its line end unless it was cut short.
    pub fn line(&mut self, line: &[u8]) {
        self.line += 1;
        let is_whole = line.ends_with(b"\n");
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match Sealed::parse(line) {
            Some(sealed) if sealed.id == self.id => self.sealed(&sealed),
            Some(_) => self.report.others += 1,
            // The writer may be at it, or has crashed: the next one will say.
            None if !is_whole => self.report.torn += 1,
            None => self.foreign(),
        }
    }

    fn foreign(&mut self) {
        if !self.has_begun {
            self.report.before += 1;
        } else {
            let (first, count) = self.foreign.unwrap_or((self.line, 0));
            self.foreign = Some((first, count + 1));
        }
    }

    fn sealed(&mut self, sealed: &Sealed<'_>) {
        let (line, seq) = (self.line, sealed.seq);
        let is_first = !self.has_begun;
        self.has_begun = true;
        let farthest = if is_first && self.may_begin_later { START_MAX } else { GAP_MAX };
        if seq < self.next.0 {
            return self.report.fault(Fault::Disordered { line, seq });
        }
        let missing = seq - self.next.0;
        let key = (missing <= farthest).then(|| (0..missing).fold(self.next.1.again(), |key, _| key.next()));
        let Some(key) = key.filter(|key| key.code(sealed.text.as_bytes()).0 == sealed.code) else {
            return self.report.fault(Fault::Changed { line });
        };
        self.true_line(sealed, is_first);
        self.next = (seq + 1, key.next());
        self.last = Some(Code(sealed.code.to_owned()));
        self.report.verified += 1;
        self.report.first = self.report.first.or(Some(seq));
        self.report.last = Some(seq);
    }

    /// Checks the place of a line that is as it was written.
    fn true_line(&mut self, sealed: &Sealed<'_>, is_first: bool) {
        let (line, seq, next) = (self.line, sealed.seq, self.next.0);
        if let Some((first, count)) = self.foreign.take() {
            // A crash cuts a line short, and who comes next is unsure.
            match sealed.unsure {
                Some(_) => self.report.torn += count,
                None => self.report.fault(Fault::Foreign { line: first, count }),
            }
        }
        let is_told = sealed.unsure.is_some_and(|from| from <= next);
        if seq == next {
            // Behind a line that was not true, nothing is known of the code before.
            if self.last.as_ref().is_some_and(|last| Code::link(Some(last)) != sealed.link) {
                self.report.fault(Fault::Changed { line });
            }
        } else if is_told {
            self.gap(next, seq - 1);
        } else if !(is_first && self.may_begin_later) {
            self.report.fault(Fault::Missing { from: next, to: seq - 1, line });
        }
        let known = self.checkpoints.get(&seq);
        if known.is_some_and(|code| code.0 != sealed.code) {
            self.report.fault(Fault::Contradicted { seq });
        }
    }

    /// A crash lost these. What a checkpoint knows was on the disk, and no crash loses it.
    fn gap(&mut self, from: u64, to: u64) {
        self.report.gaps.push(Gap { from, to, line: self.line });
        let known: Vec<u64> = self.checkpoints.range(from..=to).map(|(seq, _)| *seq).collect();
        known.into_iter().for_each(|seq| self.report.fault(Fault::Contradicted { seq }));
    }

    /// What was found, when no line is left.
    pub fn end(mut self) -> Report {
        if let Some((line, count)) = self.foreign.take() {
            self.report.fault(Fault::Foreign { line, count });
        }
        let (last, known) = (self.report.last, self.report.checkpoint);
        if let Some(checkpoint) = known.filter(|known| last.is_none_or(|last| last < *known)) {
            self.report.fault(Fault::Truncated { last, checkpoint });
        }
        self.report
    }
}

/// Verifies all lines of `trails`, one trail after the other, the oldest first.
///
/// # Errors
///
/// A trail cannot be read.
pub fn verify(mut verifier: Verifier, trails: impl IntoIterator<Item = impl BufRead>) -> io::Result<Report> {
    for mut trail in trails {
        let mut line = Vec::new();
        while (&mut trail).take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
            verifier.line(&line);
            line.clear();
        }
    }
    Ok(verifier.end())
}
