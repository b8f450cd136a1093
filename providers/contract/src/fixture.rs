use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Identity, Parameters, Pod, Provider, SecretBytes, Workload};

use crate::Clause;

/// What the values of this suite have in them.
pub const VALUE: &str = "canary-value-5e1f";
/// What the tokens of this suite begin with. A store that makes tokens of its own puts it into those, too.
pub const TOKEN: &str = "canary-token-9c2b";
/// What nobody named, and a store so never sees.
pub const CANARY: &str = "canary-ambient-77aa";

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A service account that may read what is [put](Fixture::put).
    One,
    /// Another service account of the namespace, which may read nothing.
    Two,
    /// A service account with the name of `One`, which was deleted; it may read nothing.
    Reborn,
    /// A service account with the name of `One` in another namespace; it may read nothing.
    Elsewhere,
}

/// How the store behaves until it is told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It serves what was put, to who may read it.
    #[default]
    Serve,
    /// It gives the answer of that index of [`Fixture::answers`] to reads.
    Says(usize),
    /// It does not answer reads.
    Hang,
    /// It does not answer logins.
    HangAtLogin,
    /// It begins a good answer to a read and never ends it, while anybody listens.
    Endless,
    /// It asks to be left alone, for as long as its protocol can tell.
    Forever,
}

/// An answer that the store can give to a read.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// What it is, for messages.
    pub what: &'static str,
    /// What the provider owes for it.
    pub kind: ErrorKind,
}

/// What the store has seen so far.
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
    /// The path of the test that calls [`verify`](crate::verify), as `cargo test` names it; it is run again in another
    /// process.
    fn test(&self) -> &'static str;

    /// A new provider, which shares nothing with an earlier one.
    fn provider(&self) -> Arc<dyn Provider>;

    /// Parameters of a class that shows the secrets of these names at paths of these names.
    fn parameters(&self, names: &[&str]) -> Parameters;

    /// Parameters that make no sense; `None` where a class means nothing before the store is asked.
    fn nonsense(&self) -> Option<Parameters>;

    /// A volume of `who`, with what it takes to read: [`pod`], and [`token`] or another credential.
    fn workload(&self, who: Who, volume: &str) -> Workload;

    /// Puts a value, which `Who::One` may read and nobody else.
    fn put(&self, name: &str, value: &str);

    /// Behaves so from now on.
    fn behave(&self, behaviour: Behaviour);

    /// The answers that the store can give to a read and that are no reading.
    fn answers(&self) -> Vec<Said>;

    /// Kinds of errors that no answer of this store is, each with the reason.
    fn never(&self) -> Vec<(ErrorKind, &'static str)>;

    /// Clauses that do not apply, each with the reason.
    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        Vec::new()
    }

    /// What the store has seen so far.
    fn traffic(&self) -> Traffic;

    /// Whether anything that the store was sent has `text` in it.
    fn saw(&self, text: &str) -> bool;

    /// The longest that a call may take under this fixture's settings.
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
