//! One call of a volume to its store, which may return several readings.

use std::sync::Arc;

use futures::future::{join, join_all};
use provider::{Error, ErrorKind, Found, Query, Request, Result, Session};

use crate::readings::{self, Answer, Entry, Held, Turns};
use crate::volume::demand::Demand;
use crate::volume::stores::{Store, Stores};

/// The answer to one request.
pub(super) enum Got {
    Shared(Arc<Held>),
    Own(Arc<Held>),
    Leased,
}

/// What a call needs: the store, the login, and how fresh the answers must be.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) stores: Arc<Stores>,
    pub(super) store: Store,
    pub(super) session: Arc<dyn Session>,
    pub(super) demand: Demand,
}

impl Caller {
    /// Makes one call for `shared` and `own`. Requests that another volume is asking at this moment are left out of the
    /// call: this volume waits for the other's answer.
    pub(super) async fn read(
        self,
        shared: Vec<(Request, Arc<Entry>)>,
        own: Vec<Request>,
    ) -> Vec<(Request, Result<Got>)> {
        let begun = readings::begin(&shared, |held| self.demand.is_met_by(held));
        let waits = begun.busy.into_iter().map(|(request, entry)| self.wait(request, entry));
        let (mut got, waited) = join(self.together(begun.turns, own), join_all(waits)).await;
        got.extend(waited);
        got.extend(begun.settled.into_iter().map(|(request, answer)| (request, Ok(answer.into()))));
        got
    }

    /// Makes one call for requests whose answers belong to this volume alone.
    pub(super) async fn read_own(&self, requests: Vec<Request>) -> Vec<(Request, Result<Arc<Held>>)> {
        let queries: Vec<Query> = requests.iter().cloned().map(Query::from).collect();
        let found = self.call(&queries).await.into_iter().map(own);
        requests.into_iter().zip(found).collect()
    }

    async fn together(&self, turns: Turns<'_>, own: Vec<Request>) -> Vec<(Request, Result<Got>)> {
        let mut queries = turns.queries();
        let of_turns = queries.len();
        queries.extend(own.iter().cloned().map(Query::from));
        if queries.is_empty() {
            return Vec::new();
        }
        let mut found = self.call(&queries).await;
        let of_own = found.split_off(of_turns).into_iter().map(self::own);
        let settled = turns.settle(found).into_iter();
        let shared = settled.map(|(request, answer)| (request, answer.map(Got::from)));
        shared.chain(own.into_iter().zip(of_own.map(|held| held.map(Got::Own)))).collect()
    }

    /// Waits for the answer of another volume's call. If that answer is not good enough, makes a call of its own.
    async fn wait(&self, request: Request, entry: Arc<Entry>) -> (Request, Result<Got>) {
        let fetch = async {
            let mut found = self.call(&[Query::from(request.clone())]).await;
            found.pop().unwrap_or_else(|| Err(unheard_of()))
        };
        let answer = entry.read(|held| self.demand.is_met_by(held), fetch).await;
        (request, answer.map(Got::from))
    }

    async fn call(&self, queries: &[Query]) -> Vec<Result<Found>> {
        self.stores.call(&self.store, self.demand.attempt, &*self.session, queries).await
    }
}

impl From<Answer> for Got {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Shared(held) => Self::Shared(held),
            Answer::Own(held) => Self::Own(held),
            Answer::Leased => Self::Leased,
        }
    }
}

/// The reading in an answer to a query that named no held version, so the store cannot have answered "unchanged".
fn own(found: Result<Found>) -> Result<Arc<Held>> {
    found?.reading(None).map(Held::now)
}

fn unheard_of() -> Error {
    Error::new(ErrorKind::Unavailable, "the store did not answer what it was asked")
}
