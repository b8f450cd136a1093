//! The first steps of a process that holds secrets.

use std::io;
use std::panic::{self, PanicHookInfo};

use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::outlet;

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
