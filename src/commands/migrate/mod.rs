//! `secretfs migrate`: moves a cluster from the Secrets Store CSI driver to secretfs.

mod inventory;
mod rules;
mod telling;

use std::path::PathBuf;

use kubernetes::{connection, inventory as cluster};

use super::check::inputs;
use super::output::OutputArgs;
use crate::exit::{Failure, Outcome};
use crate::providers;

pub use inventory::Inventory;
pub use rules::{Ask, judge};
pub use telling::{Difference, Effect, Plan};

/// The driver that secretfs replaces, if the user names no other.
const UPSTREAM: &str = "secrets-store.csi.k8s.io";

/// Move from the Secrets Store CSI driver to secretfs
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Plan(PlanArgs),
}

/// List what will be different: classes, pods, Secrets and the CSIDriver object
///
/// Reads them from the cluster, changes nothing, and asks no store. Exits with 0 if everything will be mounted as
/// before, with 1 if something will not, and with 2 if something cannot be read.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Read manifests instead of the cluster: YAML or JSON files, directories of them, or `-`; may be given again
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How to reach the API server; by default as kubectl does, or as a pod
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Only this namespace; may be given again
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,

    /// Name of the driver that secretfs replaces
    #[arg(long, default_value = UPSTREAM, value_name = "NAME")]
    driver: String,

    /// Assume nodes with `--legacy-attribute-overrides`
    #[arg(long)]
    legacy_attribute_overrides: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs migrate`.
///
/// # Errors
///
/// Something will not be mounted as before, or cannot be read.
pub async fn run(args: MigrateArgs) -> Outcome {
    let Command::Plan(args) = args.command;
    let inventory = gather(&args).await.map_err(|error| Failure::usage(format!("{error:#}")))?;
    let ask = Ask {
        driver: args.driver,
        namespaces: args.namespaces,
        legacy_overrides: args.legacy_attribute_overrides,
    };
    let plan = judge(&inventory, &ask, &providers::offline());
    args.output.print(&plan, Plan::text)?;
    if plan.breaks() { Err(Failure::Told) } else { Ok(()) }
}

async fn gather(args: &PlanArgs) -> anyhow::Result<Inventory> {
    if !args.files.is_empty() {
        return Ok(Inventory::of_files(&inputs::read(&args.files)?));
    }
    let kubeconfig = args.kubeconfig.clone().or_else(of_this_user);
    let client = connection::connect(kubeconfig.as_deref()).await?;
    Ok(Inventory::of_cluster(&cluster::read(&client, &args.namespaces, &args.driver).await?))
}

/// The kubeconfig that kubectl uses too.
pub(super) fn of_this_user() -> Option<PathBuf> {
    let file = PathBuf::from(std::env::var_os("HOME")?).join(".kube/config");
    file.exists().then_some(file)
}
