//! The embedded store, `provider: secretfs`: encrypted secrets on this host, without a server.
//!
//! # Write-only is a property of the data
//!
//! ```text
//! value ──AES-256-GCM──► data key, one per item version
//! data key ──HPKE──► public key of the namespace ── private half ──HPKE──► public half of the root key
//! ```
//!
//! The database holds ciphertext and public halves; the [`Bundle`] holds only public halves. Both are enough to
//! [`put`](Store::put), list and delete. Neither is enough to read: that needs the root key, which is opened only for
//! mounts and by [`rotate_root`](Store::rotate_root). In this API only a [`Session`](provider::Session) of
//! [`EmbeddedStore`] returns values.
//!
//! # Who makes namespace keys
//!
//! Whoever makes a key pair has seen its private half, and could use it to read what others put later. So a namespace's
//! key pair is made only where the root key is open (a `put` on such a host, `rotate-key`), and the root key signs its
//! public half. A host without the root key may put into a namespace that has no key. Then it seals the data key to the
//! root key's public half. It never holds a private key, not even for a moment, and cannot read what it put.
//! `rotate-key` later moves such items to a key of their namespace.
//!
//! Writers check the signature before they seal. So nobody who can write to the database can insert a namespace key of
//! their own and read what others put. The signature is checked against the root key's public half, which comes from
//! the root key itself, from a file beside it, or from the bundle. What the database states about the root key is never
//! trusted: each transaction compares it with that public half.
//!
//! # What ciphertext is bound to
//!
//! Every value and every data key is authenticated together with its store, namespace, item, key, version and the
//! service accounts that may read it. A row that was copied elsewhere, renumbered, or opened to another service account
//! cannot be decrypted.
//!
//! # How an older state is recognised
//!
//! With each change, a holder of the root key signs a checkpoint of the namespace: its versions, who may read them,
//! their ciphertext, and which are deleted. Later states must contain all of it. Anybody who may put can add newer
//! versions and deletions. The newest seen state of a namespace is also kept outside of the database: in the memory of
//! each reading process, and in a file beside the root key. So neither older rows nor an older checkpoint can come
//! back, unless a holder of the root key accepts them ([`Store::accept_older`]). This does *not* prevent a writer of
//! the database from deleting, putting other values, or blocking readers. And a host that starts with only the root
//! key, without the file beside it, cannot recognise an old state.
//!
//! # Limits of the protection
//!
//! Root on a host that mounts can read what this host mounts. A root key in a file beside the database protects only
//! against the theft of the database. Without the root key all data is lost, so keep a copy of it elsewhere.

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
