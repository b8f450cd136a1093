use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provider::{Error, ErrorKind, Moment as _, Network, Result, SecretBytes};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, NoProxy, RequestBuilder, Response, redirect};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::breakdown::{Called, NameNotFound};
use crate::lookup::{Lookups, NotFound, Tenants};
use crate::material::Material;
use crate::names::Names;
use crate::patience::Patience;
use crate::tls;
use crate::tls_settings::Tls;

/// How long a connection may be idle. The pool checks once per such time, so a connection that carried values closes
/// within a second after its last call.
const IDLE: Duration = Duration::from_millis(400);
/// Most idle connections to one server.
const MAX_IDLE: usize = 8;

/// Settings for all servers of one kind of store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The names of the store's settings, for messages.
    pub names: Names,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// Whether to use only HTTP/1.1. HTTP/2 has one connection with a limited number of streams: calls that follow
    /// something for a long time would take the streams away from reads.
    pub http1_only: bool,
    /// The proxy to use.
    pub proxy: Option<Proxy>,
    /// The longest body of an answer, in bytes.
    pub max_body: usize,
    /// The deadlines of a call.
    pub patience: Patience,
}

impl Settings {
    /// Settings with the administrator's settings for stores over a network.
    pub fn new(names: Names, network: &Network, max_body: usize, patience: Patience) -> Self {
        let except = network.no_proxy.clone();
        let proxy = network.proxy.clone().map(|url| Proxy { url, except });
        let tls13_only = network.tls13_only;
        Self { names, tls13_only, http1_only: false, proxy, max_body, patience }
    }
}

/// A proxy. Proxies of the environment are never used.
#[derive(Clone)]
pub struct Proxy {
    /// Its URL. It may contain a password.
    pub url: String,
    /// Hosts to reach without the proxy, as in `NO_PROXY`.
    pub except: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy")
    }
}

/// The address of a server, and how to verify the server.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// Its URL, or `unix:///path` for a socket of this host.
    pub address: &'a str,
    /// The TLS settings, which decide whom to trust.
    pub tls: &'a Tls,
}

/// The connections to one server.
pub struct Connection {
    http: Client,
    base: Url,
    /// The server's name for messages.
    server: String,
    names: Names,
    max_body: usize,
    patience: Patience,
    tenants: Arc<Tenants>,
}

/// The answer of a server.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// Scheme, host and port of the header `Location`. Messages may not repeat the rest of it.
    pub redirected_to: Option<String>,
    /// The header `Content-Encoding`. Nothing is decoded here.
    pub encoding: Option<String>,
    /// The header `Content-Type`.
    pub media_type: Option<String>,
    /// The complete body.
    pub body: SecretBytes,
}

/// An answer whose body is read while it arrives.
#[derive(Debug)]
pub enum Opened {
    /// A success. The head has arrived. The reader has to limit the body's length and time.
    Stream(Response),
    /// Any other status, with its complete body.
    Refused(Answer),
}

impl Answer {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.server)
    }
}

impl Connection {
    /// Prepares the connections. The first call connects. Redirects are never followed, because a token is for one
    /// server only.
    ///
    /// # Errors
    ///
    /// `Invalid` if the address, the proxy's address or the server's name is not valid, or if `material` cannot be
    /// used.
    pub fn new(
        endpoint: Endpoint<'_>,
        material: &Material,
        settings: &Settings,
        lookups: &Arc<Lookups>,
    ) -> Result<Self> {
        let tenants = Arc::<Tenants>::default();
        let resolver = Resolver { alias: None, lookups: Arc::clone(lookups), tenants: Arc::clone(&tenants) };
        let (http, base) = client(endpoint, material, settings, resolver)?;
        let Settings { names, max_body, patience, .. } = *settings;
        Ok(Self { http, base, server: endpoint.name.to_owned(), names, max_body, patience, tenants })
    }

    /// Notes that `tenant`, for example a namespace, uses these connections. The lookup of the host's name is charged
    /// to one of the tenants.
    pub fn used_by(&self, tenant: &str) {
        self.tenants.add(tenant);
    }

