use csi_proto::registration::registration_server;
use csi_proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{Registration, State};

/// The CSI version that the endpoint speaks, as kubelet's own registrar states it.
const VERSION: &str = "1.0.0";

/// Tells kubelet the driver's name and endpoint, and receives kubelet's decision.
pub(super) struct Answers {
    info: PluginInfo,
    state: watch::Sender<State>,
}

impl Answers {
    pub(super) fn new(registration: &Registration, state: watch::Sender<State>) -> Self {
        let info = PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: registration.driver.clone(),
            endpoint: registration.endpoint.clone(),
            supported_versions: vec![VERSION.to_owned()],
        };
        Self { info, state }
    }
}

#[tonic::async_trait]
impl registration_server::Registration for Answers {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        self.state.send_replace(State::Asked);
        Ok(Response::new(self.info.clone()))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        self.state.send_replace(if status.plugin_registered {
            tracing::info!("kubelet registered the driver");
            State::Registered
        } else {
            State::Refused(status.error)
        });
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
