use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process at the other end of a connected Unix socket, as it was when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its process id in the pid namespace of the caller; 0 if it has none there.
    pub pid: i32,
}

/// The process at the other end of `socket`, a connected Unix socket. The kernel vouches for it.
///
/// rustix rejects the answer about a process of another pid namespace, whose process id is 0 here.
///
/// # Errors
///
/// `ENOTSOCK` if `socket` is not a socket.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
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
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(Peer { uid: peer.uid, pid: peer.pid }) }
}
