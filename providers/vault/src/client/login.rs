//! Logs in: what each method sends, and what the answer grants.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Span, Tenure, Workload};
use provider_client::{ClientPair, credential, service_account_token, text};
use serde::Serialize;

use crate::client::connection::{Connection, Message, refusal};
use crate::client::session;
use crate::golang::{self, Fields};
use crate::meaning::Asked;
use crate::parameters::{Auth, Method};

/// What a login grants.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: SecretBytes,
    /// `None` if it does not end.
    pub(crate) lasts: Option<Span>,
    pub(crate) renewable: bool,
    /// Whether the token was made for this login. Only then it can be revoked, and its leases with it.
    pub(crate) is_ours: bool,
    /// The service account that the store checked, if a kubernetes mount named it.
    pub(crate) account: Option<Identity>,
    /// Whether a cert mount says that it checked the client certificate of the connection.
    pub(crate) by_certificate: bool,
}

/// A workload that wants to log in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) audience: &'a str,
    pub(crate) workload: &'a Workload,
    pub(crate) tenure: Tenure,
}

impl Applicant<'_> {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if the store refuses the login; `NoCredential` if a credential is missing. The message names
    /// it.
    pub(crate) async fn log_in(self, connection: &Connection) -> Result<Granted> {
        match self.auth.method {
            Method::Kubernetes | Method::Jwt => {
                let jwt = service_account_token(self.workload, self.audience, &self)?;
                let role = self.auth.role.as_deref();
                let body = [("jwt", jwt.expose_str()), ("role", role)];
                self.post(connection, &body, &[jwt]).await
            }
            Method::AppRole => {
                let (role, secret) =
                    (self.credential("role-id")?, self.workload.credentials.get("secret-id"));
                let trimmed = secret.and_then(text);
                let body = [("role_id", trimmed_of(role)?.into()), ("secret_id", trimmed)];
                let secrets: Vec<_> = [Some(role), secret].into_iter().flatten().collect();
                self.post(connection, &body, &secrets).await
            }
            Method::Certificate => {
                let body = [("name", self.auth.role.as_deref())];
                self.post(connection, &body, &[]).await
            }
            Method::Token => self.with_token(connection).await,
        }
    }

    /// The client certificate for this login.
    pub(crate) fn client_pair(self) -> Result<Option<ClientPair>> {
        if self.auth.method != Method::Certificate {
            return Ok(None);
        }
        let (certificate, key) = (self.credential("tls.crt")?.clone(), self.credential("tls.key")?.clone());
        Ok(Some(ClientPair { certificate, key }))
    }

    /// The credentials that the login method uses, besides the service account.
    pub(crate) fn credentials(self) -> Vec<&'static str> {
        match self.auth.method {
            Method::Kubernetes | Method::Jwt => vec![],
            Method::AppRole => vec!["role-id", "secret-id"],
            Method::Token => vec!["token"],
            Method::Certificate => vec!["tls.crt", "tls.key"],
        }
    }

    fn credential(&self, key: &str) -> Result<&SecretBytes> {
        credential(self.workload, key, self)
    }

    async fn post(
        &self,
        connection: &Connection,
        body: &[(&str, Option<&str>)],
        secrets: &[&SecretBytes],
    ) -> Result<Granted> {
        let (what, path) = (self.to_string(), format!("auth/{}/login", self.auth.mount));
        let answer = connection.call(Message::post(&what, &path).body(json(body)?)).await?;
        if !answer.is_success() {
            return Err(refusal(&answer, Asked::Login, &what, secrets));
        }
        let granted = granted(&answer.body).ok_or_else(|| nonsense(&what))??;
        if granted.by_certificate && self.auth.method != Method::Certificate {
            return Err(self.decline(&granted, connection).await);
        }
        Ok(granted)
    }

    /// Revokes a login that a cert mount granted though the class chose another method. A cert mount ignores what the
    /// login sends and checks the connection's client certificate, which may be there only because the listener
    /// requires it. Nobody gets such a token. If it cannot be revoked now, it lives until its own end.
    async fn decline(&self, granted: &Granted, connection: &Connection) -> Error {
        let what = self.to_string();
        if let Err(error) = session::revoke(connection, &granted.token, &what).await {
            tracing::warn!(%error, "a login by certificate that nobody asked for lasts until its own end");
        }
        let message = format!(
            "{what}: the mount judged the client certificate, and this class logs in by another method"
        );
        Error::new(ErrorKind::Invalid, message)
            .remedy("correct vaultAuthMountPath, or log in with secretfs.dev/auth: cert")
    }

    /// Uses the given token. A volume that needs a login of its own gets a child token, which can be revoked.
    async fn with_token(&self, connection: &Connection) -> Result<Granted> {
        let given = SecretBytes::new(trimmed_of(self.credential("token")?)?.as_bytes().to_vec());
        if self.tenure == Tenure::Volume
            && let Some(child) = self.child_of(&given, connection).await?
        {
            return Ok(child);
        }
        let what = self.to_string();
        let message = Message { method: "GET", ..Message::post(&what, "auth/token/lookup-self") };
        let answer = connection.call(message.token(&given)).await?;
        if !answer.is_success() {
            return Err(refusal(&answer, Asked::Login, &what, &[&given]));
        }
        let (lasts, renewable) = looked_up(&answer.body).ok_or_else(|| nonsense(&what))?;
        Ok(Granted { token: given, lasts, renewable, is_ours: false, account: None, by_certificate: false })
    }

    async fn child_of(&self, given: &SecretBytes, connection: &Connection) -> Result<Option<Granted>> {
        let what = self.to_string();
        let body = json(&[("display_name", Some("secretfs"))])?;
        let answer =
            connection.call(Message::post(&what, "auth/token/create").token(given).body(body)).await?;
        if answer.is_success() {
            return granted(&answer.body).ok_or_else(|| nonsense(&what))?.map(Some);
        }
        match refusal(&answer, Asked::Login, &what, &[given]) {
            error if error.kind() == ErrorKind::Unavailable => Err(error),
            _ => {
                tracing::warn!(
                    volume = self.workload.volume,
                    "the token may not make another (auth/token/create): what is read with it ends by its own time only"
                );
                Ok(None)
            }
        }
    }
}

