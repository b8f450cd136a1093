//! Variables of CyberArk Conjur against a **stub**, `hack/servers/conjur.py`, which says what it cannot show.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests fail loudly")]

mod conformance;
mod contract;
mod example;
mod faults;
mod identities;
mod support;
mod values;
