//! Writes lines as a chain: nobody changes them later unseen.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use audit_chain::{Checkpoint, Keeper};
use jiff::Timestamp;

use super::sink::{Destination, Sink};

/// A checkpoint is written when the last one is older than this, and a line was written since.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(60);
/// Or when this many lines were written since.
const CHECKPOINT_LINES: u64 = 1000;

/// Where the key of a chain is, and where its checkpoints go.
#[derive(Debug, Clone, Default)]
pub struct ChainArgs {
    /// The directory that `secretfs audit init` made. By default [beside](Destination::chain) the file of the trail.
    pub directory: Option<PathBuf>,
    /// Where checkpoints go. Without it, a cut at the end of the trail is not seen.
    pub checkpoints: Option<Destination>,
}

/// Seals lines and writes them.
#[derive(Debug)]
pub(super) struct Chain {
    keeper: Keeper,
    checkpoints: Option<Sink>,
    told: Instant,
    lines: u64,
    waiting: Option<Waiting>,
}

/// Sealed lines that a file did not take yet.
#[derive(Debug)]
struct Waiting {
    lines: Vec<Vec<u8>>,
    /// The number of the line after these.
    next: u64,
    /// Which sinks have them.
    taken: Vec<bool>,
}

/// Why lines are not in the files.
#[derive(Debug)]
pub(super) enum Refused {
    /// They are sealed, and are written as soon as the files take them.
    Held(io::Error),
    /// They could not be sealed: whoever has them may try again.
    Back(io::Error),
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Held(error) | Refused::Back(error) => error,
        }
    }
}

impl Chain {
    pub(super) fn open(keeper: Keeper, checkpoints: Option<Destination>) -> io::Result<Self> {
        let checkpoints = checkpoints.map(Sink::open).transpose()?;
        Ok(Self { keeper, checkpoints, told: Instant::now(), lines: 0, waiting: None })
    }

    /// Whether lines are sealed and not in every file.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.is_some()
    }

    /// Writes what waits, then `lines`, to all of `sinks`. Returns how many lines are lost for good.
    pub(super) fn write(&mut self, lines: &[String], sinks: &[Mutex<Sink>]) -> Result<u64, Refused> {
        let lost = self.catch_up(sinks)?;
        if lines.is_empty() {
            return Ok(lost);
        }
        let mut batch = self.keeper.batch().map_err(|error| Refused::Back(io::Error::other(error)))?;
        let unfit = lines.iter().filter(|line| !batch.seal(line)).count() as u64;
        let sealed = batch.save().map_err(|error| Refused::Back(io::Error::other(error)))?;
        let mut waiting = Waiting { lines: sealed, next: batch.next(), taken: vec![false; sinks.len()] };
        match waiting.write(sinks) {
            Ok(()) => {
                let count = waiting.lines.len() as u64;
                let checkpoint = batch.written();
                self.passed(checkpoint, count);
                Ok(lost.saturating_add(unfit))
            }
            Err(error) => {
                drop(batch);
                self.waiting = Some(waiting);
                Err(Refused::Held(error))
            }
        }
    }

    /// Writes what waits. It is lost if another process has written lines after it.
    fn catch_up(&mut self, sinks: &[Mutex<Sink>]) -> Result<u64, Refused> {
        let Some(waiting) = &mut self.waiting else { return Ok(0) };
        let batch = self.keeper.batch().map_err(|error| Refused::Held(io::Error::other(error)))?;
        let count = waiting.lines.len() as u64;
        if batch.next() != waiting.next {
            drop(batch);
            self.waiting = None;
            return Ok(count);
        }
        waiting.write(sinks).map_err(Refused::Held)?;
        let checkpoint = batch.written();
        self.waiting = None;
        self.passed(checkpoint, count);
        Ok(0)
    }

    fn passed(&mut self, checkpoint: Option<Checkpoint>, lines: u64) {
        self.lines = self.lines.saturating_add(lines);
        if self.told.elapsed() >= CHECKPOINT_AFTER || self.lines >= CHECKPOINT_LINES {
            self.tell(checkpoint);
        }
    }

    /// Writes a checkpoint of all that is written, for instance because the process ends.
    pub(super) fn end(&mut self) {
        if self.waiting.is_none() && self.lines > 0 {
            let checkpoint = self.keeper.batch().ok().and_then(audit_chain::Batch::written);
            self.tell(checkpoint);
        }
    }

    fn tell(&mut self, checkpoint: Option<Checkpoint>) {
        let (Some(sink), Some(checkpoint)) = (&mut self.checkpoints, checkpoint) else { return };
        let line = checkpoint.line(&Timestamp::now().to_string());
        match sink.append_all(&[line.into_bytes()]) {
            Ok(()) => (self.told, self.lines) = (Instant::now(), 0),
            Err(error) => tracing::error!(%error, "an audit checkpoint cannot be written"),
        }
    }
}

impl Waiting {
    /// Writes to the sinks that do not have the lines yet.
    fn write(&mut self, sinks: &[Mutex<Sink>]) -> io::Result<()> {
        let mut failed = Ok(());
        for (sink, taken) in sinks.iter().zip(&mut self.taken).filter(|(_, taken)| !**taken) {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            match sink.append_all(&self.lines) {
                Ok(()) => *taken = true,
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}
