//! Mounts secrets from the stores people run, keeps them fresh and takes them back.
//!
//! ARCHITECTURE.md is the map: what each crate and module does and what it must not know. In this crate is what meets the
//! outside: commands, the protocols of kubelet and of providers, sockets, and the list of the stores that are built in.
//! The engine and what speaks with an API server are crates of their own.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

pub mod admin;
pub mod commands;
pub mod confinement;
pub mod csi;
pub mod directories;
pub mod exit;
pub mod host;
#[cfg(feature = "kms")]
pub mod kms_plugin;
#[cfg(any(feature = "external", feature = "kms"))]
pub mod listening;
pub mod process;
#[cfg(feature = "external")]
pub mod provider_socket;
pub mod providers;
pub mod telemetry;
