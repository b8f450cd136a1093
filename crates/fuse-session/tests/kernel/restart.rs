//! Programs that read while the process that serves them is killed.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sys::Mapping;

use super::keeper::{By, Keeper};
use super::mounted::leave_mounts;

const VOLUMES: usize = 5;
const KILLS: usize = 12;
/// How long each process serves.
const LIFE: Duration = Duration::from_millis(100);

/// What a program did, and the longest time that one look took.
#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    errors: Vec<String>,
    longest: Duration,
}

/// One volume in use: by path, through a handle and through a mapping from before the first kill.
struct Reader {
    path: PathBuf,
    text: String,
    held: File,
    mapping: Mapping,
}

impl Reader {
    fn new(key: usize, path: &std::path::Path) -> Self {
        let text = format!("of volume {key}\n");
        let held = File::open(path.join("a")).unwrap();
        let mapping = Mapping::new(File::open(path.join("d/mapped")).unwrap().as_fd(), text.len()).unwrap();
        Self { path: path.to_owned(), text, held, mapping }
    }

    fn until(&self, is_over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        while !is_over.load(Ordering::Acquire) {
            let start = Instant::now();
            seen.errors.extend(self.look().err());
            seen.longest = seen.longest.max(start.elapsed());
            seen.looks += 1;
        }
        seen
    }

    fn look(&self) -> Result<(), String> {
        let text = self.text.as_bytes();
        let same =
            |what: &str, is_same: bool| if is_same { Ok(()) } else { Err(format!("{what}: other bytes")) };
        let read = |name: &str| fs::read(self.path.join(name)).map_err(|error| format!("{name}: {error}"));
        same("a", read("a")? == text)?;
        same("large", read("large")? == [b'x'; 100_000])?;
        let mut into = [0; 50];
        let count = self.held.read_at(&mut into, 0).map_err(|error| format!("held: {error}"))?;
        same("held", &into[..count] == text)?;
        // Opening and closing it lets the kernel's pages go, so that the mapping asks for them again.
        same("mapped", read("d/mapped")? == text)?;
        same("mapping", self.mapping.read() == text)?;
        fs::read_dir(&self.path)
            .and_then(|mut names| names.try_for_each(|name| name.map(drop)))
            .map_err(|error| format!("names: {error}"))
    }
}

fn killed_under_load(by: By) {
    leave_mounts();
    let mut keeper = Keeper::of(VOLUMES, by, true);
    let is_over = AtomicBool::new(false);
    let readers: Vec<_> =
        keeper.places.iter().enumerate().map(|(key, (place, _))| Reader::new(key, place.path())).collect();

    let seen: Vec<Seen> = thread::scope(|scope| {
        let readers: Vec<_> = readers.iter().map(|reader| scope.spawn(|| reader.until(&is_over))).collect();
        for _ in 0..KILLS {
            thread::sleep(LIFE);
            keeper.restart();
        }
        thread::sleep(LIFE);
        is_over.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });

    let errors: Vec<_> = seen.iter().flat_map(|seen| &seen.errors).collect();
    let looks: usize = seen.iter().map(|seen| seen.looks).sum();
    let longest = seen.iter().map(|seen| seen.longest).max().unwrap();
    println!(
        "{by:?}: {KILLS} kills, {looks} looks at {VOLUMES} volumes, {} errors, worst pause {longest:?}",
        errors.len()
    );
    assert!(errors.is_empty(), "{errors:?}");
    assert!(looks > KILLS, "they were not read all the time");
}

#[test]
fn a_process_that_is_killed_under_load_is_missed_by_nobody() {
    killed_under_load(By::Resend);
}

#[test]
fn a_kernel_that_does_not_send_again_is_answered_from_the_journal() {
    killed_under_load(By::Journal);
}

#[test]
fn who_waits_while_nobody_serves_is_answered_by_the_next_process() {
    leave_mounts();
    let mut keeper = Keeper::of(1, By::Resend, true);
    let path = keeper.places[0].0.at("a");
    keeper.stop();
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&path).unwrap());
        thread::sleep(LIFE);
        assert!(!reader.is_finished());
        keeper.go_on();
        assert_eq!(reader.join().unwrap(), b"of volume 0\n");
    });
}

fn taken_over(by: By) {
    leave_mounts();
    let mut keeper = Keeper::of(1, by, false);
    let path = keeper.places[0].0.at("asked");
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&path).unwrap());
        thread::sleep(LIFE);
        assert!(!reader.is_finished());
        keeper.answers = true;
        keeper.restart();
        assert_eq!(reader.join().unwrap(), b"told");
    });
}

#[test]
fn what_waited_in_a_killed_process_is_asked_again_when_it_is_sent_again() {
    taken_over(By::Resend);
}

#[test]
fn what_waited_in_a_killed_process_is_asked_again_from_its_journal() {
    taken_over(By::Journal);
}
