//! Native Secrets of Kubernetes, `provider: kubernetes`: read with the pod's own token, judged by its
//! own RBAC, pushed by a watch. Nothing here acts as anybody else, so no right to Secrets is needed
//! by who runs it.
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
//! One watch for each Secret of one identity, however many volumes show it, while one of them does. It
//! brings metadata, no values: a change is announced, and whoever holds the Secret reads it again, so
//! that RBAC judges each reading. Without the verb `watch` Secrets are polled, which is told once; past
//! [`KubernetesConfig::most_watches`] they are polled as well. A watch goes on with the newest token
//! that any volume of its identity was given.

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
