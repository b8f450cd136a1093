use std::path::PathBuf;

use provider::Network;
use provider_client::Patience;

/// What the administrator sets for every class.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// Region where a class gives none.
    pub region: Option<String>,
    /// ARN of the role of pods whose class and whose service account name none. `{namespace}` and `{serviceAccount}` in it stand for the pod's.
    pub role_arn: Option<String>,
    /// URL of every service where a class gives no `endpoint`. `{service}` and `{region}` in it stand for theirs.
    pub endpoint: Option<String>,
    /// Whether the validated (FIPS) endpoints are used.
    pub fips: bool,
    /// File of certificate authorities (PEM) to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// URL of the Pod Identity agent, instead of the addresses that EKS gives it.
    pub pod_identity: Option<String>,
    /// URL of the machine's metadata service.
    pub metadata: String,
    /// How AWS is reached. Agents of this machine are reached without the proxy.
    pub network: Network,
    /// Longest answer, in bytes. 8 MiB by default: twenty secrets of 64 KiB, written as JSON.
    pub max_body: usize,
    /// How long to wait for what.
    pub patience: Patience,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            region: None,
            role_arn: None,
            endpoint: None,
            fips: false,
            ca: None,
            pod_identity: None,
            metadata: "http://169.254.169.254".to_owned(),
            network: Network::default(),
            max_body: 8 << 20,
            patience: Patience::default(),
        }
    }
}
