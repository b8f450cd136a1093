use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use provider::{Error, ErrorKind, Reading, Request, Result, SecretBytes, Session};
use provider_client::{Fingerprint, Place, Seated, Whom};

use crate::answer;
use crate::client::login::Method;
use crate::client::servers::{Message, Servers};
use crate::endpoints::Endpoints;
use crate::listed::Sought;
use crate::meaning::Asked;
use crate::opened::Opened;
use crate::resource::Resource;

/// Whose a login is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) endpoints: Endpoints,
    pub(crate) method: Method,
    /// The service account that is read as.
    pub(crate) account: Option<String>,
    pub(crate) whom: Whom,
    /// Of the key it rests on.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A login.
pub(crate) struct GcpSession {
    pub(crate) identity: String,
    /// The namespace that it is for.
    pub(crate) tenant: String,
    pub(crate) endpoints: Endpoints,
    pub(crate) servers: Arc<Servers>,
    pub(crate) token: SecretBytes,
    pub(crate) place: Place<Self>,
}

impl Seated for GcpSession {
    type Whose = Owner;

    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl fmt::Debug for GcpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcpSession({})", self.identity)
    }
}

#[async_trait]
impl Session for GcpSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        if let Some(sought) = Sought::of_request(&request.text) {
            return self.listing(&sought).await;
        }
        if let Some(opened) = Opened::of_request(&request.text) {
            return self.open(&opened).await;
        }
        let resource = Resource::parse(&request.text)
            .map_err(|_| Error::new(ErrorKind::Invalid, "the request is none of this provider's"))?;
        self.value(&resource).await
    }

    fn discard(&self) {
        self.place.discard();
    }
}

impl GcpSession {
    /// What `resource` has.
    pub(super) async fn value(&self, resource: &Resource) -> Result<Reading> {
        let what = format!("{resource} as {}", self.identity);
        let path = format!("v1/{}", resource.call());
        let message = Message::get(&what, Asked::Read, &path).token(&self.token);
        let (api, secrets) = (resource.api(), [&self.token]);
        let body = self.servers.ask(&self.tenant, &self.endpoints, &api, message, &secrets).await?;
        answer::reading(resource, &body)
    }
}
