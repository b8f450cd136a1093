//! Secrets from external providers: programs that serve the provider protocol of the Secrets Store
//! CSI driver (`v1alpha1`) on a socket named for them.
//!
//! A provider is asked once for the whole volume, and only its answer tells which files there are.
//! One that answers with versions and no files has put the files into the directory it was given,
//! which lies in memory and is read back here.

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
pub use socket::{Sockets, is_name};
