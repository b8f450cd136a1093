use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

use crate::cloud::PUBLIC;

/// Where a virtual machine asks for tokens of its managed identity.
pub(crate) const METADATA: &str = "http://169.254.169.254";

/// What the administrator sets for every class.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// The cloud where a class gives no `cloudName`.
    pub cloud: String,
    /// URL of Entra ID, for that cloud, instead of the well-known one.
    pub authority: Option<String>,
    /// URL of vaults, for that cloud, with `NAME` in place of the vault's name.
    pub vault_url: Option<String>,
    /// What access tokens are for, in that cloud, such as `https://vault.azure.net`.
    pub vault_audience: Option<String>,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// URL where this machine's managed identity is asked for tokens.
    pub metadata_endpoint: String,
    /// Whether certificates make files of their own for certificate and key where a class does not say.
    pub separate_files: bool,
    /// How Azure is reached. The machine's own endpoint is reached without the proxy.
    pub network: Network,
    /// Longest answer, in bytes. 1 MiB by default: a value has 25 KiB at most, a page of versions some 10 KiB.
    pub max_body: usize,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Default for AzureConfig {
    fn default() -> Self {
        Self {
            cloud: PUBLIC.to_owned(),
            authority: None,
            vault_url: None,
            vault_audience: None,
            ca: None,
            metadata_endpoint: METADATA.to_owned(),
            separate_files: false,
            network: Network::default(),
            max_body: 1 << 20,
            patience: Patience::default(),
        }
    }
}
