//! Writes records to all destinations.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit_chain::Keeper;
use prometheus_client::metrics::counter::Counter;

use super::chain::{Chain, ChainArgs, Refused};
use super::line::{line, name_node};
use super::sink::{Destination, Sink, Written};
use super::spool::{Left, Spool, Write};
use super::{Actor, Operation, Record};

/// Writes audit records. The default writes none.
///
/// A record that cannot be written is counted and reported in the log. It stops nothing, because a full audit disk must
/// not keep pods from starting. Who must not go on without a record asks [`require`](Self::require).
///
/// Clones write to the same place.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    out: Arc<Out>,
    spool: Option<Arc<Spool>>,
}

/// The destinations, and what became of lines.
#[derive(Debug, Default)]
struct Out {
    sinks: Vec<Mutex<Sink>>,
    chain: Option<Mutex<Chain>>,
    dropped: Mutex<Counter>,
    complaint: Mutex<Option<Instant>>,
}

/// The log reports failures at most this often. Each failure is counted.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

impl Audit {
    /// Writes every record to each of `destinations`. The records are a chain if one was begun for the first of them that is
    /// a file.
    ///
    /// # Errors
    ///
    /// A file cannot be opened for appending, or the chain cannot go on. The administrator should learn this at once,
    /// unlike a later failure.
    pub fn to(destinations: impl IntoIterator<Item = Destination>) -> io::Result<Self> {
        Self::chained_to(destinations, ChainArgs::default())
    }

    /// The same, with a chain elsewhere than beside the file, or with checkpoints.
    ///
    /// # Errors
    ///
    /// As of [`to`](Self::to); or a chain was asked for and none was begun.
    pub fn chained_to(
        destinations: impl IntoIterator<Item = Destination>,
        chain: ChainArgs,
    ) -> io::Result<Self> {
        let destinations: Vec<_> = destinations.into_iter().collect();
        let beside = destinations.iter().find_map(Destination::chain);
        let sinks: io::Result<Vec<_>> = destinations.into_iter().map(Sink::open).collect();
        let sinks: Vec<_> = sinks?.into_iter().map(Mutex::new).collect();
        let chain = if sinks.is_empty() { None } else { open_chain(chain, beside)? };
        let out = Out { sinks, chain: chain.map(Mutex::new), ..Out::default() };
        Ok(Self { out: Arc::new(out), spool: None })
    }

    /// The same, which counts in `dropped` the records that could not be written.
    #[must_use]
    pub fn counting(self, dropped: Counter) -> Self {
        for sink in &self.out.sinks {
            if let Sink::Stdout(outlet) = &*sink.lock().unwrap_or_else(PoisonError::into_inner) {
                let dropped = dropped.clone();
                outlet.count_in(Box::new(move |lines| {
                    dropped.inc_by(lines);
                }));
            }
        }
        *self.out.dropped.lock().unwrap_or_else(PoisonError::into_inner) = dropped;
        self
    }

    /// The same, which writes `node` as the name of the node. Without a name, records have the name of the machine.
    /// Works only before the first record of the process.
    #[must_use]
    pub fn on(self, node: Option<String>) -> Self {
        node.into_iter().for_each(name_node);
        self
    }

    /// The same for a process that stays: records of a chain, and all that [`later`](Self::later) gets, wait for a thread
    /// that writes them. The first record says that it began.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn for_long(mut self) -> io::Result<Self> {
        if self.is_on() {
            self.spool = Some(Arc::new(Spool::start(Arc::<Out>::clone(&self.out), gap)?));
            if self.is_chained() {
                self.record(&Record::new(Operation::Begin, Actor::person()));
            }
        }
        Ok(self)
    }

    /// Whether records go anywhere.
    pub fn is_on(&self) -> bool {
        !self.out.sinks.is_empty()
    }

    /// Whether records are a chain.
    pub fn is_chained(&self) -> bool {
        self.out.chain.is_some()
    }

    /// How many records may be lost. A record counts once for each destination that failed.
    pub fn dropped(&self) -> u64 {
        self.out.dropped().get()
    }

    /// Writes `record`: into files at once, and to standard output when its reader takes it. Of a chain, within a tenth of a
    /// second.
    pub fn record(&self, record: &Record) {
        if self.is_chained() && self.spool.is_some() {
            return self.later(record);
        }
        self.record_now(record);
    }

    /// Writes `record` soon, and never waits for a disk.
    pub fn later(&self, record: &Record) {
        let Some(spool) = self.spool.as_ref() else { return self.record_now(record) };
        match line(record) {
            Ok(line) => {
                if !spool.push(record.actor.tenant(), text(line)) {
                    self.out.lost(1, &io::Error::other("too many records wait to be written"));
                }
            }
            Err(error) => self.out.lost(1, &error),
        }
    }

    fn record_now(&self, record: &Record) {
        if let Err(error) = self.write(record) {
            self.out.lost(1, &error);
        }
    }

    /// Writes `record` before it returns, for what must not be done without a record.
    ///
    /// # Errors
    ///
    /// It is not in every file. It may come later, as what was tried.
    pub fn require(&self, record: &Record) -> io::Result<()> {
        self.write(record).inspect_err(|error| self.out.lost(1, error))
    }

    /// Waits until what was recorded is written, at most `patience`, and then writes a checkpoint. Returns whether all is
    /// written.
    pub fn flush(&self, patience: Duration) -> bool {
        let is_written = self.spool.as_ref().is_none_or(|spool| spool.flush(patience));
        if is_written {
            self.out.end();
        }
        is_written
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        let line = line(record)?;
        match &self.out.chain {
            Some(_) => self.out.chain_lines(&[text(line)]).map_err(io::Error::from),
            None => self.out.append(&line),
        }
    }
}

