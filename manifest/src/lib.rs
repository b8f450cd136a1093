//! Reads the manifests people write: SecretProviderClass files and the texts inside them.
//!
//! Everything here is offline, bounded, and safe to feed with hostile input.

mod class;
pub mod paths;
mod settings;
mod text;
pub mod yaml;

pub use class::{Class, SecretObject, SecretObjectData};
pub use settings::{
    AuthShare, Composed, ComposedFormat, FetchWhen, Mode, OnDenied, OnRevoked, OnStale, Settings, Start,
};
