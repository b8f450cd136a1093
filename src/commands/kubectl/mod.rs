//! `kubectl secretfs`: classes and the pods that mount them, on all nodes. The same binary under the name `kubectl-secretfs`.

mod nodes;
mod rows;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::migrate::of_this_user;
use super::output::{Form, print};
use crate::exit::{Failure, Outcome};
use kubernetes::{connection, view};
use rows::Rows;

/// The names under which kubectl starts the plugin. It expects a dash, and some installers change it to an underscore.
const NAMES: [&str; 2] = ["kubectl-secretfs", "kubectl_secretfs"];

/// Show which pods mount which classes, in which versions, and how they are doing, on all nodes
///
/// Asks the API server for SecretProviderClassPodStatuses, and the driver of each node by `kubectl exec`. Without the
/// right to `exec`, or while a node is away, it shows what the API server knows, and says so.
///
///   kubectl secretfs                       your namespace `default`
///   kubectl secretfs -A                    all of them
///   kubectl secretfs -n shop -o wide       with versions, ages and reasons
#[derive(Debug, clap::Parser)]
#[command(name = "kubectl secretfs", bin_name = "kubectl secretfs", version, verbatim_doc_comment)]
pub(super) struct KubectlCli {
    /// Only this namespace
    #[arg(short, long, default_value = "default", conflicts_with = "all_namespaces")]
    namespace: String,

    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// How to reach the API server; by default as kubectl does
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Namespace of the driver; pods of other namespaces are not asked, whatever their labels say
    #[arg(long, default_value = "secretfs-system", value_name = "NAMESPACE", conflicts_with = "no_nodes")]
    driver_namespace: String,

    /// Ask only the API server, and no node
    #[arg(long)]
    no_nodes: bool,

    /// How the answer looks
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Form,
}

/// Whether this program was started under one of these names.
pub(super) fn is_called_so(program: Option<&OsStr>) -> bool {
    let name = program.map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

impl KubectlCli {
    /// Runs `kubectl secretfs`.
    ///
    /// # Errors
    ///
    /// The API server cannot be reached, or the caller may not list statuses.
    pub(super) async fn run(self) -> Outcome {
        let kubeconfig = self.kubeconfig.clone().or_else(of_this_user);
        let client = connection::connect(kubeconfig.as_deref()).await?;
        let namespace = (!self.all_namespaces).then_some(self.namespace.as_str());
        let mut rows = Rows::of(view::statuses(&client, namespace).await?);
        if !self.no_nodes {
            match view::driver_pods(&client, &self.driver_namespace).await {
                Ok(pods) if pods.is_empty() => {
                    rows.unseen(format!("the nodes: {}", no_driver(&self.driver_namespace)));
                }
                Ok(pods) => nodes::ask(&pods, kubeconfig.as_deref(), namespace, &mut rows).await,
                Err(error) => rows.unseen(format!("the nodes: {error:#}")),
            }
        }
        print(&rows.told(self.output).map_err(Failure::from)?)?;
        Ok(())
    }
}

fn no_driver(namespace: &str) -> String {
    format!(
        "no pod of the driver runs in namespace {namespace}; say where it is installed with --driver-namespace"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_finds_us_by_name() {
        for (program, found) in [
            ("/usr/local/bin/kubectl-secretfs", true),
            ("kubectl_secretfs", true),
            ("/usr/local/bin/secretfs", false),
            ("kubectl-secretfs.sh", false),
        ] {
            assert_eq!(is_called_so(Some(OsStr::new(program))), found, "{program}");
        }
        assert!(!is_called_so(None));
    }
}
