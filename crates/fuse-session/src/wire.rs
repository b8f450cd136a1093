//! The protocol of `/dev/fuse`, as Linux's uapi/linux/fuse.h has it. Bytes in, types out, and the reverse; no kernel.

mod fields;
mod init;
mod reply;
mod request;

pub use init::{InitRequest, flags};
pub use reply::{Body, Notification, notification, reply_header};
pub use request::{Header, Malformed, Operation, Request, RequestError};

/// What a request that is sent again has set in its number.
pub const RESENT: u64 = 1 << 63;
/// The longest request that is ever read: a name or two, a link's target, their headers.
pub const REQUEST_MAX: usize = 8192;
/// The longest body of a request to write; there are none that we take.
pub const WRITE_MAX: u32 = 4096;
/// How many pages a kernel asks for at once.
pub const READ_PAGES: u16 = 16;
/// The most bytes that an answer to a read has.
pub const READ_MAX: usize = READ_PAGES as usize * 4096;
