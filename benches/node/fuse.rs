//! Volumes over FUSE: what many of them take, and how long a program waits that opens, reads and closes a file.
//!
//! Who serves is a process of its own, so that only what serving takes is counted. Who reads is another one: a process
//! that uses files which it serves itself would wait for itself. This program starts itself again for both.

mod judged;
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
    told(Command::new(program).env(TASK, serde_json::to_string(task).expect("JSON")))
}

/// What a process of this program tells.
fn told<T: DeserializeOwned>(process: &mut Command) -> T {
    let output = process.output().expect("a process");
    assert!(output.status.success(), "{process:?}: {}", String::from_utf8_lossy(&output.stderr));
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

/// What an open with identity, rules and audit may take where the crate `fuser` alone takes the second, in microseconds:
/// measured once on one machine, so the goal is their ratio.
const GOAL: (f64, f64) = (18.0, 10.8);

/// With everything on one processor: every switch between reader and server shows.
pub(crate) async fn one_cpu(world: &World) -> Vec<Line> {
    let [tmpfs, fuser, ours] = each(Cpus::One, 1);
    let [judged, audited] = judged(world, Cpus::One, 1).await;
    let goal = micros(fuser.median) * GOAL.0 / GOAL.1;
    let line = |who, seen| latency(&format!("one CPU, {who}"), seen, &fuser, &tmpfs);
    vec![
        line(EVERYBODY, &ours),
        line(JUDGED, &judged),
        line(AUDITED, &audited).at_most(goal).more("goal: 18 µs where fuser takes 10.8"),
    ]
}

/// With all processors, by one reader and by several.
pub(crate) async fn all_cpus(world: &World) -> Vec<Line> {
    let [tmpfs, fuser, ours] = each(Cpus::All, 1);
    let [tmpfs_of_all, fuser_of_all, ours_of_all] = each(Cpus::All, READERS);
    let [judged_one, audited_one] = judged(world, Cpus::All, 1).await;
    let [judged_of_all, audited_of_all] = judged(world, Cpus::All, READERS).await;
    let line = |who, seen| latency(&format!("all CPUs, {who}"), seen, &fuser, &tmpfs);
    let rate = |who, seen: &Seen| {
        Line::number(&format!("FUSE, the same by 4 readers, all CPUs, {who}"), Unit::PerSecond, seen.rate)
            .floor(fuser_of_all.rate)
            .more(format!("floor: the crate fuser, {:.0}/s in a tmpfs", tmpfs_of_all.rate))
    };
    vec![
        line(EVERYBODY, &ours).at_most(micros(fuser.median)),
        line(JUDGED, &judged_one),
        line(AUDITED, &audited_one),
        rate(EVERYBODY, &ours_of_all).at_least(fuser_of_all.rate),
        rate(JUDGED, &judged_of_all),
        rate(AUDITED, &audited_of_all),
    ]
}

/// Who may open the file. Rules and audit are those of `secretfs node`.
const EVERYBODY: &str = "everybody may";
const JUDGED: &str = "one container may";
const AUDITED: &str = "one container may, and it is recorded";

fn each(cpus: Cpus, readers: usize) -> [Seen; 3] {
    [Kind::Tmpfs, Kind::Fuser, Kind::Bare].map(|kind| serve(kind, 1, cpus, readers, ROUNDS).seen)
}

/// Without records of opens, and with them.
async fn judged(world: &World, cpus: Cpus, readers: usize) -> [Seen; 2] {
    let judged = judged::read(world, cpus, false, readers, ROUNDS).await;
    [judged, judged::read(world, cpus, true, readers, ROUNDS).await]
}

fn latency(how: &str, ours: &Seen, fuser: &Seen, tmpfs: &Seen) -> Line {
    let what = format!("FUSE, open + read + close of 1 KiB, {how}");
    let [p99, of_fuser, of_tmpfs] =
        [ours.p99, fuser.p99, tmpfs.median].map(|took| format!("{:.1}", micros(took)));
    Line::number(&what, Unit::Micros, micros(ours.median))
        .floor(micros(fuser.median))
        .more(format!("p99 {p99}, floor: the crate fuser, p99 {of_fuser}; in a tmpfs {of_tmpfs} µs"))
}

fn micros(milliseconds: f64) -> f64 {
    milliseconds * 1e3
}
