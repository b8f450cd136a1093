//! What secretfs asks of a secret store, and what it gets back.
//!
//! A provider is one crate that implements [`Provider`]. It knows its store's
//! API and nothing of CSI, Kubernetes objects, mounts or another provider;
//! secretfs knows those and nothing of any store.
//!
//! ```text
//! Provider ──source(parameters)──► Source ──session(workload)──► Session ──read(request)──► Reading
//!                                    └──────────extract(object, reading)──► Object
//! ```
//!
//! A simple store, which has no logins, implements two traits: [`Provider`] and [`Store`]. A store with logins
//! implements the three of the picture. What only some stores have is a trait of its own, which these give out:
//!
//! | a store that | implements | given out by |
//! |---|---|---|
//! | hands out leases, which end with the login | [`Leases`], [`Endings`] | [`Session::leases`], [`Provider::endings`] |
//! | tells only by its answer which files there are | [`Whole`] | [`Source::whole`] |
//! | can list, so that a class may ask for all that is found | [`Tree`], [`Leaf`] | [`Source::trees`] |
//!
//! A whole store:
//!
//! ```
#![doc = include_str!("../doc/shelf.rs")]
//! ```

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod declaration;
mod doubling;
mod encoding;
mod error;
mod identity;
mod leases;
mod object;
mod path;
mod query;
mod restarts;
mod secret;
mod settings;
mod shares;
mod site;
mod span;
mod store;
mod tree;
mod whole;

pub use declaration::{Declaration, Holds, Key};
pub use doubling::Doubling;
pub use encoding::Encoding;
pub use error::{Error, ErrorKind, Result};
pub use identity::Identity;
pub use leases::{Endings, Leases};
pub use object::{LeaseId, Object, ObjectRef, Origin, Ownership, Reading, Request, Scope, Validity};
pub use path::{FileMode, InvalidMode, InvalidPath, ObjectPath};
pub use query::{Found, Query};
pub use restarts::{Pauses, Restarts};
pub use secret::SecretBytes;
pub use settings::{MachineIdentity, Network, Settings};
pub use shares::{Counts, Share, TenantShares, leaves_room};
pub use site::{Lent, Site};
pub use span::{Moment, Span};
pub use store::{Store, listed};
pub use tree::{Leaf, MOST_TREE_BYTES, Packed, Tree};
pub use whole::Whole;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// For whom a secret is read: what the store may judge.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The pod's service account.
    pub identity: Identity,
    /// The pod, where there is one.
    pub pod: Option<Pod>,
    /// The volume read for. Leases and logins that cannot be shared are its own.
    pub volume: String,
    /// Bound service account tokens by audience, as kubelet handed them over.
    pub tokens: BTreeMap<String, SecretBytes>,
    /// Credentials that are not the pod's token: `nodePublishSecretRef`'s keys, or `--credential KEY=FILE`.
    pub credentials: BTreeMap<String, SecretBytes>,
}

impl Workload {
    /// Whether it came with a token or another credential.
    pub fn has_credentials(&self) -> bool {
        !(self.tokens.is_empty() && self.credentials.is_empty())
    }
}

/// A pod's identity, as kubelet vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// `spec.parameters` of a class without the `secretfs.dev/` keys, which are not a provider's business.
pub type Parameters = BTreeMap<String, String>;

/// A parameter that could never work as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The parameter, as in `objects`, or `objects[2].secretPath` inside one.
    pub key: String,
    /// Line inside the parameter's text, from 1, where it has lines of its own.
    pub line: Option<usize>,
    /// What is wrong, in one clause.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Invalid {
    /// A parameter, what is wrong with it, and what to write instead.
    pub fn new(key: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), line: None, reason: reason.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameter {}", self.key)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// A way to a store that others on it can read or answer on, because the class's author asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The parameter that asks for it, what that means, and how to do without.
    pub asked: Invalid,
    /// Whether the administrator allows it. Where not, every session is refused as `Invalid`.
    pub is_allowed: bool,
}

