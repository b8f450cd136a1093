//! Serves our providers to other drivers, over the provider protocol of the Secrets Store CSI driver (`v1alpha1`).
//!
//! A caller is root on this node, and vouches for the pod that it names.

mod reply;
mod request;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use csi_proto::provider::csi_driver_provider_server::{CsiDriverProvider, CsiDriverProviderServer};
use csi_proto::provider::{MountRequest, MountResponse, VersionRequest, VersionResponse};
use engine::volume::admission::{Admission, Bounds};
use engine::volume::once::Once;
use provider::Moment as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::csi;
use crate::listening::Listening;

/// The version of the protocol.
const PROTOCOL: &str = "v1alpha1";
/// Volumes that are read at the same time. Further ones wait, and no namespace waits for another.
const CALLS: Bounds = Bounds { process: 1024, namespace: 128, place: 128, waiting: 1024 };
/// The largest request that is read, in bytes.
const MAX_REQUEST: usize = 4 << 20;

/// One of our providers, as other drivers call it.
#[derive(Debug, Clone)]
pub struct Served {
    name: Arc<str>,
    once: Arc<Once>,
    calls: Arc<Admission>,
}

impl Served {
    /// Serves the provider `name`. `once` makes the readings.
    pub fn new(name: &str, once: Once) -> Self {
        Self { name: name.into(), once: Arc::new(once), calls: Admission::new(CALLS) }
    }

    async fn answer(&self, request: MountRequest, patience: Duration) -> Result<MountResponse, Status> {
        let deadline = Instant::now().later(patience);
        let asked = request::understand(&self.name, request)?;
        let entered =
            timeout_at(deadline, self.calls.enter(&asked.workload.identity.namespace, &asked.class.name));
        let Ok(Ok(_turn)) = entered.await else {
            return Err(Status::unavailable("too many volumes of this namespace are being read; try again"));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let snapshot = self
            .once
            .read(asked.class, asked.workload, left)
            .await
            .map_err(|error| csi::status_of(&error))?;
        Ok(reply::reply(&snapshot, asked.mode))
    }
}

#[tonic::async_trait]
impl CsiDriverProvider for Served {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        Ok(Response::new(VersionResponse {
            version: PROTOCOL.to_owned(),
            runtime_name: self.name.to_string(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn mount(&self, request: Request<MountRequest>) -> Result<Response<MountResponse>, Status> {
        let patience = csi::patience(request.metadata());
        self.answer(request.into_inner(), patience).await.map(Response::new)
    }
}

/// Answers callers of `listening` until `shutdown`, then finishes the running calls. The caller limits how long that
/// may take: dropping the future ends them.
///
/// # Errors
///
/// The listener or the transport failed.
pub async fn serve(listening: &Listening, served: Served, shutdown: CancellationToken) -> io::Result<()> {
    let incoming = csi::incoming(listening.listener()?)?;
    Server::builder()
        .max_concurrent_streams(csi::MOST_STREAMS)
        .add_service(CsiDriverProviderServer::new(served).max_decoding_message_size(MAX_REQUEST))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
