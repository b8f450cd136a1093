//! The gRPC services that kubelet calls: parse, call the engine, map the result. This module makes no decisions.
//!
//! Kubelet's clients send an `:authority` that gRPC refuses, so it is rewritten on the way in. Only root, or the user of
//! this process, is served.

mod connection;
mod deadline;
mod identity;
mod node;
mod registration;
mod request;
mod status;

#[cfg(any(feature = "external", feature = "kms"))]
pub(crate) use connection::incoming;
#[cfg(any(feature = "external", feature = "kms"))]
pub(crate) use deadline::patience;
#[cfg(feature = "external")]
pub(crate) use request::own_tokens;
#[cfg(feature = "external")]
pub(crate) use status::status_of;

pub use identity::{Health, Identity};
pub use node::Node;
pub use registration::{Patience, Registration, Running, State, registration_sockets};
pub use request::Requests;

use std::io;
use std::os::unix::net::UnixListener;

use csi_proto::csi::identity_server::IdentityServer;
use csi_proto::csi::node_server::NodeServer;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// The largest message that is read, in bytes. A Secret has at most 1 MiB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The most calls at the same time on one connection. Calls that wait for a store that hangs must leave room for
/// others.
pub(crate) const MOST_STREAMS: u32 = 4096;

/// Answers kubelet on `listener` until `shutdown`, then finishes the running calls. The caller limits how long that may
/// take: dropping the future ends them.
///
/// # Errors
///
/// The listener or the transport failed.
pub async fn serve(
    listener: UnixListener,
    identity: Identity,
    node: Node,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let incoming = connection::incoming(listener)?;
    Server::builder()
        .max_concurrent_streams(MOST_STREAMS)
        .add_service(IdentityServer::new(identity))
        .add_service(NodeServer::new(node).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
