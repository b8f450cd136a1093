use std::collections::BTreeMap;

use csi_proto::csi::identity_server;
use csi_proto::csi::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse,
    ProbeRequest, ProbeResponse,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// The health that a probe reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The process is still taking over volumes of an earlier process.
    Starting,
    /// The process serves volumes. A store that cannot be reached does not change that.
    Serving,
    /// The mounter is gone. Only a restart helps.
    MounterDead,
}

/// The CSI Identity service: name, version and readiness of the driver.
#[derive(Debug)]
pub struct Identity {
    /// The name of the CSIDriver object.
    pub driver: String,
    /// The health that a probe reports.
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

    /// The list is empty: there is no controller and no topology.
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
