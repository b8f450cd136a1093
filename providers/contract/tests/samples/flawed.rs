//! A store with one flaw.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Found, Invalid, ObjectPath, ObjectRef, Parameters, Provider, Query, Reading, Request,
    Result, SecretBytes, Session, Source, Tenure, Workload,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// The flaw of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    AsksEarly,
    TakesNonsense,
    OneIdentity,
    FirstToken,
    LogsInAlways,
    MistakesDenials,
    NeedsNoToken,
    TakesAll,
    WaitsForEver,
    GoesOn,
    BelievesAnyTime,
    LosesRequests,
    MixesAnswers,
    VouchesForAnything,
    LooksAround,
    FindsProxy,
    TellsTokens,
    LogsValues,
    KeepsValues,
    KeepsTokens,
}

#[derive(Debug)]
pub(crate) struct Flawed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: String,
    flaw: Flaw,
    kept: Mutex<Vec<SecretBytes>>,
}

impl Flawed {
    pub(crate) fn new(address: String, flaw: Flaw) -> Self {
        Self(Arc::new(Inner { address, flaw, kept: Mutex::default() }))
    }
}

impl Provider for Flawed {
    fn names(&self) -> &'static [&'static str] {
        &["flawed"]
    }

    fn default_refresh(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        if self.0.flaw == Flaw::AsksEarly {
            std::net::TcpStream::connect(&self.0.address).unwrap().write_all(b"nobody early\n").unwrap();
        }
        let mut objects = Vec::new();
        for name in parameters["objects"].split(',') {
            match ObjectPath::try_from(name) {
                Ok(path) => objects.push(ObjectRef::new(path, Request::shared(name))),
                Err(_) if self.0.flaw == Flaw::TakesNonsense => {}
                Err(fault) => return Err(vec![Invalid::new("objects", fault.to_string(), "write names")]),
            }
        }
        Ok(Arc::new(Class { inner: Arc::clone(&self.0), objects }))
    }
}

#[derive(Debug)]
struct Class {
    inner: Arc<Inner>,
    objects: Vec<ObjectRef>,
}

#[async_trait]
impl Source for Class {
    fn store(&self) -> &str {
        &self.inner.address
    }

    fn audience(&self) -> Option<&str> {
        Some("shelf")
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        let none = || Error::new(ErrorKind::NoCredential, "no token");
        let mut token = match workload.tokens.get("shelf").cloned() {
            None if self.inner.flaw == Flaw::NeedsNoToken => SecretBytes::new(Vec::new()),
            token => token.ok_or_else(none)?,
        };
        let identity = match self.inner.flaw {
            Flaw::OneIdentity => "everybody".to_owned(),
            _ => workload.identity.to_string(),
        };
        token = self.inner.kept_or(token);
        let visit = Visit { inner: Arc::clone(&self.inner), identity, token };
        if self.inner.flaw == Flaw::LogsInAlways {
            visit
                .inner
                .ask(&visit.token, "login")
                .await
                .map_err(|error| visit.unavailable(&error.to_string()))?;
        }
        Ok(Arc::new(visit))
    }
}

#[derive(Debug, Clone)]
struct Visit {
    inner: Arc<Inner>,
    identity: String,
    token: SecretBytes,
}

impl Inner {
    /// The token that a session keeps using.
    fn kept_or(&self, token: SecretBytes) -> SecretBytes {
        let mut kept = self.kept.lock().unwrap();
        let is_first = kept.is_empty();
        match self.flaw {
            Flaw::FirstToken if !is_first => return kept[0].clone(),
            Flaw::FirstToken | Flaw::KeepsTokens => kept.push(token.clone()),
            _ => {}
        }
        token
    }

