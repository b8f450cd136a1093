use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::config::KubernetesConfig;
use crate::source::Kubernetes;

/// The administrator's settings for native Secrets.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KubernetesSettings {
    /// Kubernetes: URL of the API server, for native Secrets; by default that of the cluster in which this process is a
    /// pod
    #[arg(long, env = "SECRETFS_KUBERNETES_API_SERVER", value_name = "URL", help_heading = "Providers")]
    kubernetes_api_server: Option<String>,

    /// Kubernetes: certificate authorities (PEM) to trust instead of the system's; by default those of the cluster in
    /// which this process is a pod
    #[arg(long, env = "SECRETFS_KUBERNETES_CA", value_name = "FILE", help_heading = "Providers")]
    kubernetes_ca: Option<PathBuf>,
}

impl Settings for KubernetesSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let config = KubernetesConfig {
            api_server: self.kubernetes_api_server.clone(),
            ca: self.kubernetes_ca.clone(),
            tls13_only: network.tls13_only,
            ..KubernetesConfig::default()
        };
        Ok(Arc::new(Kubernetes::new(&config.or_in_cluster())?))
    }

    fn offline() -> Self {
        Self::default()
    }
}
