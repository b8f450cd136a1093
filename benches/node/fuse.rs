//! Volumes over FUSE: what many of them take, and how long a program waits that opens, reads and closes a file.
//!
//! Who serves is a process of its own, so that only what serving takes is counted. Who reads is another one: a process
//! that uses files which it serves itself would wait for itself. This program starts itself again for both.

mod reader;
mod stage;

use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::measure::ms;
use crate::report::{Line, Unit};
use crate::world::World;

/// Volumes of one process.
const VOLUMES: usize = 500;
/// Files that are opened, read and closed, by each reader.
const ROUNDS: usize = 20_000;
/// Readers for the throughput.
const READERS: usize = 4;
/// Bytes of a file.
const SIZE: usize = 1024;
/// What the process does that is started again, as JSON.
const TASK: &str = "SECRETFS_BENCH_TASK";

/// Who has the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// The kernel alone.
    Tmpfs,
    /// The crate `fuser`, that serves the same volumes: each by a session with threads of its own.
    Fuser,
    /// Our session layer, and a policy that lets everybody open everything.
    Bare,
    // Here is the place of `Judged`: our session layer, with a policy that asks who the caller is and what its rules say,
    // and that writes the record of the open. Its goal is below, at `one_cpu`.
}

/// Which processors all of them use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Cpus {
    One,
    All,
}

/// What this program does where it is started again.
#[derive(Debug, Serialize, Deserialize)]
enum Task {
    /// Serves so many volumes, and has them read.
    Serve { kind: Kind, volumes: usize, cpus: Cpus, reads: Reads },
    /// Reads them.
    Read(Reads),
}

/// What is read: the same file of each volume in turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reads {
    /// Paths of the files. A process that serves adds its own.
    files: Vec<String>,
    readers: usize,
    /// How often each reader reads.
    rounds: usize,
}

/// What readers saw, in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    median: f64,
    p99: f64,
    /// All of them, in a second.
    rate: f64,
}

/// What serving took.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    /// Until all volumes were mounted and served, in milliseconds.
    mounting: f64,
    /// Resident, beyond the same process without volumes.
    kibibytes: f64,
    /// The same.
    threads: f64,
    seen: Seen,
}

/// Does what this process was started for by another one of this program, if it was.
pub(crate) fn was_started_again() -> bool {
    let Ok(task) = std::env::var(TASK) else { return false };
    let done = match serde_json::from_str(&task).expect("a task") {
        Task::Read(reads) => serde_json::to_string(&reader::read(&reads)),
        Task::Serve { kind, volumes, cpus, reads } => {
            serde_json::to_string(&stage::serve(kind, volumes, cpus, &reads))
        }
    };
    println!("{}", done.expect("JSON"));
    true
}

/// Has another process of this program do it.
fn again<T: DeserializeOwned>(task: &Task) -> T {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .env(TASK, serde_json::to_string(task).expect("JSON"))
        .output()
        .expect("a process");
    assert!(output.status.success(), "{task:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("what it took")
}

fn serve(kind: Kind, volumes: usize, cpus: Cpus, readers: usize, rounds: usize) -> Taken {
    let reads = Reads { files: Vec::new(), readers, rounds };
    again(&Task::Serve { kind, volumes, cpus, reads })
}

/// What 500 volumes of one process take beyond the process, served by us and by `fuser`.
pub(crate) async fn many(_: &World) -> Vec<Line> {
    let [fuser, ours] = [Kind::Fuser, Kind::Bare].map(|kind| serve(kind, VOLUMES, Cpus::All, 1, VOLUMES));
    let mib = |taken: &Taken| taken.kibibytes / 1024.0;
    let what = |what| format!("FUSE, 500 volumes in one process: {what}");
    let of_fuser = "floor: the same volumes by the crate fuser";
    vec![
        Line::number(&what("memory"), Unit::Mib, mib(&ours)).floor(mib(&fuser)).at_most(8.0).more(of_fuser),
        Line::number(&what("threads"), Unit::Count, ours.threads).floor(fuser.threads).at_most(8.0),
        Line::number(&what("to mount all"), Unit::Ms, ours.mounting).floor(fuser.mounting).at_most(100.0),
    ]
}

/// With everything on one processor: every switch between reader and server shows. Where callers are judged, an open with
/// all else is to take 18 µs at most; without, it has no goal of its own.
pub(crate) async fn one_cpu(_: &World) -> Vec<Line> {
    let [tmpfs, fuser, ours] = each(Cpus::One, 1);
    vec![latency("one CPU", &ours, &fuser, &tmpfs)]
}

/// With all processors, by one reader and by several.
pub(crate) async fn all_cpus(_: &World) -> Vec<Line> {
    let [tmpfs, fuser, ours] = each(Cpus::All, 1);
    let [tmpfs_of_all, fuser_of_all, ours_of_all] = each(Cpus::All, READERS);
    let (peer, tmpfs_rate) = (fuser_of_all.seen.rate, tmpfs_of_all.seen.rate);
    vec![
        latency("all CPUs", &ours, &fuser, &tmpfs).at_most(micros(fuser.seen.median)),
        Line::number("FUSE, the same by 4 readers, all CPUs", Unit::PerSecond, ours_of_all.seen.rate)
            .floor(peer)
            .at_least(peer)
            .more(format!("floor: the crate fuser, {tmpfs_rate:.0}/s in a tmpfs")),
    ]
}

fn each(cpus: Cpus, readers: usize) -> [Taken; 3] {
    [Kind::Tmpfs, Kind::Fuser, Kind::Bare].map(|kind| serve(kind, 1, cpus, readers, ROUNDS))
}

fn latency(cpus: &str, ours: &Taken, fuser: &Taken, tmpfs: &Taken) -> Line {
    let what = format!("FUSE, open + read + close of 1 KiB, {cpus}, everybody may");
    let [p99, of_fuser, of_tmpfs] =
        [ours.seen.p99, fuser.seen.p99, tmpfs.seen.median].map(|took| format!("{:.1}", micros(took)));
    Line::number(&what, Unit::Micros, micros(ours.seen.median))
        .floor(micros(fuser.seen.median))
        .more(format!("p99 {p99}, floor: the crate fuser, p99 {of_fuser}; in a tmpfs {of_tmpfs} µs"))
}

fn micros(milliseconds: f64) -> f64 {
    milliseconds * 1e3
}
