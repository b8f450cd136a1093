//! Makes the HTTP/2 that kubelet sends to a plugin's socket acceptable to a strict server.
//!
//! Kubelet dials a plugin's registration socket without an authority. So its gRPC library sends the percent-encoded
//! path of the socket as `:authority`. No URI may have such a host, and the `h2` crate resets the stream. [`Rewriter`]
//! replaces it by `localhost` and changes nothing else.
//!
//! The rewriter turns the bytes of a client into the bytes for the server. It has no socket, its memory is bounded, and
//! it is safe with any input.

mod block;
mod rewriter;
mod shape;

pub use rewriter::Rewriter;

/// The client does not speak HTTP/2 as a server with default settings requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The connection does not begin with the connection preface.
    #[error("no HTTP/2 preface")]
    Preface,
    /// A frame is larger than 16 KiB.
    #[error("a frame is larger than 16 KiB")]
    FrameSize,
    /// Padding or priority fields are longer than their frame.
    #[error("a HEADERS frame is shorter than what it announces")]
    Truncated,
    /// Another frame came inside a header block, or a CONTINUATION frame came outside of one.
    #[error("a CONTINUATION is missing or belongs to no HEADERS")]
    Continuation,
    /// A header block, or what it decodes to, is larger than 64 KiB.
    #[error("a header list is larger than 64 KiB")]
    HeaderList,
    /// A header block cannot be decoded.
    #[error("a header block cannot be decoded")]
    Compression,
}
