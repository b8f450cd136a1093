//! Mounts secrets from the stores people run, keeps them fresh and takes them back.
//!
//! ARCHITECTURE.md is the map: what each module does and what it must not know.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

pub mod admin;
pub mod audit;
pub mod class;
pub mod commands;
pub mod csi;
pub mod exit;
pub mod host;
pub mod kubernetes;
pub mod metrics;
pub mod mode;
pub mod process;
#[cfg(feature = "external")]
pub mod provider_socket;
pub mod providers;
pub mod readings;
pub mod snapshot;
pub mod subject;
pub mod telemetry;
pub mod unfinished;
pub mod volume;

// Crates of their own, by the names that they had as modules.
pub use mounter;
pub use program::{failpoint, hygiene, outlet, systemd, visible};
