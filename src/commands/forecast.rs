//! `secretfs forecast`: how many calls the classes of a cluster will make.

mod count;
mod text;

use std::path::PathBuf;

use super::check::inputs;
use super::output::OutputArgs;
use crate::exit::{Failure, Outcome};
use crate::providers;

use self::count::{Deployment, Price};

/// Forecast how many calls to their stores classes make
///
/// Reads classes and asks nobody. Counts what keeps running pods fresh: how often each object is read again on every
/// node, how many objects a store gives in one call, and who shares what was read. Logins, and the first readings of
/// new pods, come on top. Providers that are not built in are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secretfs forecast app.yaml --nodes 40 --pods 200
  secretfs forecast classes/ --nodes 40 --pods 200 --price 0.05/10000
  helm template CHART | secretfs forecast - --nodes 3 --pods 12 -o json")]
pub struct ForecastArgs {
    /// YAML or JSON files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Nodes that run pods of each class
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,

    /// Pods that mount each class, on all nodes together
    #[arg(long, default_value_t = 1, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    pods: u32,

    /// What calls cost, such as 0.05/10000: the price of so many
    #[arg(long, value_name = "PRICE/CALLS")]
    price: Option<Price>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs forecast`.
///
/// # Errors
///
/// A file cannot be read, or a class in it has an error.
pub fn run(args: &ForecastArgs) -> Outcome {
    let inputs = inputs::read(&args.files).map_err(Failure::usage)?;
    let deployment = Deployment { nodes: args.nodes, pods: args.pods, price: args.price };
    let forecast = count::forecast(&inputs, &providers::offline(), deployment)?;
    Ok(args.output.print(&forecast, text::text)?)
}
