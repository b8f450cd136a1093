use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The user of the process at the other end of `socket`, a connected Unix socket. The kernel vouches for it.
///
/// rustix rejects the answer about a process of another pid namespace, whose process id is 0 here.
///
/// # Errors
///
/// `ENOTSOCK` if `socket` is not a socket.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = libc::socklen_t::try_from(mem::size_of_val(&peer)).unwrap_or_default();
    // SAFETY: `peer` and `size` outlive the call, which writes no more bytes to `peer` than the size of it.
    let returned = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut size,
        )
    };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(peer.uid) }
}
