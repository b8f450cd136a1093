//! What `secretfs-mounter` and its callers say to each other: a request, a reply, one packet each, on a
//! SOCK_SEQPACKET socket.
//!
//! A packet is a version byte, a verb or outcome byte, and fields in a fixed order: numbers little-endian, texts and
//! blobs behind their length. An open file travels beside the packet. The table in `messages.rs` is the whole protocol.

mod fields;
mod messages;
mod names;
mod packet;

pub use fields::{Bounded, Malformed};
pub use messages::{Blob, MAX_PACKET, Name, Reply, Request, Tmpfs};
pub use names::{
    BOOT_ID, BOOT_SHOWN, DRIVER, PODS, SOCKET, beside, endpoint, lent_name, registration_socket,
};
pub use packet::{Received, receive, send, set_patience, socket};
