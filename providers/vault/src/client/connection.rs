use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{Answer, ClientPair, Connections, Endpoint, Names, Settings, confidential};
use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;

use crate::config::VaultConfig;
use crate::meaning::{Asked, Refusal};
use crate::server::Server;

/// The names of a class's parameters, for messages.
const NAMES: Names = Names {
    address: "vaultAddress",
    may_be_plain: true,
    authorities: "vaultCACertPath",
    given_authorities: "the file of authorities",
    server_name: Some("vaultTLSServerName"),
    client_pair: Some(["vaultTLSClientCertPath", "vaultTLSClientKeyPath"]),
};

/// The connections to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<Server>,
    settings: Settings,
    config: VaultConfig,
}

/// The connection to one namespace of one server.
pub(crate) struct Connection {
    http: Arc<provider_client::Connection>,
    namespace: Option<HeaderValue>,
}

impl Servers {
    pub(crate) fn new(config: VaultConfig) -> Self {
        let settings = Settings::new(NAMES, &config.network, config.max_body, config.patience);
        Self { connections: Connections::default(), settings, config }
    }

    /// The administrator's settings.
    pub(crate) fn config(&self) -> &VaultConfig {
        &self.config
    }

    /// The connection of the Kubernetes namespace `tenant` to `server`. With a client certificate from the workload's
    /// own credentials it is not shared.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(
        &self,
        tenant: &str,
        server: &Server,
        own: Option<ClientPair>,
    ) -> Result<Connection> {
        let Server { address, namespace, tls } = server;
        let endpoint = Endpoint { name: address, address, tls };
        let tls_dir = self.config.network.tls_dir.as_deref();
        let http =
            self.connections.to(tenant, server.clone(), endpoint, own, tls_dir, &self.settings).await?;
        let namespace = namespace.as_deref().map(HeaderValue::from_str).transpose();
        let unfit = |_| Error::new(ErrorKind::Invalid, "vaultNamespace is no header value");
        Ok(Connection { http, namespace: namespace.map_err(unfit)? })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.http.fmt(f)
    }
}

/// What to send to the server.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// What the call asks for, for messages.
    pub(crate) what: &'a str,
    pub(crate) method: &'a str,
    /// The path below `v1/`, not percent-encoded.
    pub(crate) path: &'a str,
    /// The encoded query.
    pub(crate) query: &'a str,
    pub(crate) token: Option<&'a SecretBytes>,
    /// JSON.
    pub(crate) body: Option<SecretBytes>,
    /// Lifetime of a wrapped answer.
    pub(crate) wrap: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A POST to `path`. `what` names it in messages.
    pub(crate) fn post(what: &'a str, path: &'a str) -> Self {
        Self { what, method: "POST", path, query: "", token: None, body: None, wrap: None }
    }

    pub(crate) fn token(mut self, token: &'a SecretBytes) -> Self {
        self.token = Some(token);
        self
    }

    pub(crate) fn body(mut self, json: SecretBytes) -> Self {
        self.body = Some(json);
        self
    }
}

/// The error for an answer without a 2xx status. Its text contains none of the `secrets`.
pub(crate) fn refusal(answer: &Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        redirected_to: answer.redirected_to.as_deref(),
        body: answer.body.expose(),
    };
    refusal.error(asked, what, &secrets, Timestamp::now())
}

impl Connection {
    /// Makes one call.
    ///
    /// # Errors
    ///
    /// `Unavailable` if no complete answer came in time. An answer with any status is `Ok`.
    pub(crate) async fn call(&self, message: Message<'_>) -> Result<Answer> {
        let what = message.what;
        self.http.call(what, self.request(message)?).await
    }

    fn request(&self, message: Message<'_>) -> Result<RequestBuilder> {
        let unfit = |what: &str| Error::new(ErrorKind::Invalid, format!("{}: {what}", message.what));
        let method = message.method.parse().map_err(|_| unfit("the method is no HTTP method"))?;
        let mut url = self.http.url(std::iter::once("v1").chain(message.path.split('/')))?;
        url.set_query((!message.query.is_empty()).then_some(message.query));
        let mut request = self.http.request(method, url).header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = message.token {
            let token =
                confidential(&[token.expose()]).ok_or_else(|| unfit("the token is no header value"))?;
            request = request.header("x-vault-token", token);
        }
        if let Some(wrap) = message.wrap {
            request = request.header("x-vault-wrap-ttl", wrap);
        }
        if let Some(body) = message.body {
            request = request.header("content-type", "application/json").body(body.expose().to_vec());
        }
        Ok(request)
    }
}
