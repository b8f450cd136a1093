//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a request may take to be sent.
const WRITE: Duration = Duration::from_secs(10);
/// Longest silence of a connection. A watch is ended by the API server before (290 s), and has told of itself each
/// minute till then. Whoever asks for one answer has a deadline of its own: see [`ANSWER`].
const SILENCE: Duration = Duration::from_secs(320);
/// How long the API server may take to answer one request that is no watch.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A client of the API server that `kubeconfig` names, or of the cluster in which this process is a pod.
/// Nothing is asked yet.
///
/// It repeats nothing by itself: who asks knows whether and when to ask again.
///
/// # Errors
///
/// The file cannot be read or is no kubeconfig, or there is none and this process runs in no cluster.
pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(file) => of_file(file).await.with_context(|| format!("the kubeconfig {}", file.display()))?,
        None => Config::incluster().context(
            "this process runs in no cluster; name the API server with --kubeconfig FILE, \
             or do without one: --classes DIR",
        )?,
    };
    Client::try_from(patient(config)?).context("the connection to the API server")
}

async fn of_file(file: &Path) -> anyhow::Result<Config> {
    let kubeconfig = Kubeconfig::read_from(file)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

fn patient(mut config: Config) -> anyhow::Result<Config> {
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(WRITE);
    config.read_timeout = Some(SILENCE);
    // A pooled connection was silent before it was asked.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config.headers.push(("user-agent".parse()?, user_agent().parse()?));
    Ok(config)
}

/// As Kubernetes' audit log shows us.
fn user_agent() -> String {
    format!("secretfs/{} (node)", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r"
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: here, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: me, user: {}}]
contexts: [{name: here, context: {cluster: here, user: me}}]
";

    #[tokio::test]
    async fn a_kubeconfig_names_the_api_server_and_nothing_is_asked_yet() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), KUBECONFIG).unwrap();

        assert!(connect(Some(file.path())).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_named() {
        let error = connect(Some(Path::new("/nowhere/kubeconfig"))).await.err().unwrap();

        assert!(error.to_string().contains("the kubeconfig /nowhere/kubeconfig"), "{error:#}");
    }

    #[tokio::test]
    async fn outside_a_cluster_the_remedy_is_told() {
        let error = connect(None).await.err().unwrap();

        assert!(error.to_string().contains("--kubeconfig FILE"), "{error:#}");
    }
}
