use std::collections::BTreeMap;

use csi_proto::csi::identity_server;
use csi_proto::csi::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse,
    ProbeRequest, ProbeResponse,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// What a probe is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Volumes of an earlier process are being taken over.
    Starting,
    /// Volumes are served. A store that is away does not change that.
    Serving,
    /// The privileged half is gone: only a restart helps.
    MounterDead,
}

/// The CSI Identity service: name, version and readiness of the driver.
#[derive(Debug)]
pub struct Identity {
    /// The name of the CSIDriver object.
    pub driver: String,
    /// What a probe is told.
    pub health: watch::Receiver<Health>,
}

#[tonic::async_trait]
impl identity_server::Identity for Identity {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        Ok(Response::new(GetPluginInfoResponse {
            name: self.driver.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: BTreeMap::from([("target".to_owned(), target)]),
        }))
    }

    /// None: no controller, no topology.
    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(GetPluginCapabilitiesResponse::default()))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        match *self.health.borrow() {
            Health::Starting => Ok(Response::new(ProbeResponse { ready: Some(false) })),
            Health::Serving => Ok(Response::new(ProbeResponse { ready: Some(true) })),
            Health::MounterDead => {
                Err(Status::failed_precondition("secretfs-mounter is gone; restart this process"))
            }
        }
    }
}
