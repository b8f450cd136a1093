use async_trait::async_trait;

use crate::{LeaseId, Result, SecretBytes, Validity};

/// A session whose readings may hang on leases. A lease lasts as long as the login that it was read with, so a volume
/// that holds one has a login of its own, prolongs it, and sees to it that it ends.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Makes the session the caller's alone: nobody else is given it from now on.
    /// `false` if somebody else has it already.
    fn claim(&self, volume: &str) -> bool;

    /// How long the login itself lives from when this is asked; `None` where it does not end by itself.
    fn validity(&self) -> Option<Validity>;

    /// Prolongs the login and tells what was granted.
    ///
    /// # Errors
    ///
    /// `Denied` if it cannot be prolonged, `Unavailable` if it is worth another try.
    async fn renew(&self) -> Result<Validity>;

    /// Prolongs a lease read through this session and tells what was granted.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew).
    async fn renew_lease(&self, lease: &LeaseId) -> Result<Validity>;

    /// Ends the login and every lease read through it.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it is worth another try. A session that has ended already is `Ok`.
    async fn revoke(&self) -> Result<()>;

    /// What [`Endings::revoke`] needs to end this session later; `None` if nothing need be ended. Secret.
    fn remains(&self) -> Option<SecretBytes>;
}

/// Ends sessions from what is left of them, perhaps in a process that never made one.
#[async_trait]
pub trait Endings: Send + Sync {
    /// Which store would end a session, as [`Source::store`](crate::Source::store) names it, where `remains` tells.
    /// Sessions of one store wait for each other while it hangs, and for no others.
    fn store_of(&self, remains: &SecretBytes) -> Option<String>;

    /// Ends a session from what [`Leases::remains`] told.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it is worth another try. A session that has ended already is `Ok`.
    async fn revoke(&self, remains: &SecretBytes) -> Result<()>;
}
