use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::client::Azure;
use crate::config::{AzureConfig, METADATA};

/// What is set for Azure Key Vault where a process starts. Variables that the tools of Azure take are not looked at.
#[derive(Debug, Clone, clap::Args)]
pub struct AzureSettings {
    /// Azure: the cloud where a class gives none
    #[arg(
        long,
        env = "SECRETFS_AZURE_CLOUD",
        default_value = "AzurePublicCloud",
        value_name = "CLOUD",
        help_heading = "Providers"
    )]
    azure_cloud: String,

    /// Azure: URL of Entra ID in that cloud, instead of the well-known one
    #[arg(long, env = "SECRETFS_AZURE_AUTHORITY", value_name = "URL", help_heading = "Providers")]
    azure_authority: Option<String>,

    /// Azure: URL of vaults in that cloud, with NAME for the vault's name, such as `https://NAME.vault.example.com`
    #[arg(long, env = "SECRETFS_AZURE_VAULT_URL", value_name = "URL", help_heading = "Providers")]
    azure_vault_url: Option<String>,

    /// Azure: what access tokens are for in that cloud, such as `https://vault.azure.net`
    #[arg(long, env = "SECRETFS_AZURE_VAULT_AUDIENCE", value_name = "URL", help_heading = "Providers")]
    azure_vault_audience: Option<String>,

    /// Azure: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_AZURE_CA", value_name = "FILE", help_heading = "Providers")]
    azure_ca: Option<PathBuf>,

    /// Azure: where this machine's managed identity is asked for tokens
    #[arg(
        long,
        env = "SECRETFS_AZURE_METADATA_ENDPOINT",
        default_value = METADATA,
        value_name = "URL",
        help_heading = "Providers"
    )]
    azure_metadata_endpoint: String,

    /// Azure: certificates make files of their own for certificate (.crt) and key (.key) where a class does not say
    #[arg(long, env = "SECRETFS_AZURE_SEPARATE_FILES", help_heading = "Providers")]
    azure_separate_files: bool,
}

impl Default for AzureSettings {
    fn default() -> Self {
        let AzureConfig { cloud, metadata_endpoint, separate_files, .. } = AzureConfig::default();
        Self {
            azure_cloud: cloud,
            azure_authority: None,
            azure_vault_url: None,
            azure_vault_audience: None,
            azure_ca: None,
            azure_metadata_endpoint: metadata_endpoint,
            azure_separate_files: separate_files,
        }
    }
}

impl Settings for AzureSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let azure = Azure::new(AzureConfig {
            cloud: self.azure_cloud.clone(),
            authority: self.azure_authority.clone(),
            vault_url: self.azure_vault_url.clone(),
            vault_audience: self.azure_vault_audience.clone(),
            ca: self.azure_ca.clone(),
            metadata_endpoint: self.azure_metadata_endpoint.clone(),
            separate_files: self.azure_separate_files,
            network: network.clone(),
            ..AzureConfig::default()
        })?;
        Ok(Arc::new(azure))
    }

    fn offline() -> Self {
        Self::default()
    }
}
