use engine::audit::Operation;
use provider_store::{Anchor, Restored, Store};

use super::PlaceArgs;
use crate::commands::output::{OutputArgs, count};
use crate::exit::Outcome;

/// Accept an older state of the store, after you restored a backup
///
/// A process with the root key remembers how new each namespace was, in the database and in a file beside the
/// root key. It refuses an older state, because a writer of the database can put old rows back. First replace
/// store.db by the backup, and remove store.db-wal and store.db-shm. Then this command signs the backup as the
/// newest state, and mounted volumes follow. Without --accept-older it only tells what it would accept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secretfs store restore                     # what is older than it was?
  secretfs store restore --accept-older")]
pub(super) struct RestoreArgs {
    /// Accept the state that the database has now as the newest
    #[arg(long)]
    accept_older: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(place: &PlaceArgs, args: &RestoreArgs) -> Outcome {
    let restored = place.audited(Operation::Restore, |touched| {
        touched.thing("store");
        let anchor = place.anchor();
        let restored = if args.accept_older {
            Store::accept_older(&place.store, &anchor)?
        } else {
            look(place, &anchor)?
        };
        restored.older.iter().for_each(|older| touched.thing(older.namespace.as_str()));
        Ok(restored)
    })?;
    Ok(args.output.print(&restored, |restored| text(restored, args.accept_older))?)
}

/// Lists older states. If there are any, the command exits with 1.
fn look(place: &PlaceArgs, anchor: &Anchor) -> anyhow::Result<Restored> {
    let found = Store::find_older(&place.store, anchor)?;
    let Some(first) = found.older.first() else { return Ok(found) };
    anyhow::bail!(
        "{} older than known: {}; accept the present state with `secretfs store restore --accept-older` \
         if you restored a backup",
        are(found.older.len()),
        first.reason
    )
}

fn are(namespaces: usize) -> String {
    let verb = if namespaces == 1 { "is" } else { "are" };
    format!("{} {verb}", count(namespaces, "namespace"))
}

fn text(restored: &Restored, was_accepted: bool) -> String {
    if !was_accepted {
        return "nothing in the store is older than known\n".to_owned();
    }
    let older: String =
        restored.older.iter().map(|older| format!("{}: {}\n", older.namespace, older.reason)).collect();
    format!(
        "accepted the present state of the store as its newest ({} older than known)\n{older}",
        are(restored.older.len())
    )
}
