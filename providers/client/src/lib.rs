//! The parts of a client for a store that is reached over HTTP.
//!
//! A provider decides what it asks and what the answers mean. These parts are the same for all providers:
//!
//! | part | is |
//! |---|---|
//! | [`Tls`], [`CertificatePath`], [`plain_address`], [`is_near`], [`refuse_exposure`] | TLS and address settings of a class on top of the administrator's |
//! | [`Patience`], [`Names`] | the deadlines of a call; the names of a store's settings in remedies |
//! | [`is_outage`], [`reason`], [`retry_after`], [`words`] | what an answer says beside its contents |
//! | [`SecretText`] | a secret inside an answer |
//! | [`Whom`] | the workload, account or volume that a login is for |
//! | `Connections`, `Connection` | calls with deadlines and bounded answers, and errors that say why there was no answer |
//! | `Material`, `ClientPair` | the files of authorities and client certificates |
//! | `Logins`, `Place`, `Turn` | one login for all who may share it, made once even if many ask at the same time |
//! | `credential`, `service_account_token`, `Fingerprints` | the credentials of a workload |
//!
//! The parts without a link need the cargo feature `http`. Without it the crate has neither TLS nor HTTP, so parsers
//! that use it can be fuzzed alone.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod address;
#[cfg(feature = "http")]
mod breakdown;
#[cfg(feature = "http")]
mod connection;
#[cfg(feature = "http")]
mod connections;
#[cfg(feature = "http")]
mod credentials;
#[cfg(feature = "http")]
mod logins;
#[cfg(feature = "http")]
mod lookup;
#[cfg(feature = "http")]
mod material;
mod names;
mod patience;
#[cfg(feature = "http")]
mod place;
mod said;
mod secret_text;
#[cfg(feature = "http")]
mod tls;
mod tls_settings;
#[cfg(feature = "http")]
mod turn;
mod whom;

pub use address::{is_near, plain_address, refuse_exposure};
#[cfg(feature = "http")]
pub use connection::{Answer, Connection, Endpoint, Opened, Proxy, Settings, confidential};
#[cfg(feature = "http")]
pub use connections::Connections;
#[cfg(feature = "http")]
pub use credentials::{Fingerprint, Fingerprints, credential, service_account_token, text};
#[cfg(feature = "http")]
pub use logins::{Key, Logins, Seated};
#[cfg(feature = "http")]
pub use lookup::Lookups;
#[cfg(feature = "http")]
pub use material::{ClientPair, Material};
pub use names::Names;
pub use patience::Patience;
#[cfg(feature = "http")]
pub use place::{Place, Term};
pub use said::{is_outage, reason, retry_after, words};
pub use secret_text::SecretText;
pub use tls_settings::{CertificatePath, Tls};
#[cfg(feature = "http")]
pub use turn::Turn;
pub use whom::Whom;
