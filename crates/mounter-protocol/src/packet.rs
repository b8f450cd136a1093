//! Packets and open files over a connected SOCK_SEQPACKET socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
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
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
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
    let received = rustix::net::recvmsg(socket, into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
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
