use std::path::PathBuf;

use provider::MachineIdentity;
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
    /// For whom it is asked.
    pub machine: MachineIdentity,
    /// Whether classes may ask for stores over HTTP.
    pub allow_insecure: bool,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// Folder below which the certificate paths of classes are looked up. Without it a class may name none.
    pub tls_dir: Option<PathBuf>,
    /// URL of the proxy to go through. The metadata server is reached without.
    pub proxy: Option<String>,
    /// Hosts to reach without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
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
            machine: MachineIdentity::default(),
            allow_insecure: false,
            tls13_only: false,
            tls_dir: None,
            proxy: None,
            no_proxy: None,
            max_body: 4 << 20,
            patience: Patience::default(),
        }
    }
}
