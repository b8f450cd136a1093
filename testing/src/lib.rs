//! Real servers and faults for tests.
//!
//! Every fixture listens on 127.0.0.1 and waits until it is ready. It ends when it is dropped, or when the test process
//! is killed. Calls block for a moment and work in async tests too, because servers run on threads of their own. A
//! fixture that cannot start panics and says what to install.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that fails has to fail its test loudly"
)]

mod azsecrets;
mod background;
mod ccp;
mod cgroups;
mod class;
mod cluster;
mod confidant;
mod conjur;
mod counts;
mod faults;
mod google;
mod http;
mod issuer;
mod keyvault;
mod memory;
mod mode;
mod moto;
mod namespace;
mod node;
mod openbao;
mod port;
mod postgres;
mod process;
mod program;
mod tls;
mod tool;

pub use azsecrets::AzSecrets;
pub use ccp::Ccp;
pub use cgroups::{Cgroups, enter_container, in_own_mounts, prepare_last_words};
pub use class::jwt_class;
pub use cluster::{Cluster, Component, Scope};
pub use confidant::Confidant;
pub use conjur::Conjur;
pub use counts::{Counted, count, counted};
pub use faults::{Answer, FaultServer, Seen};
pub use google::{Google, google_key};
pub use http::http_client;
pub use issuer::{Claims, Issuer};
pub use keyvault::KeyVault;
pub use memory::{occurrences_in_all_memory, occurrences_in_memory};
pub use mode::{ShownBy, in_mode_fuse};
pub use moto::Moto;
pub use namespace::in_private_mounts;
pub use node::{DRIVER, PodVolume, RunningNode, VOLUME_DATA, give, prepare_target};
pub use openbao::OpenBao;
pub use port::free as free_port;
pub use postgres::Postgres;
pub use process::until;
pub use program::mounter;
pub use tls::{Authority, Identity};
pub use tool::inotify;
