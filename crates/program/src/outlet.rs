//! Writes lines to standard output and standard error without making the caller wait.
//!
//! If the reader of a pipe stops reading, the kernel blocks the writer. So lines go into a queue of bounded size, and a
//! separate thread writes them. A line that finds no room is dropped and counted. The stream itself says how many lines
//! are missing, at the place where they are missing.

mod queue;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

pub use self::queue::Counter;
use self::queue::{Item, Queue};

/// How long a process that ends waits until its last lines are written.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Makes the line, with its line end, that says how many lines are missing.
pub type Gap = fn(u64) -> Vec<u8>;

/// A stream that takes lines without making the caller wait. Clones are the same stream.
#[derive(Debug, Clone)]
pub struct Outlet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signals that a line was queued or written.
    changed: Condvar,
}

static STDOUT: OnceLock<Outlet> = OnceLock::new();
static STDERR: OnceLock<Outlet> = OnceLock::new();

/// Standard output. Only the first call uses its `gap`.
///
/// # Errors
///
/// The system has no file descriptor or no thread left.
pub fn stdout(gap: Gap) -> io::Result<Outlet> {
    of_process(&STDOUT, io::stdout().as_fd().try_clone_to_owned()?.into(), gap)
}

/// Standard error. Only the first call uses its `gap`.
///
/// # Errors
///
/// The system has no file descriptor or no thread left.
pub fn stderr(gap: Gap) -> io::Result<Outlet> {
    of_process(&STDERR, io::stderr().as_fd().try_clone_to_owned()?.into(), gap)
}

/// Standard error, if somebody called [`stderr`] before.
pub fn stderr_of_process() -> Option<&'static Outlet> {
    STDERR.get()
}

fn of_process(place: &OnceLock<Outlet>, file: File, gap: Gap) -> io::Result<Outlet> {
    if let Some(outlet) = place.get() {
        return Ok(outlet.clone());
    }
    let outlet = Outlet::to(file, gap)?;
    Ok(place.get_or_init(|| outlet).clone())
}

/// Writes `line`, which has its line end, to standard error. If the log uses standard error too, the line waits its
/// turn.
pub fn complain(line: &str) {
    match STDERR.get() {
        Some(outlet) => drop(outlet.line(line.as_bytes())),
        // If nobody reads standard error, there is nobody to report this to.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Waits until every queued line is written, at most `patience` for each stream.
pub fn flush(patience: Duration) {
    for outlet in [&STDOUT, &STDERR].into_iter().filter_map(OnceLock::get) {
        outlet.flush(patience);
    }
}

impl Outlet {
    /// Writes to `file`, in a thread of its own that lives as long as the process.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn to(file: File, gap: Gap) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let writer = Arc::clone(&shared);
        // Nothing joins this thread: a write may hang until somebody reads. The process ends without it.
        thread::Builder::new().name("outlet".to_owned()).spawn(move || writer.write(&file, gap))?;
        Ok(Self(shared))
    }

    /// Queues `line`, which has its line end. Returns false if the line was dropped, or if the last write to the stream
    /// failed.
    pub fn line(&self, line: &[u8]) -> bool {
        let mut queue = self.0.lock();
        let taken = queue.push(line);
        self.0.changed.notify_all();
        taken && !queue.is_broken()
    }

    /// Calls `counter` with the number of lost lines: at once with those lost so far, then at each loss. `counter` must
    /// not wait for anything.
    pub fn count_in(&self, counter: Counter) {
        self.0.lock().count_in(counter);
    }

    /// Waits until all lines are written, at most `patience`. Returns whether all are written.
    pub fn flush(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut queue = self.0.lock();
        while !queue.is_idle() {
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl io::Write for Outlet {
    /// Queues one line. A dropped line is counted and is no error, because the caller cannot repair the stream.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, file: &File, gap: Gap) {
        loop {
            let item = self.next();
            let written = match &item {
                Item::Line(line) => write_whole(file, line),
                Item::Gap(lines) => write_whole(file, &gap(*lines)),
            };
            self.lock().wrote(&item, written.is_ok());
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Item {
        let mut queue = self.lock();
        loop {
            if let Some(item) = queue.pop() {
                return item;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes all bytes, however long it takes. It also waits if another process made the pipe non-blocking.
fn write_whole(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn missing(lines: u64) -> Vec<u8> {
        format!("{lines} lines are missing\n").into_bytes()
    }

    /// An outlet that writes into a pipe, and the reader of the pipe.
    fn pipe() -> (Outlet, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        (Outlet::to(OwnedFd::from(writer).into(), missing).unwrap(), reader)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Counts the lines that `outlet` loses.
    fn lost_by(outlet: &Outlet) -> Arc<AtomicU64> {
        let lost = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&lost);
        outlet.count_in(Box::new(move |lines| {
            counter.fetch_add(lines, Ordering::Relaxed);
        }));
        lost
    }

    /// Writes lines until one of them is dropped.
    fn fill(outlet: &Outlet) -> u64 {
        (0..).find(|number| !outlet.line(format!("{number:0>999}\n").as_bytes())).unwrap()
    }

    /// All lines from `reader` until one begins with `last`.
    fn read_until(reader: io::PipeReader, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in io::BufRead::lines(io::BufReader::new(reader)) {
            lines.push(line.unwrap());
            if lines.last().unwrap().starts_with(last) {
                break;
            }
        }
        lines
    }

    #[test]
    fn lines_are_written_in_their_order_and_a_flush_waits_for_them() {
        let (outlet, mut reader) = pipe();

        assert!(outlet.line(b"one\n") && outlet.line(b"two\n"));
        assert!(outlet.flush(PATIENCE));
        let mut text = [0; 8];
        reader.read_exact(&mut text).unwrap();

        assert_eq!(&text, b"one\ntwo\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_no_waiting_and_a_flush_gives_up() {
        let (outlet, reader) = pipe();

        let taken = fill(&outlet);
        let lost = lost_by(&outlet);
        (0..10).for_each(|_| assert!(!outlet.line(&[b'x'; 1000])));

        assert!(taken > 64, "{taken} lines");
        assert_eq!(lost.load(Ordering::Relaxed), 11);
        assert!(!outlet.flush(Duration::from_millis(10)));
        drop(reader);
    }

    #[test]
    fn a_pipe_that_flows_again_says_where_how_many_lines_are_missing() {
        let (outlet, reader) = pipe();
        let taken = fill(&outlet);
        outlet.line(&[b'x'; 1000]);
        let reading = thread::spawn(move || read_until(reader, "last"));

        // When the reader has taken the queued lines, there is room again.
        assert!(outlet.flush(PATIENCE));
        outlet.line(b"last\n");
        let lines = reading.join().unwrap();

        let told = lines.iter().position(|line| line == "2 lines are missing");
        assert_eq!(told, Some(usize::try_from(taken).unwrap()), "{:?}", lines.last());
    }

    #[test]
    fn a_stream_that_takes_nothing_counts_each_line_and_says_so_to_who_writes() {
        let outlet = Outlet::to(File::options().write(true).open("/dev/full").unwrap(), missing).unwrap();
        let lost = lost_by(&outlet);

        assert!(outlet.line(b"first\n"));
        assert!(outlet.flush(PATIENCE));
        assert!(!outlet.line(b"second\n"));
        assert!(outlet.flush(PATIENCE));

        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }
}
