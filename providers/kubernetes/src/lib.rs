//! Native Kubernetes Secrets, `provider: kubernetes`. They are read with the pod's own token, so RBAC decides what the
//! pod may read, and a watch announces changes. This crate never uses another identity, so the process that runs it
//! needs no right to read Secrets.
//!
//! What an answer means:
//!
//! | answer | means |
//! |---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable |
//! | 2xx that is no Secret; longer than 4 MiB | unavailable |
//! | 2xx without the key | not found |
//! | 3xx (never followed) | unavailable |
//! | 400, 405, 406, 415, 422 and any other 4xx | invalid |
//! | 401 | unauthenticated: the token has ended, or is meant for another audience |
//! | 403 | denied |
//! | 404 of the API server after its watch announced that the Secret was deleted | revoked |
//! | 404 of the API server | not found |
//! | 404 of anybody else | unavailable |
//! | 408, 409, 410, 425, 429, 5xx, with `Retry-After` in seconds or as a date, or in the answer's details | unavailable |
//!
//! # Watching
//!
//! There is one watch per Secret and identity, however many volumes show the Secret, as long as one of them does. It
//! brings metadata and no values. A change is announced, and each holder of the Secret reads it again, so that RBAC
//! checks every reading. Without the right to `watch`, Secrets are polled, and the log says so once. Beyond
//! [`KubernetesConfig::most_watches`] they are polled as well. A watch uses the newest token that any volume of its
//! identity got.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod config;
mod connection;
mod declaration;
mod followed;
mod meaning;
mod objects;
mod reader;
mod secret;
mod settings;
mod source;
mod watch;

pub use config::KubernetesConfig;
pub use declaration::DECLARATION;
pub use settings::KubernetesSettings;
pub use source::Kubernetes;
