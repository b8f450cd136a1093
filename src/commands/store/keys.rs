use engine::audit::Operation;
use provider_store::{Name, RootKeySource, Rotated, Store};

use super::PlaceArgs;
use crate::commands::output::{OutputArgs, count};
use crate::exit::Outcome;

/// Make a store and its root key
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  secretfs store init --root-key /etc/secretfs/root.key

To let a group put:  chgrp -R secretfs /var/lib/secretfs/store  (the root key stays its owner's alone)")]
pub(super) struct InitArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Make new keys and encrypt everything to them; mounted files stay readable
///
/// By default each namespace gets a new key pair, and the old ones are destroyed. Export the public bundle
/// again afterwards, because a put with an older bundle is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secretfs store rotate-key
  secretfs store rotate-key --namespace shop
  secretfs store rotate-key --root")]
pub(super) struct RotateArgs {
    /// Only the key of this namespace
    #[arg(short, long)]
    namespace: Option<Name>,

    /// Replace the root key instead; copies of the old one become useless
    #[arg(long, conflicts_with = "namespace")]
    root: bool,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn init(place: &PlaceArgs, args: &InitArgs) -> Outcome {
    let root = place.root();
    place.audited(Operation::Init, |touched| {
        touched.thing("store");
        Ok(Store::init(&place.store, &root)?)
    })?;
    let RootKeySource::File(root) = &root else { return Ok(()) };
    let made = serde_json::json!({ "store": place.store, "root_key": root });
    Ok(args.output.print(&made, |_| {
        format!(
            "made a store in {} and its root key {}\n\
             Keep a copy of the root key elsewhere: if it is lost, so is what the store holds.\n",
            place.store.display(),
            root.display()
        )
    })?)
}

pub(super) fn rotate(place: &PlaceArgs, args: &RotateArgs) -> Outcome {
    let rotated = place.audited(Operation::RotateKey, |touched| {
        touched.thing(if args.root { "root key" } else { "namespace keys" });
        let mut store = place.open()?;
        Ok(if args.root { store.rotate_root()? } else { store.rotate_namespaces(args.namespace.as_ref())? })
    })?;
    Ok(args.output.print(&rotated, text)?)
}

fn text(rotated: &Rotated) -> String {
    let what = match &rotated.root_key {
        Some(id) => format!("the root key, now {id}; keep a copy of it elsewhere"),
        None => format!("the keys of {}", count(rotated.namespaces.len(), "namespace")),
    };
    let damaged: String =
        rotated.damaged.iter().map(|what| format!("damaged before, and not readable: {what}\n")).collect();
    format!("rotated {what} ({} sealed anew)\n{damaged}", count(rotated.versions, "version"))
}
