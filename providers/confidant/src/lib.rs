//! Credentials of a service at Confidant, `provider: confidant`.
//!
//! A reader shows Confidant a token of kmsauth: a text about its validity, encrypted by AWS KMS for a context that
//! names the service. KMS encrypts that for nobody but who may use the key for this service.
//!
//! What an answer means:
//!
//! | answer | of Confidant | of AWS |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | 2xx that is none of this API's, is about another service, or is longer than [`ConfidantConfig::max_body`] | unavailable | unavailable |
//! | 2xx without the credential or the key | not found | – |
//! | 2xx in which the credential or the service is disabled | revoked | – |
//! | 3xx (never followed) | unavailable | unavailable |
//! | 401 | unauthenticated | unauthenticated if AWS says why, else unavailable |
//! | 403 with a word about rights | denied | as the error's name says |
//! | 403 with Confidant's own page, by which it refuses a token | unauthenticated | – |
//! | 404 in Confidant's own form | not found | as the error's name says |
//! | any other 4xx in Confidant's own form | invalid | as the error's name says |
//! | 4xx of anybody else, such as a proxy's page | unavailable | unavailable |
//! | 408, 425, 429, 5xx, with `Retry-After` | unavailable | unavailable |
//!
//! Names of errors of AWS: those that shed load or are its own faults are *unavailable*; `AccessDenied…` is
//! *unauthenticated* at STS and *denied* at KMS; those about a key that is not there or not usable are *invalid*; all
//! others are *unauthenticated*.
//!
//! # Calls
//!
//! One call brings every credential of the service, however many files a class makes of them. A login is one call to
//! KMS, and one to STS before it if the pod's token is exchanged.
//!
//! # What is not there
//!
//! Blind credentials: their values are encrypted for each region by a key that the service's own role uses. Revisions
//! before the newest: Confidant shows them to people and not to services.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod aws;
mod confidant;
mod config;
mod declaration;
mod kmsauth;
mod login;
mod meaning;
mod objects;
mod parameters;
mod servers;
mod session;
mod settings;

pub use confidant::Confidant;
pub use config::ConfidantConfig;
pub use declaration::DECLARATION;
pub use provider_client::Patience;
pub use settings::ConfidantSettings;
