//! External providers, as the upstream driver's are, and our own served to others as one.

#[cfg(feature = "failpoints")]
mod deaths;
mod provider;
mod served;
mod serving;
mod world;
mod writing;
