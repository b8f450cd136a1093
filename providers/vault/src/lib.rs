//! Secrets from HashiCorp Vault and OpenBao, by the manifests that upstream's `vault` provider reads.
//!
//! What an answer means:
//!
//! | answer | to a read | to a login |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | 2xx, no JSON object or none of this API's; longer than `max_body` | unavailable | unavailable |
//! | 2xx without data | not found | – |
//! | 2xx without a body | invalid | unavailable |
//! | 3xx (never followed) | unavailable | unavailable |
//! | 401 | unauthenticated | unauthenticated |
//! | 403 | denied; also what an ended token gets | unauthenticated |
//! | 404 with the metadata of a version that was deleted or destroyed | revoked | unauthenticated |
//! | 404 | not found | unauthenticated |
//! | 408, 412, 425, 429, 472, 473, 5xx, with `Retry-After` in seconds or as a date | unavailable | unavailable |
//! | any other 4xx | invalid | unauthenticated |
//!
//! How long a reading is good for: as long as its lease; without one, a certificate or a wrapping that was
//! made for us (a method other than GET) until it ends; else it is polled. The duration that a KV engine
//! of version 1 gives is advice, not an end. What `ssh/sign` makes has no end that we can see.
//!
//! Who shares a login: pods of one service account, where the mount's answer shows that it judged the
//! service account and nothing else (`metadata.service_account_uid`); otherwise nobody. Logins are known
//! but not kept: one whose [`Session`](provider::Session) nobody holds is gone, so whoever means
//! to read again holds on to it.
//!
//! A token from the outside (`secretfs.dev/auth: token`) is never revoked. A volume that needs a login of its
//! own gets a child of it, where the token may make one (`auth/token/create`); where not, leases read
//! with it end by their time only, as with batch tokens.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod call;
mod certificate;
#[cfg(feature = "client")]
mod client;
mod config;
mod declaration;
mod exposure;
mod golang;
mod meaning;
mod objects;
mod parameters;
mod server;

pub use answer::{extract, reading};
pub use call::Call;
#[cfg(feature = "client")]
pub use client::{Vault, VaultSettings};
pub use config::VaultConfig;
pub use declaration::DECLARATION;
pub use meaning::{Asked, Refusal};
pub use parameters::{AUTH, Plan, SHARE};
pub use provider_client::Patience;
pub use server::Server;
