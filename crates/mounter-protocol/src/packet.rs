//! Packets and open files over a connected SOCK_SEQPACKET socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
};

use crate::messages::MAX_PACKET;

/// What came in.
#[derive(Debug)]
pub struct Received {
    /// What was sent; nothing if it was larger than a packet may be.
    pub packet: Vec<u8>,
    /// The open file that came with it.
    pub file: Option<OwnedFd>,
}

/// A socket for packets.
///
/// # Errors
///
/// There is no descriptor left.
pub fn socket() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Lets every call on `socket` wait for `patience` at most.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn set_patience(socket: &OwnedFd, patience: Duration) -> io::Result<()> {
    set_socket_timeout(socket, Timeout::Send, Some(patience))?;
    Ok(set_socket_timeout(socket, Timeout::Recv, Some(patience))?)
}

/// Sends `packet` and `file` beside it.
///
/// # Errors
///
/// The other side has gone, or does not read.
pub fn send(socket: &OwnedFd, packet: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if file.is_some() && !beside.push(SendAncillaryMessage::ScmRights(file.as_slice())) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let packet = [IoSlice::new(packet)];
    Ok(retry_on_intr(|| sendmsg(socket, &packet, &mut beside, SendFlags::NOSIGNAL)).map(drop)?)
}

/// The next packet; `None` when the other side has closed the connection.
///
/// # Errors
///
/// None came in time, or the connection is lost.
pub fn receive(socket: &OwnedFd) -> io::Result<Option<Received>> {
    let mut packet = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut packet)];
    // A process that is stopped while it waits with a deadline, and goes on, gets EINTR even without a handler of signals
    // (signal(7)). A debugger or a freezer stops it like that.
    let received = retry_on_intr(|| recvmsg(socket, into, &mut beside, RecvFlags::CMSG_CLOEXEC))?;
    let file = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    // A packet that is cut is none.
    packet.truncate(if received.flags.contains(ReturnFlags::TRUNC) { 0 } else { received.bytes });
    Ok(Some(Received { packet, file }))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use rustix::net::socketpair;

    use super::*;

    #[test]
    fn a_process_that_was_stopped_while_it_waited_goes_on_waiting() {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (here, there) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
        set_patience(&here, Duration::from_secs(30)).unwrap();
        let stop_us = format!("sleep 0.2; kill -STOP {0}; sleep 0.2; kill -CONT {0}", std::process::id());

        let received = thread::scope(|scope| {
            scope.spawn(|| {
                assert!(Command::new("sh").args(["-c", &stop_us]).status().unwrap().success());
                send(&there, b"at last", None).unwrap();
            });
            receive(&here)
        });

        assert_eq!(received.unwrap().unwrap().packet, b"at last");
    }
}
