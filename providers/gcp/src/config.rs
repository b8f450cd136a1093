use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

use crate::endpoints::GOOGLE;

/// Where a machine of Google's finds its own server
/// (<https://docs.cloud.google.com/compute/docs/metadata/querying-metadata>).
pub(crate) const METADATA: &str = "http://metadata.google.internal";

/// What the administrator sets for every class.
#[derive(Debug, Clone)]
pub struct GcpConfig {
    /// URL of Google's APIs where a class gives no `endpoint`; `{service}` in it stands for the name of each.
    pub endpoint: String,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Who vouches for pods where a class gives no `workloadIdentityProvider`.
    pub identity_provider: Option<String>,
    /// Identity namespace where a class gives no `workloadIdentityPool`.
    pub identity_pool: Option<String>,
    /// URL of the server that tells the machine its own token.
    pub metadata_endpoint: String,
    /// How Google is reached. The metadata server is reached without the proxy.
    pub network: Network,
    /// Longest answer, in bytes. 4 MiB by default: a rendered parameter of 1 MiB, which comes twice and in base64.
    pub max_body: usize,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Default for GcpConfig {
    fn default() -> Self {
        Self {
            endpoint: GOOGLE.to_owned(),
            ca: None,
            identity_provider: None,
            identity_pool: None,
            metadata_endpoint: METADATA.to_owned(),
            network: Network::default(),
            max_body: 4 << 20,
            patience: Patience::default(),
        }
    }
}
