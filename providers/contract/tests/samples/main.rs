//! The sample store in the documentation of crate `provider` passes the suite. For each clause, a store with one flaw
//! fails it.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod fixture;
mod flawed;
mod server;
#[path = "../../../api/doc/shelf.rs"]
#[allow(unreachable_pub, reason = "it is written for a crate's documentation")]
mod shelf;

use std::sync::Arc;

use provider_contract::{Clause, check, verify};

use crate::fixture::Shelves;
use crate::flawed::{Flaw, Flawed};
use crate::shelf::Shelf;

#[tokio::test]
async fn the_documented_store_keeps_the_contract() {
    let test = "the_documented_store_keeps_the_contract";
    verify(&Shelves::new(test, None, |address| Arc::new(Shelf(address)))).await;
}

#[tokio::test]
async fn a_store_without_a_flaw_keeps_the_contract() {
    verify(&shelves("a_store_without_a_flaw_keeps_the_contract", Flaw::None)).await;
}

fn shelves(test: &'static str, flaw: Flaw) -> Shelves {
    Shelves::new(test, Some(flaw), move |address| Arc::new(Flawed::new(address, flaw)))
}

/// Checks that the store with this flaw breaks `clause`, and no other clause that it should keep.
async fn caught(test: &'static str, flaw: Flaw, clause: Clause) {
    let shelves = shelves(test, flaw);
    // This is the child process, in whose environment credentials lie around. It reads, and checks nothing else.
    if std::env::var_os("PROVIDER_CONTRACT_CHILD").is_some() {
        return verify(&shelves).await;
    }
    let broken = check(&shelves, clause).await;
    assert!(broken.is_err(), "{flaw:?} is not noticed");
    let other = if clause == Clause::Offline { Clause::Identities } else { Clause::Offline };
    check(&shelves, other).await.unwrap();
}

macro_rules! catches {
    ($($test:ident: $flaw:ident breaks $clause:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            caught(stringify!($test), Flaw::$flaw, Clause::$clause).await;
        }
    )*};
}

catches! {
    a_store_that_is_asked_when_a_class_is_understood_is_caught: AsksEarly breaks Offline;
    a_store_that_takes_nonsense_for_a_class_is_caught: TakesNonsense breaks Offline;
    a_store_that_gives_everybody_one_identity_is_caught: OneIdentity breaks Identities;
    a_store_that_reads_for_others_with_the_first_token_is_caught: FirstToken breaks Identities;
    a_store_that_logs_in_for_each_volume_is_caught: LogsInAlways breaks Logins;
    a_store_that_calls_a_denial_an_outage_is_caught: MistakesDenials breaks Kinds;
    a_store_that_asks_without_a_token_is_caught: NeedsNoToken breaks Kinds;
    a_store_that_takes_an_answer_without_an_end_is_caught: TakesAll breaks Bounds;
    a_store_that_waits_without_a_deadline_is_caught: WaitsForEver breaks Deadlines;
    a_store_that_goes_on_when_nobody_waits_is_caught: GoesOn breaks Cancellation;
    a_store_that_believes_any_length_of_time_is_caught: BelievesAnyTime breaks Durations;
    a_store_that_loses_a_request_of_a_call_is_caught: LosesRequests breaks Calls;
    a_store_that_mixes_up_the_answers_of_a_call_is_caught: MixesAnswers breaks Calls;
    a_store_that_vouches_for_anything_is_caught: VouchesForAnything breaks Calls;
    a_store_that_takes_a_token_from_the_environment_is_caught: LooksAround breaks Ambient;
    a_store_that_connects_to_a_proxy_that_it_finds_is_caught: FindsProxy breaks Ambient;
    a_store_that_tells_tokens_is_caught: TellsTokens breaks Secrecy;
    a_store_that_logs_values_is_caught: LogsValues breaks Secrecy;
    a_store_that_keeps_values_is_caught: KeepsValues breaks Wiping;
    a_store_that_keeps_tokens_is_caught: KeepsTokens breaks Wiping;
}
