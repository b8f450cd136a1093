use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use provider::{
    Context, Encrypted, Error, ErrorKind, Found, Query, Reading, Request, Result, SecretBytes, Session,
};
use provider_client::{Fingerprint, Place, Seated, Whom};

use crate::answer::Keys;
use crate::call::{Blob, Call, Opened, PARAMETERS_OF_A_CALL, SECRETS_OF_A_CALL, Wanted};
use crate::client::one_by_one::OneByOne;
use crate::client::wire::Way;
use crate::client::{kms, listed, parameters, secrets};
use crate::opened;
use crate::parameters::{Method, SecondRole};
use crate::region::Service;

/// Calls of one group that are made at one time.
const AT_ONCE: usize = 4;
/// How long a region that was out is left alone while the other one answers.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// Most values that one login remembers to have read.
const MOST_READ: usize = 10_000;

/// Whose a login is: everything that AWS tells apart, and everything that the login rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) store: String,
    pub(crate) method: Method,
    pub(crate) role: Option<String>,
    pub(crate) second: Option<SecondRole>,
    /// Whether it decrypts. Such logins have a way more, so they are apart.
    pub(crate) decrypts: bool,
    pub(crate) whom: Whom,
    /// Of an access key that came with the volume.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct AwsSession {
    parts: Parts,
    /// What was read by value: of anything else nobody can say that it may be read still.
    read: Mutex<BTreeSet<Arc<str>>>,
    /// When the other region last answered in the place of the first one.
    out: Mutex<Option<Instant>>,
    place: Place<Self>,
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) identity: String,
    pub(crate) namespace: String,
    pub(crate) keys: Keys,
    pub(crate) ways: Vec<Ways>,
    pub(crate) one_by_one: Arc<OneByOne>,
}

/// The ways to one region.
#[derive(Debug)]
pub(crate) struct Ways {
    pub(crate) secrets: Way,
    pub(crate) parameters: Way,
    /// Of a login that decrypts.
    pub(crate) kms: Option<Way>,
}

/// Who asks, for the parts of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) way: &'a Way,
    pub(crate) keys: &'a Keys,
    pub(crate) identity: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) one_by_one: &'a OneByOne,
}

/// One question of a call.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) wanted: &'a Wanted,
    /// The version that is held and may still be good: only then it is worth to ask for the version first.
    pub(crate) held: Option<&'a str>,
}

/// A call with its place among those that were asked for together.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    at: usize,
    call: &'a Call,
    held: Option<&'a str>,
}

