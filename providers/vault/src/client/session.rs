use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use provider::{Error, ErrorKind, LeaseId, Reading, Request, Result, SecretBytes, Session, Span, Validity};
use provider_client::{Answer, ClientPair};
use tokio::time::Instant;

use crate::answer;
use crate::call::Call;
use crate::client::connection::{Connection, Message, refusal};
use crate::client::login::{Granted, prolonged};
use crate::client::logins::Seat;
use crate::client::remains::Remains;
use crate::meaning::Asked;
use crate::server::Server;

/// A login that ends sooner than this is not given out any more, or sooner than a tenth of its time.
const MARGIN: Duration = Duration::from_secs(5);

/// A login.
pub(crate) struct VaultSession {
    identity: String,
    server: Server,
    connection: Connection,
    token: SecretBytes,
    /// The workload's own client certificate, where it shows one.
    client: Option<ClientPair>,
    is_ours: bool,
    term: Mutex<Term>,
    holder: Mutex<Holder>,
    seat: Mutex<Seat>,
    me: Weak<Self>,
}

/// Until when.
#[derive(Debug, Clone, Copy)]
struct Term {
    since: Instant,
    /// `None` if it does not end.
    lasts: Option<Span>,
    renewable: bool,
}

/// Which volumes were given this login.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Nobody,
    One(String),
    Many,
    /// One that made it its own.
    Owner(String),
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) identity: String,
    pub(crate) server: Server,
    pub(crate) connection: Connection,
    pub(crate) client: Option<ClientPair>,
    pub(crate) granted: Granted,
    pub(crate) seat: Seat,
}

impl VaultSession {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { identity, server, connection, client, granted, seat } = parts;
        let Granted { token, lasts, renewable, is_ours, account: _, by_certificate: _ } = granted;
        let term = Term { since: Instant::now(), lasts, renewable };
        Arc::new_cyclic(|me| Self {
            identity,
            server,
            connection,
            token,
            client,
            is_ours,
            term: Mutex::new(term),
            holder: Mutex::new(Holder::Nobody),
            seat: Mutex::new(seat),
            me: me.clone(),
        })
    }

    /// Notes that `volume` gets this login. `false` if it may not, or the login ends soon.
    pub(crate) fn give(&self, volume: &str) -> bool {
        let ends_soon = locked(&self.term)
            .left()
            .is_some_and(|(left, lasts)| left < MARGIN.min(Span::from(lasts).times(0.1).get()));
        if ends_soon {
            return false;
        }
        let mut holder = locked(&self.holder);
        match &*holder {
            Holder::Nobody => *holder = Holder::One(volume.to_owned()),
            Holder::One(other) if other != volume => *holder = Holder::Many,
            Holder::One(_) | Holder::Many => {}
            Holder::Owner(owner) => return owner == volume,
        }
        true
    }

    /// Notes that this login is `volume`'s own.
    pub(crate) fn give_for_good(&self, volume: &str) {
        *locked(&self.holder) = Holder::Owner(volume.to_owned());
    }

    async fn send(&self, message: Message<'_>) -> Result<Answer> {
        self.connection.call(message.token(&self.token)).await
    }

    /// A call that prolongs something.
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

impl Term {
    /// What is left, and of how much.
    fn left(&self) -> Option<(Duration, Duration)> {
        let lasts = self.lasts?.get();
        Some((lasts.saturating_sub(self.since.elapsed()), lasts))
    }

    fn validity(&self) -> Option<Validity> {
        let (duration, _) = self.left()?;
        Some(Validity { duration: duration.into(), renewable: self.renewable, lease: None })
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
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
            let what = format!("{what} as {}", self.identity);
            return Err(refusal(&answer, Asked::Read, &what, &[&self.token]));
        }
        if answer.body.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, format!("{what}: empty response from the store"))
                .remedy("this path gives nothing to read; correct secretPath or method"));
        }
        answer::reading(&call, answer.body, Timestamp::now())
    }

    fn claim(&self, volume: &str) -> bool {
        if !self.is_ours {
            return false;
        }
        {
            let mut holder = locked(&self.holder);
            match &*holder {
                Holder::Owner(owner) => return owner == volume,
                Holder::One(only) if only == volume => *holder = Holder::Owner(volume.to_owned()),
                Holder::Nobody | Holder::One(_) | Holder::Many => return false,
            }
        }
        let mut seat = locked(&self.seat);
        *seat = std::mem::take(&mut *seat).exchange(&self.me, volume);
        true
    }

    fn discard(&self) {
        locked(&self.seat).leave(&self.me);
    }

    fn validity(&self) -> Option<Validity> {
        locked(&self.term).validity()
    }

    async fn renew(&self) -> Result<Validity> {
        let what = format!("prolonging the login of {}", self.identity);
        let (duration, renewable) = self.prolong(&what, "auth/token/renew-self", None).await?;
        let lasts = (!duration.is_zero()).then_some(duration);
        *locked(&self.term) = Term { since: Instant::now(), lasts, renewable };
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

    /// A token that was given to us is not ours to end, and a batch token cannot be ended.
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
/// `Unavailable` if it is worth another try. A token that is gone is `Ok`.
pub(crate) async fn revoke(connection: &Connection, token: &SecretBytes, whose: &str) -> Result<()> {
    let what = format!("ending the login of {whose}");
    let answer = connection.call(Message::post(&what, "auth/token/revoke-self").token(token)).await?;
    // A token that the store does not know is refused like any that may not.
    if answer.is_success() || answer.status == 403 {
        return Ok(());
    }
    Err(refusal(&answer, Asked::Read, &what, &[token]))
}
