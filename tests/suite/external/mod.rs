//! External providers, like those of the upstream driver, and our own providers served to other drivers.

#[cfg(feature = "failpoints")]
mod deaths;
mod provider;
mod served;
mod serving;
mod unprivileged;
mod world;
mod writing;
