//! The newest key on the disk: one directory for each chain.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::checkpoint::Checkpoint;
use crate::key::{ChainId, Code, Key};
use crate::line::{Place, seal};

/// The first words of the file with the key: the form of the rest.
const FORM: &str = "secretfs-audit-chain-1";
/// Stands for the code of a line before the first one.
const NONE: &str = "-";
/// Most bytes of a file here. Each holds one short line.
const FILE_MAX: u64 = 4096;
/// How long another process may write its batch, as the error says too. It takes milliseconds, unless the disk hangs.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// Why a chain cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a chain already, and a second key would not verify its lines.
    #[error("{0} holds a chain already; remove the directory to begin another one")]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A file holds something else.
    #[error("{0} is not as secretfs wrote it; remove the directory and begin another chain")]
    Broken(PathBuf),
    /// Another process held the chain for too long.
    #[error("another process has held the audit chain {0} for five seconds")]
    Busy(PathBuf),
    /// The machine has no random bytes.
    #[error("no random bytes for a key")]
    Random,
}

/// Where the newest key of a chain is kept. Several processes may write to one chain, one batch at a time.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    lock: File,
}

/// What the disk knows of a chain.
#[derive(Debug)]
struct State {
    id: ChainId,
    /// The number of the next line.
    seq: u64,
    /// From this number on, lines may be missing after a crash: those of the newest batch, and of those before it that
    /// nobody knows to be written.
    from: u64,
    /// The key of the next line.
    key: Key,
    /// The code of the newest line.
    last: Option<Code>,
}

impl State {
    fn text(&self) -> Zeroizing<String> {
        let Self { id, seq, from, key, last } = self;
        let last = last.as_ref().map_or(NONE, |code| &code.0);
        Zeroizing::new(format!("{FORM} {id} {seq} {from} {} {last}\n", *key.reveal()))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (form, id) = (words.next()?, words.next()?);
        let (seq, from) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (key, last) = (Key::parse(words.next()?)?, words.next()?);
        let last = if last == NONE { None } else { Some(Code::parse(last)?) };
        let is_whole = form == FORM && from <= seq && words.next().is_none();
        is_whole.then(|| Self { id: ChainId(id.to_owned()), seq, from, key, last })
    }
}

impl Keeper {
    /// Begins a chain in `directory`, which is made. The key that it returns verifies the whole chain, and is kept nowhere
    /// here.
    ///
    /// # Errors
    ///
    /// There is a chain, or the directory cannot be written.
    pub fn init(directory: &Path) -> Result<Key, Error> {
        let failed = |error| Error::Io(directory.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let first = Key::random().ok_or(Error::Random)?;
        let state = State { id: first.id(), seq: 0, from: 0, key: first.again(), last: None };
        let (new, path) = (directory.join("state.new"), directory.join("state"));
        write_durably(&new, state.text().as_bytes()).map_err(failed)?;
        let linked = std::fs::hard_link(&new, &path).and_then(|()| sync(directory));
        std::fs::remove_file(&new).map_err(failed)?;
        match linked {
            Ok(()) => Ok(first),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Exists(directory.to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The chain that was begun in `directory`; `None` if none was.
    ///
    /// # Errors
    ///
    /// It cannot be read or written.
    pub fn open(directory: &Path) -> Result<Option<Self>, Error> {
        let state = directory.join("state");
        if matches!(std::fs::symlink_metadata(&state), Err(error) if error.kind() == io::ErrorKind::NotFound)
        {
            return Ok(None);
        }
        let path = directory.join("lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = opened.map_err(|error| Error::Io(path, error))?;
        let keeper = Self { directory: directory.to_owned(), lock };
        keeper.load()?;
        Ok(Some(keeper))
    }

    /// The chain's name.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn id(&self) -> Result<ChainId, Error> {
        Ok(self.load()?.id)
    }

    /// Begins a batch. Other processes wait until it is dropped.
    ///
    /// # Errors
    ///
    /// The key cannot be read, or another process does not end its batch.
    pub fn batch(&self) -> Result<Batch<'_>, Error> {
        let guard = Guard::take(&self.lock, &self.directory)?;
        let state = self.load()?;
        // What was written of the newest batch is a hint: without it, all of the batch is unsure.
        let written = read(&self.directory.join("written")).ok().and_then(|text| text.trim().parse().ok());
        let from = written.filter(|seq| (state.from..=state.seq).contains(seq)).unwrap_or(state.from);
        let unsure = (from < state.seq).then_some(from);
        Ok(Batch { keeper: self, state, unsure, lines: Vec::new(), _guard: guard })
    }

    fn load(&self) -> Result<State, Error> {
        let path = self.directory.join("state");
        match read(&path) {
            Ok(text) => State::parse(&text).ok_or(Error::Broken(path)),
            Err(error) => Err(Error::Io(path, error)),
        }
    }

    fn save(&self, state: &State) -> Result<(), Error> {
        let (new, path) = (self.directory.join("state.new"), self.directory.join("state"));
        let saved = write_durably(&new, state.text().as_bytes())
            .and_then(|()| std::fs::rename(&new, &path))
            .and_then(|()| sync(&self.directory));
        saved.map_err(|error| Error::Io(path, error))
    }
}

/// Lines that are sealed and written together.
#[derive(Debug)]
pub struct Batch<'a> {
    keeper: &'a Keeper,
    state: State,
    unsure: Option<u64>,
    lines: Vec<Vec<u8>>,
    _guard: Guard<'a>,
}

impl Batch<'_> {
    /// The number that the next line gets.
    pub fn next(&self) -> u64 {
        self.state.seq
    }

    /// The number of the first line that may be missing: nobody knows whether the batch before arrived.
    pub fn unsure(&self) -> Option<u64> {
        self.unsure
    }

    /// Adds a line: a JSON object without a line end. Says whether it is one; if not, it is left out.
    pub fn seal(&mut self, object: &str) -> bool {
        let State { id, seq, key, last, .. } = &self.state;
        let unsure = if self.lines.is_empty() { self.unsure } else { None };
        let place = Place { id, seq: *seq, unsure, before: last.as_ref() };
        let Some((line, code)) = seal(object, place, key) else { return false };
        if self.lines.is_empty() {
            // If this batch is lost too, so is its word of the one before.
            self.state.from = self.unsure.unwrap_or(self.state.seq);
        }
        self.state.key = self.state.key.next();
        self.state.seq += 1;
        self.state.last = Some(code);
        self.lines.push(line);
        true
    }

    /// Keeps the key that comes after these lines, and gives the lines out: they are to be written now.
    ///
    /// # Errors
    ///
    /// The key cannot be kept. The lines are lost, and their numbers are given to others.
    pub fn save(&mut self) -> Result<Vec<Vec<u8>>, Error> {
        self.keeper.save(&self.state)?;
        Ok(std::mem::take(&mut self.lines))
    }

    /// The lines are on the disk. Returns how far the chain has come.
    pub fn written(self) -> Option<Checkpoint> {
        let path = self.keeper.directory.join("written");
        let text = format!("{}\n", self.state.seq);
        // If this fails, the next batch says that it is unsure of this one, and the verifier sees that nothing is missing.
        let _ = open_private(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        let State { id, seq, last, .. } = self.state;
        Some(Checkpoint { id, seq: seq.checked_sub(1)?, code: last? })
    }
}

/// Holds the lock of a chain.
#[derive(Debug)]
struct Guard<'a>(&'a File);

impl<'a> Guard<'a> {
    fn take(lock: &'a File, directory: &Path) -> Result<Self, Error> {
        let begun = Instant::now();
        loop {
            match flock(lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(lock)),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Busy(directory.to_owned())),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Error::Io(directory.to_owned(), error.into())),
            }
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::line::Sealed;

