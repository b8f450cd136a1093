//! Tests of the whole program with real mounts, real servers and real processes. They need root.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test arranges has to fail it loudly"
)]

mod arrows;
mod audit_trail;
mod audited;
mod aws;
mod behaviours;
mod canary;
mod chaos;
mod check;
mod commands;
mod confidant;
mod confined;
mod conjur;
mod counted;
#[cfg(feature = "failpoints")]
mod crash;
mod cyberark;
mod docs;
mod dropin;
mod embedded;
mod explain;
mod external;
mod fuse;
mod fuse_access;
#[cfg(feature = "failpoints")]
mod fuse_node;
#[cfg(feature = "failpoints")]
mod fuse_upgrade;
mod google;
mod healthz;
mod hygiene;
mod image;
mod keyvault;
mod kill;
mod kms;
mod kubelet;
mod migrate;
mod modes;
mod mount_identity;
mod mounter;
mod mounter_away;
mod mounter_hangs;
mod on_a_host;
#[cfg(feature = "failpoints")]
mod on_open;
mod openbao;
mod plain_host;
mod release;
mod retired;
mod rollback;
mod rotation;
mod sample_store;
mod sanity;
mod sealed;
mod sealed_elsewhere;
mod semantics;
mod store;
mod strangers;
mod subpath;
mod support;
mod takeover;
mod telling;
mod tenants;
mod tmpfs;
mod unprivileged_node;
mod unread;
