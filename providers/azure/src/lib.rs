//! Secrets, keys and certificates from Azure Key Vault, by the manifests that upstream's `azure` provider reads.
//!
//! What an answer means:
//!
//! | answer | of a vault | to a login |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | 2xx that is no such object, or longer than `max_body` | unavailable | unavailable |
//! | 2xx, and the object is disabled | revoked | – |
//! | 2xx, and the object is not valid yet | not found | – |
//! | 2xx, and the object has expired | served; revoked with `on-expired: remove` | – |
//! | 3xx (never followed) | unavailable | unavailable |
//! | 401 | unauthenticated | unauthenticated |
//! | 403 with an inner code that ends in `Disabled` | revoked | unauthenticated |
//! | 403 | denied | unauthenticated |
//! | 404, and the vault has the object among its deleted ones | revoked | – |
//! | 404 | not found | unauthenticated; of a machine's endpoint unavailable |
//! | 408, 409, 410, 425, 429, 5xx, with `Retry-After` in seconds or as a date | unavailable | unavailable |
//! | `temporarily_unavailable`, `server_error` | – | unavailable |
//! | any other 4xx | invalid | unauthenticated |
//!
//! Whether an object was deleted is asked after each 404, once: who may not know (the right `get` for deleted objects)
//! sees an object that is absent.
//!
//! Who shares a login: pods of one service account with the same application, as Entra ID judges nothing else; with a
//! client secret those that have the same one; nobody else. A login ends with its access token.
//!
//! **Why there is no SDK here.** Four GETs and one POST are made, over the connections that every store of secretfs has.
//! The crates `azure_security_keyvault_*` 1.0 and `azure_core` 1.1 could work over these connections too, and bring 13
//! crates, none of which has TLS. But each of their clients sends its first call without a token and takes what the token
//! is for from the vault's answer. That is one more call for each type of object and login, and it is the vault's word on a
//! matter that is the administrator's. And they keep values in texts that are not wiped.

#![cfg_attr(
    not(feature = "client"),
    allow(dead_code, reason = "much of what is understood is asked for by the client only")
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod call;
#[cfg(feature = "client")]
mod client;
mod cloud;
mod config;
mod contents;
mod declaration;
mod listed;
mod meaning;
mod objects;
mod parameters;

pub use answer::{extract, reading};
pub use call::Call;
#[cfg(feature = "client")]
pub use client::{Azure, AzureSettings};
pub use config::AzureConfig;
pub use declaration::DECLARATION;
pub use meaning::{Asked, Refusal};
pub use parameters::Plan;
pub use provider_client::Patience;
