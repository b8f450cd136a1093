use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

/// The administrator's settings for all classes.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// URL of the server for a class without `vaultAddress`. Only here it may be `unix:///path`, the socket of a local
    /// agent.
    pub address: Option<String>,
    /// Namespace for a class without `vaultNamespace`.
    pub namespace: Option<String>,
    /// Mount of the kubernetes login method for a class that sets none.
    pub auth_mount: String,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Folder of such files.
    pub ca_directory: Option<PathBuf>,
    /// Name to expect in the server's certificate instead of the address's.
    pub tls_server_name: Option<String>,
    /// Client certificate (PEM).
    pub client_certificate: Option<PathBuf>,
    /// Key (PEM) of the client certificate.
    pub client_key: Option<PathBuf>,
    /// Whether to accept any certificate. A class cannot turn this off.
    pub skip_verify: bool,
    /// How servers are reached.
    pub network: Network,
    /// Longest answer, in bytes. 2 MiB by default.
    pub max_body: usize,
    /// The deadlines of a call.
    pub patience: Patience,
}

impl Default for VaultConfig {
    fn default() -> Self {
        Self {
            address: None,
            namespace: None,
            auth_mount: "kubernetes".to_owned(),
            ca: None,
            ca_directory: None,
            tls_server_name: None,
            client_certificate: None,
            client_key: None,
            skip_verify: false,
            network: Network::default(),
            max_body: 2 << 20,
            patience: Patience::default(),
        }
    }
}
