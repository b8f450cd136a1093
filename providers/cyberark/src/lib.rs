//! Accounts of CyberArk's Enterprise Password Vault, `provider: cyberark`, by its Central Credential Provider (CCP,
//! AIMWebService).
//!
//! What an answer means:
//!
//! | answer | means |
//! |---|---|
//! | no connection, no name, TLS that cannot be trusted, silence, a cut | unavailable |
//! | 2xx that is none of this API's, is about another object, or is longer than [`CyberArkConfig::max_body`] | unavailable |
//! | 2xx or an error that says that the password is being changed, still after [`ATTEMPTS`] calls | unavailable, ask again in five seconds |
//! | 2xx without the property | not found |
//! | 3xx (never followed) | unavailable |
//! | an error `APPAP306E`, or 401 in CCP's own form | unauthenticated |
//! | an error `APPAP004E`, or 404 in CCP's own form | not found |
//! | an error `APPAP227E`, `APPAP228E` or `APPAP229E`: several objects fit | invalid |
//! | any other 403 in CCP's own form, such as `APPAP008E` | denied |
//! | any other 4xx in CCP's own form | invalid |
//! | 4xx of anybody else, such as a proxy's page | unavailable |
//! | 408, 425, 429, 5xx, with `Retry-After` | unavailable |
//!
//! No answer means *revoked*: CCP does not tell an account that was deleted from one that the application may not see.
//!
//! # Who reads
//!
//! CCP knows an application by its name and its client certificate. The certificate comes with the volume, or is in
//! the directory of the class's namespace. secretfs reads nothing without one: CCP would then know the application by
//! the address of the node alone, and every pod of the node would be that application.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod answer;
mod config;
mod cyberark;
mod declaration;
mod meaning;
mod objects;
mod parameters;
mod query;
mod servers;
mod session;
mod settings;

pub use config::CyberArkConfig;
pub use cyberark::CyberArk;
pub use declaration::DECLARATION;
pub use provider_client::Patience;
pub use session::ATTEMPTS;
pub use settings::CyberArkSettings;
