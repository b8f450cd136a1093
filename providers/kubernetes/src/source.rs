//! The API server as a [`Provider`].

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use provider::{
    Changes, Error, ErrorKind, Invalid, Object, ObjectRef, Origin, Parameters, Provider, Reading, Request,
    Restarts, Result, Scope, SecretBytes, Session, Share, Source, TenantShares, Tenure, Workload, for_tenant,
};
use tokio::sync::watch::Sender;
use tokio_util::task::AbortOnDropHandle;

use crate::config::KubernetesConfig;
use crate::connection::ApiServer;
use crate::declaration::DECLARATION;
use crate::followed::{Facts, Followed, Settled, Subscription};
use crate::objects::{self, Part};
use crate::reader::{AUDIENCE, Reader};
use crate::secret;
use crate::watch::{self, Watched};

/// How often a reading is repeated if the watch reports a newer version meanwhile.
const AGAIN: u32 = 3;

/// Reads native Secrets for pods, with their own tokens: `provider: kubernetes`.
#[derive(Debug)]
pub struct Kubernetes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    server: Arc<ApiServer>,
    watches: Arc<TenantShares>,
    restarts: Arc<Restarts>,
    /// The identities with which some volume reads.
    accounts: Mutex<HashMap<Reader, Weak<Account>>>,
}

/// One identity.
#[derive(Debug)]
struct Account {
    shared: Arc<Shared>,
    reader: Reader,
    /// The newest token that any volume of this identity got. The watches use it.
    token: Sender<SecretBytes>,
    followed: Mutex<HashMap<String, Weak<Followed>>>,
    sessions: Mutex<Vec<Weak<SecretSession>>>,
}

impl Kubernetes {
    /// A provider for the API server in `config`. It connects at the first read.
    ///
    /// # Errors
    ///
    /// `Invalid` if its address is no URL.
    pub fn new(config: &KubernetesConfig) -> Result<Self> {
        let server = Arc::new(ApiServer::new(config)?);
        let watches = TenantShares::new(config.most_watches);
        let (restarts, accounts) = (Arc::default(), Mutex::default());
        Ok(Self(Arc::new(Shared { server, watches, restarts, accounts })))
    }
}

impl Shared {
    fn account(self: &Arc<Self>, reader: Reader, token: &SecretBytes) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(&reader).and_then(Weak::upgrade) {
            account.offer(token);
            return account;
        }
        accounts.retain(|_, account| account.strong_count() > 0);
        let account = Arc::new(Account {
            shared: Arc::clone(self),
            reader: reader.clone(),
            token: Sender::new(token.clone()),
            followed: Mutex::default(),
            sessions: Mutex::default(),
        });
        accounts.insert(reader, Arc::downgrade(&account));
        account
    }
}

impl Account {
    /// Makes the watches use `token` from now on.
    fn offer(&self, token: &SecretBytes) {
        self.token.send_if_modified(|held| {
            let other = held.expose() != token.expose();
            if other {
                *held = token.clone();
            }
            other
        });
    }

    /// The session that reads with `token`. Callers with equal tokens share it while somebody holds it.
    fn session(self: &Arc<Self>, token: SecretBytes) -> Arc<SecretSession> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = sessions.iter().filter_map(Weak::upgrade);
        if let Some(session) = live.find(|session| session.token.expose() == token.expose()) {
            return session;
        }
        sessions.retain(|session| session.strong_count() > 0);
        let session = Arc::new(SecretSession { account: Arc::clone(self), token });
        sessions.push(Arc::downgrade(&session));
        session
    }

    /// The known state of `secret`, if some volume follows it.
    fn facts(&self, secret: &str) -> Option<Arc<Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).get(secret).and_then(Weak::upgrade)
    }

    fn follow(&self, secret: &str) -> Arc<Followed> {
        let mut all = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(followed) = all.get(secret).and_then(Weak::upgrade) {
            return followed;
        }
        all.retain(|_, followed| followed.strong_count() > 0);
        let facts = Arc::<Facts>::default();
        let followed = Arc::new(Followed::new(Arc::clone(&facts), self.watch(secret, facts)));
        all.insert(secret.to_owned(), Arc::downgrade(&followed));
        followed
    }

    fn watch(&self, secret: &str, facts: Arc<Facts>) -> Option<(AbortOnDropHandle<()>, Share)> {
        let Some(share) = self.shared.watches.take([&Arc::from(&*self.reader.namespace)]) else {
            tracing::warn!(
                secret,
                namespace = self.reader.namespace,
                "the namespace has as many Secrets watched as it may: changes of this one are seen at the next refresh"
            );
            return None;
        };
        let (server, reader) = (Arc::clone(&self.shared.server), self.reader.clone());
        let watched =
            Watched { server, reader, secret: secret.to_owned(), token: self.token.subscribe(), facts };
        let task = watch::keep(watched, Arc::clone(&self.shared.restarts));
        let task = for_tenant(&self.reader.namespace, task);
        Some((AbortOnDropHandle::new(tokio::spawn(task)), share))
    }
}

