use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{Answer, Connection, Connections, Endpoint, Names, Settings, Tls, confidential};
use reqwest::{Method, RequestBuilder};
use url::Url;
use zeroize::Zeroizing;

use crate::config::AzureConfig;
use crate::meaning::{Asked, Refusal};

/// What the API is read as; the first version that every public cloud has and that tells all that is shown.
const API_VERSION: &str = "7.4";

/// What the settings of a vault are called.
const OF_VAULTS: Names = Names::new("keyvaultName or keyvaultURL", "keyvaultCACertPath");
/// What the settings of Entra ID are called.
const OF_ENTRA: Names = Names { address: "cloudName or --azure-authority", ..OF_VAULTS };
/// What the settings of the machine's token endpoint are called.
const OF_MACHINE: Names = Names { address: "--azure-metadata-endpoint", ..OF_VAULTS };

/// The ways to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<(Asked, String, Tls)>,
    config: AzureConfig,
}

impl Servers {
    pub(crate) fn new(config: AzureConfig) -> Self {
        Self { connections: Connections::default(), config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &AzureConfig {
        &self.config
    }

    /// The way of a Kubernetes namespace, `tenant`, to `asked`, which is at `address`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(
        &self,
        tenant: &str,
        asked: Asked,
        address: &str,
        tls: &Tls,
    ) -> Result<Arc<Connection>> {
        let key = (asked, address.to_owned(), tls.clone());
        let endpoint = Endpoint { name: address, address, tls };
        let tls_dir = self.config.network.tls_dir.as_deref();
        self.connections.to(tenant, key, endpoint, None, tls_dir, &self.settings(asked)).await
    }

    fn settings(&self, asked: Asked) -> Settings {
        let config = &self.config;
        let names = match asked {
            Asked::Vault => OF_VAULTS,
            Asked::Entra => OF_ENTRA,
            Asked::Machine => OF_MACHINE,
        };
        let settings = Settings::new(names, &config.network, config.max_body, config.patience);
        // Only the machine itself reaches its own endpoint.
        let proxy = settings.proxy.filter(|_| asked != Asked::Machine);
        Settings { proxy, ..settings }
    }
}

/// A GET at a vault for the owner of `token`: `path` below its address, and a query beside the version of the API.
///
/// # Errors
///
/// `Invalid` if the token is no header's value.
pub(crate) fn get(
    connection: &Connection,
    path: &[&str],
    query: &str,
    token: &SecretBytes,
) -> Result<RequestBuilder> {
    let mut url = below(connection, path)?;
    // A link to a next page has its own.
    let version = format!("api-version={API_VERSION}");
    url.set_query(Some(if query.is_empty() { &version } else { query }));
    let token = confidential(&[b"Bearer ", token.expose()]);
    let token = token
        .ok_or_else(|| Error::new(ErrorKind::Unauthenticated, "the access token is no header's value"))?;
    Ok(connection
        .request(Method::GET, url)
        .header("authorization", token)
        .header("accept", "application/json"))
}

/// A POST of a form.
pub(crate) fn form(
    connection: &Connection,
    path: &[&str],
    fields: &[(&str, &str)],
) -> Result<RequestBuilder> {
    let mut body = Zeroizing::new(String::new());
    // Whole at once: what grows leaves copies behind. Three bytes are the longest that one becomes.
    body.reserve(
        fields
            .iter()
            .map(|(key, value)| key.len().saturating_add(value.len()).saturating_mul(3).saturating_add(2))
            .sum(),
    );
    url::form_urlencoded::Serializer::new(&mut *body).extend_pairs(fields);
    let request = connection.request(Method::POST, below(connection, path)?);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    Ok(request.body(body.as_bytes().to_vec()))
}

/// `path` below the address of a connection.
pub(crate) fn below(connection: &Connection, path: &[&str]) -> Result<Url> {
    connection.url(path.iter().copied())
}

/// The error that an answer without success is. `secrets` are kept out of its text.
pub(crate) fn refusal(answer: &Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).map(str::trim).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    };
    refusal.error(asked, what, &secrets, Timestamp::now())
}