fn is_out(found: &Result<Found>) -> bool {
    found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `calls` bring, in their order: where one call cannot bring all of it.
pub(crate) async fn few_at_once<T: Send>(calls: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(calls).buffered(AT_ONCE).collect().await
}

impl AwsSession {
    pub(crate) fn new(parts: Parts, place: Place<Self>) -> Self {
        Self { parts, read: Mutex::default(), out: Mutex::default(), place }
    }

    /// Encrypts `plain` with `key` of KMS in the first region.
    pub(crate) async fn encrypt(
        &self,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted> {
        let way = self.parts.ways.first().and_then(|ways| ways.kms.as_ref()).ok_or_else(foreign)?;
        kms::encrypt(self.asker(way), key, plain, context).await
    }

    /// Which kind of call brings `call`; those of one kind go together.
    fn kind(&self, call: &Call) -> Kind {
        let Parts { identity, namespace, one_by_one, .. } = &self.parts;
        match call.service {
            _ if call.sought.is_some() || call.opened.is_some() => Kind::Alone,
            Service::Ssm => Kind::Parameters,
            _ if !call.first.is_current() || one_by_one.has(namespace, identity) => Kind::Alone,
            _ if call.probe => Kind::Probed,
            _ => Kind::Batch,
        }
    }

    /// What all of `calls`, which are one listing, one ciphertext or of one service, bring in the first region or in the other one. Those that are not
    /// there have no answer.
    async fn ask(&self, other: bool, calls: &[Asked<'_>]) -> Vec<(usize, Result<Found>)> {
        let Some(ways) = self.parts.ways.get(usize::from(other)) else { return Vec::new() };
        let (mut places, mut questions) = (Vec::new(), Vec::new());
        for Asked { at, call, held } in calls {
            let wanted = if other { call.failover.as_ref() } else { Some(&call.first) };
            if let Some(wanted) = wanted {
                places.push(*at);
                questions.push(Question { wanted, held: *held });
            }
        }
        if let Some(opened) = calls.first().and_then(|asked| asked.call.opened.as_ref()) {
            let Some(Question { wanted, .. }) = questions.first() else { return Vec::new() };
            let found = self.open(ways, wanted, opened).await;
            return places.into_iter().map(|at| (at, found.clone())).collect();
        }
        let is_parameters = calls.first().is_some_and(|asked| asked.call.service == Service::Ssm);
        let way = if is_parameters { &ways.parameters } else { &ways.secrets };
        let asker = self.asker(way);
        let listing = calls.first().map(|asked| asked.call).filter(|call| call.sought.is_some());
        let found = match (questions.first(), listing) {
            (None, _) => Vec::new(),
            (Some(question), Some(call)) => vec![listed::read(asker, call, question).await],
            (Some(_), None) if is_parameters => parameters::read(asker, &questions).await,
            (Some(_), None) => secrets::read(asker, &questions).await,
        };
        places.into_iter().zip(found).collect()
    }

    /// What KMS decrypts of `opened`, with the key `wanted` if that names one.
    async fn open(&self, ways: &Ways, wanted: &Wanted, opened: &Opened) -> Result<Found> {
        let ciphertext = match &opened.ciphertext {
            Blob::Written(text) => text.clone(),
            Blob::In(service, held) => self.held_ciphertext(ways, *service, held).await?,
        };
        let asker = self.asker(ways.kms.as_ref().ok_or_else(foreign)?);
        kms::decrypt(asker, wanted, &ciphertext, &opened.context).await
    }

    /// The ciphertext that `service` holds as `wanted`, in base64.
    async fn held_ciphertext(&self, ways: &Ways, service: Service, wanted: &Wanted) -> Result<String> {
        let question = [Question { wanted, held: None }];
        let (asker, mut found) = if service == Service::Ssm {
            let asker = self.asker(&ways.parameters);
            (asker, parameters::read(asker, &question).await)
        } else {
            let asker = self.asker(&ways.secrets);
            (asker, secrets::read(asker, &question).await)
        };
        let reading = found.pop().ok_or_else(foreign)??.reading(None)?;
        opened::ciphertext_of(reading.body.expose()).ok_or_else(|| {
            let what = asker.what(wanted);
            Error::new(ErrorKind::Invalid, format!("{what}: what it holds is no ciphertext of KMS"))
                .remedy("put the CiphertextBlob there that `aws kms encrypt` prints")
        })
    }

    fn asker<'a>(&'a self, way: &'a Way) -> Asker<'a> {
        let Parts { identity, namespace, keys, one_by_one, .. } = &self.parts;
        Asker { way, keys, identity, namespace, one_by_one }
    }

    /// `calls` of one service. What is out in one region is asked for in the other one: first in the first region, unless
    /// that was out a moment ago.
    async fn of_service(&self, calls: &[Asked<'_>]) -> BTreeMap<usize, Result<Found>> {
        let was_out = self.was_out();
        let mut found = BTreeMap::new();
        for other in [was_out, !was_out] {
            let left: Vec<_> =
                calls.iter().filter(|asked| found.get(&asked.at).is_none_or(is_out)).copied().collect();
            if left.is_empty() {
                break;
            }
            for (at, brought) in self.ask(other, &left).await {
                if found.contains_key(&at) && is_out(&brought) {
                    continue;
                }
                let instead = found.insert(at, brought).is_some();
                if instead && other {
                    *locked(&self.out) = Some(Instant::now());
                }
            }
        }
        found
    }

    /// Who waits for a region that hangs waits long: for a while only the other one is asked then.
    fn was_out(&self) -> bool {
        locked(&self.out).is_some_and(|since| since.elapsed() < LEFT_ALONE)
    }

    /// The version that `query` holds, if the same login has read it by value before.
    fn held<'q>(&self, call: &Call, query: &'q Query) -> Option<&'q str> {
        let read = locked(&self.read);
        let is_known = call.probe && read.contains(&query.request.text);
        query.held.as_deref().filter(|_| is_known)
    }

    fn note(&self, queries: &[Query], found: &[Result<Found>]) {
        let mut read = locked(&self.read);
        for (query, found) in queries.iter().zip(found) {
            match found {
                Ok(Found::New(_)) if read.len() < MOST_READ => {
                    read.insert(Arc::clone(&query.request.text));
                }
                Ok(_) => {}
                Err(_) => {
                    read.remove(&query.request.text);
                }
            }
        }
    }
}

/// What goes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Batch,
    Probed,
    Parameters,
    Alone,
}

/// What one call is made of.
struct Group {
    kind: Kind,
    ids: BTreeSet<String>,
    requests: Vec<Request>,
}

impl Group {
    /// Of one parameter a call takes one version: the answer may tell no more than its name.
    fn takes(&self, kind: Kind, id: &str) -> bool {
        let is_apart = kind == Kind::Parameters && self.ids.contains(id);
        self.kind == kind && self.requests.len() < kind.most() && !is_apart
    }

    fn add(&mut self, id: String, request: Request) {
        self.ids.insert(id);
        self.requests.push(request);
    }
}

impl Kind {
    fn most(self) -> usize {
        match self {
            Self::Batch | Self::Probed => SECRETS_OF_A_CALL,
            Self::Parameters => PARAMETERS_OF_A_CALL,
            Self::Alone => 1,
        }
    }
}

impl Seated for AwsSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for AwsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsSession({})", self.parts.identity)
    }
}

