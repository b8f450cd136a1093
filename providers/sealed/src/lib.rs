//! Secrets as ciphertext inside the manifest, `provider: sealed`. The manifest is safe to commit.
//!
//! ```text
//! value ──AES-256-GCM, a new data key──► `value` of the sealed text
//! data key ──the store of the class's `kms`, by its `kmsKey`──► `wrapped` of the sealed text
//! ```
//!
//! Both ciphertexts are bound to the environment, the namespace, the class and the object. A pod's volume opens the data
//! key at that store with the pod's own login, so the store's policies decide who reads. The plaintext is in no store.
//!
//! This crate speaks to no store. Another provider does, through [`provider::Keys`], and gives every login, every call and
//! the meaning of every answer. What this crate adds:
//!
//! | what | means |
//! |---|---|
//! | a text that is no sealed text, or is for another namespace, class or object | invalid, at `secretfs check` too |
//! | a text that was sealed for another environment, by another store or another key than the class names | invalid |
//! | a node without `--environment` | invalid, and the store is not asked |
//! | the store opened the data key, and the value does not open with it | invalid |
//!
//! # Keys of age
//!
//! For hosts and development, `kms: age` names a recipient of age instead of a store. The data key opens with an identity in a
//! file of this machine. No store judges who reads, so a node opens such texts only if its administrator allowed it.
//!
//! # Who shares
//!
//! As for other classes of the provider that `kms` names. What is shared between volumes of one identity is the data key.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod age;
mod declaration;
mod envelope;
mod manifest_text;
mod objects;
mod parameters;
mod place;
mod sealed;
mod sealer;
mod settings;
mod text;

pub use age::NodeKey;
pub use declaration::{DECLARATION, KMS, KMS_KEY};
pub use envelope::MAX_VALUE;
pub use manifest_text::{Span, spans};
pub use parameters::Kms;
pub use place::Place;
pub use sealed::Sealed;
pub use sealer::{Sealer, Standing};
pub use settings::SealedSettings;
pub use text::SealedText;
