use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cgroup::{self, ContainerId};
use crate::name::{ContainerName, PodDirectory};
use crate::processes::{Processes, Thread};

/// How many threads of one volume are remembered: the ones that asked last.
const THREADS_MAX: usize = 32;
/// How many of all volumes. Each holds a descriptor.
const THREADS_OF_ALL: usize = 4096;
/// How many containers of one volume have their names remembered.
const NAMES_MAX: usize = 64;

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
    fn name(&mut self, id: &ContainerId, name: ContainerName) -> ContainerName {
        if self.names.len() >= NAMES_MAX {
            // Containers of the past. Those that run are learnt again.
            self.names.clear();
        }
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
