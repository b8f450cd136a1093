//! Reads the manifests people write: SecretProviderClass files and the texts inside them.
//!
//! Everything here works offline, has limits, and is safe with hostile input.

mod access;
mod around;
mod boolean;
mod class;
pub mod compose;
pub mod declaration;
mod duration;
mod fault;
pub mod fields;
mod file;
mod lenient;
mod listed_tree;
mod listing;
pub mod objects;
mod overrides;
pub mod parameters;
mod parts;
pub mod paths;
mod pod;
mod read;
mod settings;
mod text;
mod tree;
mod with_keys;
pub mod yaml;

pub use access::{AccessRule, AccessRules, AccessUnsafe, Pattern};
pub use around::{DriverObject, SecretName};
pub use boolean::{GO as GO_BOOLEAN, go as go_boolean};
pub use class::{Class, SecretObject, SecretObjectData};
pub use duration::{go as go_duration, parse as duration};
pub use fault::Fault;
pub use file::{LocatedClass, Manifests};
pub use listed_tree::{Tags, WrittenTree, without};
pub use listing::{Listing, Shape};
pub use parts::{JmesPath, JsonPart, PartMode};
pub use pod::{Attribute, PodVolume};
pub use settings::{
    AuthShare, Composed, ComposedFormat, FetchWhen, HELD, MOST_HELD, Mode, OnDenied, OnRevoked, OnRotate,
    OnStale, PREFIX, SHARED_WITH_PROVIDERS, Settings, Start,
};
pub use text::nearest;