    /// The address followed by `path`. This function encodes the components.
    ///
    /// # Errors
    ///
    /// None, for an address from which a connection was made.
    pub fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| no_url(&self.server))?.pop_if_empty().extend(path);
        Ok(url)
    }

    /// A request to add headers and a body to. Use [`confidential`] for a header that holds a secret.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Makes one call. `what` names it in messages.
    ///
    /// # Errors
    ///
    /// `Unavailable` if no complete answer came in time. An answer with any status is `Ok`.
    pub async fn call(&self, what: &str, request: RequestBuilder) -> Result<Answer> {
        let started = Instant::now();
        let response = self.head(what, request, started).await?;
        self.whole(what, response, started).await
    }

    /// Makes one call whose answer is read while it arrives. If the body breaks off, the reader makes the error with
    /// [`broken`](Self::broken).
    ///
    /// # Errors
    ///
    /// `Unavailable` if no head came in time, or if the complete answer of a refusal did not come in time.
    pub async fn open(&self, what: &str, request: RequestBuilder) -> Result<Opened> {
        let started = Instant::now();
        let response = self.head(what, request, started).await?;
        if response.status().is_success() {
            return Ok(Opened::Stream(response));
        }
        self.whole(what, response, started).await.map(Opened::Refused)
    }

    /// The error for a body that broke off. Always `Unavailable`, because there was no complete answer.
    pub fn broken(&self, what: &str, error: &reqwest::Error) -> Error {
        let is_tls = self.base.scheme() == "https";
        Called { server: &self.server, is_tls, names: &self.names }.unavailable(what, error)
    }

    async fn head(&self, what: &str, request: RequestBuilder, started: Instant) -> Result<Response> {
        // The HTTP client has its own limit for the time to connect.
        let first_byte = started.later(self.patience.connect).later(self.patience.first_byte);
        let response = timeout_at(first_byte.min(self.end(started)), request.send()).await;
        let response = response.map_err(|_| self.late(what, "did not answer"))?;
        response.map_err(|error| self.broken(what, &error))
    }

    async fn whole(&self, what: &str, response: Response, started: Instant) -> Result<Answer> {
        let (status, retry_after) = (response.status().as_u16(), header(&response, RETRY_AFTER.as_str()));
        let redirected_to = header(&response, LOCATION.as_str()).as_deref().and_then(host);
        let encoding = header(&response, CONTENT_ENCODING.as_str());
        let media_type = header(&response, CONTENT_TYPE.as_str());
        let body = timeout_at(self.end(started), self.body(response, what)).await;
        let body = body.map_err(|_| self.late(what, "did not finish its answer"))??;
        Ok(Answer { status, retry_after, redirected_to, encoding, media_type, body })
    }

    fn end(&self, started: Instant) -> Instant {
        started.later(self.patience.total)
    }

    async fn body(&self, mut response: Response, what: &str) -> Result<SecretBytes> {
        let expected =
            response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(4096);
        if expected > self.max_body {
            return Err(self.too_long(what));
        }
        let mut body = Zeroizing::new(Vec::with_capacity(expected));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(what, &error))? {
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
        Error::new(ErrorKind::Unavailable, message).remedy(format!("is {} right?", self.names.address))
    }
}

/// A header whose value is `parts` together, and which is never printed. `None` if that is not a valid header value.
pub fn confidential(parts: &[&[u8]]) -> Option<HeaderValue> {
    let whole = Zeroizing::new(parts.concat());
    let mut value = HeaderValue::from_bytes(&whole).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn host(location: &str) -> Option<String> {
    Url::parse(location).ok().map(|url| url.origin().ascii_serialization())
}

fn no_url(server: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{server}: the address is no URL"))
}

fn client(
    endpoint: Endpoint<'_>,
    material: &Material,
    settings: &Settings,
    mut resolver: Resolver,
) -> Result<(Client, Url)> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::config(material, endpoint.tls.skip_verify, settings)?)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(settings.patience.connect)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE);
    if settings.http1_only {
        builder = builder.http1_only();
    }
    let address = match endpoint.address.strip_prefix("unix://") {
        Some(socket) => {
            builder = builder.unix_socket(Path::new(socket));
            "http://localhost"
        }
        None => endpoint.address,
    };
    let parsed = Url::parse(address).ok().filter(|url| !url.cannot_be_a_base());
    let mut base = parsed.ok_or_else(|| no_url(endpoint.name))?;
    builder = through_proxy(builder, settings.proxy.as_ref())?;
    resolver.alias = rename(&mut base, endpoint.tls, settings)?;
    builder = builder.dns_resolver(Arc::new(resolver));
    let http = builder.build().map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("{}: {}", endpoint.name, error.without_url()))
    });
    Ok((http?, base))
}

