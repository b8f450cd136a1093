//! Accounts of CyberArk's Central Credential Provider against a **stub**, `hack/servers/ccp.py`, which says what it cannot
//! show; and against a server that misbehaves on order.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod conformance;
mod contract;
mod example;
mod faults;
mod support;
