//! `secretfs store`: people write the embedded store, and only volumes read it.

mod audited;
mod delete;
mod inspect;
mod keys;
mod put;
mod restore;
mod transfer;
mod typed;

use std::path::PathBuf;

use anyhow::Context as _;
use engine::audit::Destination;
use program::hygiene;
use provider_store::{Anchor, Item, ItemName, Name, RootKeySource, Store};

use crate::exit::Outcome;

/// Keep secrets in the embedded store: encrypted, on this host, without a server
///
/// You can put a value and mount it (`provider: secretfs` in a class), but no command prints a value.
/// To put, you need no key. To read, the root key is needed, and only the process that mounts opens it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  secretfs store init
  printf %s \"$TOKEN\" | secretfs store put shop/api --key token
  secretfs store list")]
pub struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Subcommand)]
enum StoreCommand {
    Init(keys::InitArgs),
    Put(put::PutArgs),
    Import(transfer::ImportArgs),
    ExportPublic(transfer::ExportArgs),
    List(inspect::ListArgs),
    Describe(inspect::DescribeArgs),
    History(inspect::HistoryArgs),
    Delete(delete::DeleteArgs),
    Undelete(delete::UndeleteArgs),
    RotateKey(keys::RotateArgs),
    Restore(restore::RestoreArgs),
}

/// The store that a command works on.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Directory of the store
    #[arg(
        long,
        global = true,
        env = "SECRETFS_STORE",
        default_value = "/var/lib/secretfs/store",
        value_name = "DIR"
    )]
    store: PathBuf,

    /// File of the root key; by default `root.key` in the store's directory
    #[arg(long, global = true, env = "SECRETFS_ROOT_KEY", value_name = "FILE")]
    root_key: Option<PathBuf>,

    /// Public half of the root key, for a host without the root key: a bundle of `export-public`, or a copy of
    /// `root.key.pub`. By default the file `root.key.pub` beside the root key
    #[arg(long, global = true, env = "SECRETFS_ROOT_PUBLIC", value_name = "FILE")]
    root_public: Option<PathBuf>,

    /// Append the audit record to this file, or to standard output (`-`); by default to `audit.log` in
    /// the store's directory
    #[arg(long, global = true, env = "SECRETFS_AUDIT_LOG", value_name = "FILE")]
    audit_log: Vec<Destination>,

    /// Change nothing without an audit record: it is written before the change that it is about to be made, and after it what
    /// became of it
    #[arg(long, global = true, env = "SECRETFS_AUDIT_REQUIRED")]
    audit_required: bool,
}

/// The item that a command works on.
#[derive(Debug, clap::Args)]
struct ItemArgs {
    /// Name of the item in its namespace, such as shop/api
    name: ItemName,

    /// Namespace of the item: only pods of this namespace may read it
    #[arg(short, long, default_value = "default")]
    namespace: Name,
}

impl PlaceArgs {
    fn root(&self) -> RootKeySource {
        self.root_key.clone().map_or_else(|| RootKeySource::beside(&self.store), RootKeySource::File)
    }

    fn open(&self) -> provider::Result<Store> {
        Store::open(&self.store, &self.anchor())
    }

    fn anchor(&self) -> Anchor {
        Anchor::new(self.root()).with_public(self.root_public.clone())
    }
}

impl ItemArgs {
    fn item(&self) -> Item {
        Item { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// Runs `secretfs store`.
///
/// # Errors
///
/// The error of the command.
pub fn run(args: &StoreArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let place = &args.place;
    match &args.command {
        StoreCommand::Init(args) => keys::init(place, args),
        StoreCommand::Put(args) => put::run(place, args),
        StoreCommand::Import(args) => transfer::import(place, args),
        StoreCommand::ExportPublic(args) => transfer::export(place, args),
        StoreCommand::List(args) => inspect::list(place, args),
        StoreCommand::Describe(args) => inspect::describe(place, args),
        StoreCommand::History(args) => inspect::history(place, args),
        StoreCommand::Delete(args) => delete::delete(place, args),
        StoreCommand::Undelete(args) => delete::undelete(place, args),
        StoreCommand::RotateKey(args) => keys::rotate(place, args),
        StoreCommand::Restore(args) => restore::run(place, args),
    }
}
