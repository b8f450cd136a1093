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
        if let Err(error) = self.write(record) {
            self.out.lost(1, &error);
        }
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
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use audit_chain::{Key, Report, Verifier, verify};

    use super::*;

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

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A place with a chain.
    struct Chained {
        dir: tempfile::TempDir,
        key: String,
    }

    impl Chained {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let key = Keeper::init(&dir.path().join("audit.jsonl.chain")).unwrap().reveal().to_string();
            Self { dir, key }
        }

        fn log(&self) -> PathBuf {
            self.dir.path().join("audit.jsonl")
        }

        fn audit_to(&self, log: &Path) -> Audit {
            let checkpoints = Some(Destination::File(self.dir.path().join("checkpoints")));
            let directory = Some(self.dir.path().join("audit.jsonl.chain"));
            let chain = ChainArgs { directory, checkpoints };
            Audit::chained_to([Destination::File(log.to_owned())], chain).unwrap()
        }

        fn audit(&self) -> Audit {
            self.audit_to(&self.log())
        }

        fn report(&self) -> Report {
            let known = std::fs::read_to_string(self.dir.path().join("checkpoints")).unwrap_or_default();
            let known = known.lines().filter_map(audit_chain::Checkpoint::parse).collect::<Vec<_>>();
            let log = std::fs::read(self.log()).unwrap();
            verify(Verifier::new(Key::parse(&self.key).unwrap(), known, false), [log.as_slice()]).unwrap()
        }
    }

    #[test]
    fn records_of_a_chain_go_on_over_restarts_and_end_with_a_checkpoint() {
        let chained = Chained::new();
        for _ in 0..3 {
            let audit = chained.audit().for_long().unwrap();
            (0..10).for_each(|_| audit.record(&put()));
            assert!(audit.flush(PATIENCE));
        }

        let report = chained.report();

        assert!(report.is_intact(), "{report:?}");
        assert_eq!((report.verified, report.checkpoint, report.gaps.len()), (33, Some(32), 0));
        assert_eq!(lines(&chained.log())[11]["api"]["operation"], "begin");
    }

    #[test]
    fn commands_and_a_process_that_stays_write_to_one_chain() {
        let chained = Chained::new();
        let staying = chained.audit().for_long().unwrap();

        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    (0..10).for_each(|_| chained.audit().require(&put()).unwrap());
                });
            }
            scope.spawn(|| (0..10).for_each(|_| staying.record(&put())));
        });
        assert!(staying.flush(PATIENCE));

        let report = chained.report();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!((report.verified, report.gaps.len()), (41, 0));
    }

    #[test]
    fn a_trail_that_is_cut_by_its_last_record_is_found_out_by_the_checkpoint() {
        let chained = Chained::new();
        let audit = chained.audit();
        (0..3).for_each(|_| audit.record(&put()));
        audit.flush(PATIENCE);
        let text = std::fs::read_to_string(chained.log()).unwrap();

        let kept: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
        std::fs::write(chained.log(), kept).unwrap();

        assert!(!chained.report().is_intact());
    }

    #[test]
    fn what_must_be_recorded_and_cannot_be_is_an_error() {
        let chained = Chained::new();
        let full = chained.audit_to(Path::new("/dev/full"));
        let plain = Audit::to([Destination::File(PathBuf::from("/dev/full"))]).unwrap();

        assert!(full.require(&put()).is_err() && plain.require(&put()).is_err());
        assert_eq!((full.dropped(), plain.dropped()), (1, 1));
        assert!(Audit::default().require(&put()).is_ok());
    }

    #[test]
    fn a_process_that_died_between_key_and_file_leaves_a_gap_that_is_told() {
        let chained = Chained::new();
        chained.audit().record(&put());
        // The key moves on, and the record is in no file.
        chained.audit_to(Path::new("/dev/full")).record(&put());
        chained.audit().record(&put());

        let report = chained.report();

        assert!(report.is_intact(), "{report:?}");
        let [gap] = &report.gaps[..] else { panic!("{report:?}") };
        assert_eq!((gap.from, gap.to, report.verified), (1, 1, 2));
    }

    #[test]
    fn what_a_full_disk_refused_is_written_when_there_is_room_again() {
        let chained = Chained::new();
        let mount = chained.dir.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &mount).unwrap();
        let audit = chained.audit_to(&mount).for_long().unwrap();
        (0..10).for_each(|_| audit.record(&put()));
        assert!(!audit.flush(Duration::from_millis(300)));

        // The name leads to another file now, as after a rotation of logs.
        std::fs::remove_file(&mount).unwrap();
        std::os::unix::fs::symlink(chained.log(), &mount).unwrap();

        assert!(audit.flush(PATIENCE));
        let report = chained.report();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!((report.verified, report.gaps.len(), audit.dropped()), (11, 0, 0));
    }

    #[test]
    fn a_trail_that_nobody_can_write_costs_a_tenant_its_own_records_and_no_waiting() {
        let chained = Chained::new();
        let audit = chained.audit_to(Path::new("/dev/full")).for_long().unwrap();
        let of = |namespace: &str| {
            let identity = provider::Identity::named(namespace, "web");
            let subject = crate::subject::Subject { identity, pod: None };
            Record::new(Operation::Open, Actor::from(&subject)).failed("x".repeat(10_000))
        };

        (0..1000).for_each(|_| audit.later(&of("loud")));
        let lost = audit.dropped();
        audit.later(&of("quiet"));

        assert!((500..1000).contains(&lost), "{lost}");
        assert_eq!(audit.dropped(), lost);
    }

    #[test]
    fn where_no_chain_was_begun_records_are_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");

        audit(&path).for_long().unwrap().record(&put());

        assert_eq!((lines(&path).len(), lines(&path)[0].get("chain")), (1, None));
        let asked_for = ChainArgs { directory: Some(dir.path().join("chain")), checkpoints: None };
        let error = Audit::chained_to([Destination::File(path)], asked_for).unwrap_err();
        assert!(error.to_string().contains("audit init"), "{error}");
    }

    #[test]
    fn a_chain_beside_the_file_is_used_without_being_asked_for() {
        let chained = Chained::new();

        audit(&chained.log()).record(&put());

        assert_eq!(chained.report().verified, 1);
    }
}
