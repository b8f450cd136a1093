//! Tests the store as its users meet it: writers without the root key, readers with it, and attackers with neither.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test cannot do without fails it")]

mod attacker;
mod changes;
mod contract;
mod deleting;
mod fixture;
mod forged;
mod hostile;
mod reading;
mod rollback;
mod rotation;
mod secrecy;
mod writing;
