use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::config::ConjurConfig;
use crate::conjur::Conjur;

/// The administrator's settings for Conjur. Variables that Conjur's own tools take are not looked at.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConjurSettings {
    /// Conjur: address of the server, for classes that name none
    #[arg(long, env = "SECRETFS_CONJUR_URL", value_name = "URL", help_heading = "Providers")]
    conjur_url: Option<String>,

    /// Conjur: account, for classes that name none
    #[arg(long, env = "SECRETFS_CONJUR_ACCOUNT", value_name = "ACCOUNT", help_heading = "Providers")]
    conjur_account: Option<String>,

    /// Conjur: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_CONJUR_CA", value_name = "FILE", help_heading = "Providers")]
    conjur_ca: Option<PathBuf>,
}

impl Settings for ConjurSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let conjur = Conjur::new(ConjurConfig {
            url: self.conjur_url.clone(),
            account: self.conjur_account.clone(),
            ca: self.conjur_ca.clone(),
            network: network.clone(),
            ..ConjurConfig::default()
        })?;
        Ok(Arc::new(conjur))
    }

    fn offline() -> Self {
        Self {
            conjur_url: Some("https://conjur.invalid".to_owned()),
            conjur_account: Some("account".to_owned()),
            conjur_ca: None,
        }
    }
}
