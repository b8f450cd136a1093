//! Volumes as programs meet them: through the kernel, with real mounts. Needs root and `/dev/fuse`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test arranges has to fail it loudly")]
#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]

mod by_fuser;
mod difference;
mod keeper;
mod mapper;
mod mounted;
mod packet;
mod pages;
mod peer;
mod program;
mod programs;
mod restart;
mod rotation;
mod shown;
mod waiting;
mod watchdog;
