//! Against a **stub** of Key Vault and Entra ID (`hack/servers/keyvault.py`), which says what it cannot show, against
//! Microsoft's own fake of the API (`hack/servers/azsecrets`), and against answers that are written here.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail loudly"
)]

mod contract;
mod example;
mod identities;
mod listing;
mod revocation;
mod second_opinion;
mod support;
mod validity;
