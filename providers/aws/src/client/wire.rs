//! Calls to AWS: where they go, and how they are signed.

use std::sync::Arc;

use aws_signing::Signer;
use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{Answer, Connection, Connections, Endpoint, Names, Settings, Tls};
use reqwest::Method;

use crate::answer::Keys;
use crate::config::AwsConfig;
use crate::meaning::{Asked, Refusal};
use crate::parameters::Endpoints;
use crate::region::{Region, Service};

/// What the parameters of a class are called.
const NAMES: Names = Names::new("endpoint", "caCertPath");

/// What CloudTrail calls us.
const AGENT: &str = concat!("secretfs/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const JSON: &str = "application/x-amz-json-1.1";

/// The ways to all endpoints.
#[derive(Debug)]
pub(crate) struct Servers {
    connections: Connections<Server>,
    /// Of AWS's endpoints.
    settings: Settings,
    /// Of agents on this machine.
    of_agents: Settings,
    config: AwsConfig,
}

/// What tells servers apart. An agent is never asked on the way that a class names to the same address, which may lead
/// through a proxy.
#[derive(Debug, PartialEq)]
struct Server {
    address: String,
    tls: Tls,
    is_agent: bool,
}

/// The way to one service of one region.
#[derive(Debug)]
pub(crate) struct Way {
    http: Arc<Connection>,
    service: Service,
    region: Region,
}

/// What is sent.
struct Message<'a> {
    /// What is asked for, for messages.
    what: &'a str,
    kind: &'static str,
    /// `X-Amz-Target`, where the service is told by it what is asked.
    target: Option<String>,
    body: &'a [u8],
}

impl Servers {
    pub(crate) fn new(config: AwsConfig) -> Self {
        let settings = Settings::new(NAMES, &config.network, config.max_body, config.patience);
        let names = Names { address: "the agent's address", ..NAMES };
        let of_agents = Settings { names, proxy: None, max_body: 64 << 10, ..settings };
        Self { connections: Connections::default(), settings, of_agents, config }
    }

    /// What the administrator set.
    pub(crate) fn config(&self) -> &AwsConfig {
        &self.config
    }

    /// The way of a Kubernetes namespace, `tenant`, to `service` in `region`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(
        &self,
        tenant: &str,
        endpoints: &Endpoints,
        service: Service,
        region: &Region,
    ) -> Result<Way> {
        let address = endpoints.address(service, region);
        let server = Server { address, tls: endpoints.tls.clone(), is_agent: false };
        let http = self.connect(tenant, server).await?;
        Ok(Way { http, service, region: region.clone() })
    }

    /// The way to an agent of this machine, which no proxy stands before.
    ///
    /// # Errors
    ///
    /// `Invalid` if the address is none.
    pub(crate) async fn agent(&self, tenant: &str, address: &str) -> Result<Arc<Connection>> {
        let server = Server { address: address.to_owned(), tls: Tls::default(), is_agent: true };
        self.connect(tenant, server).await
    }

    async fn connect(&self, tenant: &str, server: Server) -> Result<Arc<Connection>> {
        let (address, tls) = (server.address.clone(), server.tls.clone());
        let endpoint = Endpoint { name: &address, address: &address, tls: &tls };
        let settings = if server.is_agent { &self.of_agents } else { &self.settings };
        self.connections
            .to(tenant, server, endpoint, None, self.config.network.tls_dir.as_deref(), settings)
            .await
    }
}

impl Way {
    /// Where it leads.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// One call of an API that speaks JSON, such as `GetSecretValue`; `what` is asked for, for messages.
    ///
    /// # Errors
    ///
    /// `Unavailable` if no whole answer came in time. Every status is an answer.
    pub(crate) async fn json(
        &self,
        what: &str,
        operation: &str,
        body: &serde_json::Value,
        keys: &Keys,
    ) -> Result<Answer> {
        self.json_of(what, operation, body.to_string().as_bytes(), keys).await
    }

    /// The same, with a body that is written already.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub(crate) async fn json_of(
        &self,
        what: &str,
        operation: &str,
        body: &[u8],
        keys: &Keys,
    ) -> Result<Answer> {
        let target = Some(format!("{}.{operation}", self.service.target()));
        self.send(Message { what, kind: JSON, target, body }, Some(keys)).await
    }

    /// One call of an API that is sent a form; without `keys` it is not signed.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub(crate) async fn form(&self, what: &str, form: &SecretBytes, keys: Option<&Keys>) -> Result<Answer> {
        self.send(Message { what, kind: FORM, target: None, body: form.expose() }, keys).await
    }

    async fn send(&self, message: Message<'_>, keys: Option<&Keys>) -> Result<Answer> {
        let url = self.http.url([])?;
        let address = url.to_string();
        let mut headers = vec![("content-type", message.kind)];
        headers.extend(message.target.as_deref().map(|target| ("x-amz-target", target)));
        let request = self.http.request(Method::POST, url).header("user-agent", AGENT);
        let mut request = request.body(message.body.to_vec());
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        if let Some(keys) = keys {
            let signed = self.signer(keys).sign(request, &address, &headers, message.body);
            request = signed.ok_or_else(|| self.unsigned(message.what))?;
        }
        self.http.call(message.what, request).await
    }

    fn signer<'a>(&'a self, keys: &'a Keys) -> Signer<'a> {
        Signer {
            id: &keys.id,
            secret: &keys.secret,
            token: keys.token.as_ref(),
            region: self.region.as_str(),
            service: self.service.name(),
            now: Timestamp::now(),
        }
    }

    fn unsigned(&self, what: &str) -> Error {
        let message =
            format!("{what}: the call to {} cannot be signed with these keys", self.service.title());
        Error::new(ErrorKind::Unauthenticated, message)
            .remedy("check access-key-id, secret-access-key and session-token")
    }
}

/// The error that an answer without success is. `secrets` are kept out of its text.
pub(crate) fn refusal(answer: &Answer, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).collect();
    let refusal = Refusal {
        status: answer.status,
        retry_after: answer.retry_after.as_deref(),
        body: answer.body.expose(),
    };
    refusal.error(asked, what, &secrets, Timestamp::now())
}

/// An answer of success that makes no sense.
pub(crate) fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer is none of AWS's"))
        .remedy("is the endpoint right?")
}
