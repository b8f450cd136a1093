use std::panic;
use std::thread;

use rustix::mount::{MountPropagationFlags, mount_change};

use crate::ShownBy;

/// Runs `body` on a thread with a mount namespace of its own. Nobody else sees its mounts. They are gone when the
/// thread and its child processes have ended. Needs root.
pub fn in_private_mounts<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let mode = ShownBy::chosen();
    let ended = thread::scope(|scope| {
        let thread = scope.spawn(move || {
            enter();
            mode.during(body)
        });
        thread.join()
    });
    ended.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

fn enter() {
    sys::leave_mount_namespace().expect("tests that mount run as root");
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .expect("a new namespace can be made private");
}
