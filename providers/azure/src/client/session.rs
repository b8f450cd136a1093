use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use provider::{Error, ErrorKind, Found, Moment as _, Query, Reading, Request, Result, SecretBytes, Session};
use provider_client::{Answer, Connection, Fingerprint, Place, Seated, Whom};
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Page};
use crate::call::Call;
use crate::client::Inner;
use crate::client::servers::{get, refusal};
use crate::meaning::Asked;
use crate::parameters::Account;

/// Most versions that are listed to find the newest of: the list has no order, and each page of 25 is a call.
const MOST_PAGES: usize = 40;
/// Longest that reading one history or listing may take, which is many calls.
pub(super) const LONGEST_HISTORY: Duration = Duration::from_secs(120);
/// Most vaults to which one login keeps its way.
const MOST_WAYS: usize = 64;

/// Whose a login is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) account: Account,
    pub(crate) whom: Whom,
    /// Of the credentials that it rests on beside the service account.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct AzureSession {
    pub(crate) identity: String,
    /// Whose namespace asks.
    pub(crate) tenant: String,
    pub(crate) account: Account,
    pub(crate) token: SecretBytes,
    pub(crate) inner: Arc<Inner>,
    ways: Mutex<BTreeMap<String, Arc<Connection>>>,
    place: Place<Self>,
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) identity: String,
    pub(crate) tenant: String,
    pub(crate) account: Account,
    pub(crate) token: SecretBytes,
    pub(crate) inner: Arc<Inner>,
}

impl AzureSession {
    pub(crate) fn new(parts: Parts, place: Place<Self>) -> Self {
        let Parts { identity, tenant, account, token, inner } = parts;
        Self { identity, tenant, account, token, inner, ways: Mutex::default(), place }
    }

    async fn way(&self, vault: &str) -> Result<Arc<Connection>> {
        if let Some(known) = self.lock().get(vault) {
            return Ok(Arc::clone(known));
        }
        let way = self.inner.servers.to(&self.tenant, Asked::Vault, vault, &self.account.tls).await?;
        let mut ways = self.lock();
        if ways.len() < MOST_WAYS {
            ways.insert(vault.to_owned(), Arc::clone(&way));
        }
        Ok(way)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Connection>>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, call: &Call, path: &[&str], query: &str) -> Result<Answer> {
        let way = self.way(&call.vault).await?;
        way.call(&self.what(call), get(&way, path, query, &self.token)?).await
    }

    pub(super) fn what(&self, call: &Call) -> String {
        format!("{call} for {}", self.identity)
    }

    pub(super) fn refused(&self, answer: &Answer, call: &Call) -> Error {
        refusal(answer, Asked::Vault, &self.what(call), &[&self.token])
    }

    /// One version; the newest where the call names none.
    pub(super) async fn fetch(&self, call: &Call) -> Result<Reading> {
        let path = [call.kind.collection(), &call.name, call.version.as_deref().unwrap_or_default()];
        let path = if call.version.is_some() { &path[..] } else { &path[..2] };
        let answer = self.ask(call, path, "").await?;
        if !answer.is_success() {
            return Err(self.absent_or(self.refused(&answer, call), call).await);
        }
        answer::reading(call, answer.body, Timestamp::now())
    }

    /// A vault says of a deleted object only that it is not there. Whether it was deleted, it says elsewhere, to who may
    /// know.
    async fn absent_or(&self, error: Error, call: &Call) -> Error {
        if error.kind() != ErrorKind::NotFound {
            return error;
        }
        let collection = format!("deleted{}", call.kind.collection());
        match self.ask(call, &[&collection, &call.name], "").await {
            Ok(answer) if answer.is_success() && answer::is_deletion(&answer.body) => {
                let text = format!("{}: it was deleted in the vault", self.what(call));
                Error::new(ErrorKind::Revoked, text)
                    .remedy("recover it, or make a new version once it is purged")
            }
            _ => error,
        }
    }

