//! A test suite with everything that every provider must do.
//!
//! A provider's test crate writes a [`Fixture`]: its store, or a stub that speaks the store's protocol and gives the
//! answers that the suite asks for. [`verify`] then checks each [`Clause`], prints which clauses do not apply and why,
//! and fails with a list of all broken ones. Run it in a test with one thread (`#[tokio::test]`), because the suite
//! reads the log of that thread.
//!
//! ```no_run
//! # use provider_contract::Fixture;
//! # async fn test(fixture: &dyn Fixture) {
//! provider_contract::verify(fixture).await;
//! # }
//! ```

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fixture that fails has to fail its test loudly"
)]

mod ambient;
mod annotated;
mod answers;
mod calls;
mod faults;
mod fixture;
mod identities;
mod logins;
mod opened;
mod script;
mod secrecy;
mod site;
mod telling;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;

pub use annotated::Annotated;
pub use fixture::{Behaviour, CANARY, Fixture, Said, TOKEN, Traffic, VALUE, Who, pod, token};
pub use script::Script;

/// The longest time for the check of one clause.
const LONGEST: Duration = Duration::from_secs(120);

/// One rule for every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clause {
    /// Parsing a class makes no call, and a class that makes no sense is refused with its faults.
    Offline,
    /// Sessions of different accounts have different identities, and no account gets what only another may read.
    Identities,
    /// A login is made once for all who may share it, ends with its last holder, and is made again after a discard.
    Logins,
    /// Every answer that the store can give becomes the kind of error that the provider's documentation states.
    Kinds,
    /// The provider stops reading an answer that has no end.
    Bounds,
    /// The provider stops waiting in time for a store that does not answer.
    Deadlines,
    /// A caller that stops waiting leaves no connection open and blocks no other caller.
    Cancellation,
    /// Time spans that a store states are capped.
    Durations,
    /// Several requests in one call return the same as single calls.
    Calls,
    /// The provider uses nothing from the environment or from files that nobody named.
    Ambient,
    /// Values and tokens are in no message, no log and no debug output.
    Secrecy,
    /// When the session and the source are dropped, nothing holds tokens and values any more.
    Wiping,
}

impl Clause {
    /// All clauses.
    pub const ALL: [Self; 12] = [
        Self::Offline,
        Self::Identities,
        Self::Logins,
        Self::Kinds,
        Self::Bounds,
        Self::Deadlines,
        Self::Cancellation,
        Self::Durations,
        Self::Calls,
        Self::Ambient,
        Self::Secrecy,
        Self::Wiping,
    ];
}

/// Why a clause is broken.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns an error if `condition` is false.
fn owe(condition: bool, broken: impl FnOnce() -> String) -> Result<(), Broken> {
    if condition { Ok(()) } else { Err(Broken(broken())) }
}

/// Checks every clause that applies to `fixture`.
///
/// # Panics
///
/// At least one clause is broken. The message names them, with reasons.
pub async fn verify(fixture: &dyn Fixture) {
    if ambient::is_child() {
        return ambient::read_as_child(fixture).await;
    }
    let exempt = fixture.exempt();
    let mut broken = Vec::new();
    for clause in Clause::ALL {
        if let Some((_, reason)) = exempt.iter().find(|(exempted, _)| *exempted == clause) {
            println!("{clause:?}: does not apply: {reason}");
            continue;
        }
        match check(fixture, clause).await {
            Ok(()) => println!("{clause:?}: kept"),
            Err(why) => broken.push(format!("{clause:?}: {why}")),
        }
    }
    assert!(broken.is_empty(), "the contract is broken:\n{}", broken.join("\n"));
}

/// Checks one clause.
///
/// # Errors
///
/// The clause is broken. The error says how.
pub async fn check(fixture: &dyn Fixture, clause: Clause) -> Result<(), Broken> {
    fixture.behave(Behaviour::Serve);
    let checked = AssertUnwindSafe(async {
        match clause {
            Clause::Offline => answers::offline(fixture).await,
            Clause::Identities => identities::check(fixture).await,
            Clause::Logins => logins::check(fixture).await,
            Clause::Kinds => answers::kinds(fixture).await,
            Clause::Bounds => faults::bounds(fixture).await,
            Clause::Deadlines => faults::deadlines(fixture).await,
            Clause::Cancellation => faults::cancellation(fixture).await,
            Clause::Durations => faults::durations(fixture).await,
            Clause::Calls => calls::check(fixture).await,
            Clause::Ambient => ambient::check(fixture).await,
            Clause::Secrecy => secrecy::check(fixture).await,
            Clause::Wiping => secrecy::wiping(fixture).await,
        }
    });
    let checked = tokio::time::timeout(LONGEST, checked.catch_unwind()).await;
    match checked {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(Broken(format!("it panicked: {}", words(&*panic)))),
        Err(_) => Err(Broken(format!("it took longer than {} s", LONGEST.as_secs()))),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for an unknown reason")
}
