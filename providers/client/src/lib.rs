//! What a client of a store is made of, for every store that is reached over HTTP.
//!
//! A provider says what it asks and what the answers mean; how a store is reached is the same for all:
//!
//! | part | is |
//! |---|---|
//! | [`Tls`], [`CertificatePath`], [`plain_address`], [`is_near`], [`refuse_exposure`] | settings of a class over the administrator's |
//! | [`Patience`], [`Names`] | how long to wait for what; what a store's settings are called in remedies |
//! | [`is_outage`], [`reason`], [`retry_after`], [`words`] | what a store says beside its answer, and in place of one |
//! | [`SecretText`] | a secret in an answer |
//! | [`Whom`] | whom a login is for |
//! | `Connections`, `Connection` | calls with deadlines and bounded answers, and why one got no answer, in words |
//! | `Material`, `ClientPair` | authorities and client certificates, as they are on the disk |
//! | `Logins`, `Place`, `Turn` | one login for whoever may share it, made once however many ask at once |
//! | `credential`, `service_account_token`, `Fingerprints` | what a workload proves itself by |
//!
//! Those without a link are the cargo feature `http`. Without it the crate has neither TLS nor HTTP, so that parsers
//! that are made of it can be fuzzed alone.

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
