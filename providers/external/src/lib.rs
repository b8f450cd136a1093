//! Secrets from external providers: programs that serve the provider protocol of the Secrets Store CSI driver
//! (`v1alpha1`) on a socket with their name.
//!
//! One call asks a provider for a whole volume, and only its answer shows which files exist. A provider may answer with
//! versions and without files. Then it has written the files into the directory that it was given. This directory is in
//! memory, and the files are read back from it.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod attributes;
mod body;
mod meaning;
mod protocol;
mod session;
mod socket;
mod source;
mod tree;

pub use protocol::External;
pub use socket::{Connect, Sockets, is_name};
