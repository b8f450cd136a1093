use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

/// The administrator's settings for all classes.
#[derive(Debug, Clone)]
pub struct ConjurConfig {
    /// URL of the server for a class without `applianceUrl`.
    pub url: Option<String>,
    /// Account for a class without `account`.
    pub account: Option<String>,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// How servers are reached.
    pub network: Network,
    /// Longest answer, in bytes. 8 MiB by default: 50 values of 64 KiB in base64 need 4.2 MiB.
    pub max_body: usize,
    /// The deadlines of a call.
    pub patience: Patience,
}

impl Default for ConjurConfig {
    fn default() -> Self {
        Self {
            url: None,
            account: None,
            ca: None,
            network: Network::default(),
            max_body: 8 << 20,
            patience: Patience::default(),
        }
    }
}
