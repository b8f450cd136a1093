//! A process that uses volumes while those who serve them are killed, for the tests of restarts: by path, through a handle
//! and through a mapping, both from before the first kill. Who serves the volumes, or starts it again, must not do this.
//!
//! Its arguments are where the volumes are, in the order of their keys. Standard input is a socket. It says `ready`, and
//! looks until it is told `enough`. Then it says what went wrong, one packet for each error, and at the end
//! `seen LOOKS ERRORS MICROSECONDS`, where the last is the longest time that one look took.
#![allow(clippy::unwrap_used, reason = "a test starts it and sees it fail")]

#[path = "../tests/kernel/packet.rs"]
mod packet;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sys::Mapping;

/// How many errors are told in words, for each volume.
const ERRORS_MAX: usize = 10;

/// What a program did, and the longest time that one look took.
#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    errors: Vec<String>,
    longest: Duration,
}

/// One volume in use.
struct Reader {
    path: PathBuf,
    text: String,
    held: File,
    mapping: Mapping,
}

fn main() {
    let socket = std::io::stdin();
    let readers: Vec<_> =
        std::env::args_os().skip(1).enumerate().map(|(key, path)| Reader::new(key, path.into())).collect();
    let is_over = AtomicBool::new(false);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let readers: Vec<_> = readers.iter().map(|reader| scope.spawn(|| reader.until(&is_over))).collect();
        packet::send(&socket, "ready", None).unwrap();
        // Or the test is gone.
        let _ = packet::receive(&socket);
        is_over.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for error in seen.iter().flat_map(|seen| seen.errors.iter().take(ERRORS_MAX)) {
        packet::send(&socket, error, None).unwrap();
    }
    let looks: usize = seen.iter().map(|seen| seen.looks).sum();
    let errors: usize = seen.iter().map(|seen| seen.errors.len()).sum();
    let longest = seen.iter().map(|seen| seen.longest).max().unwrap_or_default().as_micros();
    packet::send(&socket, &format!("seen {looks} {errors} {longest}"), None).unwrap();
}

impl Reader {
    fn new(key: usize, path: PathBuf) -> Self {
        let text = format!("of volume {key}\n");
        let held = File::open(path.join("a")).unwrap();
        let mapping = Mapping::new(File::open(path.join("d/mapped")).unwrap().as_fd(), text.len()).unwrap();
        Self { path, text, held, mapping }
    }

    fn until(&self, is_over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        while !is_over.load(Ordering::Acquire) {
            let start = Instant::now();
            seen.errors.extend(self.look().err());
            seen.longest = seen.longest.max(start.elapsed());
            seen.looks = seen.looks.saturating_add(1);
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
        same("held", into.get(..count) == Some(text))?;
        // Opening and closing it lets the kernel's pages go, so that the mapping asks for them again.
        same("mapped", read("d/mapped")? == text)?;
        same("mapping", self.mapping.read() == text)?;
        fs::read_dir(&self.path)
            .and_then(|mut names| names.try_for_each(|name| name.map(drop)))
            .map_err(|error| format!("names: {error}"))
    }
}
