//! What a client of a store is made of, for every store that is reached over HTTP.
//!
//! A provider says what it asks and what the answers mean; how a store is reached is the same for all:
//!
//! | part | is |
//! |---|---|
//! | [`Tls`], [`CertificatePath`], [`plain_address`] | settings of a class over the administrator's |
//! | [`Patience`] | how long to wait for what |
//! | [`retry_after`], [`words`] | what a store says beside its answer |

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod address;
mod patience;
mod said;
mod tls_settings;

pub use address::plain_address;
pub use patience::Patience;
pub use said::{retry_after, words};
pub use tls_settings::{CertificatePath, Tls};
