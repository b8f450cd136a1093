//! `secretfs explain`: what a class may contain, in the manner of `kubectl explain`.

mod markdown;
mod page;
mod schema;
mod text;
mod topic;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use self::page::Page;
use self::topic::{Topic, Topics};
use super::output::OutputArgs;
use crate::exit::{Failure, Outcome};

/// Explain what a class may write: providers, their parameters, and the settings of every class
///
/// Without an argument it lists the providers that are built in and the settings that every class has. A provider's
/// name tells its parameters and the keys of its objects; a key tells its type, its default, what it means, and an
/// example. The node's own settings are in `secretfs node --help`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secretfs explain                       everything, a line each
  secretfs explain vault                 the parameters of provider vault
  secretfs explain vault.roleName        one of them
  secretfs explain secretfs.dev/refresh  a setting of every class")]
pub struct ExplainArgs {
    /// A provider, a key of a provider, a setting, or `class`: the resource itself
    #[arg(value_name = "PROVIDER[.KEY]", value_parser = Topics, hide_possible_values = true)]
    topic: Option<String>,

    /// Write reference pages and a JSON schema for editors into a directory, over those that are there
    #[arg(long, value_name = "DIR", conflicts_with_all = ["topic", "output"])]
    reference: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs explain`.
///
/// # Errors
///
/// There is no such provider or key, or a file cannot be written.
pub fn run(args: &ExplainArgs) -> Outcome {
    let pages = page::all();
    if let Some(directory) = &args.reference {
        return write_reference(directory, &pages);
    }
    let Some(asked) = &args.topic else { return Ok(args.output.print(&pages, |pages| text::all(pages))?) };
    match topic::find(&pages, asked).map_err(Failure::usage)? {
        Topic::Page(page) => args.output.print(page, text::page)?,
        Topic::Entry(entry) => args.output.print(entry, text::entry)?,
    }
    Ok(())
}

fn write_reference(directory: &Path, pages: &[Page]) -> Outcome {
    let written = || format!("cannot write to {}", directory.display());
    fs::create_dir_all(directory).with_context(written)?;
    for page in pages {
        let file = directory.join(format!("{}.md", page.name()));
        fs::write(file, markdown::page(page)).with_context(written)?;
    }
    let schema = serde_json::to_string_pretty(&schema::schema())? + "\n";
    fs::write(directory.join("secretproviderclass.schema.json"), schema).with_context(written)?;
    Ok(())
}
