//! Secrets of Google Secret Manager and rendered parameters of Parameter Manager, `provider: gcp`, by the manifests
//! that upstream's `gcp` provider reads.
//!
//! What an answer means:
//!
//! | answer | to a read | to a login |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | 2xx that is none of this API's, is about something else, or is longer than `max_body` | unavailable | unavailable |
//! | 2xx with a wrong `dataCrc32c` | unavailable | – |
//! | 3xx (never followed) | unavailable | unavailable |
//! | 400 `FAILED_PRECONDITION`, which says that the version is DISABLED or DESTROYED | revoked | – |
//! | any other `FAILED_PRECONDITION`, such as a key of Cloud KMS that cannot be used | denied | – |
//! | 401 | unauthenticated | unauthenticated |
//! | 403 | denied | unauthenticated; denied where it is about reading as another service account |
//! | 404 | not found | unauthenticated |
//! | 408, 409, 425, 429, 499, 5xx, with `Retry-After` or `RetryInfo` | unavailable | unavailable |
//! | any other 4xx | invalid | unauthenticated |
//! | 4xx without an error of Google's form, such as a proxy's page | unavailable | unavailable |
//!
//! A secret that was deleted as a whole is *not found*: Google does not say that it was there.
//!
//! # Why not Google's crates
//!
//! `google-cloud-auth` and the crates of the services bring an HTTP client of their own. It has no interface for
//! certificate authorities, takes a proxy from the environment, and reads an answer of any length. Two REST calls and
//! four kinds of login are written here instead, over the connections that all stores share.
//!
//! # Who shares a login
//!
//! Google sees the service account, and nothing else of the pod's token, in the identity namespace of a GKE cluster
//! or of a fleet: pods of one service account share a login there. A provider of workload identity federation may map
//! any claim of the token to attributes that rights hang on, also the pod's name, and nothing tells which. So each
//! pod logs in for itself, unless the class says `secretfs.dev/share: service-account`.
//!
//! # What is not there
//!
//! Delegates on the way to a Google service account (`iam.gke.io/gcp-service-account-delegates`) are not supported.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
#[cfg(feature = "client")]
mod client;
mod config;
mod declaration;
mod endpoints;
mod exposure;
mod extract;
mod federation;
mod grants;
mod key_file;
mod listed;
mod meaning;
mod objects;
mod opened;
mod parameters;
mod resource;

pub use answer::reading;
#[cfg(feature = "client")]
pub use client::{Gcp, GcpSettings};
pub use config::GcpConfig;
pub use declaration::DECLARATION;
pub use extract::extract;
pub use grants::{Granted, account_token, token};
pub use key_file::KeyFile;
pub use meaning::{Asked, Refusal};
pub use parameters::Plan;
pub use provider_client::Patience;
pub use resource::Resource;
