use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use provider::{Error, ErrorKind, Reading, Request, Result, SecretBytes, Session};
use provider_client::{Connection, Fingerprint, Place, Seated, Whom, confidential};
use reqwest::Method;

use crate::answer;
use crate::meaning::Asked;
use crate::parameters::{Account, Server};
use crate::servers::refusal;

/// Whose a login is: everything that Confidant and AWS tell apart, and everything that the login rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) server: Server,
    pub(crate) account: Account,
    pub(crate) whom: Whom,
    /// Of an access key that came with the volume.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct ConfidantSession {
    pub(crate) identity: String,
    /// As a header shows it.
    pub(crate) token: SecretBytes,
    pub(crate) connection: Arc<Connection>,
    pub(crate) place: Place<Self>,
}

impl Seated for ConfidantSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for ConfidantSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfidantSession({})", self.identity)
    }
}

#[async_trait]
impl Session for ConfidantSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let service = &*request.text;
        let what = format!("service {service} as {}", self.identity);
        let url = self.connection.url(["v1", "services", service])?;
        let token = confidential(&[b"Basic ", self.token.expose()]);
        let unfit =
            || Error::new(ErrorKind::Unauthenticated, format!("{what}: the token is no header's value"));
        let request =
            self.connection.request(Method::GET, url).header("authorization", token.ok_or_else(unfit)?);
        let answer = self.connection.call(&what, request.header("accept", "application/json")).await?;
        if !answer.is_success() {
            return Err(refusal(&answer, Asked::Confidant, &what, &[&self.token]));
        }
        answer::reading(answer.body, service, &what)
    }

    fn discard(&self) {
        self.place.discard();
    }
}