fn through_proxy(builder: ClientBuilder, proxy: Option<&Proxy>) -> Result<ClientBuilder> {
    let Some(Proxy { url, except }) = proxy else { return Ok(builder) };
    let proxy = reqwest::Proxy::all(url)
        .map_err(|_| Error::new(ErrorKind::Invalid, "the proxy's address is no URL"))?;
    let without = except.as_deref().and_then(NoProxy::from_string);
    Ok(builder.proxy(proxy.no_proxy(without)))
}

/// Replaces the host in `base` by the name in the server's certificate. Returns that name and the host that it
/// replaced.
fn rename(base: &mut Url, tls: &Tls, settings: &Settings) -> Result<Option<(String, String)>> {
    let Some(name) = &tls.server_name else { return Ok(None) };
    let setting = settings.names.server_name.unwrap_or("the server's name");
    let unfit = || Error::new(ErrorKind::Invalid, format!("{setting} is no DNS name"));
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    match Host::parse(name) {
        Ok(Host::Domain(name)) => {
            base.set_host(Some(&name)).map_err(|_| unfit())?;
            Ok(Some((name, host)))
        }
        _ => Err(unfit()),
    }
}

/// Looks names up with the system's resolver.
struct Resolver {
    /// A name from a certificate, and the host to look up instead.
    alias: Option<(String, String)>,
    lookups: Arc<Lookups>,
    tenants: Arc<Tenants>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = match &self.alias {
            Some((alias, host)) if alias == name.as_str() => host.clone(),
            _ => name.as_str().to_owned(),
        };
        let (lookups, tenants) = (Arc::clone(&self.lookups), Arc::clone(&self.tenants));
        Box::pin(async move {
            let found = lookups.addresses(&host, &tenants).await.map_err(|error| match error {
                NotFound::Name => Box::<dyn std::error::Error + Send + Sync>::from(NameNotFound),
                NotFound::Busy => "too many names are being looked up".into(),
            })?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::names::FEW;

    /// Settings for a store without any special settings.
    pub(crate) fn settings() -> Settings {
        let proxy = Some("http://u:hunter2@proxy".to_owned());
        let network = Network { proxy, ..Network::default() };
        Settings::new(FEW, &network, 1 << 20, Patience::default())
    }

    fn connection(address: &str, tls: &Tls) -> Result<Connection> {
        let endpoint = Endpoint { name: address, address, tls };
        Connection::new(endpoint, &Material::default(), &settings(), &Arc::default())
    }

    #[test]
    fn a_path_goes_below_the_address_and_its_components_are_encoded() {
        for address in ["https://h/prefix", "https://h/prefix/"] {
            let url = connection(address, &Tls::default()).unwrap().url(["v1", "a b", "c/d"]).unwrap();
            assert_eq!(url.as_str(), "https://h/prefix/v1/a%20b/c%2Fd");
        }
    }

    #[test]
    fn what_names_no_server_is_told() {
        let named = Tls { server_name: Some("10.0.0.1".to_owned()), ..Tls::default() };
        for (address, tls, words) in [
            ("h", Tls::default(), "h: the address is no URL"),
            ("data:x", Tls::default(), "the address is no URL"),
            ("https://h", named, "no DNS name"),
        ] {
            let told = connection(address, &tls).unwrap_err();
            assert_eq!(told.kind(), ErrorKind::Invalid);
            assert!(told.to_string().contains(words), "{told}");
        }
    }

    #[test]
    fn neither_a_proxys_password_nor_a_token_is_printed() {
        let token = confidential(&[b"Bearer ", b"hunter2"]).unwrap();
        assert_eq!(token.as_bytes(), b"Bearer hunter2");
        assert!(!format!("{:?} {token:?}", settings()).contains("hunter2"));
        assert!(confidential(&[b"a\nb"]).is_none());
    }
}
