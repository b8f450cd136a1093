use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

/// The administrator's settings for all classes.
#[derive(Debug, Clone)]
pub struct ConfidantConfig {
    /// URL of the server for a class without `url`.
    pub url: Option<String>,
    /// URL of AWS's endpoints instead of their own, with `{service}` (`kms`, `sts`) and `{region}`.
    pub aws_endpoint: Option<String>,
    /// File of certificate authorities (PEM) to trust instead of the system's, for Confidant and for AWS.
    pub ca: Option<PathBuf>,
    /// How servers are reached.
    pub network: Network,
    /// Longest answer, in bytes. 4 MiB by default: ten credentials as long as DynamoDB allows.
    pub max_body: usize,
    /// The deadlines of a call.
    pub patience: Patience,
}

impl Default for ConfidantConfig {
    fn default() -> Self {
        Self {
            url: None,
            aws_endpoint: None,
            ca: None,
            network: Network::default(),
            max_body: 4 << 20,
            patience: Patience::default(),
        }
    }
}
