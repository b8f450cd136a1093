//! Tests the provider with a real API server.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what a test asks of its fixtures has to be so"
)]

mod contract;
mod faults;
mod fixture;
mod reading;
mod watching;
