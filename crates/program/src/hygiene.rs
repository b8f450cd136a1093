//! The first steps of a process that holds secrets.

use std::io;
use std::panic::{self, PanicHookInfo};

use rustix::event::EventfdFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::outlet;

/// How many open files there is room for from the start: for some hundred volumes that are served over FUSE.
const DESCRIPTORS: u64 = 8192;

/// Protects the memory of this process: no core dump, and no debugger under the same user. A panic prints only its
/// place, not its message.
///
/// # Errors
///
/// The kernel refuses. It has no known reason to.
pub fn seal() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    panic::set_hook(Box::new(tell_the_place));
    Ok(())
}

/// Makes room for many open files, as far as the limit of them may be raised. Call it before the first thread starts:
/// while the kernel makes room for more in a process of several threads, none of them can open anything, and on a busy
/// machine that takes many seconds (it waits for RCU).
pub fn reserve_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let many = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < many) {
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(many), ..limit });
    }
    let last = i32::try_from(many.saturating_sub(1)).unwrap_or_default();
    // The room stays when the highest is closed again. Where there is none, it is made when it is needed.
    if let Ok(any) = rustix::event::eventfd(0, EventfdFlags::CLOEXEC) {
        drop(rustix::io::fcntl_dupfd_cloexec(any, last));
    }
}

/// Raises the limit of open files as far as it may be raised. Each connection that hangs holds one, the mounter keeps some
/// for each FUSE volume, and container runtimes allow few by default.
pub fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Gives memory back that only the start needed: pages that the kernel can read again from the program's file.
pub fn settle() {
    if let Err(error) = sys::give_back_code() {
        tracing::debug!(%error, "the pages of code that starting took stay mapped");
    }
}

/// Makes all threads of this process use one heap, so that memory that one thread frees serves the next. Call it before
/// the first thread starts.
pub fn share_heap() {
    sys::limit_arenas(1);
}

/// Gives the free memory of the heap back to the kernel. No thread allocates meanwhile. Measured once: a heap of 50 MiB in
/// small pieces, nine of ten of them free, took 16 ms at first and 5 ms each time after that.
pub fn trim_heap() {
    sys::trim_heap();
}

/// Prints only the place, because the message of a panic may hold the arguments of a function.
fn tell_the_place(panicked: &PanicHookInfo<'_>) {
    let place = panicked.location().map(ToString::to_string).unwrap_or_default();
    outlet::complain(&format!("secretfs panicked at {place}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_many_open_files_before_they_are_open() {
        reserve_descriptors();

        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let room = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let limit = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(DESCRIPTORS);
        assert!(room.trim().parse::<u64>().unwrap() >= limit.min(DESCRIPTORS), "{room} of {limit}");
    }
}
