//! The embedded store, `provider: secretfs`: secrets on this host, encrypted, without a server.
//!
//! # Write-only is a property of the data
//!
//! ```text
//! value ──AES-256-GCM──► data key, one per item version
//! data key ──HPKE──► public key of the namespace ── private half ──HPKE──► public half of the root key
//! ```
//!
//! The database holds ciphertext and public halves, the [`Bundle`] public halves alone. Both are
//! enough to [`put`](Store::put), list and delete, and neither is enough to read: that takes the root
//! key, which only what mounts and [`rotate_root`](Store::rotate_root) open. Nothing in this API gives
//! a value back but a [`Session`](provider::Session) of [`EmbeddedStore`].
//!
//! # Who makes namespace keys
//!
//! Whoever makes a key pair has seen its private half, and could read with it what others put later.
//! So a namespace's key pair is only ever made where the root key is open (a `put` on such a host,
//! `rotate-key`), and the root key signs its public half. A host without the root key that puts into a
//! namespace without a key seals the data key to the root key's public half instead: it never holds a
//! private key, not even for a moment, and cannot read what it put itself. `rotate-key` later moves
//! such items to a key of their namespace.
//!
//! The signature is checked before sealing: who can write to the database cannot slip in a namespace
//! key of their own to read what others put. It is checked against the root key's public half, which
//! follows from the root key, or is pinned in a file beside it, or was handed over in the bundle. What
//! the database says of it is compared with that in each transaction, and never believed.
//!
//! # What ciphertext is bound to
//!
//! Store, namespace, item, key, version and the service accounts it is for are authenticated with
//! every value and data key: a row that was copied elsewhere, renumbered, or opened to another
//! service account does not decrypt.
//!
//! # What an older state is known by
//!
//! Whoever holds the root key signs a checkpoint of a namespace with each change: its versions, for whom
//! they are, their ciphertext, and what is deleted. Later states must have all of it; newer versions and
//! deletions may follow by anybody who may put. How new a namespace was is kept outside of the database
//! too: in the memory of who reads, and in a file beside the root key. So neither older rows nor an older
//! checkpoint come back, unless the holder of the root key says so ([`Store::accept_older`]). What is
//! *not* prevented for who may write to the database: deleting, putting something else, and stalling.
//! Nor does a host see a state as old that starts with nothing but the root key.
//!
//! # What it does not protect from
//!
//! Root on a host that mounts can read what it mounts. A root key kept as a file beside the database
//! protects from a stolen database only. A lost root key is lost data: keep a copy elsewhere.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod base64text;
mod bundle;
mod change;
mod checkpoint;
mod database;
mod declaration;
mod deletion;
mod durable;
mod envelope;
mod fetch;
#[cfg(test)]
mod heard;
mod import;
mod keys;
mod ledger;
mod limits;
mod mark;
mod memory;
mod name;
mod objects;
mod pin;
mod pool;
mod queue;
mod read;
mod restore;
mod root_file;
mod rotation;
mod rows;
mod schema;
mod settings;
mod source;
mod store;
mod watch;

pub use bundle::{Bundle, Record, Values};
pub use declaration::DECLARATION;
pub use deletion::{Ciphertext, Undeleted};
pub use keys::{KeyId, NamespaceKey, PublicKey, RootKey, RootPublic, StoreId};
pub use name::{Account, Item, ItemName, Name, ServiceAccounts};
pub use pin::Anchor;
pub use restore::Restored;
pub use root_file::RootKeySource;
pub use rotation::Rotated;
pub use settings::EmbeddedSettings;
pub use source::{EmbeddedStore, store_name};
pub use store::{Deleted, Description, Put, RecordAccounts, Store, Summary, Version, version_by_clock};
