//! Logging in.

use std::fmt;

use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Workload};
use provider_client::{Connection, Fingerprint, Fingerprints, credential, service_account_token, text};
use reqwest::{Method, RequestBuilder};
use zeroize::Zeroizing;

use crate::answer::Granted;
use crate::meaning::Asked;
use crate::parameters::{Auth, Plan};
use crate::servers::{Servers, refusal};

/// The keys of a login by API key.
const LOGIN: &str = "login";
const API_KEY: &str = "apiKey";

/// A workload on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) workload: &'a Workload,
}

impl Applicant<'_> {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if Conjur does not accept it; `NoCredential` if something is missing, which the message names.
    pub(crate) async fn log_in(self, servers: &Servers) -> Result<Granted> {
        let what = self.to_string();
        let tenant = &self.workload.identity.namespace;
        match &self.plan.auth {
            Auth::Jwt { service, identity } => {
                let jwt = service_account_token(self.workload, &self.plan.audience, &self)?;
                let connection = servers.to(tenant, &self.plan.server).await?;
                let request = self.by_token(&connection, service, identity.as_deref(), jwt)?;
                granted(&connection, &what, request, jwt).await
            }
            Auth::ApiKey => {
                let login = self.text(credential(self.workload, LOGIN, &self)?)?;
                let key = credential(self.workload, API_KEY, &self)?;
                let connection = servers.to(tenant, &self.plan.server).await?;
                let path = ["authn", &self.plan.server.account, login, "authenticate"];
                let request = connection.request(Method::POST, connection.url(path)?);
                let request = request.header("content-type", "text/plain").body(self.text(key)?.to_owned());
                granted(&connection, &what, request, key).await
            }
        }
    }

    /// <https://docs.cyberark.com/conjur-open-source/latest/en/content/operations/services/cjr-authn-jwt-lp.htm>
    fn by_token(
        &self,
        connection: &Connection,
        service: &str,
        identity: Option<&str>,
        jwt: &SecretBytes,
    ) -> Result<RequestBuilder> {
        let jwt = self.text(jwt)?;
        let path = ["authn-jwt", service, &self.plan.server.account];
        let path = path.into_iter().chain(identity).chain(["authenticate"]);
        let request = connection.request(Method::POST, connection.url(path)?);
        let mut body = Zeroizing::new(String::new());
        // Whole at once, because what grows leaves copies behind. One byte becomes three at most.
        body.reserve(jwt.len().saturating_mul(3).saturating_add(4));
        url::form_urlencoded::Serializer::new(&mut *body).append_pair("jwt", jwt);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Ok(request.body(body.as_bytes().to_vec()))
    }

    /// Of what the login rests on beside the service account.
    pub(crate) fn fingerprint(&self, fingerprints: &Fingerprints) -> Option<Fingerprint> {
        let keys = [LOGIN, API_KEY].into_iter().filter_map(|key| self.workload.credentials.get(key));
        (self.plan.auth == Auth::ApiKey).then(|| fingerprints.of(keys))
    }

    fn text<'s>(&self, secret: &'s SecretBytes) -> Result<&'s str> {
        let no_text = || Error::new(ErrorKind::NoCredential, format!("{self}: a credential is no text"));
        text(secret).ok_or_else(no_text)
    }
}

async fn granted(
    connection: &Connection,
    what: &str,
    request: RequestBuilder,
    secret: &SecretBytes,
) -> Result<Granted> {
    let answer = connection.call(what, request).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Login, what, &[secret]));
    }
    Granted::of(&answer.body, what)
}

/// Who logs in and where, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        write!(f, "login of {namespace}/{name} at {} {}", self.plan.server.address, self.plan.auth)
    }
}

/// How one logs in, for messages and for telling identities apart.
impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwt { service, identity: None } => write!(f, "by authn-jwt/{service}"),
            Self::Jwt { service, identity: Some(identity) } => {
                write!(f, "by authn-jwt/{service} as {identity}")
            }
            Self::ApiKey => f.write_str("by API key"),
        }
    }
}
