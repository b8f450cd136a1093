//! The ways to servers.

use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, Result};
use provider_client::{Answer, ClientPair, Connection, Connections, Endpoint, Names, Settings};

use crate::config::CyberArkConfig;
use crate::meaning::Refusal;
use crate::parameters::Server;

/// What the settings of a class are called.
const NAMES: Names = Names {
    may_be_plain: false,
    client_pair: Some(["clientCertPath", "clientKeyPath"]),
    ..Names::new("url", "caCertPath")
};

/// The connections to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<Server>,
    config: CyberArkConfig,
}

impl Servers {
    pub(crate) fn new(config: CyberArkConfig) -> Self {
        Self { connections: Connections::default(), config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &CyberArkConfig {
        &self.config
    }

    /// The connection of the Kubernetes namespace `tenant` to `server`. With a certificate that came with the volume it
    /// is not shared.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(
        &self,
        tenant: &str,
        server: &Server,
        own: Option<ClientPair>,
    ) -> Result<Arc<Connection>> {
        let CyberArkConfig { network, max_body, patience, .. } = &self.config;
        let settings = Settings::new(NAMES, network, *max_body, *patience);
        let Server { address, tls, .. } = server;
        let endpoint = Endpoint { name: address, address, tls };
        let tls_dir = network.tls_dir.as_deref();
        self.connections.to(tenant, server.clone(), endpoint, own, tls_dir, &settings).await
    }
}

/// An answer without success.
pub(crate) fn refusal(answer: &Answer) -> Refusal<'_> {
    Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    }
}

/// The error for an answer without success.
pub(crate) fn error(answer: &Answer, what: &str) -> Error {
    refusal(answer).error(what, Timestamp::now())
}
