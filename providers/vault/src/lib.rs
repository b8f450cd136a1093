//! Secrets from HashiCorp Vault and OpenBao, for the manifests of the upstream `vault` provider.
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
//! How long a reading is valid: as long as its lease. Without a lease, a certificate or a wrapped answer that this call
//! created (a method other than GET) is valid until its end. Everything else is polled. The duration that a KV engine
//! of version 1 states is advice and not an end. The result of `ssh/sign` shows no end.
//!
//! Who shares a login: the pods of one service account, if the mount's answer shows that it checked the service account
//! and nothing else (`metadata.service_account_uid`). Otherwise nobody shares it. This crate does not keep logins
//! alive: when the last holder drops a [`Session`](provider::Session), the login is gone. So a caller that wants to
//! read again holds the session.
//!
//! A token that the user gave (`secretfs.dev/auth: token`) is never revoked. A volume that needs a login of its own
//! gets a child token, if the token may create one (`auth/token/create`). If not, leases that are read with it end only
//! when their time is over, as with batch tokens.

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
mod transit;

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
