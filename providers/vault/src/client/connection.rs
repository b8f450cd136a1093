use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Moment as _, Result, SecretBytes};
use provider_client::Patience;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, NoProxy, Proxy, Response, redirect};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::client::breakdown::unavailable;
use crate::client::lookup::{Lookups, NotFound};
use crate::client::material::{ClientPair, Material};
use crate::client::tls;
use crate::config::VaultConfig;
use crate::meaning::{Asked, Refusal};
use crate::server::Server;

/// How long a connection may lie idle. The pool looks once per such time, so that
/// none that carried values lives for a second after its last.
const IDLE: Duration = Duration::from_millis(400);
/// Most idle connections to one server.
const MAX_IDLE: usize = 8;
/// Most servers whose clients are kept though no login uses them.
const MAX_CLIENTS: usize = 64;

/// The clients, one per server and set of certificates, the latest used last.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    clients: Mutex<Vec<(Key, Arc<Connection>)>>,
    lookups: Arc<Lookups>,
}

#[derive(Debug, PartialEq, Eq)]
struct Key(Server, [u8; 32]);

impl Connections {
    /// The way to `server`. With a client certificate of the workload's own it is the caller's alone.
    ///
    /// # Errors
    ///
    /// `Invalid` if the certificates cannot be read or used.
    pub(crate) async fn to(
        &self,
        server: &Server,
        own: Option<ClientPair>,
        config: &VaultConfig,
    ) -> Result<Arc<Connection>> {
        let mut material = material(server, config).await?;
        if own.is_some() {
            material.client = own;
            return Connection::new(server, &material, config, &self.lookups).map(Arc::new);
        }
        let key = Key(server.clone(), material.fingerprint());
        if let Some(known) = self.get(&key) {
            return Ok(known);
        }
        let connection = Arc::new(Connection::new(server, &material, config, &self.lookups)?);
        self.keep(key, Arc::clone(&connection));
        Ok(connection)
    }

    /// Whoever names many servers pushes out none that a login of somebody else uses.
    fn keep(&self, key: Key, connection: Arc<Connection>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = |(_, connection): &(Key, Arc<Connection>)| Arc::strong_count(connection) == 1;
        if clients.iter().filter(|client| is_idle(client)).count() >= MAX_CLIENTS
            && let Some(longest_unused) = clients.iter().position(is_idle)
        {
            clients.remove(longest_unused);
        }
        clients.push((key, connection));
    }

    fn get(&self, key: &Key) -> Option<Arc<Connection>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let at = clients.iter().position(|(known, _)| known == key)?;
        let client = clients.remove(at);
        let connection = Arc::clone(&client.1);
        clients.push(client);
        Some(connection)
    }
}

async fn material(server: &Server, config: &VaultConfig) -> Result<Material> {
    let (tls, tls_dir) = (server.tls.clone(), config.tls_dir.clone());
    if tls.ca.is_none() && tls.ca_directory.is_none() && tls.client_certificate.is_none() {
        return Ok(Material::default());
    }
    let load = tokio::task::spawn_blocking(move || Material::load(&tls, tls_dir.as_deref()));
    load.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "stopping")))
}

/// The way to one server.
pub(crate) struct Connection {
    http: Client,
    /// Ends in `/v1`.
    base: Url,
    /// For messages.
    server: String,
    namespace: Option<HeaderValue>,
    max_body: usize,
    patience: Patience,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.server)
    }
}

/// What to send.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// What is asked for, for messages.
    pub(crate) what: &'a str,
    pub(crate) method: &'a str,
    /// Below `v1/`, not percent-encoded.
    pub(crate) path: &'a str,
    /// Encoded.
    pub(crate) query: &'a str,
    pub(crate) token: Option<&'a SecretBytes>,
    /// JSON.
    pub(crate) body: Option<SecretBytes>,
    /// Time to live of a wrapped answer.
    pub(crate) wrap: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A POST that `what` describes.
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

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    retry_after: Option<String>,
    location: Option<String>,
    pub(crate) body: SecretBytes,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error that an answer without success is. `secrets` are kept out of its text.
    pub(crate) fn refusal(&self, asked: Asked, what: &str, secrets: &[&SecretBytes]) -> Error {
        let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose_str()).collect();
        let refusal = Refusal {
            status: self.status,
            retry_after: self.retry_after.as_deref(),
            redirected_to: self.location.as_deref(),
            body: self.body.expose(),
        };
        refusal.error(asked, what, &secrets, Timestamp::now())
    }
}

impl Connection {
    fn new(
        server: &Server,
        material: &Material,
        config: &VaultConfig,
        lookups: &Arc<Lookups>,
    ) -> Result<Self> {
        let (http, base) = client(server, material, config, lookups)?;
        let namespace = server.namespace.as_deref().map(HeaderValue::from_str).transpose();
        Ok(Self {
            http,
            base,
            server: server.address.clone(),
            namespace: namespace
                .map_err(|_| Error::new(ErrorKind::Invalid, "vaultNamespace is no header value"))?,
            max_body: config.max_body,
            patience: config.patience,
        })
    }

