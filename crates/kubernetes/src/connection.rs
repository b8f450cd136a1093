//! The connection to the API server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
pub use kube::Client;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to send a request.
const WRITE: Duration = Duration::from_secs(10);
/// Longest silence of a connection. The API server ends a watch before that (after 290 s) and sends something each
/// minute until then. A call for one answer has a shorter deadline: see [`ANSWER`].
const SILENCE: Duration = Duration::from_secs(320);
/// How long the API server may take to answer a request that is not a watch.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A client of the API server that `kubeconfig` names. Without it, of the cluster in which this process is a pod. Makes
/// no call yet.
///
/// The client repeats no request by itself: its caller knows whether and when to ask again.
///
/// # Errors
///
/// The file cannot be read or is not a kubeconfig. Without a file: this process does not run in a cluster.
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
    // A connection from the pool was silent before the request, and that silence must not count.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config.headers.push(("user-agent".parse()?, user_agent().parse()?));
    Ok(config)
}

/// The name under which the audit log of Kubernetes shows this process.
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