fn open_chain(args: ChainArgs, beside: Option<PathBuf>) -> io::Result<Option<Chain>> {
    let ChainArgs { directory, checkpoints } = args;
    let is_asked_for = directory.is_some() || checkpoints.is_some();
    let Some(directory) = directory.or(beside) else { return Ok(None) };
    match Keeper::open(&directory).map_err(io::Error::other)? {
        Some(keeper) => Chain::open(keeper, checkpoints).map(Some),
        None if is_asked_for => {
            let reason = format!("no chain was begun at {}; `secretfs audit init` does", directory.display());
            Err(io::Error::new(io::ErrorKind::NotFound, reason))
        }
        None => Ok(None),
    }
}

/// A line without its line end.
fn text(line: Vec<u8>) -> String {
    let mut text = String::from_utf8(line).unwrap_or_default();
    text.truncate(text.trim_end().len());
    text
}

/// The record that replaces lines for which there was no room.
fn gap(lines: u64) -> String {
    let reason = format!("{lines} audit records are missing here: they could not be written in time");
    line(&Record::new(Operation::Lose, Actor::person()).failed(reason)).map(text).unwrap_or_default()
}

impl Out {
    fn dropped(&self) -> Counter {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Appends one line to every destination.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut failed = Ok(());
        for sink in &self.sinks {
            match sink.lock().unwrap_or_else(PoisonError::into_inner).append(line) {
                Ok(Written::Taken) => {}
                // The outlet counts lost lines itself, because it learns later whether a line was written.
                Ok(Written::Unread) => {
                    self.complain(&io::Error::other("standard output cannot be written, or nobody reads it"));
                }
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    fn chain_lines(&self, lines: &[String]) -> Result<(), Refused> {
        let Some(chain) = &self.chain else { return Ok(()) };
        let lost = chain.lock().unwrap_or_else(PoisonError::into_inner).write(lines, &self.sinks)?;
        if lost > 0 {
            self.lost(lost, &io::Error::other("another process has written to the chain meanwhile"));
        }
        Ok(())
    }

    fn is_behind(&self) -> bool {
        let Some(chain) = &self.chain else { return false };
        chain.lock().unwrap_or_else(PoisonError::into_inner).is_behind()
    }

    fn end(&self) {
        if let Some(chain) = &self.chain {
            chain.lock().unwrap_or_else(PoisonError::into_inner).end();
        }
    }

    fn lost(&self, lines: u64, error: &io::Error) {
        self.dropped().inc_by(lines);
        self.complain(error);
    }

    fn complain(&self, error: &io::Error) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if complaint.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            *complaint = Some(Instant::now());
            tracing::error!(%error, dropped = self.dropped().get(), "audit records cannot be written");
        }
    }
}

impl Write for Out {
    fn write(&self, lines: Vec<String>) -> Left {
        if self.chain.is_none() {
            for line in lines {
                if let Err(error) = self.append((line + "\n").as_bytes()) {
                    self.lost(1, &error);
                }
            }
            return Left::default();
        }
        let written = self.chain_lines(&lines);
        let lines = match &written {
            Ok(()) | Err(Refused::Held(_)) => Vec::new(),
            Err(Refused::Back(_)) => lines,
        };
        if let Err(refused) = written {
            self.complain(&refused.into());
        }
        Left { lines, is_behind: self.is_behind() }
    }

    fn end(&self) {
        Self::end(self);
    }
}

#[cfg(test)]
mod tests;
