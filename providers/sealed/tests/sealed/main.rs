//! Tests the provider with keys of a stub that answers as OpenBao's transit engine does, and of a real one.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod age;
mod aws;
mod contract;
mod openbao;
mod texts;
