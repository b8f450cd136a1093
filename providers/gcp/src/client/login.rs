//! Logging in: what each identity sends, and what is granted for it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Workload};
use provider_client::{credential, service_account_token};
use serde::Serialize;

use crate::client::servers::{Body, Message, Servers};
use crate::client::signature::assertion;
use crate::endpoints::{Api, Endpoints};
use crate::federation::Federation;
use crate::grants::{Granted, account_token, token};
use crate::key_file::{KeyFile, SCOPE};
use crate::meaning::Asked;
use crate::parameters::{Auth, Plan};

/// The key of a service account among the credentials of a volume, as upstream calls it.
pub(crate) const KEY: &str = "key.json";
/// Where a machine is told its own token
/// (<https://docs.cloud.google.com/compute/docs/access/authenticate-workloads>).
const OWN_TOKEN: &str = "computeMetadata/v1/instance/service-accounts/default/token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// `urn:ietf:params:oauth:grant-type:jwt-bearer`, as a form has it.
const SIGNATURE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";

/// What a login rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// The pod's token.
    Pod(Federation),
    /// A key that came with the volume.
    Key,
    /// What the machine is.
    Machine,
}

/// A workload on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) method: &'a Method,
    /// The service account that is read as.
    pub(crate) account: Option<&'a str>,
    pub(crate) workload: &'a Workload,
}

impl Method {
    /// What `workload` logs in by where its class says `auth`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the class and the volume contradict each other; `NoCredential` if there is nothing to log in by.
    pub(crate) fn of(auth: &Auth, workload: &Workload, servers: &Servers) -> Result<Self> {
        let has_key = workload.credentials.contains_key(KEY);
        match auth {
            Auth::Pod(_) | Auth::Machine if has_key => Err(two_identities()),
            Auth::Unsaid(_) if has_key => Ok(Self::Key),
            Auth::Pod(federation) | Auth::Unsaid(Some(federation)) => Ok(Self::Pod(federation.clone())),
            Auth::Unsaid(None) => Err(no_identity(workload)),
            Auth::Machine if servers.config().network.machine.is_for(workload) => Ok(Self::Machine),
            Auth::Machine => Err(not_the_machine(workload)),
        }
    }
}

fn two_identities() -> Error {
    let message = format!("auth is set, and the volume brings {KEY} (nodePublishSecretRef)");
    Error::new(ErrorKind::Invalid, message)
        .remedy("take auth out of the class, or the key away from the volume")
}

fn no_identity(workload: &Workload) -> Error {
    let message = format!("{}: nobody vouches for the pod, and no {KEY} came", workload.identity);
    Error::new(ErrorKind::NoCredential, message).remedy(
        "set workloadIdentityProvider (--gcp-workload-identity-provider for all classes), or bring a key by \
         nodePublishSecretRef",
    )
}

fn not_the_machine(workload: &Workload) -> Error {
    let message = format!("{}: auth is provider-adc, and it may not read as this machine", workload.identity);
    let remedy = match &workload.pod {
        Some(_) => format!(
            "let the class say pod-adc, or have the administrator start secretfs with --allow-node-identity {}",
            workload.identity.namespace
        ),
        None => "give --identity host".to_owned(),
    };
    Error::new(ErrorKind::NoCredential, message).remedy(remedy)
}