    fn keeper(directory: &Path) -> Keeper {
        Keeper::open(directory).unwrap().unwrap()
    }

    fn numbers(lines: &[Vec<u8>]) -> Vec<(u64, Option<u64>)> {
        let parsed = lines.iter().map(|line| Sealed::parse(line.strip_suffix(b"\n").unwrap()).unwrap());
        parsed.map(|sealed| (sealed.seq, sealed.unsure)).collect()
    }

    /// Writes a batch of `count` lines, and says so if `arrives`.
    fn batch(keeper: &Keeper, count: usize, arrives: bool) -> Vec<(u64, Option<u64>)> {
        let mut batch = keeper.batch().unwrap();
        (0..count).for_each(|_| assert!(batch.seal("{\"a\":1}")));
        let lines = batch.save().unwrap();
        if arrives {
            batch.written();
        }
        numbers(&lines)
    }

    #[test]
    fn a_chain_is_begun_once_in_a_directory_of_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("audit/chain");
        assert!(Keeper::open(&place).unwrap().is_none());

        let key = Keeper::init(&place).unwrap();

        assert_eq!(keeper(&place).id().unwrap(), key.id());
        assert!(matches!(Keeper::init(&place), Err(Error::Exists(_))));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("state"))), (0o700, 0o600));
    }

    #[test]
    fn batches_go_on_where_the_one_before_ended_also_in_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        Keeper::init(dir.path()).unwrap();

        assert_eq!(batch(&keeper(dir.path()), 2, true), [(0, None), (1, None)]);
        assert_eq!(batch(&keeper(dir.path()), 1, true), [(2, None)]);
    }

    #[test]
    fn who_comes_after_a_crash_says_which_lines_it_is_unsure_of() {
        let dir = tempfile::tempdir().unwrap();
        Keeper::init(dir.path()).unwrap();

        batch(&keeper(dir.path()), 2, true);
        batch(&keeper(dir.path()), 3, false);

        assert_eq!(batch(&keeper(dir.path()), 2, true), [(5, Some(2)), (6, None)]);
        assert_eq!(batch(&keeper(dir.path()), 1, true), [(7, None)]);
    }

    #[test]
    fn the_first_key_is_kept_nowhere_after_the_first_line() {
        let dir = tempfile::tempdir().unwrap();
        let key = Keeper::init(dir.path()).unwrap().reveal();
        batch(&keeper(dir.path()), 1, true);

        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(&**key), "{text}");
        }
    }

    #[test]
    fn a_broken_state_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        Keeper::init(dir.path()).unwrap();
        std::fs::write(dir.path().join("state"), "secretfs-audit-chain-1 x 1 2 k -\n").unwrap();

        let error = Keeper::open(dir.path()).unwrap_err();

        assert!(error.to_string().contains("state"), "{error}");
    }

    #[test]
    fn batches_of_several_writers_do_not_overlap() {
        let dir = tempfile::tempdir().unwrap();
        Keeper::init(dir.path()).unwrap();

        let mut all: Vec<_> = thread::scope(|scope| {
            let write = || (0..20).flat_map(|_| batch(&keeper(dir.path()), 2, true)).collect::<Vec<_>>();
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });

        all.sort_unstable();
        assert_eq!(all, (0..160).map(|seq| (seq, None)).collect::<Vec<_>>());
    }
}
