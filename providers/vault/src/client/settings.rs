use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::client::Vault;
use crate::config::VaultConfig;

/// The administrator's settings for Vault and OpenBao.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct VaultSettings {
    /// Vault: address of the server, for classes that name none
    #[arg(long, env = "VAULT_ADDR", value_name = "URL", help_heading = "Providers")]
    vault_address: Option<String>,

    /// Vault: namespace, for classes that name none
    #[arg(long, env = "VAULT_NAMESPACE", value_name = "NAMESPACE", help_heading = "Providers")]
    vault_namespace: Option<String>,

    /// Vault: mount of the kubernetes login method, for classes that name none
    #[arg(long, default_value = "kubernetes", value_name = "MOUNT", help_heading = "Providers")]
    vault_auth_mount: String,

    /// Vault: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE", help_heading = "Providers")]
    vault_ca: Option<PathBuf>,
}

impl Settings for VaultSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let vault = Vault::new(VaultConfig {
            address: self.vault_address.clone(),
            namespace: self.vault_namespace.clone(),
            auth_mount: self.vault_auth_mount.clone(),
            ca: self.vault_ca.clone(),
            network: network.clone(),
            ..VaultConfig::default()
        })?;
        Ok(Arc::new(vault))
    }

    fn offline() -> Self {
        Self { vault_address: Some("https://vault.invalid".to_owned()), ..Self::default() }
    }
}
