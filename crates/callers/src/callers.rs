use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cgroup::{self, ContainerId};
use crate::name::{ContainerName, PodDirectory};
use crate::processes::{Processes, Thread};

/// How many threads of one volume are remembered: the ones that asked last.
const THREADS_MAX: usize = 32;
/// How many of all volumes. Each holds a descriptor.
const THREADS_OF_ALL: usize = 4096;
/// How many containers of one volume have their names remembered.
const NAMES_MAX: usize = 64;

/// How long a container without a name is not looked at again. Who hides its name makes no more work than that.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Threads that are remembered, of all volumes.
static REMEMBERED: AtomicUsize = AtomicUsize::new(0);

/// Who a thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its container's id.
    pub id: ContainerId,
    /// Its container's name.
    pub container: ContainerName,
}

/// What was found out about a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It runs in a container of the pod.
    Caller(Caller),
    /// It does not run in a container of the pod, or nobody can tell who it is.
    Stranger,
    /// It runs in a container of the pod whose name could not be learnt now. It may be known in a moment.
    Nameless,
}

/// The threads that open the files of one pod's volume.
pub struct Callers {
    uid: String,
    directory: PodDirectory,
    processes: Arc<Processes>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    threads: HashMap<u32, Remembered>,
    names: HashMap<ContainerId, ContainerName>,
    /// Containers whose name could not be learnt, and when that was tried last.
    nameless: HashMap<ContainerId, Instant>,
    /// Counts questions, to tell which thread asked last.
    questions: u64,
}

struct Remembered {
    thread: Thread,
    caller: Caller,
    last: u64,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Callers({})", self.uid)
    }
}

impl Callers {
    /// The threads of the pod `uid`, whose files kubelet keeps in `directory`, among `processes`.
    pub fn new(uid: String, directory: PodDirectory, processes: Arc<Processes>) -> Self {
        Self { uid, directory, processes, known: Mutex::default() }
    }

    /// Who the thread `tid` is. It has to wait for the answer to what it asked, so that the number is its own; 0 is nobody.
    pub fn find(&self, tid: u32) -> Found {
        if tid == 0 {
            return Found::Stranger;
        }
        if let Some(caller) = self.remembered(tid) {
            return Found::Caller(caller);
        }
        let Ok(thread) = self.processes.thread(tid) else { return Found::Stranger };
        let found = self.look_at(&thread);
        if let Found::Caller(caller) = &found {
            self.lock().remember(tid, thread, caller);
        }
        found
    }

    /// The user of a thread and the program that it runs, as far as this process may know: for people.
    pub fn describe(&self, tid: u32) -> (Option<u32>, Option<PathBuf>) {
        let thread = self.processes.thread(tid).ok();
        thread.map_or((None, None), |thread| (thread.uid().ok(), thread.executable()))
    }

    fn remembered(&self, tid: u32) -> Option<Caller> {
        let mut known = self.lock();
        known.questions = known.questions.wrapping_add(1);
        let now = known.questions;
        let remembered = known.threads.get_mut(&tid)?;
        if !remembered.thread.is_alive() {
            known.forget(tid);
            return None;
        }
        remembered.last = now;
        Some(remembered.caller.clone())
    }

    fn look_at(&self, thread: &Thread) -> Found {
        let Ok(cgroups) = thread.cgroups() else { return Found::Nameless };
        let Some(id) = cgroup::container(&String::from_utf8_lossy(&cgroups), &self.uid) else {
            return Found::Stranger;
        };
        if let Some(name) = self.lock().names.get(&id) {
            return Found::Caller(Caller { container: name.clone(), id });
        }
        if !self.lock().may_look(&id) {
            return Found::Nameless;
        }
        let Some(name) = thread.mounts().ok().and_then(|table| self.directory.container(&table)) else {
            return Found::Nameless;
        };
        Found::Caller(Caller { container: self.lock().name(&id, name), id })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether to look for the name of a container now. Notes that it is looked for.
    fn may_look(&mut self, id: &ContainerId) -> bool {
        if self.nameless.len() >= NAMES_MAX {
            self.nameless.clear();
        }
        let now = Instant::now();
        let was_recent = self.nameless.get(id).is_some_and(|last| now.duration_since(*last) < LOOK_AGAIN);
        if !was_recent {
            self.nameless.insert(id.clone(), now);
        }
        !was_recent
    }

    fn name(&mut self, id: &ContainerId, name: ContainerName) -> ContainerName {
        if self.names.len() >= NAMES_MAX {
            // Containers of the past. Those that run are learnt again.
            self.names.clear();
        }
        self.nameless.remove(id);
        self.names.entry(id.clone()).or_insert(name).clone()
    }

    fn remember(&mut self, tid: u32, thread: Thread, caller: &Caller) {
        self.forget(tid);
        if self.threads.len() >= THREADS_MAX {
            let oldest = self.threads.iter().min_by_key(|(_, remembered)| remembered.last);
            if let Some(tid) = oldest.map(|(tid, _)| *tid) {
                self.forget(tid);
            }
        }
        if REMEMBERED.fetch_add(1, Ordering::Relaxed) >= THREADS_OF_ALL {
            REMEMBERED.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.threads.insert(tid, Remembered { thread, caller: caller.clone(), last: self.questions });
    }

    fn forget(&mut self, tid: u32) {
        if self.threads.remove(&tid).is_some() {
            REMEMBERED.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        REMEMBERED.fetch_sub(self.threads.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use super::*;

    fn id(digit: &str) -> ContainerId {
        cgroup::container(&format!("0::/podx/{}", digit.repeat(64)), "x").unwrap()
    }

    #[test]
    fn a_container_without_a_name_is_looked_at_once_in_a_while_and_holds_up_no_other() {
        let mut known = Known::default();

        assert!(known.may_look(&id("a")) && !known.may_look(&id("a")));
        assert!(known.may_look(&id("b")));
        std::thread::sleep(LOOK_AGAIN);
        assert!(known.may_look(&id("a")));
    }

    #[test]
    fn nobody_is_recognised_by_no_number_or_by_one_of_nobody() {
        let processes = std::fs::File::open("/proc").unwrap();
        let table = std::fs::read("/proc/thread-self/mountinfo").unwrap();
        let directory = PodDirectory::find(&table, "/".as_ref()).unwrap();
        let callers = Callers::new("x".to_owned(), directory, Arc::new(Processes::new(processes.into())));

        for tid in [0, std::process::id(), u32::MAX] {
            assert_eq!(callers.find(tid), Found::Stranger, "{tid}");
        }
        assert_eq!(callers.describe(std::process::id()).1, std::env::current_exe().ok());
    }
}
