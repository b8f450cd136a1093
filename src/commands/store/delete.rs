use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use engine::audit::Operation;
use provider_store::{Ciphertext, Deleted, Item, Undeleted, store_name};
use serde::Serialize;

use super::{ItemArgs, PlaceArgs};
use crate::admin::{ObjectStatus, VolumeStatus};
use crate::commands::output::OutputArgs;
use crate::commands::running::SocketArgs;
use crate::exit::Outcome;

/// Delete an item, or one version of it; volumes that show it lose it at once
///
/// `secretfs store undelete` restores it for seven days, or as long as --keep says. After that, the next command
/// that writes to the store destroys it. At a terminal the command asks first, and tells which volumes of this
/// host show the item. It does not ask other hosts that read the same store.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "Examples:
  secretfs store delete shop/api --version 3
  secretfs store delete shop/api --yes --keep 30d
  secretfs store delete shop/api --purge                # nobody can bring it back")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    item: ItemArgs,

    /// Only this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// How long it can be restored, such as 12h or 30d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    keep: Duration,

    /// Destroy it at once, with what was deleted before
    #[arg(long, conflicts_with = "keep")]
    purge: bool,

    #[command(flatten)]
    socket: SocketArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Restore what was deleted last of an item; needs the root key
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "Examples:
  secretfs store undelete shop/api
  secretfs store undelete shop/api --version 3          # `history` tells what can be brought back")]
pub(super) struct UndeleteArgs {
    #[command(flatten)]
    item: ItemArgs,

    /// Only this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,

    #[command(flatten)]
    output: OutputArgs,
}

/// What was deleted, and which volumes of this host showed it.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    deleted: Deleted,
    shown_by: Vec<Shown>,
}

/// A volume that shows an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    volume: String,
    target: String,
    pod: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    manifest::duration(text).ok_or_else(|| "write a number and a unit, such as 12h or 30d".to_owned())
}

pub(super) fn delete(place: &PlaceArgs, args: &DeleteArgs) -> Outcome {
    let item = args.item.item();
    let shown_by = shown_by(place, &args.socket, &item);
    let deleted = place.audited(Operation::Delete, |touched| {
        touched.item(&item, args.version);
        // Checked before the user is asked: there is nothing to confirm for an item that does not exist.
        let mut store = place.open()?;
        store.describe(&item)?;
        confirm(args, &item, &shown_by)?;
        Ok(store.delete(&item, args.version, args.ciphertext())?)
    })?;
    Ok(args.output.print(&Answer { deleted, shown_by }, delete_text)?)
}

pub(super) fn undelete(place: &PlaceArgs, args: &UndeleteArgs) -> Outcome {
    let item = args.item.item();
    let undeleted = place.audited(Operation::Undelete, |touched| {
        touched.item(&item, args.version);
        Ok(place.open()?.undelete(&item, args.version)?)
    })?;
    Ok(args.output.print(&undeleted, undelete_text)?)
}

impl DeleteArgs {
    fn ciphertext(&self) -> Ciphertext {
        if self.purge { Ciphertext::Destroyed } else { Ciphertext::Kept(self.keep) }
    }

    fn what(&self, item: &Item) -> String {
        self.version.map_or_else(|| item.to_string(), |version| format!("version {version} of {item}"))
    }
}

/// Asks the user for confirmation, if there is a terminal.
fn confirm(args: &DeleteArgs, item: &Item, shown_by: &[Shown]) -> anyhow::Result<()> {
    let stdin = io::stdin();
    if args.yes || !stdin.is_terminal() {
        return Ok(());
    }
    let again =
        if args.purge { "it cannot be brought back" } else { "`secretfs store undelete` brings it back" };
    let question = format!("{}Delete {}; {again}? [y/N] ", shown_text(shown_by), args.what(item));
    io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    anyhow::ensure!(is_yes, "nothing was deleted");
    Ok(())
}

/// The volumes of this host that show `item`, from all processes that answer.
fn shown_by(place: &PlaceArgs, socket: &SocketArgs, item: &Item) -> Vec<Shown> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // It is no failure if no process mounts anything here.
    let heard = runtime.ok().and_then(|runtime| runtime.block_on(socket.volumes()).ok()).unwrap_or_default();
    heard.warn();
    let store = store_name(&place.store);
    let volumes = heard.volumes.into_iter().map(|served| served.volume);
    volumes.filter(|volume| shows(volume, &store, item)).map(Shown::of).collect()
}

fn shows(volume: &VolumeStatus, store: &str, item: &Item) -> bool {
    let reads = |object: &ObjectStatus| {
        let request = object.request.as_deref().unwrap_or_default();
        request.split_once('#').is_some_and(|(name, _)| name == item.name.as_str())
    };
    volume.namespace == item.namespace.as_str()
        && volume.store.as_deref() == Some(store)
        && volume.objects.iter().any(reads)
}

impl Shown {
    fn of(volume: VolumeStatus) -> Self {
        let pod = volume.pod_name();
        Self { target: volume.target.display().to_string(), volume: volume.volume, pod }
    }
}

fn shown_text(shown_by: &[Shown]) -> String {
    shown_by
        .iter()
        .map(|shown| match &shown.pod {
            Some(pod) => format!("shown on this host to pod {pod}, at {}\n", shown.target),
            None => format!("shown on this host at {}\n", shown.target),
        })
        .collect()
}

fn delete_text(answer: &Answer) -> String {
    let deleted = &answer.deleted;
    let until = match deleted.restorable_until {
        Some(until) => format!(
            "until {} `secretfs store undelete {} -n {}` brings it back",
            super::inspect::time(until),
            deleted.item.name,
            deleted.item.namespace
        ),
        None => "its ciphertext is destroyed".to_owned(),
    };
    let versions = versions(&deleted.versions);
    format!("deleted {} (version {versions}); {until}\n{}", deleted.item, shown_text(&answer.shown_by))
}

fn undelete_text(undeleted: &Undeleted) -> String {
    format!("brought back {} (version {})\n", undeleted.item, versions(&undeleted.versions))
}

fn versions(versions: &[u64]) -> String {
    versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
