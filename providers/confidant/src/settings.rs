use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::confidant::Confidant;
use crate::config::ConfidantConfig;

/// The administrator's settings for Confidant. Variables that the tools of AWS take are not looked at.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfidantSettings {
    /// Confidant: address of the server, for classes that name none
    #[arg(long, env = "SECRETFS_CONFIDANT_URL", value_name = "URL", help_heading = "Providers")]
    confidant_url: Option<String>,

    /// Confidant: URL of AWS's KMS and STS instead of their own, with `{service}` and `{region}`
    #[arg(long, env = "SECRETFS_CONFIDANT_AWS_ENDPOINT", value_name = "URL", help_heading = "Providers")]
    confidant_aws_endpoint: Option<String>,

    /// Confidant: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_CONFIDANT_CA", value_name = "FILE", help_heading = "Providers")]
    confidant_ca: Option<PathBuf>,
}

impl Settings for ConfidantSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let confidant = Confidant::new(ConfidantConfig {
            url: self.confidant_url.clone(),
            aws_endpoint: self.confidant_aws_endpoint.clone(),
            ca: self.confidant_ca.clone(),
            network: network.clone(),
            ..ConfidantConfig::default()
        })?;
        Ok(Arc::new(confidant))
    }

    fn offline() -> Self {
        Self { confidant_url: Some("https://confidant.invalid".to_owned()), ..Self::default() }
    }
}
