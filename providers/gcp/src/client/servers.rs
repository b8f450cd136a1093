use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{Answer, Connection, Connections, Endpoint, Names, Settings, Tls, confidential};
use reqwest::{Method, RequestBuilder};

use crate::config::GcpConfig;
use crate::endpoints::{Api, Endpoints};
use crate::meaning::{Asked, Refusal};

/// What the parameters of a class are called.
const NAMES: Names = Names::new("endpoint", "caCertPath");
/// What the machine's own server is called.
const METADATA_NAMES: Names = Names { address: "--gcp-metadata-endpoint", ..NAMES };

/// The ways to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<Server>,
    settings: Settings,
    /// Of the metadata server, which no proxy reaches.
    metadata: Settings,
    config: GcpConfig,
}

/// Which server, and how to be sure that it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    address: String,
    tls: Tls,
    is_metadata: bool,
}

/// What to send.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// What is asked for, for messages.
    pub(crate) what: &'a str,
    pub(crate) asked: Asked,
    pub(crate) method: Method,
    /// Not percent-encoded.
    pub(crate) path: &'a str,
    /// The same of the query; what is empty is left out.
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// An access token.
    pub(crate) token: Option<&'a SecretBytes>,
    pub(crate) body: Option<Body>,
}

/// What is sent with a call.
#[derive(Debug)]
pub(crate) enum Body {
    Json(SecretBytes),
    Form(SecretBytes),
}

impl<'a> Message<'a> {
    pub(crate) fn get(what: &'a str, asked: Asked, path: &'a str) -> Self {
        Self { what, asked, method: Method::GET, path, query: &[], token: None, body: None }
    }

    pub(crate) fn post(what: &'a str, asked: Asked, path: &'a str, body: Body) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(what, asked, path) }
    }

    pub(crate) fn query(self, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { query, ..self }
    }

    pub(crate) fn token(self, token: &'a SecretBytes) -> Self {
        Self { token: Some(token), ..self }
    }
}

impl Servers {
    pub(crate) fn new(config: GcpConfig) -> Self {
        let settings = Settings::new(NAMES, &config.network, config.max_body, config.patience);
        let metadata = Settings { names: METADATA_NAMES, proxy: None, ..settings };
        Self { connections: Connections::default(), settings, metadata, config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &GcpConfig {
        &self.config
    }

    /// What `api` answers to `message` for the namespace `tenant`; an answer of success.
    ///
    /// # Errors
    ///
    /// As the table in the crate's description; `Invalid` if the authorities cannot be read or used. No message has
    /// any of `secrets` in it.
    pub(crate) async fn ask(
        &self,
        tenant: &str,
        endpoints: &Endpoints,
        api: &Api,
        message: Message<'_>,
        secrets: &[&SecretBytes],
    ) -> Result<SecretBytes> {
        let (address, tls) = (endpoints.address(api), endpoints.tls.clone());
        let server = Server { address, tls, is_metadata: false };
        let connection = self.to(tenant, &server, &self.settings).await?;
        let (what, asked) = (message.what, message.asked);
        let answer = connection.call(what, request(&connection, message)?).await?;
        success(answer, asked, what, secrets)
    }

    /// The same of the server that tells the machine its own token.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub(crate) async fn ask_machine(&self, tenant: &str, message: Message<'_>) -> Result<SecretBytes> {
        let address = self.config.metadata_endpoint.clone();
        let server = Server { address, tls: Tls::default(), is_metadata: true };
        let connection = self.to(tenant, &server, &self.metadata).await?;
        let (what, asked) = (message.what, message.asked);
        // It answers nobody who could be made to ask by a link.
        let request = request(&connection, message)?.header("metadata-flavor", "Google");
        success(connection.call(what, request).await?, asked, what, &[])
    }

    async fn to(&self, tenant: &str, server: &Server, settings: &Settings) -> Result<Arc<Connection>> {
        let endpoint = Endpoint { name: &server.address, address: &server.address, tls: &server.tls };
        let tls_dir = self.config.network.tls_dir.as_deref();
        self.connections.to(tenant, server.clone(), endpoint, None, tls_dir, settings).await
    }
}

fn request(connection: &Connection, message: Message<'_>) -> Result<RequestBuilder> {
    let Message { what, method, path, query, token, body, .. } = message;
    let mut url = connection.url(path.split('/'))?;
    for (key, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        url.query_pairs_mut().append_pair(key, value);
    }
    let mut request = connection.request(method, url);
    if let Some(token) = token {
        let unfit = || Error::new(ErrorKind::Unavailable, format!("{what}: the token is no header value"));
        let token = confidential(&[b"Bearer ", token.expose()]).ok_or_else(unfit)?;
        request = request.header("authorization", token);
    }
    Ok(match body {
        None => request,
        Some(Body::Json(body)) => {
            request.header("content-type", "application/json").body(body.expose().to_vec())
        }
        Some(Body::Form(body)) => {
            request.header("content-type", "application/x-www-form-urlencoded").body(body.expose().to_vec())
        }
    })
}

fn success(answer: Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Result<SecretBytes> {
    if answer.is_success() {
        return Ok(answer.body);
    }
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    };
    Err(refusal.error(asked, what, &secrets, Timestamp::now()))
}
