use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Identity, Parameters, Pod, Provider, SecretBytes, Workload};

use crate::Clause;

/// Every value of this suite contains this text.
pub const VALUE: &str = "canary-value-5e1f";
/// Every token of this suite begins with this text. A store that makes tokens itself puts it into those, too.
pub const TOKEN: &str = "canary-token-9c2b";
/// A text that is only in places that nobody named. A store must never receive it.
pub const CANARY: &str = "canary-ambient-77aa";

/// The workload that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A service account that may read what is [put](Fixture::put).
    One,
    /// Another service account of the namespace, which may read nothing.
    Two,
    /// A service account with the same name as the deleted `One`. It may read nothing.
    Reborn,
    /// A service account with the same name as `One`, in another namespace. It may read nothing.
    Elsewhere,
}

/// How the store behaves, until the suite sets another behaviour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It serves the values that were put, to those who may read them.
    #[default]
    Serve,
    /// It answers reads with this index of [`Fixture::answers`].
    Says(usize),
    /// It does not answer reads.
    Hang,
    /// It does not answer logins.
    HangAtLogin,
    /// It begins a valid answer to a read and never ends it, as long as the client listens.
    Endless,
    /// It asks the client to wait, for the longest time that its protocol can express.
    Forever,
}

/// An answer that the store can give to a read, other than a value.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// A name of the answer, for messages.
    pub what: &'static str,
    /// The kind of error that the provider must return for it.
    pub kind: ErrorKind,
}

/// How often the store was used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Logins.
    pub logins: usize,
    /// Reads.
    pub reads: usize,
    /// Connections that are open now.
    pub open: usize,
}

/// One provider and its store.
pub trait Fixture: Send + Sync {
    /// The path of the test that calls [`verify`](crate::verify), as `cargo test` names it. The suite runs this test
    /// again in another process.
    fn test(&self) -> &'static str;

    /// A new provider, which shares nothing with an earlier one.
    fn provider(&self) -> Arc<dyn Provider>;

    /// Parameters of a class that reads the secrets `names` and shows each at a path of the same name.
    fn parameters(&self, names: &[&str]) -> Parameters;

    /// Parameters that make no sense. `None` if the store alone decides what a class means.
    fn nonsense(&self) -> Option<Parameters>;

    /// A volume of `who`, with everything that it needs to read: a [`pod`], and a [`token`] or another credential.
    fn workload(&self, who: Who, volume: &str) -> Workload;

    /// Puts a value. Only `Who::One` may read it.
    fn put(&self, name: &str, value: &str);

    /// Sets the behaviour of the store from now on.
    fn behave(&self, behaviour: Behaviour);

    /// The answers that the store can give to a read and that are not values.
    fn answers(&self) -> Vec<Said>;

    /// Kinds of errors that no answer of this store means, each with the reason.
    fn never(&self) -> Vec<(ErrorKind, &'static str)>;

    /// Clauses that do not apply, each with the reason.
    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        Vec::new()
    }

    /// How often the store was used so far.
    fn traffic(&self) -> Traffic;

    /// Whether `text` is in anything that the store received.
    fn saw(&self, text: &str) -> bool;

    /// The longest time that a call may take with this fixture's settings.
    fn patience(&self) -> Duration;
}

/// A pod of `who`, without tokens and credentials.
pub fn pod(who: Who, volume: &str) -> Workload {
    let (namespace, name, uid) = match who {
        Who::One => ("shop", "till", "uid-of-till"),
        Who::Two => ("shop", "stranger", "uid-of-stranger"),
        Who::Reborn => ("shop", "till", "uid-of-new-till"),
        Who::Elsewhere => ("bank", "till", "uid-of-their-till"),
    };
    Workload {
        identity: Identity { uid: Some(uid.to_owned()), ..Identity::named(namespace, name) },
        pod: Some(Pod { name: format!("pod-of-{volume}"), uid: format!("uid-of-pod-of-{volume}") }),
        volume: volume.to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

/// The token of `who`: new bytes at each call.
pub fn token(who: Who) -> SecretBytes {
    format!("{TOKEN}-{who:?}").into()
}
