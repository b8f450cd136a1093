//! What a process that holds secrets does first.

use std::io;
use std::panic::{self, PanicHookInfo};

use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::outlet;

/// Keeps this process's memory to itself: no core dump, no debugger under the same user,
/// and a panic that tells where it happened and not with what.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn seal() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    panic::set_hook(Box::new(tell_the_place));
    Ok(())
}

/// Gives back the memory that only starting took, as far as it can be read again from the program's file.
pub fn settle() {
    if let Err(error) = sys::give_back_code() {
        tracing::debug!(%error, "the pages of code that starting took stay mapped");
    }
}

/// Makes all threads of this process use one heap, so that what one has freed serves the next. For before the first thread.
pub fn share_heap() {
    sys::limit_arenas(1);
}

/// Gives the free memory of the heap back to the kernel. It takes the heap's lock for about a millisecond for each 50 MiB.
pub fn trim_heap() {
    sys::trim_heap();
}

/// A panic's message may hold what a function was called with.
fn tell_the_place(panicked: &PanicHookInfo<'_>) {
    let place = panicked.location().map(ToString::to_string).unwrap_or_default();
    outlet::complain(&format!("secretfs panicked at {place}\n"));
}
