//! What secretfs asks of a secret store, and what it gets back.
//!
//! A provider is one crate that implements [`Provider`]. It knows its store's API, and knows nothing of CSI, Kubernetes
//! objects, mounts or other providers. secretfs knows those, and knows nothing of any store.
//!
//! ```text
//! Provider ──source(parameters)──► Source ──session(workload)──► Session ──read(request)──► Reading
//!                                    └──────────extract(object, reading)──► Object
//! ```
//!
//! A simple store, which has no logins, implements two traits: [`Provider`] and [`Store`]. A store with logins
//! implements the three traits of the picture. Features that only some stores have are separate traits, which these
//! methods return:
//!
//! | a store that | implements | given out by |
//! |---|---|---|
//! | hands out leases, which end with the login | [`Leases`], [`Endings`] | [`Session::leases`], [`Provider::endings`] |
//! | tells only by its answer which files there are | [`Whole`] | [`Source::whole`] |
//! | can list, so that a class may ask for all that is found | [`Tree`], [`Leaf`] | [`Source::trees`] |
//! | encrypts and decrypts with keys that never leave it | [`Keys`], [`Keyring`] | [`Provider::keys`] |
//!
//! A whole store:
//!
//! ```
#![doc = include_str!("../doc/shelf.rs")]
//! ```

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod accounts;
mod declaration;
mod doubling;
mod encoding;
mod error;
mod identity;
mod keys;
mod leases;
mod object;
pub mod padding;
mod path;
mod providers;
mod query;
mod restarts;
mod secret;
mod settings;
mod shares;
mod site;
mod span;
mod store;
mod tenant;
mod tree;
mod whole;

pub use accounts::{Accounts, LONGEST_ANNOTATION, unfit_annotation};
pub use declaration::{Declaration, Holds, Key};
pub use doubling::Doubling;
pub use encoding::Encoding;
pub use error::{Error, ErrorKind, Result};
pub use identity::Identity;
pub use keys::{Ciphertext, Context, Encrypted, Keyring, Keys, decrypted, held_ciphertext, is_ciphertext};
pub use leases::{Endings, Leases};
pub use object::{LeaseId, Object, ObjectRef, Origin, Ownership, Reading, Request, Scope, Validity};
pub use path::{FileMode, InvalidMode, InvalidPath, ObjectPath};
pub use providers::Providers;
pub use query::{Found, Query};
pub use restarts::{Pauses, Restarts};
pub use secret::SecretBytes;
pub use settings::{MachineIdentity, Network, Settings};
pub use shares::{Counts, Share, TenantShares, leaves_room};
pub use site::{Lent, Site};
pub use span::{Moment, Span};
pub use store::{Store, listed};
pub use tenant::{as_tenant, for_current_tenant, for_tenant};
pub use tree::{Leaf, MOST_TREE_BYTES, Packed, Tree};
pub use whole::Whole;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// The workload for which a secret is read: everything that the store may check.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The pod's service account.
    pub identity: Identity,
    /// The pod; `None` on a plain host.
    pub pod: Option<Pod>,
    /// The volume for which a secret is read. It alone owns its leases, and logins that cannot be shared.
    pub volume: String,
    /// Bound service account tokens by audience, as kubelet sent them.
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

/// A pod's identity. Kubelet vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// `spec.parameters` of a class without the `secretfs.dev/` keys, except the few that providers read too.
pub type Parameters = BTreeMap<String, String>;

