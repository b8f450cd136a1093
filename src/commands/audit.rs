//! `secretfs audit`: begins the chain of an audit trail, verifies it, and reads it for people.

mod readers;
mod record;
mod tail;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use audit_chain::Keeper;
use engine::audit::Destination;
use program::{hygiene, outlet};

use super::output::print;
use crate::exit::{Failure, Outcome};

/// Read the audit trail, and see whether somebody changed it
///
/// The trail is what `--audit-log FILE` of `secretfs node`, `mount` and `store` writes: one JSON line for each thing that
/// happens to a secret.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:
  secretfs audit init /var/log/secretfs/audit.jsonl >verification.key     # once; keep it on another machine
  secretfs node … --audit-log /var/log/secretfs/audit.jsonl --audit-checkpoints -
  secretfs audit verify /var/log/secretfs/audit.jsonl --key verification.key --checkpoint checkpoints.jsonl
  secretfs audit readers db/password /var/log/secretfs/audit.jsonl"
)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    Init(InitArgs),
    Verify(verify::VerifyArgs),
    Tail(tail::TailArgs),
    Readers(readers::ReadersArgs),
}

/// Begin a chain for an audit trail, and print its verification key once
///
/// From then on each record is tied to the one before, and whoever changes, removes or reorders records is found out by
/// `secretfs audit verify`. The key is kept nowhere: keep it where nobody can read it who can change the trail. Processes
/// that write to FILE already have to be started again.
#[derive(Debug, clap::Args)]
struct InitArgs {
    /// The file that `--audit-log` names: the chain is kept in the directory FILE.chain beside it
    #[arg(required_unless_present = "chain")]
    file: Option<PathBuf>,

    /// Keep the chain in this directory, for `--audit-chain`: for a trail on standard output
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    chain: Option<PathBuf>,
}

/// Runs `secretfs audit`.
///
/// # Errors
///
/// The error of the command; of `verify` also that the trail was changed.
pub fn run(args: &AuditArgs) -> Outcome {
    match &args.command {
        AuditCommand::Init(args) => init(args),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Tail(args) => tail::run(args),
        AuditCommand::Readers(args) => readers::run(args),
    }
}

fn init(args: &InitArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let beside = args.file.clone().map(Destination::File).and_then(|file| file.chain());
    let Some(directory) = args.chain.clone().or(beside) else {
        return Err(Failure::usage("give a FILE, or --chain DIR"));
    };
    let key = Keeper::init(&directory)?;
    print(&format!("{}\n", *key.reveal()))?;
    outlet::complain(&format!(
        "secretfs: chain {} begins in {}; the key above verifies it and is kept nowhere here\n",
        key.id(),
        directory.display()
    ));
    Ok(())
}

/// Opens trails, the oldest first.
fn open(files: &[PathBuf]) -> Result<Vec<std::io::BufReader<std::fs::File>>, Failure> {
    let open = |path: &PathBuf| std::fs::File::open(path).with_context(|| path.display().to_string());
    let opened: anyhow::Result<Vec<_>> = files.iter().map(open).collect();
    Ok(opened?.into_iter().map(std::io::BufReader::new).collect())
}

/// A small file, as text.
fn small(path: &Path, most: u64) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    file.take(most).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    if text.len() as u64 == most { Err(anyhow!("{} is too large", path.display())) } else { Ok(text) }
}
