use provider_store::{Name, Rotated, Store};

use super::PlaceArgs;
use crate::audit::Operation;
use crate::commands::output::{OutputArgs, count};
use crate::exit::Outcome;

/// Make a store, and a root key where there is none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  secretfs store init --root-key /etc/secretfs/root.key

To let a group put:  chgrp -R secretfs /var/lib/secretfs/store  (the root key stays its owner's alone)")]
pub(super) struct InitArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Make new keys and seal everything to them; what is mounted stays readable
///
/// By default each namespace gets a new key pair and the old ones are destroyed. Export the public
/// bundle again afterwards: what is put with an older one is refused.
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
    let made = place.audited(Operation::Init, |touched| {
        touched.thing("store");
        Ok(Store::init(&place.store, &place.root())?.1)
    })?;
    Ok(args.output.print(&made, |made| {
        let key = place.root_key.clone().unwrap_or_else(|| place.store.join("root.key"));
        let (store, key) = (place.store.display(), key.display());
        if made.root_key_created {
            format!(
                "made a store in {store} and its root key {key}\n\
                 Keep a copy of the root key elsewhere: if it is lost, so is what the store holds.\n"
            )
        } else {
            format!("made a store in {store}, sealed to the root key {key} that was there\n")
        }
    })?)
}

pub(super) fn rotate(place: &PlaceArgs, args: &RotateArgs) -> Outcome {
    let rotated = place.audited(Operation::RotateKey, |touched| {
        touched.thing(if args.root { "root key" } else { "namespace keys" });
        let (mut store, root) = (place.open()?, place.root());
        Ok(if args.root {
            store.rotate_root(&root)?
        } else {
            store.rotate_namespaces(&root, args.namespace.as_ref())?
        })
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