/// A parameter that can never work as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The parameter, as in `objects`, or `objects[2].secretPath` inside one.
    pub key: String,
    /// Line inside the parameter's text, from 1, if the text has several lines.
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

    /// All of `faults` in one line.
    pub fn all(faults: &[Self]) -> String {
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl From<Vec<Invalid>> for Error {
    fn from(faults: Vec<Invalid>) -> Self {
        Self::new(ErrorKind::Invalid, Invalid::all(&faults))
    }
}

impl From<Invalid> for Vec<Invalid> {
    fn from(fault: Invalid) -> Self {
        vec![fault]
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

/// An insecure way to a store, which the class's author asks for: others on the way can read the calls, or answer them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The parameter that asks for it, what the danger is, and how to avoid it.
    pub asked: Invalid,
    /// Whether the administrator allows it. If not, every session is refused as `Invalid`.
    pub is_allowed: bool,
}

/// A kind of store.
///
/// Implementations hold connections and logins, but no state of a volume. One value serves every volume of the node,
/// from many tasks at once. All tasks that it spawns end with it, and each of its waits has a deadline.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// The names a class may give in `spec.provider`; the first is used in logs and metrics.
    fn names(&self) -> &'static [&'static str];

    /// The greatest age of a reading before it is read again, for a class that does not set it.
    fn default_refresh(&self) -> Duration;

    /// The keys of [`Workload::credentials`] that this provider uses, for at least some classes. `None` if it passes on
    /// every credential.
    fn credential_keys(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Parses the parameters of a class in `namespace`, offline. What the administrator reserves for the classes of one
    /// namespace is available to that namespace only.
    ///
    /// # Errors
    ///
    /// Every fault of the parameters, in their order. Never empty.
    fn source(
        &self,
        namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>>;

    /// As [`source`](Self::source), for the class `name` of `namespace`. Only a provider whose values are bound to the
    /// class that shows them looks at the name.
    ///
    /// # Errors
    ///
    /// As [`source`](Self::source).
    fn source_of(
        &self,
        namespace: &str,
        _name: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        self.source(namespace, parameters)
    }

    /// The keys of the store that encrypt and decrypt, if it has any.
    fn keys(&self) -> Option<&dyn Keys> {
        None
    }

    /// How often a task that watches a store for this provider ended unexpectedly and was started again.
    fn watch_restarts(&self) -> u64 {
        0
    }

    /// Parameters that work but may be mistakes, such as keys that nobody reads.
    fn remarks(&self, _parameters: &Parameters) -> Vec<Invalid> {
        Vec::new()
    }

    /// Ends logins that have leases, if the store has leases.
    fn endings(&self) -> Option<&dyn Endings> {
        None
    }
}

/// What one class reads from one store.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// The store's name: its address and everything else that decides which server answers. Outages are counted by this
    /// name.
    fn store(&self) -> &str;

    /// The audience of the service account token that [`session`](Self::session) needs, if it needs one.
    fn audience(&self) -> Option<&str> {
        None
    }

    /// Whether a session needs tokens or credentials that came with the volume.
    fn needs_credentials(&self) -> bool {
        self.audience().is_some()
    }

    /// The objects that the class reads, in the class's order. Their paths are unique.
    fn objects(&self) -> &[ObjectRef];

    /// How to read everything with one request, for a store whose answer decides which objects exist. Then
    /// [`objects`](Self::objects) is empty.
    fn whole(&self) -> Option<&dyn Whole> {
        None
    }

    /// The listings of which the class shows every file, beside [`objects`](Self::objects).
    fn trees(&self) -> &[Tree] {
        &[]
    }

    /// A login for `workload`: shared with its service account, or the volume's own.
    ///
    /// Callers that ask at the same time get one login. It is shared as long as somebody holds its session, and made
    /// anew when it has ended or was [discarded](Session::discard). When nobody holds a login any more it is wiped, so
    /// hold the session as long as there is more to read. If the logins of a store can tell pods apart, the provider
    /// never shares them, whatever `tenure` says.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` or `Denied`, with the identity that was refused.
    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>>;

    /// The file that `objects()[index]` makes from a reading of its request. By default it is the whole reading.
    ///
    /// # Errors
    ///
    /// `NotFound` if the answer lacks the key, `Invalid` if it cannot be decoded.
    fn extract(&self, _index: usize, reading: &Reading) -> Result<Object> {
        Ok(Object { contents: reading.body.clone(), significant: None, version: reading.version.clone() })
    }

    /// When the value expires that `reading` brought for `objects()[index]`, in seconds since 1970, if its owner set an
    /// expiry. People are told a week before, and when it is over. [`extract`](Self::extract) says what else that means.
    fn expires(&self, _index: usize, _reading: &Reading) -> Option<i64> {
        None
    }

    /// The insecure way to its store that the class asks for, if it does.
    fn exposure(&self) -> Option<&Exposure> {
        None
    }

    /// Where the store keeps `objects()[index]`. Used later to say which secret a file was made from.
    fn origin(&self, index: usize) -> Origin {
        let path = self.objects().get(index).map(|object| object.name.clone());
        Origin {
            address: self.store().to_owned(),
            scope: Scope::Whole,
            path: path.unwrap_or_default(),
            key: None,
        }
    }

    /// How many requests such as that of `objects()[index]` fit into one call to the store. Used to count calls in
    /// advance. `None` if repeated reads make no calls, because the store announces changes or is on this host.
    fn requests_per_call(&self, _index: usize) -> Option<NonZeroUsize> {
        Some(NonZeroUsize::MIN)
    }

    /// Announcements that the store may have something new, for stores that push. The caller asks for them before the
    /// first read, so that it misses no change.
    fn changes(&self) -> Option<Box<dyn Changes>> {
        None
    }
}

/// Whether a login may serve other volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tenure {
    /// The login may be shared as widely as the login method allows.
    Shared,
    /// The login is this volume's own. The volume owns the leases that are read through it.
    Volume,
}

/// A store's announcements.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Waits for the next announcement and returns the time when it was noticed. Announcements that arrive together
    /// become one. Never returns when the store cannot announce any more.
    async fn changed(&mut self) -> Instant;
}

/// A login: the identity under which the store knows the reader.
#[async_trait]
pub trait Session: fmt::Debug + Send + Sync {
    /// The identity that the store checked, for messages and for sharing: sessions of one store with equal identities
    /// may use each other's readings.
    fn identity(&self) -> &str;

    /// Announcements that the answers to `requests` may have changed, for stores that notify each reader separately.
    /// They replace those of the [source](Source::changes). The caller asks for them before the first read. They work
    /// without the session, so the caller need not hold it.
    fn changes(&self, _requests: &[Request]) -> Option<Box<dyn Changes>> {
        None
    }

    /// Newer tokens of a workload that has this session, for sessions that keep using tokens in the background. Makes
    /// no call.
    fn hand_over(&self, _workload: &Workload) {}

    /// Makes one call to the store.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. The message names the request, the store's words and the remedy, and never a value.
    async fn read(&self, request: &Request) -> Result<Reading>;

    /// Groups `requests` into calls of [`read_many`](Self::read_many). By default each request is a call of its own.
    /// Every request is in exactly one group.
    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        requests.into_iter().map(|request| vec![request]).collect()
    }

    /// Makes one call for all of `queries`, a group made by [`calls`](Self::calls). Returns an answer for each, in the
    /// same order. If the call fails as a whole, each answer is that error.
    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            found.push(self.read(&query.request).await.map(Found::New));
        }
        found
    }

    /// Forgets this login, so that the next [`Source::session`] makes a new one.
    fn discard(&self) {}

    /// Renews and ends leases that were read through this session, if the store has leases.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }
}
