//! The ways to servers.

use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, Result, SecretBytes};
use provider_client::{Answer, Connection, Connections, Endpoint, Names, Settings};

use crate::config::ConjurConfig;
use crate::meaning::{Asked, Refusal};
use crate::parameters::Server;

/// What the settings of a class are called.
const NAMES: Names = Names::new("applianceUrl", "sslCertificate or caCertPath");

/// The connections to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<Server>,
    config: ConjurConfig,
}

impl Servers {
    pub(crate) fn new(config: ConjurConfig) -> Self {
        Self { connections: Connections::default(), config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &ConjurConfig {
        &self.config
    }

    /// The connection of the Kubernetes namespace `tenant` to `server`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(&self, tenant: &str, server: &Server) -> Result<Arc<Connection>> {
        let ConjurConfig { network, max_body, patience, .. } = &self.config;
        let settings = Settings::new(NAMES, network, *max_body, *patience);
        let Server { address, tls, .. } = server;
        let endpoint = Endpoint { name: address, address, tls };
        let tls_dir = network.tls_dir.as_deref();
        self.connections.to(tenant, server.clone(), endpoint, None, tls_dir, &settings).await
    }
}

/// The error for an answer without success. Its text has none of `secrets`.
pub(crate) fn refusal(answer: &Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).map(str::trim).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    };
    refusal.error(asked, what, &secrets, Timestamp::now())
}