impl Applicant<'_> {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` or `Denied` if Google does not accept it; `NoCredential` if one is missing, which the message
    /// names.
    pub(crate) async fn log_in(self, servers: &Servers) -> Result<Granted> {
        let granted = match self.method {
            Method::Pod(federation) => self.exchange(federation, servers).await?,
            Method::Key => self.sign(servers).await?,
            Method::Machine => self.ask_machine(servers).await?,
        };
        match self.account {
            Some(account) => self.become_of(account, granted, servers).await,
            None => Ok(granted),
        }
    }

    fn tenant(&self) -> &str {
        &self.workload.identity.namespace
    }

    fn endpoints(&self) -> &Endpoints {
        &self.plan.endpoints
    }

    /// <https://docs.cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
    async fn exchange(&self, federation: &Federation, servers: &Servers) -> Result<Granted> {
        let jwt = service_account_token(self.workload, &federation.audience, self)?;
        let unfit = || Error::new(ErrorKind::NoCredential, format!("{self}: the token is no text"));
        let subject = jwt.expose_str().ok_or_else(unfit)?;
        let body = json(&BTreeMap::from([
            ("grantType", EXCHANGE),
            ("requestedTokenType", ACCESS_TOKEN),
            ("subjectTokenType", JWT),
            ("audience", &federation.exchange),
            ("scope", SCOPE),
            ("subjectToken", subject),
        ]))?;
        let what = self.to_string();
        let message = Message::post(&what, Asked::Exchange, "v1/token", Body::Json(body));
        let api = Api::SecurityTokens;
        let answer = servers.ask(self.tenant(), self.endpoints(), &api, message, &[jwt]).await?;
        token(&answer).ok_or_else(|| nonsense(&what))
    }

    /// <https://developers.google.com/identity/protocols/oauth2/service-account>
    async fn sign(&self, servers: &Servers) -> Result<Granted> {
        let file = credential(self.workload, KEY, self)?;
        let (what, unusable) = (self.to_string(), |why: &str| self.unusable(why));
        let key =
            KeyFile::read(file, &self.endpoints().address(&Api::OAuth)).map_err(|why| unusable(&why))?;
        let assertion = assertion(&key, Timestamp::now()).map_err(unusable)?;
        let form = SecretBytes::new([SIGNATURE.as_bytes(), assertion.expose()].concat());
        let what = format!("{what} by the key of {}", key.email());
        let message = Message::post(&what, Asked::Signature, "token", Body::Form(form));
        let answer =
            servers.ask(self.tenant(), self.endpoints(), &Api::OAuth, message, &[&assertion]).await?;
        token(&answer).ok_or_else(|| nonsense(&what))
    }

    fn unusable(&self, why: &str) -> Error {
        Error::new(ErrorKind::NoCredential, format!("{self}: {KEY} cannot be used: {why}"))
            .remedy("put the key of a service account there, as gcloud writes it")
    }

    async fn ask_machine(&self, servers: &Servers) -> Result<Granted> {
        let what = format!("{self} as this machine");
        let message = Message::get(&what, Asked::Machine, OWN_TOKEN);
        let answer = servers.ask_machine(self.tenant(), message).await?;
        token(&answer).ok_or_else(|| nonsense(&what))
    }

    /// <https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
    async fn become_of(&self, account: &str, own: Granted, servers: &Servers) -> Result<Granted> {
        let what = format!("{self} as {account}");
        let path = format!("v1/projects/-/serviceAccounts/{account}:generateAccessToken");
        let body = json(&BTreeMap::from([("scope", [SCOPE])]))?;
        let message = Message::post(&what, Asked::Account, &path, Body::Json(body)).token(&own.token);
        let (api, secrets) = (Api::AccountCredentials, [&own.token]);
        let answer = servers.ask(self.tenant(), self.endpoints(), &api, message, &secrets).await?;
        account_token(&answer, Timestamp::now()).ok_or_else(|| nonsense(&what))
    }
}

/// Who logs in, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        write!(f, "login of {namespace}/{name}")?;
        match self.method {
            Method::Pod(federation) => write!(f, " at {}", federation.exchange),
            Method::Key | Method::Machine => Ok(()),
        }
    }
}

fn json(body: &impl Serialize) -> Result<SecretBytes> {
    serde_json::to_vec(body)
        .map(SecretBytes::new)
        .map_err(|_| Error::new(ErrorKind::Invalid, "the login cannot be written as JSON"))
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer grants no token"))
        .remedy("is endpoint right?")
}
