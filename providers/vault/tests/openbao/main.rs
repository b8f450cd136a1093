//! Tests the provider with a real OpenBao, a real PostgreSQL, and servers that misbehave on purpose.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod contract;
mod example;
mod faults;
mod leases;
mod logins;
mod security;
mod support;
