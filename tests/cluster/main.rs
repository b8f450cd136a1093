//! Tests that need a real Kubernetes: the chart with its API server, pods and their volumes. Needs root.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test arranges has to fail it loudly"
)]

#[path = "../suite/embedded.rs"]
mod embedded;
#[path = "../suite/modes/again.rs"]
mod modes;

// `hack/test` recognises these tests by the name of the module.
#[path = "."]
mod cluster {
    mod api;
    mod chart;
    mod docs;
    mod doctor;
    mod e2e;
    mod migrate;
    mod native_secrets;
}