impl Provider for Kubernetes {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let (objects, parts) = objects::read(parameters)?;
        Ok(Arc::new(SecretSource { shared: Arc::clone(&self.0), objects, parts }))
    }

    fn watch_restarts(&self) -> u64 {
        self.0.restarts.get()
    }
}

#[derive(Debug)]
struct SecretSource {
    shared: Arc<Shared>,
    objects: Vec<ObjectRef>,
    parts: Vec<Part>,
}

#[async_trait]
impl Source for SecretSource {
    fn store(&self) -> &str {
        &self.shared.server.name
    }

    fn audience(&self) -> Option<&str> {
        Some(AUDIENCE)
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        let (reader, token) = Reader::of(workload)?;
        Ok(self.shared.account(reader, &token).session(token))
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        let unasked = || Error::new(ErrorKind::Invalid, format!("there is no object {index}"));
        let (object, part) = self.objects.get(index).zip(self.parts.get(index)).ok_or_else(unasked)?;
        secret::take(&object.request.text, part, reading)
    }

    fn requests_per_call(&self, _index: usize) -> Option<NonZeroUsize> {
        None
    }

    fn origin(&self, index: usize) -> Origin {
        let secret = self.objects.get(index).map(|object| object.request.text.to_string());
        Origin {
            address: self.store().to_owned(),
            scope: Scope::OfWorkload,
            path: secret.unwrap_or_default(),
            key: self.parts.get(index).map(|part| part.key.clone()),
        }
    }
}

/// A session without a login: each call carries the token.
#[derive(Debug)]
struct SecretSession {
    account: Arc<Account>,
    token: SecretBytes,
}

impl SecretSession {
    async fn get(&self, secret: &str) -> Result<Reading> {
        let server = &self.account.shared.server;
        let json = server.get(&self.account.reader, secret, &self.token).await?;
        secret::reading(&json).ok_or_else(|| {
            let text = format!("Secret {secret}: the answer of {} is no Secret", server.name);
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    /// Reads until the version agrees with the watch.
    async fn get_latest(&self, secret: &str, followed: &Followed) -> Result<Reading> {
        let facts = &followed.facts;
        for _ in 1..AGAIN {
            let begun = facts.begin();
            let read = self.get(secret).await;
            let settled = match &read {
                Ok(reading) => facts.read(begun, reading.version.as_deref().unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::NotFound => facts.absent(begun),
                Err(_) => Settled::Latest,
            };
            if settled == Settled::Latest {
                return read;
            }
        }
        self.get(secret).await
    }

    fn deleted(&self, secret: &str) -> Error {
        let Reader { namespace, identity, .. } = &self.account.reader;
        let text = format!("Secret {namespace}/{secret} as {identity}: it was deleted");
        Error::new(ErrorKind::Revoked, text).remedy(format!("create it in namespace {namespace}"))
    }
}

#[async_trait]
impl Session for SecretSession {
    fn identity(&self) -> &str {
        &self.account.reader.identity
    }

    fn changes(&self, requests: &[Request]) -> Option<Box<dyn Changes>> {
        let followed = requests.iter().map(|request| self.account.follow(&request.text)).collect();
        Some(Box::new(Subscription::new(followed, Arc::clone(&self.account))))
    }

    fn hand_over(&self, workload: &Workload) {
        if let Ok((reader, token)) = Reader::of(workload)
            && reader == self.account.reader
        {
            self.account.offer(&token);
        }
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let secret = &*request.text;
        let Some(followed) = self.account.facts(secret) else { return self.get(secret).await };
        match self.get_latest(secret, &followed).await {
            Err(error) if error.kind() == ErrorKind::NotFound && followed.facts.is_deleted() => {
                Err(self.deleted(secret))
            }
            read => read,
        }
    }
}
