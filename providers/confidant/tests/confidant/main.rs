//! Credentials of services against a real Confidant, which a real moto stands behind in the place of AWS; and against a
//! server that misbehaves on order.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod contract;
mod example;
mod faults;
mod identities;
mod support;
mod values;
