use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::client::Aws;
use crate::config::AwsConfig;

/// What is set for AWS where a process starts.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AwsSettings {
    /// AWS: region where a class gives none
    #[arg(long, env = "AWS_REGION", value_name = "REGION", help_heading = "Providers")]
    aws_region: Option<String>,

    /// AWS: IAM role of pods whose class and service account name none; {namespace} and {serviceAccount} in it stand for the pod's
    #[arg(long, env = "SECRETFS_AWS_ROLE_ARN", value_name = "ARN", help_heading = "Providers")]
    aws_role_arn: Option<String>,

    /// AWS: URL of the services instead of AWS's own, where a class gives none; {service} and {region} in it stand for
    /// theirs
    #[arg(long, env = "SECRETFS_AWS_ENDPOINT", value_name = "URL", help_heading = "Providers")]
    aws_endpoint: Option<String>,

    /// AWS: call the endpoints that are validated by FIPS 140
    #[arg(long, env = "AWS_USE_FIPS_ENDPOINT", help_heading = "Providers")]
    aws_use_fips_endpoint: bool,

    /// AWS: certificate authorities (PEM) to trust instead of the system's
    #[arg(long, env = "SECRETFS_AWS_CA", value_name = "FILE", help_heading = "Providers")]
    aws_ca: Option<PathBuf>,

    /// AWS: URL of the agent of EKS Pod Identity; by default where EKS puts it
    #[arg(long, env = "SECRETFS_AWS_POD_IDENTITY_ENDPOINT", value_name = "URL", help_heading = "Providers")]
    aws_pod_identity_endpoint: Option<String>,

    /// AWS: URL of the metadata service of the machine
    #[arg(
        long,
        env = "SECRETFS_AWS_METADATA_ENDPOINT",
        default_value = "http://169.254.169.254",
        value_name = "URL",
        help_heading = "Providers"
    )]
    aws_metadata_endpoint: String,
}

impl Settings for AwsSettings {
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>> {
        let aws = Aws::new(AwsConfig {
            region: self.aws_region.clone(),
            role_arn: self.aws_role_arn.clone(),
            endpoint: self.aws_endpoint.clone(),
            fips: self.aws_use_fips_endpoint,
            ca: self.aws_ca.clone(),
            pod_identity: self.aws_pod_identity_endpoint.clone(),
            metadata: self.aws_metadata_endpoint.clone(),
            network: network.clone(),
            ..AwsConfig::default()
        })?;
        Ok(Arc::new(aws))
    }

    fn offline() -> Self {
        Self { aws_region: Some("eu-west-1".to_owned()), ..Self::default() }
    }
}
