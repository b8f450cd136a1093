use provider_store::{Anchor, Restored, Store};

use super::PlaceArgs;
use crate::audit::Operation;
use crate::commands::output::{OutputArgs, count};
use crate::exit::Outcome;

/// Say that an older state of the store is what you want: you restored a backup
///
/// Whoever has the root key remembers how new each namespace was, in the database and in a file beside the
/// root key. What is older is refused, since a writer of the database can put old rows back. After you have
/// put a backup in the place of store.db (and removed store.db-wal and store.db-shm), this command signs it as
/// the newest state; what is mounted follows. Without --accept-older it tells what would be accepted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secretfs store restore                     # what is older than it was?
  secretfs store restore --accept-older")]
pub(super) struct RestoreArgs {
    /// Take the state that the database has now for the newest
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

/// The answer is no where something is older.
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