    /// One call.
    ///
    /// # Errors
    ///
    /// `Unavailable` if no whole answer came in time. Every status is an answer.
    pub(crate) async fn call(&self, message: Message<'_>) -> Result<Answer> {
        let (what, started) = (message.what, Instant::now());
        let request = self.request(message)?;
        let broken = |error: reqwest::Error| unavailable(what, &self.server, &error);
        // The client bounds the connecting by itself.
        let first_byte = started.later(self.patience.connect).later(self.patience.first_byte);
        let end = started.later(self.patience.total);
        let response = timeout_at(first_byte.min(end), request.send());
        let response = response.await.map_err(|_| self.late(what, "did not answer"))?.map_err(broken)?;
        let (status, retry_after) = (response.status().as_u16(), header(&response, RETRY_AFTER.as_str()));
        let location = header(&response, LOCATION.as_str()).as_deref().and_then(host);
        let body = timeout_at(end, self.body(response, what));
        let body = body.await.map_err(|_| self.late(what, "did not finish its answer"))??;
        Ok(Answer { status, retry_after, location, body })
    }

    fn request(&self, message: Message<'_>) -> Result<reqwest::RequestBuilder> {
        let unfit = |what: &str| Error::new(ErrorKind::Invalid, format!("{}: {what}", message.what));
        let method = message.method.parse().map_err(|_| unfit("the method is no HTTP method"))?;
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| unfit("the address is no URL"))?.extend(message.path.split('/'));
        url.set_query((!message.query.is_empty()).then_some(message.query));
        let mut request = self.http.request(method, url).header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(token) = message.token {
            let mut token =
                HeaderValue::from_bytes(token.expose()).map_err(|_| unfit("the token is no header value"))?;
            token.set_sensitive(true);
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

    async fn body(&self, mut response: Response, what: &str) -> Result<SecretBytes> {
        let expected =
            response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(4096);
        if expected > self.max_body {
            return Err(self.too_long(what));
        }
        let mut body = Zeroizing::new(Vec::with_capacity(expected));
        let broken = |error: reqwest::Error| unavailable(what, &self.server, &error);
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > self.max_body {
                return Err(self.too_long(what));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(SecretBytes::new(std::mem::take(&mut *body)))
    }

    fn late(&self, what: &str, did_not: &str) -> Error {
        Error::new(ErrorKind::Unavailable, format!("{what}: {} {did_not} in time", self.server))
    }

    fn too_long(&self, what: &str) -> Error {
        let message = format!("{what}: the answer of {} is longer than {} bytes", self.server, self.max_body);
        Error::new(ErrorKind::Unavailable, message).remedy("is vaultAddress right?")
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Scheme, host and port of a URL, which are all that a message may repeat of it.
fn host(location: &str) -> Option<String> {
    Url::parse(location).ok().map(|url| url.origin().ascii_serialization())
}

fn client(
    server: &Server,
    material: &Material,
    config: &VaultConfig,
    lookups: &Arc<Lookups>,
) -> Result<(Client, Url)> {
    let unfit = |what: &str| Error::new(ErrorKind::Invalid, format!("{}: {what}", server.address));
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::config(material, server.tls.skip_verify, config.tls13_only)?)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(config.patience.connect)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE);
    let address = match server.address.strip_prefix("unix://") {
        Some(socket) => {
            builder = builder.unix_socket(Path::new(socket));
            "http://localhost"
        }
        None => &server.address,
    };
    let mut base = Url::parse(address).map_err(|_| unfit("the address is no URL"))?;
    builder = through_proxy(builder, config)?;
    builder = builder.dns_resolver(Arc::new(rename(&mut base, server, lookups)?));
    base.path_segments_mut().map_err(|()| unfit("the address is no URL"))?.pop_if_empty().push("v1");
    let http = builder.build().map_err(|error| unfit(&format!("{}", error.without_url())))?;
    Ok((http, base))
}

fn through_proxy(builder: ClientBuilder, config: &VaultConfig) -> Result<ClientBuilder> {
    let Some(url) = &config.proxy else { return Ok(builder) };
    let proxy =
        Proxy::all(url).map_err(|_| Error::new(ErrorKind::Invalid, "the proxy's address is no URL"))?;
    let without = config.no_proxy.as_deref().and_then(NoProxy::from_string);
    Ok(builder.proxy(proxy.no_proxy(without)))
}

/// Has `base` name the host as its certificate does. The resolver finds the addresses of the real one.
fn rename(base: &mut Url, server: &Server, lookups: &Arc<Lookups>) -> Result<Resolver> {
    let lookups = Arc::clone(lookups);
    let Some(name) = &server.tls.server_name else { return Ok(Resolver { alias: None, lookups }) };
    let unfit = || Error::new(ErrorKind::Invalid, "vaultTLSServerName is no DNS name");
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    match Host::parse(name) {
        Ok(Host::Domain(name)) => {
            base.set_host(Some(&name)).map_err(|_| unfit())?;
            Ok(Resolver { alias: Some((name, host)), lookups })
        }
        _ => Err(unfit()),
    }
}

/// Finds addresses by the system's means; one name stands for another host.
struct Resolver {
    alias: Option<(String, String)>,
    lookups: Arc<Lookups>,
}

/// A name without an address.
#[derive(Debug)]
pub(crate) struct NameNotFound;

impl fmt::Display for NameNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl std::error::Error for NameNotFound {}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = match &self.alias {
            Some((alias, host)) if alias == name.as_str() => host.clone(),
            _ => name.as_str().to_owned(),
        };
        let lookups = Arc::clone(&self.lookups);
        Box::pin(async move {
            let found = lookups.addresses(&host).await.map_err(|error| match error {
                NotFound::Name => Box::<dyn std::error::Error + Send + Sync>::from(NameNotFound),
                NotFound::Busy => "too many names are being looked up".into(),
            })?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
