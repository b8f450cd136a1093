use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use provider::{
    Error, ErrorKind, LeaseId, Leases, Reading, Request, Result, SecretBytes, Session, Span, Validity,
};
use provider_client::{Answer, ClientPair, Fingerprint, Place, Seated, Term, Whom};

use crate::answer;
use crate::call::Call;
use crate::client::connection::{Connection, Message, refusal};
use crate::client::login::{Granted, prolonged};
use crate::client::remains::Remains;
use crate::meaning::Asked;
use crate::parameters::Auth;
use crate::server::Server;

/// The owner of a login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) store: String,
    pub(crate) auth: Auth,
    pub(crate) whom: Whom,
    /// Fingerprint of the credentials that the login uses besides the service account.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct VaultSession {
    identity: String,
    server: Server,
    connection: Connection,
    token: SecretBytes,
    /// The workload's own client certificate, if it has one.
    client: Option<ClientPair>,
    is_ours: bool,
    place: Place<Self>,
}

/// The parts of a new session.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) identity: String,
    pub(crate) server: Server,
    pub(crate) connection: Connection,
    pub(crate) client: Option<ClientPair>,
    pub(crate) granted: Granted,
}

impl VaultSession {
    pub(crate) fn new(parts: Parts, place: Place<Self>) -> Self {
        let Parts { identity, server, connection, client, granted } = parts;
        let Granted { token, is_ours, .. } = granted;
        Self { identity, server, connection, token, client, is_ours, place }
    }

    pub(crate) async fn send(&self, message: Message<'_>) -> Result<Answer> {
        self.connection.call(message.token(&self.token)).await
    }

    /// The error for an answer to a call of this session that is no 2xx.
    pub(crate) fn refusal(&self, answer: &Answer, what: &str) -> Error {
        refusal(answer, Asked::Read, &format!("{what} as {}", self.identity), &[&self.token])
    }

    /// Makes a call that renews a login or a lease.
    async fn prolong(&self, what: &str, path: &str, body: Option<SecretBytes>) -> Result<(Span, bool)> {
        let answer = self.send(Message { body, ..Message::post(what, path) }).await?;
        if answer.is_success() {
            let nonsense =
                || Error::new(ErrorKind::Unavailable, format!("{what}: the answer is none of Vault's"));
            return prolonged(&answer.body).ok_or_else(nonsense);
        }
        let error = refusal(&answer, Asked::Read, what, &[&self.token]);
        match error.kind() {
            ErrorKind::Unavailable => Err(error),
            _ => Err(Error::new(ErrorKind::Denied, error.to_string())),
        }
    }
}

impl Seated for VaultSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for VaultSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultSession({})", self.identity)
    }
}

#[async_trait]
impl Session for VaultSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let call = Call::of_request(request)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the request is none of this provider's"))?;
        let what = call.to_string();
        let args = call.args.as_ref().map(serde_json::to_vec).transpose().unwrap_or_default();
        let message = Message {
            what: &what,
            method: &call.method,
            path: &call.path,
            query: &call.query,
            token: None,
            body: args.map(SecretBytes::new),
            wrap: call.wrap.as_deref(),
        };
        let answer = self.send(message).await?;
        if !answer.is_success() {
            return Err(self.refusal(&answer, &what));
        }
        if answer.body.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, format!("{what}: empty response from the store"))
                .remedy("this path gives nothing to read; correct secretPath or method"));
        }
        answer::reading(&call, answer.body, Timestamp::now())
    }

    fn discard(&self) {
        self.place.discard();
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

#[async_trait]
impl Leases for VaultSession {
    /// A token that the user gave is shared by its nature and must not be revoked, so no volume can claim it.
    fn claim(&self, volume: &str) -> bool {
        self.is_ours && self.place.claim(volume)
    }

    fn validity(&self) -> Option<Validity> {
        self.place.validity()
    }

    async fn renew(&self) -> Result<Validity> {
        let what = format!("prolonging the login of {}", self.identity);
        let (duration, renewable) = self.prolong(&what, "auth/token/renew-self", None).await?;
        let lasts = (!duration.is_zero()).then_some(duration);
        self.place.prolong(Term::from_now(lasts, renewable));
        Ok(Validity { duration, renewable, lease: None })
    }

    async fn renew_lease(&self, lease: &LeaseId) -> Result<Validity> {
        let body = serde_json::json!({"lease_id": lease.0}).to_string();
        let what = format!("prolonging lease {}", lease.0);
        let (duration, renewable) = self.prolong(&what, "sys/leases/renew", Some(body.into())).await?;
        Ok(Validity { duration, renewable, lease: Some(lease.clone()) })
    }

    async fn revoke(&self) -> Result<()> {
        self.discard();
        if !self.is_ours {
            return Ok(());
        }
        revoke(&self.connection, &self.token, &self.identity).await
    }

    /// A token that the user gave must not be revoked, and a batch token cannot be revoked.
    fn remains(&self) -> Option<SecretBytes> {
        if !self.is_ours {
            return None;
        }
        Remains::new(&self.server, &self.token, self.client.as_ref()).write()
    }
}

/// Ends a token and its leases.
///
/// # Errors
///
/// `Unavailable` if another try may succeed. A token that has already ended is `Ok`.
pub(crate) async fn revoke(connection: &Connection, token: &SecretBytes, whose: &str) -> Result<()> {
    let what = format!("ending the login of {whose}");
    let answer = connection.call(Message::post(&what, "auth/token/revoke-self").token(token)).await?;
    // The store answers 403 for a token that it does not know, as for one that may not revoke itself.
    if answer.is_success() || answer.status == 403 {
        return Ok(());
    }
    Err(refusal(&answer, Asked::Read, &what, &[token]))
}
