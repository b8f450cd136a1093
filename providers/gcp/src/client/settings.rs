use std::path::PathBuf;
use std::sync::Arc;

use provider::{Error, ErrorKind, Network, Provider, Result, Settings};

use crate::client::Gcp;
use crate::config::GcpConfig;
use crate::endpoints::Endpoints;

/// What is set for Google Cloud where a process starts.
#[derive(Debug, Clone, clap::Args)]
pub struct GcpSettings {
    /// Google: URL of its APIs where a class gives none; {service} in it stands for the name of each
    #[arg(
        long,
        env = "SECRETFS_GCP_ENDPOINT",
        default_value = crate::endpoints::GOOGLE,
        value_name = "URL",
        help_heading = "Providers"
    )]
    gcp_endpoint: String,

    /// Google: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_GCP_CA", value_name = "FILE", help_heading = "Providers")]
    gcp_ca: Option<PathBuf>,

    /// Google: who vouches for pods where a class does not say it: a provider of workload identity federation, or the
    /// URL of the GKE cluster
    #[arg(
        long,
        env = "SECRETFS_GCP_WORKLOAD_IDENTITY_PROVIDER",
        value_name = "NAME",
        help_heading = "Providers"
    )]
    gcp_workload_identity_provider: Option<String>,

    /// Google: identity namespace of the GKE cluster or the fleet where a class gives none; by default the one of the
    /// cluster's project
    #[arg(
        long,
        env = "SECRETFS_GCP_WORKLOAD_IDENTITY_POOL",
        value_name = "POOL",
        help_heading = "Providers"
    )]
    gcp_workload_identity_pool: Option<String>,

    /// Google: URL of the metadata server, which is asked for the machine's own token where that may be used
    #[arg(
        long,
        env = "SECRETFS_GCP_METADATA_ENDPOINT",
        default_value = crate::config::METADATA,
        value_name = "URL",
        help_heading = "Providers"
    )]
    gcp_metadata_endpoint: String,
}

impl Settings for GcpSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        Ok(Arc::new(Gcp::new(self.config(network)?)?))
    }

    fn offline() -> Self {
        let cluster = "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c";
        Self { gcp_workload_identity_provider: Some(cluster.to_owned()), ..Self::default() }
    }
}

impl Default for GcpSettings {
    fn default() -> Self {
        let GcpConfig { endpoint, metadata_endpoint, .. } = GcpConfig::default();
        Self {
            gcp_endpoint: endpoint,
            gcp_ca: None,
            gcp_workload_identity_provider: None,
            gcp_workload_identity_pool: None,
            gcp_metadata_endpoint: metadata_endpoint,
        }
    }
}

impl GcpSettings {
    fn config(&self, network: &Network) -> Result<GcpConfig> {
        Endpoints::template(&self.gcp_endpoint).map_err(|reason| {
            Error::new(ErrorKind::Invalid, format!("--gcp-endpoint: {reason}"))
                .remedy("write it as https://{service}.googleapis.com")
        })?;
        Ok(GcpConfig {
            endpoint: self.gcp_endpoint.clone(),
            ca: self.gcp_ca.clone(),
            identity_provider: self.gcp_workload_identity_provider.clone(),
            identity_pool: self.gcp_workload_identity_pool.clone(),
            metadata_endpoint: self.gcp_metadata_endpoint.clone(),
            network: network.clone(),
            ..GcpConfig::default()
        })
    }
}
