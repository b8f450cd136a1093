//! `secretfs doctor`: what is wrong with a node and with the objects in the cluster, and what to do.
//!
//! Facts and rules are separate: [`Host`] and [`Survey`] hold facts, and rules make findings from them.

mod cluster_rules;
mod finding;
mod host;
mod node_rules;
mod places;

use std::path::{Path, PathBuf};

use kubernetes::Cluster;
use kubernetes::survey::{Account, Survey, Wish};

use super::output::OutputArgs;
use crate::commands::places::Places;
use crate::exit::{Failure, Outcome};
use crate::providers;

pub use finding::{Finding, Level, Report};
pub use host::{Host, Kubelet, Purpose, Socket, State};

/// Find what keeps secretfs from working, on this node and in the cluster
///
/// Looks at the kernel, kubelet's directory, sockets and the state directory of this node, and asks the API
/// server for the CSIDriver object, the CRDs, the classes and the driver's rights. Takes its settings from
/// the `secretfs node` that runs here. Without a node or without a cluster, it looks at the rest.
/// Exits with 0 if there are no errors (warnings do not count), and with 1 if there are.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Name of the CSIDriver object
    #[arg(long, value_name = "NAME")]
    driver_name: Option<String>,

    /// Kubelet's root directory
    #[arg(long, value_name = "DIR")]
    kubelet_root: Option<PathBuf>,

    /// Socket at which kubelet calls the driver
    #[arg(long, value_name = "PATH")]
    csi_endpoint: Option<PathBuf>,

    /// Socket of the mounter
    #[arg(long, value_name = "PATH")]
    mounter: Option<PathBuf>,

    /// State directory of `secretfs node`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Directory of admin sockets
    #[arg(long, value_name = "DIR")]
    admin_dir: Option<PathBuf>,

    /// A directory of external providers' sockets; may be given again
    #[arg(long, value_name = "DIR")]
    providers_dir: Vec<PathBuf>,

    /// The /proc of the host, if this runs in a container that has its own
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    proc: PathBuf,

    /// Kubeconfig of the API server; by default that of the cluster in which this process is a pod
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Service account of the driver, if somebody else runs this command
    #[arg(long, value_name = "NAMESPACE/NAME")]
    service_account: Option<Account>,

    /// A namespace in which the driver writes Secrets (`secretObjects`); may be given again
    #[arg(long = "sync-secrets-namespace", value_name = "NAMESPACE")]
    sync_namespaces: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs doctor`.
///
/// # Errors
///
/// Something does not work.
pub async fn run(args: DoctorArgs) -> Outcome {
    let places = Places::of(&args)?;
    let host = Host::look(&places, &args.proc).await;
    let survey = survey(&args, &places).await;
    let mut findings = vec![settings(&places)];
    findings.extend(node_rules::findings(&host));
    findings.extend(cluster_rules::findings(&survey, &places.driver, &providers::offline(), &host));
    let report = Report::from(findings);
    args.output.print(&report, Report::text)?;
    if report.errors > 0 { Err(Failure::Told) } else { Ok(()) }
}

fn settings(places: &Places) -> Finding {
    let whose = match places.told_to {
        Some(pid) => format!("those of `secretfs node` (pid {pid}) and what was typed"),
        None => "the defaults and what was typed: no `secretfs node` runs here".to_owned(),
    };
    Finding::ok("settings", whose)
}

async fn survey(args: &DoctorArgs, places: &Places) -> Survey {
    let wish = Wish {
        driver: places.driver.clone(),
        account: args.service_account.clone(),
        needed: cluster_rules::needed(
            &places.driver,
            places.sync.as_deref(),
            &places.annotations,
            &places.restarts,
        ),
        needless: cluster_rules::needless(),
    };
    // Without a cluster, the remedies in the connection's own error do not fit this command.
    let in_cluster = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists();
    if places.kubeconfig.is_none() && !in_cluster {
        return Survey::none(
            "no API server is known: give --kubeconfig FILE, or run it in a pod of the driver",
        );
    }
    match Cluster::open(places.kubeconfig.as_deref()).await {
        Ok(cluster) => cluster.survey(&wish).await,
        Err(error) => Survey::none(&format!("{error:#}")),
    }
}
