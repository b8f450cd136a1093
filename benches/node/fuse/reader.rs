//! A process that opens, reads and closes files.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{Reads, SIZE, Seen, ms};
use crate::measure::Samples;

pub(super) fn read(reads: &Reads) -> Seen {
    let started = Instant::now();
    let samples = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..reads.readers).map(|_| scope.spawn(|| one(reads))).collect();
        readers.into_iter().fold(Samples::default(), |mut all, reader| {
            all.extend_with(reader.join().expect("to read"));
            all
        })
    });
    let rate = samples.len() as f64 / (ms(started.elapsed()) / 1e3);
    Seen { median: samples.median(), p99: samples.p99(), rate }
}

fn one(reads: &Reads) -> Samples {
    let files = reads.files.iter().cycle().take(reads.rounds);
    files.map(|file| open_read_close(file.as_ref())).collect()
}

fn open_read_close(file: &Path) -> Duration {
    let started = Instant::now();
    let mut into = [0; 2 * SIZE];
    let file = rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("to open");
    assert_eq!(rustix::io::read(&file, &mut into).expect("to read"), SIZE);
    drop(file);
    started.elapsed()
}
