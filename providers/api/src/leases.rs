use async_trait::async_trait;

use crate::{LeaseId, Result, SecretBytes, Validity};

/// A session whose readings may have leases. A lease lasts at most as long as the login that read it. So a volume with
/// a lease has a login of its own, renews it, and makes sure that it ends.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Makes the session the caller's alone: from now on no other volume gets it. `false` if another volume already has
    /// it.
    fn claim(&self, volume: &str) -> bool;

    /// How long the login lives from now on; `None` if it does not end by itself.
    fn validity(&self) -> Option<Validity>;

    /// Renews the login and returns how long it lives now.
    ///
    /// # Errors
    ///
    /// `Denied` if the store does not renew it, `Unavailable` if another try may succeed.
    async fn renew(&self) -> Result<Validity>;

    /// Renews a lease that was read through this session and returns how long it lives now.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew).
    async fn renew_lease(&self, lease: &LeaseId) -> Result<Validity>;

    /// Ends the login and every lease that was read through it.
    ///
    /// # Errors
    ///
    /// `Unavailable` if another try may succeed. A session that has already ended is `Ok`.
    async fn revoke(&self) -> Result<()>;

    /// What [`Endings::revoke`] needs to end this session later; `None` if there is nothing to end. Secret.
    fn remains(&self) -> Option<SecretBytes>;
}

/// Ends sessions from their [`remains`](Leases::remains), even in a process that never made a session.
#[async_trait]
pub trait Endings: Send + Sync {
    /// The store that can end the session, by the name of [`Source::store`](crate::Source::store), if `remains` says
    /// it. While that store hangs, only its own sessions wait for it.
    fn store_of(&self, remains: &SecretBytes) -> Option<String>;

    /// Ends a session from what [`Leases::remains`] returned.
    ///
    /// # Errors
    ///
    /// `Unavailable` if another try may succeed. A session that has already ended is `Ok`.
    async fn revoke(&self, remains: &SecretBytes) -> Result<()>;
}