/// Who logs in and where, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        write!(f, "login of {namespace}/{name} at auth/{}", self.auth.mount)?;
        match &self.auth.role {
            Some(role) => write!(f, " as role {role}"),
            None => Ok(()),
        }
    }
}

fn trimmed_of(secret: &SecretBytes) -> Result<&str> {
    text(secret).ok_or_else(|| Error::new(ErrorKind::Unauthenticated, "a credential is no text"))
}

fn json(fields: &[(&str, Option<&str>)]) -> Result<SecretBytes> {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Body<'a>(BTreeMap<&'a str, &'a str>);

    let fields = fields.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    serde_json::to_vec(&Body(fields.collect()))
        .map(SecretBytes::new)
        .map_err(|_| Error::new(ErrorKind::Invalid, "the login cannot be written as JSON"))
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer is none of Vault's"))
        .remedy("is vaultAddress right?")
}

/// `None` if the body is not an answer to a login.
fn granted(body: &SecretBytes) -> Option<Result<Granted>> {
    let fields: Fields<'_> = serde_json::from_slice(body.expose()).ok()?;
    let auth = golang::fields(fields.get("auth")?)?;
    let token = golang::text(auth.get("client_token")?)?;
    if token.is_empty() {
        return Some(Err(Error::new(ErrorKind::Unauthenticated, "the login asks for a second factor")
            .remedy("choose a role without one")));
    }
    let seconds: u64 = auth.get("lease_duration").and_then(|raw| serde_json::from_str(raw.get()).ok())?;
    let is = |key: &str, json: &str| auth.get(key).is_some_and(|raw| raw.get() == json);
    let metadata = auth.get("metadata").and_then(|raw| golang::fields(raw));
    Some(Ok(Granted {
        token: SecretBytes::new(token.into_owned().into_bytes()),
        lasts: (seconds > 0).then(|| Span::from_secs(seconds)),
        renewable: is("renewable", "true"),
        is_ours: !is("token_type", "\"batch\""),
        account: metadata.as_ref().and_then(account),
        by_certificate: metadata.as_ref().is_some_and(is_of_certificate),
    }))
}

/// The account in the metadata of a kubernetes login.
fn account(metadata: &Fields<'_>) -> Option<Identity> {
    let text = |key: &str| metadata.get(key).and_then(|raw| golang::text(raw)).map(Cow::into_owned);
    Some(Identity {
        namespace: text("service_account_namespace")?,
        name: text("service_account_name")?,
        uid: Some(text("service_account_uid")?),
    })
}

/// Whether this is the metadata of a cert login, which names the role and the certificate's signer.
fn is_of_certificate(metadata: &Fields<'_>) -> bool {
    ["cert_name", "authority_key_id"].iter().all(|key| metadata.contains_key(*key))
}

/// The lifetime of a token from its lookup, and whether it can be renewed.
fn looked_up(body: &SecretBytes) -> Option<(Option<Span>, bool)> {
    let fields: Fields<'_> = serde_json::from_slice(body.expose()).ok()?;
    let data = golang::fields(fields.get("data")?)?;
    let seconds: u64 = serde_json::from_str(data.get("ttl")?.get()).ok()?;
    let renewable = data.get("renewable").is_some_and(|raw| raw.get() == "true");
    Some(((seconds > 0).then(|| Span::from_secs(seconds)), renewable))
}

/// The lifetime of a login or lease after its renewal, and whether it can be renewed again.
pub(crate) fn prolonged(body: &SecretBytes) -> Option<(Span, bool)> {
    let fields: Fields<'_> = serde_json::from_slice(body.expose()).ok()?;
    let auth = fields.get("auth").and_then(|raw| golang::fields(raw));
    let holder = auth.as_ref().unwrap_or(&fields);
    let seconds: u64 = serde_json::from_str(holder.get("lease_duration")?.get()).ok()?;
    Some((Span::from_secs(seconds), holder.get("renewable").is_some_and(|raw| raw.get() == "true")))
}
