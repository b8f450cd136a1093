//! Makes the HTTP/2 that kubelet speaks to a plugin's socket acceptable to a strict server.
//!
//! Kubelet dials a plugin's registration socket without naming an authority, so
//! its gRPC library sends the percent-encoded path of the socket as
//! `:authority`. No URI has such a host, and the `h2` crate resets the stream.
//! [`Rewriter`] puts `localhost` in its place and leaves everything else as it is.
//!
//! It is a function from what a client sends to what the server reads, with no
//! socket in it: bounded in memory, and safe to feed with anything.

mod block;
mod rewriter;
mod shape;

pub use rewriter::Rewriter;

/// The client does not speak HTTP/2 as a server of default settings demands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin with the connection preface.
    #[error("no HTTP/2 preface")]
    Preface,
    /// A frame is larger than 16 KiB.
    #[error("a frame is larger than 16 KiB")]
    FrameSize,
    /// Padding or priority do not fit into their frame.
    #[error("a HEADERS frame is shorter than what it announces")]
    Truncated,
    /// A header block was begun and another frame came, or continued without having been begun.
    #[error("a CONTINUATION is missing or belongs to no HEADERS")]
    Continuation,
    /// A header block, or what it decodes to, is larger than 64 KiB.
    #[error("a header list is larger than 64 KiB")]
    HeaderList,
    /// A header block cannot be decoded.
    #[error("a header block cannot be decoded")]
    Compression,
}
