use std::path::PathBuf;
use std::time::Duration;

use provider::Network;
use provider_client::Patience;

/// The administrator's settings for all classes.
#[derive(Debug, Clone)]
pub struct CyberArkConfig {
    /// URL of the server for a class without `url`.
    pub url: Option<String>,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// How servers are reached.
    pub network: Network,
    /// Longest answer, in bytes. 1 MiB by default.
    pub max_body: usize,
    /// The deadlines of a call.
    pub patience: Patience,
    /// How long to wait before the next call while a password is being changed. 1.5 seconds by default.
    pub pause: Duration,
}

impl Default for CyberArkConfig {
    fn default() -> Self {
        Self {
            url: None,
            ca: None,
            network: Network::default(),
            max_body: 1 << 20,
            patience: Patience::default(),
            pause: Duration::from_millis(1500),
        }
    }
}
