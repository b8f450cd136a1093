//! Secrets from AWS Secrets Manager and the Parameter Store, and what keys of KMS decrypt, by the manifests that upstream's `aws` provider reads.
//!
//! What an answer means:
//!
//! | answer | to a read | to a login |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | success that is none of AWS's; longer than `max_body` | unavailable | unavailable |
//! | no success, and in no words of AWS (a proxy's page, say) | unavailable | unavailable |
//! | 3xx (never followed), 408, 425, 429, 5xx; throttling and internal errors by their codes, whatever the status; `Retry-After` is kept | unavailable | unavailable |
//! | `ResourceNotFoundException`, `ParameterNotFound`, `InvalidParameters`, `NotFoundException` of KMS | not found | – |
//! | `InvalidRequestException` that tells of deletion; a description with `DeletedDate`; a key of KMS that is disabled or waits for its end | revoked | – |
//! | `AccessDeniedException`, `DecryptionFailure`, `InvalidKeyId` | denied | unauthenticated |
//! | an ended token, unknown keys, a bad signature | unauthenticated | unauthenticated |
//! | any other 4xx | invalid | unauthenticated |
//!
//! Regions: everything is asked for in the first region. Only what is unavailable there is asked for in the failover
//! region, as upstream's README has it: that the first region has no such secret, or refuses it, is an answer. (Upstream's
//! code asks both regions each time.)
//!
//! Calls: secrets without a version or stage go into `BatchGetSecretValue` by twenty, parameters into `GetParameters` by
//! ten. An identity that may not make batch calls is remembered and reads its secrets one by one. With
//! `secretfs.dev/probe: describe` a secret that the same login has read is described first, and its value is read only
//! if another version has the stage: who takes `GetSecretValue` away and leaves `DescribeSecret` is noticed with the
//! next login, after an hour at most by default.
//!
//! Listings: parameters below a path come with their values, by ten in a call. Secrets are listed by a hundred, and their
//! values read by twenty. With a probe no value is read as long as the listing tells the same names and versions.
//!
//! KMS: a ciphertext of a class, or one that Secrets Manager or the Parameter Store holds, is one `Decrypt`. Such a login
//! knows the way to KMS besides, and is shared with others that do. The failover region has no part in it: a ciphertext is
//! of one region's key.
//!
//! Who shares a login: pods of one service account, but for EKS Pod Identity, whose sessions carry the pod's name as a
//! tag. On a host nobody. A login ends with its credentials.
//!
//! The requests are written here and signed by `aws-signing`, which uses `aws-sigv4`; AWS's SDK for Rust is not used. With a connector of our own
//! it builds and would work, but it writes whole requests to the log at its lowest level, the pod's token for
//! `AssumeRoleWithWebIdentity` among them, and by a variable of the environment (`LOG_SENSITIVE_BODIES`) whole answers
//! with their values; values lie about in its strings and buffers. That breaks what every provider owes. Nine
//! operations are less code than what hides that from the SDK.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]
#![cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client asks and is answered"))]

mod answer;
mod arn;
mod call;
#[cfg(feature = "client")]
mod client;
mod config;
mod declaration;
mod exposure;
mod listed;
mod meaning;
mod objects;
mod opened;
mod parameters;
mod region;
mod translation;

pub use answer::Keys;
pub use call::Call;
#[cfg(feature = "client")]
pub use client::{Aws, AwsSettings};
pub use config::AwsConfig;
pub use declaration::DECLARATION;
pub use meaning::{Asked, Refusal};
pub use parameters::{AUTH, PROBE, Plan, SHARE};
pub use provider_client::Patience;
