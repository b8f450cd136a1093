//! The provider against drongo, a server of Secret Manager, behind a stub of what drongo lacks, and against servers that
//! misbehave on order.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod contract;
mod example;
mod faults;
mod identities;
mod keys;
mod listing;
mod support;
mod values;
