use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use provider::{Error, ErrorKind, Found, Query, Reading, Request, Result, SecretBytes, Session};
use provider_client::{Answer, Connection, Fingerprint, Place, Seated, Whom, confidential};
use reqwest::{Method, RequestBuilder};
use url::Url;

use crate::answer::{self, Batch};
use crate::call::{Call, Which};
use crate::meaning::Asked;
use crate::parameters::{Auth, Server};
use crate::servers::refusal;

/// Most variables of one call.
pub(crate) const MOST: usize = 50;
/// Most bytes of their ids: the server reads them from the URL. Each byte may become three there.
const MOST_BYTES: usize = 2000;
/// Calls for single variables at one time.
const AT_ONCE: usize = 8;

/// Whose a login is: everything that Conjur tells apart, and everything that the login rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) server: Server,
    pub(crate) auth: Auth,
    pub(crate) audience: String,
    pub(crate) whom: Whom,
    /// Of an API key that came with the volume.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct ConjurSession {
    pub(crate) identity: String,
    pub(crate) account: String,
    pub(crate) token: SecretBytes,
    pub(crate) connection: Arc<Connection>,
    pub(crate) place: Place<Self>,
}

impl Seated for ConjurSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for ConjurSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConjurSession({})", self.identity)
    }
}

#[async_trait]
impl Session for ConjurSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let call = called(request)?;
        match call.which {
            Which::Newest => self.newest(&call).await,
            Which::Version(version) => self.value(&call.variable, Some(version)).await,
            Which::Numbered => match self.newest_number(&call.variable).await? {
                Some(number) => self.value(&call.variable, Some(number)).await,
                None => self.newest(&call).await,
            },
        }
    }

    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        let (mut calls, mut group, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        for request in requests {
            if !called(&request).is_ok_and(|call| call.goes_with_others()) {
                calls.push(vec![request]);
                continue;
            }
            // Each id has the account before it.
            let more = request.text.len().saturating_add(self.account.len());
            if group.len() >= MOST || bytes.saturating_add(more) > MOST_BYTES {
                calls.extend((!group.is_empty()).then(|| std::mem::take(&mut group)));
                bytes = 0;
            }
            bytes = bytes.saturating_add(more);
            group.push(request);
        }
        calls.extend((!group.is_empty()).then_some(group));
        calls
    }

    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let variables: Option<Vec<String>> = queries.iter().map(of_batch).collect();
        let Some(variables) = variables.filter(|variables| variables.len() > 1) else {
            return self.each(queries).await;
        };
        match self.batch(&variables).await {
            Ok(found) => found.into_iter().map(|found| found.map(Found::New)).collect(),
            // One of them is not there, or not allowed, or no text: the answer is no word about the others.
            Err(error) if is_about_one(&error) => self.each(queries).await,
            Err(error) => queries.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn discard(&self) {
        self.place.discard();
    }
}

fn called(request: &Request) -> Result<Call> {
    let foreign = || Error::new(ErrorKind::Invalid, "the request is none of this provider's");
    Call::of_request(request).ok_or_else(foreign)
}

fn of_batch(query: &Query) -> Option<String> {
    called(&query.request).ok().filter(Call::goes_with_others).map(|call| call.variable)
}

fn is_about_one(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Invalid)
}

impl ConjurSession {
    async fn each(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let reads: Vec<_> = queries.iter().map(|query| self.read(&query.request)).collect();
        let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
        found.into_iter().map(|reading| reading.map(Found::New)).collect()
    }

    /// By the call for several where that can be: its answer says what it is about.
    async fn newest(&self, call: &Call) -> Result<Reading> {
        if call.variable.contains(',') {
            return self.value(&call.variable, None).await;
        }
        let found = self.batch(std::slice::from_ref(&call.variable)).await?.pop();
        found.unwrap_or_else(|| Err(nonsense(&self.what(&call.variable))))
    }

    /// <https://docs.cyberark.com/conjur-open-source/latest/en/content/developer/conjur_api_batch_retrieve.htm>
    async fn batch(&self, variables: &[String]) -> Result<Vec<Result<Reading>>> {
        let what = match variables {
            [variable] => self.what(variable),
            _ => format!("{} variables as {}", variables.len(), self.identity),
        };
        let ids: Vec<_> = variables.iter().map(|variable| self.full_id(variable)).collect();
        let mut url = self.connection.url(["secrets"])?;
        url.query_pairs_mut().append_pair("variable_ids", &ids.join(","));
        let request = self.get(url)?.header("accept-encoding", "base64");
        let answer = self.ask(&what, request).await?;
        let mut batch = Batch::of(&answer.body, answer.encoding.as_deref()).ok_or_else(|| nonsense(&what))?;
        let take = |(variable, id): (&String, &String)| {
            let value = batch.take(id).ok_or_else(|| nonsense(&self.what(variable)))?;
            Ok(Reading::new(value))
        };
        Ok(variables.iter().zip(&ids).map(take).collect())
    }

    /// The bytes as they are. Nothing in them says what they are about, so at least a page is told apart.
    /// <https://docs.cyberark.com/conjur-open-source/latest/en/content/developer/conjur_api_retrieve_secret.htm>
    async fn value(&self, variable: &str, version: Option<u64>) -> Result<Reading> {
        let mut url = self.connection.url(["secrets", &self.account, "variable", variable])?;
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", &version.to_string());
        }
        let what = self.what(variable);
        let answer = self.ask(&what, self.get(url)?).await?;
        if answer
            .media_type
            .is_some_and(|said| said.trim_start().to_ascii_lowercase().starts_with("text/html"))
        {
            return Err(nonsense(&what));
        }
        let version = version.map(|version| version.to_string());
        Ok(Reading { body: answer.body, version, validity: None })
    }

    /// The number of the newest version; `None` if the host may not see it, which is another right than to read the
    /// value.
    async fn newest_number(&self, variable: &str) -> Result<Option<u64>> {
        let url = self.connection.url(["resources", &self.account, "variable", variable])?;
        match self.ask(&self.what(variable), self.get(url)?).await {
            Ok(answer) => Ok(answer::newest(&answer.body)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn get(&self, url: Url) -> Result<RequestBuilder> {
        let token = confidential(&[b"Token token=\"", self.token.expose(), b"\""]);
        let unfit = || Error::new(ErrorKind::Unauthenticated, "the access token is no header's value");
        Ok(self.connection.request(Method::GET, url).header("authorization", token.ok_or_else(unfit)?))
    }

    async fn ask(&self, what: &str, request: RequestBuilder) -> Result<Answer> {
        let answer = self.connection.call(what, request).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(refusal(&answer, Asked::Read, what, &[&self.token]))
        }
    }

    fn full_id(&self, variable: &str) -> String {
        format!("{}:variable:{variable}", self.account)
    }

    fn what(&self, variable: &str) -> String {
        format!("variable {variable} as {}", self.identity)
    }
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer does not hold it"))
        .remedy("is applianceUrl right, and what is on the way there?")
}
