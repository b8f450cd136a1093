use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::config::CyberArkConfig;
use crate::cyberark::CyberArk;

/// The administrator's settings for CyberArk's Central Credential Provider.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CyberArkSettings {
    /// CyberArk CCP: address of the server, for classes that name none
    #[arg(long, env = "SECRETFS_CYBERARK_URL", value_name = "URL", help_heading = "Providers")]
    cyberark_url: Option<String>,

    /// CyberArk CCP: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_CYBERARK_CA", value_name = "FILE", help_heading = "Providers")]
    cyberark_ca: Option<PathBuf>,
}

impl Settings for CyberArkSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let cyberark = CyberArk::new(CyberArkConfig {
            url: self.cyberark_url.clone(),
            ca: self.cyberark_ca.clone(),
            network: network.clone(),
            ..CyberArkConfig::default()
        })?;
        Ok(Arc::new(cyberark))
    }

    fn offline() -> Self {
        Self { cyberark_url: Some("https://ccp.invalid".to_owned()), cyberark_ca: None }
    }
}
