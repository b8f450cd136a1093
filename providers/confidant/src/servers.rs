//! The ways to Confidant and to AWS.

use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, Result, SecretBytes};
use provider_client::{Answer, CertificatePath, Connection, Connections, Endpoint, Names, Settings, Tls};

use crate::config::ConfidantConfig;
use crate::meaning::{Asked, Refusal};
use crate::parameters::Server;

/// What the settings of each server are called.
const OF_CONFIDANT: Names = Names::new("url", "caCertPath");
const OF_AWS: Names = Names::new("region or --confidant-aws-endpoint", "--confidant-ca");

/// The connections to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<(Asked, Server)>,
    config: ConfidantConfig,
}

impl Servers {
    pub(crate) fn new(config: ConfidantConfig) -> Self {
        Self { connections: Connections::default(), config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &ConfidantConfig {
        &self.config
    }

    /// The connection of the Kubernetes namespace `tenant` to Confidant at `server`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn confidant(&self, tenant: &str, server: &Server) -> Result<Arc<Connection>> {
        self.to(tenant, Asked::Confidant, server, OF_CONFIDANT).await
    }

    /// That to KMS or to STS in `region`. A class has no say in where they are.
    ///
    /// # Errors
    ///
    /// As [`confidant`](Self::confidant).
    pub(crate) async fn aws(&self, tenant: &str, asked: Asked, region: &str) -> Result<Arc<Connection>> {
        let ca = self.config.aws_endpoint.is_some().then(|| self.config.ca.clone()).flatten();
        let tls = Tls { ca: ca.map(CertificatePath::Own), ..Tls::default() };
        let server = Server { address: self.address(asked, region), tls };
        self.to(tenant, asked, &server, OF_AWS).await
    }

    /// <https://docs.aws.amazon.com/general/latest/gr/kms.html>
    fn address(&self, asked: Asked, region: &str) -> String {
        let service = service(asked);
        match &self.config.aws_endpoint {
            Some(template) => template.replace("{service}", service).replace("{region}", region),
            None if region.starts_with("cn-") => format!("https://{service}.{region}.amazonaws.com.cn"),
            None => format!("https://{service}.{region}.amazonaws.com"),
        }
    }

    async fn to(&self, tenant: &str, asked: Asked, server: &Server, names: Names) -> Result<Arc<Connection>> {
        let ConfidantConfig { network, max_body, patience, .. } = &self.config;
        let settings = Settings::new(names, network, *max_body, *patience);
        let Server { address, tls } = server;
        let endpoint = Endpoint { name: address, address, tls };
        let tls_dir = network.tls_dir.as_deref();
        self.connections.to(tenant, (asked, server.clone()), endpoint, None, tls_dir, &settings).await
    }
}

/// What hosts and signatures call it.
pub(crate) fn service(asked: Asked) -> &'static str {
    match asked {
        Asked::Confidant => "confidant",
        Asked::Kms => "kms",
        Asked::Sts => "sts",
    }
}

/// The error for an answer without success. Its text has none of `secrets`.
pub(crate) fn refusal(answer: &Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).map(str::trim).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    };
    refusal.error(asked, what, &secrets, Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_is_in_the_region_of_the_class_and_where_the_administrator_says() {
        let of = |endpoint: Option<&str>, region| {
            let aws_endpoint = endpoint.map(str::to_owned);
            Servers::new(ConfidantConfig { aws_endpoint, ..ConfidantConfig::default() })
                .address(Asked::Kms, region)
        };
        assert_eq!(of(None, "eu-west-1"), "https://kms.eu-west-1.amazonaws.com");
        assert_eq!(of(None, "cn-north-1"), "https://kms.cn-north-1.amazonaws.com.cn");
        assert_eq!(of(Some("https://{service}.{region}.example.com"), "a"), "https://kms.a.example.com");
    }
}
