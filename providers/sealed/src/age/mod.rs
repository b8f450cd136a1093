//! Keys of age (<https://age-encryption.org/v1>) that are no store's: a data key is sealed to a recipient, and opened with
//! an identity in a file of this machine. `file`: the format; `identity`: the file with the identity; `keyring`: both as
//! a keyring. Only X25519, and only with the primitives that the program has anyway.

mod file;
mod identity;
mod keyring;

pub use identity::NodeKey;
pub(crate) use keyring::AgeKeys;

/// What a class of such values names as its `kms`.
pub(crate) const AGE: &str = "age";