#[async_trait]
impl Session for AwsSession {
    fn identity(&self) -> &str {
        &self.parts.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let found = self.read_many(&[Query::from(request.clone())]).await.pop();
        found.unwrap_or_else(|| Err(foreign()))?.reading(None)
    }

    fn calls(&self, requests: Vec<Request>) -> Vec<Vec<Request>> {
        let mut groups = Vec::<Group>::new();
        for request in requests {
            let call = Call::of_request(&request);
            let kind = call.as_ref().map_or(Kind::Alone, |call| self.kind(call));
            let id = call.map(|call| call.first.id).unwrap_or_default();
            match groups.iter_mut().find(|group| group.takes(kind, &id)) {
                Some(group) => group.add(id, request),
                None => groups.push(Group { kind, ids: BTreeSet::from([id]), requests: vec![request] }),
            }
        }
        groups.into_iter().map(|group| group.requests).collect()
    }

    async fn read_many(&self, queries: &[Query]) -> Vec<Result<Found>> {
        let calls: Vec<_> = queries.iter().map(|query| Call::of_request(&query.request)).collect();
        let asked = queries.iter().zip(&calls).enumerate();
        let asked = asked.filter_map(|(at, (query, call))| {
            let call = call.as_ref()?;
            Some(Asked { at, call, held: self.held(call, query) })
        });
        let (listings, single): (Vec<_>, Vec<_>) =
            asked.partition(|asked| asked.call.sought.is_some() || asked.call.opened.is_some());
        let (parameters, secrets): (Vec<_>, Vec<_>) =
            single.into_iter().partition(|asked| asked.call.service == Service::Ssm);
        let mut found: Vec<_> = queries.iter().map(|_| Err(foreign())).collect();
        let listings = listings.into_iter().map(|listing| vec![listing]);
        let alike = [secrets, parameters].into_iter().chain(listings);
        for alike in alike.filter(|alike| !alike.is_empty()) {
            for (at, brought) in self.of_service(&alike).await {
                if let Some(place) = found.get_mut(at) {
                    *place = brought;
                }
            }
        }
        self.note(queries, &found);
        found
    }

    fn discard(&self) {
        self.place.discard();
    }
}

fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "the request is none of this provider's")
}
