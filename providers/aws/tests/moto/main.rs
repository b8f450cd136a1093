//! The provider against a real moto, and servers that misbehave on order.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod annotations;
mod contract;
mod example;
mod failover;
mod judged;
mod kms;
mod listing;
mod logins;
mod many;
mod support;
mod values;
