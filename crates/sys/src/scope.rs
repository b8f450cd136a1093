use std::io;
use std::mem;
use std::ptr;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// The first version of landlock that knows scopes, in Linux 6.12.
const KNOWS_SCOPES: i64 = 6;
/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`.
const SCOPED: u64 = 0b11;

/// `struct landlock_ruleset_attr`, as Linux 6.12 has it.
#[repr(C)]
struct Rules {
    files: u64,
    network: u64,
    scoped: u64,
}

/// Takes from the calling thread, and from the threads and processes that it starts from now on, abstract sockets of
/// processes outside of these, and signals to such processes. Nothing else is limited. To be called while there is one
/// thread.
///
/// # Errors
///
/// `EOPNOTSUPP` before Linux 6.12, or where landlock is off; `EPERM` unless new privileges were given up.
pub fn scope_to_itself() -> io::Result<()> {
    // SAFETY: to ask for the version takes no attributes.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<Rules>(), 0_usize, VERSION) };
    if version < KNOWS_SCOPES {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let rules = Rules { files: 0, network: 0, scoped: SCOPED };
    // SAFETY: `rules` outlives the call, and its size is the one that is passed.
    let made = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, mem::size_of::<Rules>(), 0_u32)
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes no pointer.
    let taken = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, made, 0_u32) };
    let taken = if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the kernel made this descriptor a moment ago, and nobody else has it.
    unsafe { libc::syscall(libc::SYS_close, made) };
    taken
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_thread_reaches_no_abstract_socket_of_others_and_sends_them_no_signals() {
        let name = format!("secretfs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        UnixStream::connect_addr(&address).unwrap();

        let (scoped, connected, told) = std::thread::scope(|scope| {
            let limited = || {
                rustix::thread::set_no_new_privs(true).unwrap();
                let scoped = scope_to_itself();
                let init = rustix::process::test_kill_process(rustix::process::Pid::INIT);
                (scoped, UnixStream::connect_addr(&address), init)
            };
            scope.spawn(limited).join().unwrap()
        });

        match scoped {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "Linux before 6.12"),
            Ok(()) => {
                assert_eq!(connected.unwrap_err().raw_os_error(), Some(libc::EPERM));
                assert_eq!(told.unwrap_err().raw_os_error(), libc::EPERM);
            }
        }
    }
}
