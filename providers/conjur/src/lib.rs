//! Variables of CyberArk Conjur, `provider: conjur`, by the classes that upstream's `conjur` provider reads.
//!
//! What an answer means:
//!
//! | answer | to a read | to a login |
//! |---|---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable | unavailable |
//! | 2xx that is none of this API's, a page, or longer than [`ConjurConfig::max_body`] | unavailable | unavailable |
//! | 3xx (never followed) | unavailable | unavailable |
//! | 401 | unauthenticated | unauthenticated |
//! | 403 | denied | unauthenticated |
//! | 404 in Conjur's own form | not found | unauthenticated |
//! | any other 4xx in Conjur's own form, such as 406 and 422 | invalid | unauthenticated |
//! | 401 or 403 with a page, and any other 4xx that is not in Conjur's own form | unavailable | unavailable |
//! | 408, 425, 429, 5xx, with `Retry-After` | unavailable | unavailable |
//!
//! No answer means *revoked*: Conjur does not say that a variable was there. To who may not see a variable it says that
//! there is none.
//!
//! # Calls
//!
//! The newest values of up to 50 variables come in one call. That call fails as a whole if one of them is missing or
//! may not be read. Then each variable is read by a call of its own, so that the others arrive.
//!
//! An answer with values has no version. A class that wants version numbers (`versionNumbers`) makes two calls for
//! each variable: one for its newest number, and one for the value of that number.
//!
//! # Who shares a login
//!
//! An authenticator `authn-jwt` may map any claim of the token to annotations of a host, also the pod's name, and
//! nothing tells which. So each pod logs in for itself, unless the class says `secretfs.dev/share: service-account`.
//!
//! # What is not there
//!
//! The pod's annotation `conjur.org/secrets` is not read: the same list is in the class, under `secrets`. secretfs asks
//! no API server before it mounts a volume.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod call;
mod config;
mod conjur;
mod declaration;
mod login;
mod meaning;
mod objects;
mod parameters;
mod servers;
mod session;
mod settings;

pub use config::ConjurConfig;
pub use conjur::Conjur;
pub use declaration::DECLARATION;
pub use provider_client::Patience;
pub use settings::ConjurSettings;
