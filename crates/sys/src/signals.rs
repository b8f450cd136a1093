use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;

/// Blocks SIGTERM and SIGINT for the calling thread and for all threads that it starts from now on. Call it while there
/// is only one thread. The returned descriptor becomes readable as soon as one of the signals arrives, and stays
/// readable.
///
/// # Errors
///
/// There is no file descriptor left.
pub fn take_ending_signals() -> io::Result<OwnedFd> {
    let mut empty = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset(3) initialises the whole set behind the pointer, which is as large as a set.
    succeeded(unsafe { libc::sigemptyset(empty.as_mut_ptr()) })?;
    // SAFETY: sigemptyset(3) has initialised it.
    let mut signals = unsafe { empty.assume_init() };
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: `signals` is an initialised set, and outlives the call.
        succeeded(unsafe { libc::sigaddset(&raw mut signals, signal) })?;
    }
    // SAFETY: `signals` is an initialised set, and outlives the call. A null pointer means that the earlier mask is not
    // wanted.
    let refused = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    if refused != 0 {
        return Err(io::Error::from_raw_os_error(refused));
    }
    // SAFETY: `signals` is an initialised set, and outlives the call, which makes a new descriptor.
    let descriptor = unsafe { libc::signalfd(-1, &raw const signals, libc::SFD_CLOEXEC) };
    succeeded(descriptor)?;
    // SAFETY: the kernel returned this descriptor just now, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn succeeded(returned: libc::c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