    /// The versions of a history, the newest first.
    async fn versions(&self, call: &Call) -> Result<Vec<String>> {
        let path = [call.kind.collection(), &call.name, "versions"];
        let (mut versions, mut query) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let answer = self.ask(call, &path, &query).await?;
            if !answer.is_success() {
                return Err(self.absent_or(self.refused(&answer, call), call).await);
            }
            let page = Page::of(&answer.body).ok_or_else(|| self.nonsense(call))?;
            versions.extend(page.versions);
            if page.next.is_empty() {
                return Ok(answer::newest_first(versions, call.version.as_deref()));
            }
            if page.next == query {
                return Err(self.nonsense(call));
            }
            query = page.next;
        }
        let text = format!("{}: it has more than {} versions", self.what(call), MOST_PAGES * 25);
        Err(Error::new(ErrorKind::Invalid, text).remedy("begin a new secret, or read no history"))
    }

    fn nonsense(&self, call: &Call) -> Error {
        let text = format!("{}: the answer is no list of versions", self.what(call));
        Error::new(ErrorKind::Unavailable, text).remedy("is keyvaultURL right, and is this a proxy's page?")
    }

    /// The version of that age, of those that there are.
    async fn aged(&self, call: &Call, versions: &[String]) -> Result<Reading> {
        let age = call.age.unwrap_or_default();
        let Some(version) = versions.get(age) else {
            let text =
                format!("{}: it has {} enabled versions from there on", self.what(call), versions.len());
            return Err(Error::new(ErrorKind::NotFound, text).remedy("it is shown when there are more"));
        };
        self.fetch(&Call { version: Some(version.clone()), age: None, ..call.clone() }).await
    }

    /// One of a history after another: the vault counts calls, and a volume has but one turn.
    async fn of_history(&self, call: &Call, queries: &[Query]) -> Vec<Result<Found>> {
        let end = Instant::now().later(LONGEST_HISTORY);
        let versions = self.until(end, call, self.versions(call)).await;
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            found.push(match (&versions, called(&query.request)) {
                (Ok(versions), Ok(call)) => {
                    self.until(end, &call, self.aged(&call, versions)).await.map(Found::New)
                }
                (Ok(_), Err(error)) => Err(error),
                (Err(error), _) => Err(error.clone()),
            });
        }
        found
    }

    pub(super) async fn until<T>(
        &self,
        end: Instant,
        call: &Call,
        read: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let late = || {
            let text = format!("{}: it took longer than {} s", self.what(call), LONGEST_HISTORY.as_secs());
            Error::new(ErrorKind::Unavailable, text)
        };
        timeout_at(end, read).await.unwrap_or_else(|_| Err(late()))
    }
}

fn called(request: &Request) -> Result<Call> {
    let foreign = || Error::new(ErrorKind::Invalid, "the request is none of this provider's");
    Call::of_request(request).ok_or_else(foreign)
}

impl Seated for AzureSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for AzureSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureSession({})", self.identity)
    }
}

#[async_trait]
impl Session for AzureSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let call = called(request)?;
        if let Some(sought) = &call.sought {
            return self.listing(&call, sought).await;
        }
        if call.age.is_none() {
            return self.fetch(&call).await;
        }
        let query = Query::from(request.clone());
        let found = self.of_history(&call, std::slice::from_ref(&query)).await.pop();
        found.unwrap_or_else(|| Err(self.nonsense(&call)))?.reading(None)
    }

    /// Versions of one history share the list of them.
    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        let (mut histories, mut calls) = (BTreeMap::<Call, Vec<Request>>::new(), Vec::new());
        for request in requests {
            match called(&request) {
                Ok(call) if call.age.is_some() => histories.entry(call.history()).or_default().push(request),
                _ => calls.push(vec![request]),
            }
        }
        calls.extend(histories.into_values());
        calls
    }

    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let first = queries.first().and_then(|query| called(&query.request).ok());
        match first.filter(|call| call.age.is_some()) {
            Some(call) if queries.iter().all(|query| is_of(&query.request, &call)) => {
                self.of_history(&call, queries).await
            }
            _ => self.each(queries).await,
        }
    }

    fn discard(&self) {
        self.place.discard();
    }
}

impl AzureSession {
    async fn each(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            found.push(self.read(&query.request).await.map(Found::New));
        }
        found
    }
}

fn is_of(request: &Request, call: &Call) -> bool {
    called(request).is_ok_and(|other| other.history() == call.history())
}
