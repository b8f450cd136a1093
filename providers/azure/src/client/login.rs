//! Logging in: what each way sends, and what the answer grants.

use std::fmt;

use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Span, Workload};
use provider_client::{
    Connection, Fingerprint, Fingerprints, SecretText, credential, service_account_token, text,
};
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Deserializer};

use crate::client::servers::{Servers, below, form, refusal};
use crate::meaning::Asked;
use crate::parameters::{Account, Auth};

/// What an assertion is: a token in the place of a client secret (RFC 7523, 2.2).
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Where a virtual machine gives out tokens, and the
/// [version](https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token) of that.
const MACHINE: [&str; 4] = ["metadata", "identity", "oauth2", "token"];
const MACHINE_VERSION: &str = "2018-02-01";

/// The keys of an application's secret.
const CLIENT_ID: &str = "clientid";
const CLIENT_SECRET: &str = "clientsecret";

/// What a login grants.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: SecretBytes,
    pub(crate) lasts: Span,
}

/// What Entra ID and a machine answer (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Answered {
    access_token: SecretText,
    #[serde(deserialize_with = "seconds")]
    expires_in: u64,
}

/// A number; a machine writes it as a text.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(seconds) => Ok(seconds),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// A workload on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) account: &'a Account,
    pub(crate) audience: &'a str,
    pub(crate) workload: &'a Workload,
}

impl<'a> Applicant<'a> {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if it is not accepted; `NoCredential` if something is missing, which the message names.
    pub(crate) async fn log_in(self, servers: &Servers) -> Result<Granted> {
        match &self.account.auth {
            Auth::Federated { tenant, client } => {
                let jwt = service_account_token(self.workload, self.audience, &self)?;
                let assertion = [("client_assertion_type", ASSERTION), ("client_assertion", self.text(jwt)?)];
                self.at_entra(servers, tenant, client, &assertion, jwt).await
            }
            Auth::Secret { tenant } => {
                let (client, secret) = (self.credential(CLIENT_ID)?, self.credential(CLIENT_SECRET)?);
                let proof = [("client_secret", self.text(secret)?)];
                self.at_entra(servers, tenant, self.text(client)?, &proof, secret).await
            }
            Auth::Machine { client } => self.as_machine(servers, client.as_deref()).await,
        }
    }

    async fn at_entra(
        &self,
        servers: &Servers,
        tenant: &str,
        client: &str,
        proof: &[(&str, &str)],
        secret: &SecretBytes,
    ) -> Result<Granted> {
        let Account { authority, scope, tls, .. } = self.account;
        let connection = self.way(servers, Asked::Entra, authority, tls).await?;
        let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", scope)];
        fields.extend(proof);
        let request = form(&connection, &[tenant, "oauth2", "v2.0", "token"], &fields)?;
        self.granted(&connection, Asked::Entra, request, &[secret]).await
    }

    async fn as_machine(&self, servers: &Servers, client: Option<&str>) -> Result<Granted> {
        let config = servers.config();
        if !config.network.machine.is_for(self.workload) {
            let text = format!("{self}: it may not read as the machine (useVMManagedIdentity)");
            return Err(Error::new(ErrorKind::NoCredential, text).remedy(
                "use workload identity (clientID), or have the administrator allow it with --allow-node-identity \
                 NAMESPACE (on a host: --identity host)",
            ));
        }
        let tls = provider_client::Tls::default();
        let connection = self.way(servers, Asked::Machine, &config.metadata_endpoint, &tls).await?;
        let mut url = below(&connection, &MACHINE)?;
        url.query_pairs_mut()
            .append_pair("api-version", MACHINE_VERSION)
            .append_pair("resource", &self.account.resource)
            .extend_pairs(client.map(|client| ("client_id", client)));
        let request = connection.request(Method::GET, url).header("metadata", "true");
        self.granted(&connection, Asked::Machine, request, &[]).await
    }

    async fn way(
        &self,
        servers: &Servers,
        asked: Asked,
        address: &str,
        tls: &provider_client::Tls,
    ) -> Result<std::sync::Arc<Connection>> {
        servers.to(&self.workload.identity.namespace, asked, address, tls).await
    }

    async fn granted(
        &self,
        connection: &Connection,
        asked: Asked,
        request: RequestBuilder,
        secrets: &[&SecretBytes],
    ) -> Result<Granted> {
        let what = self.to_string();
        let answer = connection.call(&what, request).await?;
        if !answer.is_success() {
            return Err(refusal(&answer, asked, &what, secrets));
        }
        let answered: Option<Answered> = serde_json::from_slice(answer.body.expose()).ok();
        let Answered { access_token, expires_in } = answered.ok_or_else(|| {
            let text = format!("{what}: the answer grants no token");
            Error::new(ErrorKind::Unavailable, text).remedy("is this a proxy's page?")
        })?;
        Ok(Granted { token: access_token.0, lasts: Span::from_secs(expires_in) })
    }

    /// Of what the login rests on beside the service account.
    pub(crate) fn fingerprint(&self, fingerprints: &Fingerprints) -> Option<Fingerprint> {
        if !matches!(self.account.auth, Auth::Secret { .. }) {
            return None;
        }
        let secrets = [CLIENT_ID, CLIENT_SECRET].into_iter().filter_map(|key| self.find(key));
        Some(fingerprints.of(secrets))
    }

    /// A key of nodePublishSecretRef in any case, as upstream takes it.
    fn find(&self, key: &str) -> Option<&'a SecretBytes> {
        let credentials = &self.workload.credentials;
        let exactly = credentials.get(key);
        exactly.or_else(|| {
            credentials
                .iter()
                .find(|(written, _)| written.eq_ignore_ascii_case(key))
                .map(|(_, secret)| secret)
        })
    }

    fn credential(&self, key: &str) -> Result<&'a SecretBytes> {
        self.find(key).map_or_else(|| credential(self.workload, key, self), Ok)
    }

    fn text<'s>(&self, secret: &'s SecretBytes) -> Result<&'s str> {
        let no_text = || Error::new(ErrorKind::Unauthenticated, format!("{self}: a credential is no text"));
        text(secret).ok_or_else(no_text)
    }
}

/// Who logs in and where, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        write!(f, "login of {namespace}/{name} {}", self.account)
    }
}

/// As what one logs in, for messages and for telling identities apart.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authority, resource, auth, tls, .. } = self;
        match auth {
            Auth::Federated { tenant, client } => {
                write!(f, "as application {client} of tenant {tenant} at {authority}")?;
            }
            Auth::Secret { tenant } => write!(f, "by client secret of tenant {tenant} at {authority}")?,
            Auth::Machine { client: None } => write!(f, "as the machine")?,
            Auth::Machine { client: Some(client) } => write!(f, "as the machine's identity {client}")?,
        }
        write!(f, " for {resource}{tls}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_so_many_seconds_whether_they_are_a_number_or_a_text() {
        for (written, seconds) in [("3599", 3599), ("\"3599\"", 3599), ("18446744073709551615", u64::MAX)] {
            let answered: Answered =
                serde_json::from_str(&format!("{{\"access_token\":\"t\",\"expires_in\":{written}}}"))
                    .unwrap();
            assert_eq!(answered.expires_in, seconds, "{written}");
        }
        for written in ["-1", "\"soon\"", "null", "1e99"] {
            let text = format!("{{\"access_token\":\"t\",\"expires_in\":{written}}}");
            assert!(serde_json::from_str::<Answered>(&text).is_err(), "{written}");
        }
    }
}
