use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The file in which kubelet gives every container the authorities of the API server.
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The administrator's settings.
#[derive(Debug, Clone)]
pub struct KubernetesConfig {
    /// The API server's URL.
    pub api_server: Option<String>,
    /// Certificate authorities (PEM) to trust instead of the system's. Read again when the file changes.
    pub ca: Option<PathBuf>,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// Most Secrets that are watched at the same time, each over a connection of its own. More Secrets are polled. One
    /// namespace can have at most half of the watches.
    pub most_watches: usize,
    /// Time to connect.
    pub connect: Duration,
    /// Time for a complete answer.
    pub total: Duration,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            api_server: None,
            ca: None,
            tls13_only: false,
            most_watches: 512,
            connect: Duration::from_secs(5),
            total: Duration::from_secs(20),
        }
    }
}

impl KubernetesConfig {
    /// If no API server is set, uses the one that kubelet announces to every container by `KUBERNETES_SERVICE_HOST` and
    /// `_PORT`, with the authorities beside the pod's token. The token itself is never read.
    #[must_use]
    pub fn or_in_cluster(self) -> Self {
        if self.api_server.is_some() {
            return self;
        }
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = variable("KUBERNETES_SERVICE_HOST");
        let port = variable("KUBERNETES_SERVICE_PORT");
        let Some((host, port)) = host.zip(port) else { return self };
        let ca = self.ca.clone().or_else(|| Some(CA.into()));
        Self { api_server: Some(url(&host, &port)), ca, ..self }
    }
}

fn url(host: &str, port: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("https://[{address}]:{port}"),
        Err(_) => format!("https://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_makes_a_url() {
        assert_eq!(url("10.0.0.1", "443"), "https://10.0.0.1:443");
        assert_eq!(url("fd00::1", "6443"), "https://[fd00::1]:6443");
    }
}
