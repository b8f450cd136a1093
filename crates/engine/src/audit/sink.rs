use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use program::outlet::{self, Outlet};
use prometheus_client::metrics::counter::Counter;

use super::{Actor, Operation, Record, uid};

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, to which lines are appended. It is made with mode 0600, and made again if it was renamed or removed.
    File(PathBuf),
    /// Standard output, through a queue, so that no work waits for its reader.
    Stdout,
}

impl FromStr for Destination {
    type Err = Infallible;

    /// `-` is standard output, anything else a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(PathBuf::from(text)) })
    }
}

/// Writes audit records. The default writes none.
///
/// A record that cannot be written is counted and reported in the log. It stops nothing, because a full audit disk must
/// not keep pods from starting.
#[derive(Debug, Default)]
pub struct Audit {
    sinks: Vec<Mutex<Sink>>,
    dropped: Counter,
    complaint: Mutex<Option<Instant>>,
}

/// The name of the node in all records of this process, also in the record that replaces lost ones.
static NODE: OnceLock<String> = OnceLock::new();

/// The log reports failures at most this often. Each failure is counted.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

impl Audit {
    /// Writes every record to each of `destinations`.
    ///
    /// # Errors
    ///
    /// A file cannot be opened for appending. The administrator should learn this at once, unlike a later failure.
    pub fn to(destinations: impl IntoIterator<Item = Destination>) -> io::Result<Self> {
        let sinks: io::Result<Vec<_>> = destinations.into_iter().map(Sink::open).collect();
        Ok(Self { sinks: sinks?.into_iter().map(Mutex::new).collect(), ..Self::default() })
    }

    /// The same, which counts in `dropped` the records that could not be written.
    #[must_use]
    pub fn counting(mut self, dropped: Counter) -> Self {
        for sink in &self.sinks {
            if let Sink::Stdout(outlet) = &*sink.lock().unwrap_or_else(PoisonError::into_inner) {
                let dropped = dropped.clone();
                outlet.count_in(Box::new(move |lines| {
                    dropped.inc_by(lines);
                }));
            }
        }
        self.dropped = dropped;
        self
    }

    /// The same, which writes `node` as the name of the node. Without a name, records have the name of the machine.
    /// Works only before the first record of the process.
    #[must_use]
    pub fn on(self, node: Option<String>) -> Self {
        node.into_iter().for_each(|node| drop(NODE.set(node)));
        self
    }

    /// How many records may be lost. A record counts once for each destination that failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Writes `record`: into files at once, and to standard output when its reader takes it.
    pub fn record(&self, record: &Record) {
        if self.sinks.is_empty() {
            return;
        }
        match line(record) {
            Ok(line) => self.sinks.iter().for_each(|sink| self.append(sink, &line)),
            Err(error) => self.lost(&error),
        }
    }

    fn append(&self, sink: &Mutex<Sink>, line: &[u8]) {
        match sink.lock().unwrap_or_else(PoisonError::into_inner).append(line) {
            Ok(Written::Taken) => {}
            // The outlet counts lost lines itself, because it learns later whether a line was written.
            Ok(Written::Unread) => {
                self.complain(&io::Error::other("standard output cannot be written, or nobody reads it"));
            }
            Err(error) => self.lost(&error),
        }
    }

    fn lost(&self, error: &io::Error) {
        self.dropped.inc();
        self.complain(error);
    }

    fn complain(&self, error: &io::Error) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if complaint.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) {
            *complaint = Some(Instant::now());
            tracing::error!(%error, dropped = self.dropped.get(), "audit records are being lost");
        }
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let time = Timestamp::now();
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    Ok(record.line(time, &uid(time, random), NODE.get_or_init(machine))?)
}

/// The kernel's host name of this machine, or of this pod.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

#[derive(Debug)]
enum Sink {
    File { path: PathBuf, file: File, torn: bool },
    Stdout(Outlet),
}

/// What happened to a line.
enum Written {
    /// It is in the file, or in the queue of a stream whose reader reads.
    Taken,
    /// It was dropped, or is in the queue of a stream that took nothing the last time.
    Unread,
}

impl Sink {
    fn open(destination: Destination) -> io::Result<Self> {
        match destination {
            Destination::File(path) => Ok(Self::File { file: open(&path)?, path, torn: false }),
            Destination::Stdout => Ok(Self::Stdout(outlet::stdout(gap)?)),
        }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<Written> {
        match self {
            Self::File { path, file, torn } => {
                if moved_away(path, file) {
                    *file = open(path)?;
                    *torn = false;
                }
                append(file, torn, line).map(|()| Written::Taken)
            }
            Self::Stdout(outlet) => Ok(if outlet.line(line) { Written::Taken } else { Written::Unread }),
        }
    }
}

/// The record that replaces missing records.
fn gap(lines: u64) -> Vec<u8> {
    let reason =
        format!("{lines} audit records are missing here: standard output took none, or nobody read it");
    let record = Record::new(Operation::Lose, Actor::person()).failed(reason);
    line(&record).unwrap_or_default()
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("audit file {}: {error}", path.display())))
}

/// Whether a program that rotates logs has moved `file`.
fn moved_away(path: &Path, file: &File) -> bool {
    let here = std::fs::metadata(path).ok().map(|here| (here.dev(), here.ino()));
    let held = file.metadata().ok().map(|held| (held.dev(), held.ino()));
    here != held
}

/// One `write` for each line, so that lines of several processes do not mix. If a full disk cut a line short, a line end
/// comes first, so that one line is lost and not two.
fn append(file: &mut File, torn: &mut bool, line: &[u8]) -> io::Result<()> {
    if *torn {
        file.write_all(b"\n")?;
        *torn = false;
    }
    match file.write(line)? {
        whole if whole == line.len() => Ok(()),
        part => {
            *torn = part > 0;
            Err(io::Error::new(io::ErrorKind::WriteZero, "the line was cut short"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::audit::{Actor, Operation};

    fn put() -> Record {
        Record::new(Operation::Put, Actor::person())
    }

    fn audit(path: &Path) -> Audit {
        Audit::to([Destination::File(path.to_owned())]).unwrap()
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn records_are_appended_to_a_file_of_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");

        audit(&path).record(&put());
        audit(&path).record(&put());

        assert_eq!(lines(&path).len(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_renamed_file_is_left_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
        let audit = audit(&path);
        audit.record(&put());

        std::fs::rename(&path, &rotated).unwrap();
        audit.record(&put());

        assert_eq!((lines(&rotated).len(), lines(&path).len()), (1, 1));
    }

    #[test]
    fn lines_of_several_writers_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audits: Vec<Audit> = (0..4).map(|_| audit(&path)).collect();

        std::thread::scope(|scope| {
            for audit in &audits {
                scope.spawn(|| (0..250).for_each(|_| audit.record(&put())));
            }
        });

        let mut ids: Vec<String> =
            lines(&path).iter().map(|line| line["metadata"]["uid"].to_string()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn a_full_disk_is_counted_and_stops_nothing() {
        let audit = Audit::to([Destination::File(PathBuf::from("/dev/full"))]).unwrap();

        audit.record(&put());
        audit.record(&put());

        assert_eq!(audit.dropped(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
        let error = Audit::to([Destination::File(PathBuf::from("/nonexistent/audit"))]).unwrap_err();

        assert!(error.to_string().contains("/nonexistent/audit"), "{error}");
    }
}