/// A kind of store.
///
/// Implementations hold connections and logins, never per-volume state: one
/// value serves every volume of the node, from many tasks at once. Everything
/// they spawn ends with the value; every wait has a deadline of its own.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// The names a class may give in `spec.provider`; the first is used in logs and metrics.
    fn names(&self) -> &'static [&'static str];

    /// How old a reading may grow where the class does not say.
    fn default_refresh(&self) -> Duration;

    /// The keys of the credentials that a workload may bring ([`Workload::credentials`]) and that some class makes this
    /// provider look at; `None` where it hands on whatever there is.
    fn credential_keys(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Understands the parameters of a class of `namespace`, offline. What the administrator keeps for the
    /// classes of one namespace is for no other's.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, in the order it stands there. Never empty.
    fn source(
        &self,
        namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>>;

    /// How often a task that watches a store for this provider ended by itself, and was begun anew.
    fn watch_restarts(&self) -> u64 {
        0
    }

    /// What works as written and may not be what was meant, such as keys that nobody reads.
    fn remarks(&self, _parameters: &Parameters) -> Vec<Invalid> {
        Vec::new()
    }

    /// How logins that leases hang on are ended, where the store has such.
    fn endings(&self) -> Option<&dyn Endings> {
        None
    }
}

/// What one class asks of one store.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Which store: its address and whatever else changes who answers. Outages are counted by it.
    fn store(&self) -> &str;

    /// The audience whose service account token [`session`](Self::session) needs, if any.
    fn audience(&self) -> Option<&str> {
        None
    }

    /// Whether a session needs tokens or credentials that came with the volume.
    fn needs_credentials(&self) -> bool {
        self.audience().is_some()
    }

    /// What the class reads, in its order. Paths are unique.
    fn objects(&self) -> &[ObjectRef];

    /// How everything is read at once, where only an answer tells which [`objects`](Self::objects) there are; none are
    /// listed then.
    fn whole(&self) -> Option<&dyn Whole> {
        None
    }

    /// The listings of which the class shows every file, beside [`objects`](Self::objects).
    fn trees(&self) -> &[Tree] {
        &[]
    }

    /// A login for `workload`: one that its service account shares, or one of the volume alone.
    ///
    /// Logins are coalesced, shared while somebody holds their session, and made again when
    /// they have ended or were [discarded](Session::discard). One that nobody holds any more is
    /// wiped, so hold a session for as long as there is more to read. A provider whose logins can
    /// tell pods apart never shares them, whatever `tenure` asks.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` or `Denied` name the identity that was refused.
    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>>;

    /// The file that `objects()[index]` makes of a reading of its request: all of it, where a store does not say
    /// otherwise.
    ///
    /// # Errors
    ///
    /// `NotFound` where the answer lacks the key, `Invalid` where it cannot be decoded.
    fn extract(&self, _index: usize, reading: &Reading) -> Result<Object> {
        Ok(Object { contents: reading.body.clone(), significant: None, version: reading.version.clone() })
    }

    /// Whether the class asks for a way to its store that others can read or answer on.
    fn exposure(&self) -> Option<&Exposure> {
        None
    }

    /// Where the store keeps `objects()[index]`, for who asks later which secret a file was made of.
    fn origin(&self, index: usize) -> Origin {
        let path = self.objects().get(index).map(|object| object.name.clone());
        Origin {
            address: self.store().to_owned(),
            scope: Scope::Whole,
            path: path.unwrap_or_default(),
            key: None,
        }
    }

    /// How many requests such as that of `objects()[index]` one call to the store takes, for who counts calls
    /// beforehand; `None` where reading again calls nobody, because the store tells what changes or is on this host.
    fn requests_per_call(&self, _index: usize) -> Option<NonZeroUsize> {
        Some(NonZeroUsize::MIN)
    }

    /// Announcements that the store may hold something new, for stores that push. Asked for
    /// before the first read, so that no change falls between.
    fn changes(&self) -> Option<Box<dyn Changes>> {
        None
    }
}

/// Whether a login may serve other volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tenure {
    /// As widely as the login method allows.
    Shared,
    /// This volume's own; it owns the leases read through it.
    Volume,
}

/// A store's announcements.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Waits for the next announcement and tells when it was noticed. Announcements
    /// that came together are one. Never returns once the store cannot announce any more.
    async fn changed(&mut self) -> Instant;
}

/// A login: what the store knows the reader as.
#[async_trait]
pub trait Session: fmt::Debug + Send + Sync {
    /// Whom the store judged, for people and for sharing: readings of one store
    /// by sessions of equal identity are interchangeable.
    fn identity(&self) -> &str;

    /// Announcements that the answers to `requests` may have changed, for stores that tell each
    /// reader for itself; they take the place of the [source's](Source::changes). Asked for before
    /// the first read. Who holds the announcements need not hold the session.
    fn changes(&self, _requests: &[Request]) -> Option<Box<dyn Changes>> {
        None
    }

    /// Newer tokens of a workload that this session was given to, for sessions that go on using
    /// tokens by themselves. Asks nobody.
    fn hand_over(&self, _workload: &Workload) {}

    /// One call to the store.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; the message names the request, the store's words and the remedy, never a value.
    async fn read(&self, request: &Request) -> Result<Reading>;

    /// Which of `requests` go into one call of [`read_many`](Self::read_many): each alone, for a store that does not
    /// say otherwise. Every request is in one group, none is in two.
    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        requests.into_iter().map(|request| vec![request]).collect()
    }

    /// One call for all of `queries`, which [`calls`](Self::calls) put together. Answers to each, in their order; of a
    /// call that failed as a whole each is its error.
    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            found.push(self.read(&query.request).await.map(Found::New));
        }
        found
    }

    /// Forgets this login, so that the next [`Source::session`] makes a new one.
    fn discard(&self) {}

    /// What can be done about leases that were read through this session, where the store has such.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
}