    async fn ask(&self, token: &SecretBytes, name: &str) -> std::io::Result<SecretBytes> {
        let found = |name| std::env::var(name).ok();
        let proxy = found("HTTPS_PROXY").filter(|_| self.flaw == Flaw::FindsProxy);
        if let Some(proxy) = proxy {
            drop(TcpStream::connect(proxy.trim_start_matches("http://")).await?);
        }
        let mut stream = TcpStream::connect(&self.address).await?;
        if let Some(token) = found("VAULT_TOKEN").filter(|_| self.flaw == Flaw::LooksAround) {
            TcpStream::connect(&self.address).await?.write_all(format!("{token} x\n").as_bytes()).await?;
        }
        stream.write_all(&[token.expose(), b" ", name.as_bytes(), b"\n"].concat()).await?;
        let most = if self.flaw == Flaw::TakesAll { u64::MAX } else { 65_536 };
        let mut answer = Vec::new();
        stream.take(most).read_to_end(&mut answer).await?;
        Ok(SecretBytes::new(answer))
    }
}

impl Visit {
    fn unavailable(&self, what: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{}: {what}", self.identity))
    }

    async fn answer(&self, name: &str) -> Result<SecretBytes> {
        let patience = match self.inner.flaw {
            Flaw::WaitsForEver | Flaw::GoesOn => Duration::from_secs(600),
            _ => Duration::from_secs(1),
        };
        let asked = timeout(patience, self.inner.ask(&self.token, name)).await;
        asked.map_err(|_| self.unavailable("late"))?.map_err(|error| self.unavailable(&error.to_string()))
    }

    async fn answer_to_who_waits(&self, name: &str) -> Result<SecretBytes> {
        if self.inner.flaw != Flaw::GoesOn {
            return self.answer(name).await;
        }
        let (visit, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move { visit.answer(&name).await }).await.unwrap()
    }

    fn understand(&self, answer: &SecretBytes) -> Result<Reading> {
        let flaw = self.inner.flaw;
        let error = |kind, what: &str| Err(Error::new(kind, format!("{}: {what}", self.identity)));
        let text = answer.expose_str().unwrap_or_default();
        match answer.expose().first() {
            Some(b'+') if answer.len() < 65_536 || flaw == Flaw::TakesAll => {
                Ok(Reading::new(answer.slice(1..answer.len()).unwrap()))
            }
            Some(b'-') => error(ErrorKind::NotFound, "none"),
            Some(b'!') if flaw == Flaw::TellsTokens => {
                error(ErrorKind::Denied, self.token.expose_str().unwrap_or_default())
            }
            Some(b'!') if flaw == Flaw::MistakesDenials => error(ErrorKind::Unavailable, "no"),
            Some(b'!') => error(ErrorKind::Denied, "no"),
            Some(b'~') if flaw == Flaw::BelievesAnyTime => {
                let wait = Duration::from_secs(text[1..].parse().unwrap());
                error(ErrorKind::Unavailable, &format!("come back at {:?}", Instant::now() + wait))
            }
            _ => error(ErrorKind::Unavailable, "nonsense"),
        }
    }
}

#[async_trait]
impl Session for Visit {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let answer = self.answer_to_who_waits(&request.text).await?;
        let reading = self.understand(&answer);
        match (&reading, self.inner.flaw) {
            (Ok(reading), Flaw::KeepsValues) => self.inner.kept.lock().unwrap().push(reading.body.clone()),
            (Ok(reading), Flaw::LogsValues) => tracing::debug!(value = ?reading.body.expose_str(), "read"),
            _ => {}
        }
        reading
    }

    fn calls(&self, mut requests: Vec<Request>) -> Vec<Vec<Request>> {
        if self.inner.flaw == Flaw::LosesRequests {
            requests.pop();
        }
        vec![requests]
    }

    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let mut found = Vec::new();
        for query in queries {
            let vouched = query.held.is_some() && self.inner.flaw == Flaw::VouchesForAnything;
            let read = || async { self.read(&query.request).await.map(Found::New) };
            found.push(if vouched { Ok(Found::Unchanged) } else { read().await });
        }
        if self.inner.flaw == Flaw::MixesAnswers {
            found.reverse();
        }
        found
    }
}
