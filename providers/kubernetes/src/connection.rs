use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use crate::config::KubernetesConfig;
use crate::meaning::Refusal;
use crate::reader::Reader;
use crate::tls;

/// How long a connection may lie idle. The pool looks once per such time, so that none that carried
/// values lives for a second after its last.
const IDLE: Duration = Duration::from_millis(400);
/// Most idle connections.
const MAX_IDLE: usize = 8;
/// Longest answer, in bytes: a Secret holds a megabyte, which base64 and a repetition in its annotations swell.
const MAX_BODY: usize = 4 << 20;
/// What a watch is to bring: no values.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The way to the API server, for everybody: each call carries the token of whom it is made for.
pub(crate) struct ApiServer {
    /// What outages are counted by.
    pub(crate) name: String,
    address: Option<Url>,
    ca: Option<PathBuf>,
    tls13_only: bool,
    connect: Duration,
    total: Duration,
    /// The client, and the authorities it trusts.
    client: Mutex<Option<(Option<Vec<u8>>, Client)>>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ApiServer {
    /// # Errors
    ///
    /// `Invalid` if the address is no URL.
    pub(crate) fn new(config: &KubernetesConfig) -> Result<Self> {
        let address = config.api_server.as_deref().map(parse).transpose()?;
        let origin = address.as_ref().map_or_else(String::new, |url| url.origin().ascii_serialization());
        Ok(Self {
            name: format!("kubernetes:{origin}"),
            address,
            ca: config.ca.clone(),
            tls13_only: config.tls13_only,
            connect: config.connect,
            total: config.total,
            client: Mutex::new(None),
        })
    }

    /// A Secret as it is now, as the API server writes it.
    ///
    /// # Errors
    ///
    /// What the answer means; `Unavailable` if there was none.
    pub(crate) async fn get(
        &self,
        reader: &Reader,
        secret: &str,
        token: &SecretBytes,
    ) -> Result<SecretBytes> {
        let request = self.request(self.url(reader, &[secret], &[])?, token).await?;
        self.fetch(request, reader, secret).await
    }

    /// Which version of a Secret there is now: its metadata, without a value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn look(
        &self,
        reader: &Reader,
        secret: &str,
        token: &SecretBytes,
    ) -> Result<SecretBytes> {
        let request = self.request(self.url(reader, &[secret], &[])?, token).await?;
        self.fetch(request.header(ACCEPT, METADATA), reader, secret).await
    }

    async fn fetch(&self, request: RequestBuilder, reader: &Reader, secret: &str) -> Result<SecretBytes> {
        let call = async {
            let response = self.send(request, secret).await?;
            let response = self.accepted(response, reader, secret).await?;
            self.body(response, secret).await
        };
        timeout(self.total, call).await.unwrap_or_else(|_| Err(self.late(secret)))
    }

    /// The stream of what happens to a Secret after `version`, or to it as it is now, for `seconds` at
    /// most. `None` if too much has happened since `version`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub(crate) async fn watch(
        &self,
        reader: &Reader,
        secret: &str,
        token: &SecretBytes,
        version: Option<&str>,
        seconds: u64,
    ) -> Result<Option<Response>> {
        let (selector, seconds) = (format!("metadata.name={secret}"), seconds.to_string());
        let mut query = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("fieldSelector", &selector),
            ("timeoutSeconds", &seconds),
        ];
        query.extend(version.map(|version| ("resourceVersion", version)));
        let request = self.request(self.url(reader, &[], &query)?, token).await?.header(ACCEPT, METADATA);
        let call = async {
            let response = self.send(request, secret).await?;
            if response.status() == StatusCode::GONE {
                return Ok(None);
            }
            self.accepted(response, reader, secret).await.map(Some)
        };
        timeout(self.total, call).await.unwrap_or_else(|_| Err(self.late(secret)))
    }

    fn url(&self, reader: &Reader, below: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let mut url = self.address.clone().ok_or_else(nowhere)?;
        let path = ["api", "v1", "namespaces", &reader.namespace, "secrets"];
        url.path_segments_mut().map_err(|()| nowhere())?.pop_if_empty().extend(path).extend(below);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn request(&self, url: Url, token: &SecretBytes) -> Result<RequestBuilder> {
        let bearer = Zeroizing::new([b"Bearer ", token.expose()].concat());
        let unfit = |_| Error::new(ErrorKind::Unauthenticated, "the token is no header value");
        let mut bearer = HeaderValue::from_bytes(&bearer).map_err(unfit)?;
        bearer.set_sensitive(true);
        Ok(self.client().await?.get(url).header(AUTHORIZATION, bearer))
    }

    async fn send(&self, request: RequestBuilder, secret: &str) -> Result<Response> {
        request.send().await.map_err(|error| self.unavailable(secret, &error))
    }

    async fn accepted(&self, response: Response, reader: &Reader, secret: &str) -> Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = self.body(response, secret).await?;
        let refusal = Refusal { status, retry_after: retry_after.as_deref(), body: body.expose() };
        Err(refusal.error(reader, secret, Timestamp::now()))
    }

    async fn body(&self, mut response: Response, secret: &str) -> Result<SecretBytes> {
        let mut body = Zeroizing::new(Vec::with_capacity(4096));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unavailable(secret, &error))? {
            if body.len() + chunk.len() > MAX_BODY {
                let text =
                    format!("Secret {secret}: the answer of {} is longer than {MAX_BODY} bytes", self.name);
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(SecretBytes::new(std::mem::take(&mut *body)))
    }

    /// The client; a new one where the authorities are others than before.
    async fn client(&self) -> Result<Client> {
        let pem = match &self.ca {
            Some(file) => Some(tokio::fs::read(file).await.map_err(|error| self.no_authorities(&error))?),
            None => None,
        };
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = slot.as_ref().filter(|(known, _)| *known == pem) {
            return Ok(client.clone());
        }
        let client = self.connect(pem.as_deref())?;
        *slot = Some((pem, client.clone()));
        Ok(client)
    }

    /// HTTP/1.1 only: over HTTP/2 watches would take up the streams of the one connection, and reads wait for them.
    fn connect(&self, pem: Option<&[u8]>) -> Result<Client> {
        Client::builder()
            .tls_backend_preconfigured(tls::config(pem, self.tls13_only)?)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Invalid, format!("{}: {}", self.name, error.without_url()))
            })
    }

    fn no_authorities(&self, error: &io::Error) -> Error {
        let file = self.ca.as_deref().map_or_else(String::new, |file| file.display().to_string());
        Error::new(ErrorKind::Invalid, format!("the API server's authorities in {file}: {error}"))
            .remedy("correct --kubernetes-ca")
    }

    fn late(&self, secret: &str) -> Error {
        let text = format!("Secret {secret}: {} did not answer in time", self.name);
        Error::new(ErrorKind::Unavailable, text)
    }

    /// What a failed call means: nobody was heard. The error's own text is not used: it may hold the URL.
    pub(crate) fn unavailable(&self, secret: &str, error: &reqwest::Error) -> Error {
        let (reason, remedy) = explain(error);
        let told = Error::new(ErrorKind::Unavailable, format!("Secret {secret}: {} {reason}", self.name));
        if remedy.is_empty() { told } else { told.remedy(remedy) }
    }
}

fn parse(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "--kubernetes-api-server is no https URL")
            .remedy("write it as in https://10.0.0.1:443")
    })
}

fn nowhere() -> Error {
    Error::new(ErrorKind::Invalid, "no API server is known").remedy("set --kubernetes-api-server")
}

fn explain(error: &reqwest::Error) -> (String, &'static str) {
    let first: &(dyn StdError + 'static) = error;
    let chain = || std::iter::successors(Some(first), |error| (*error).source());
    if let Some(tls) = chain().find_map(tls_error) {
        return (format!("fails at TLS ({tls})"), "is --kubernetes-ca its certificate authority?");
    }
    if error.is_timeout() {
        return ("did not accept a connection in time".to_owned(), "does the network let us there?");
    }
    match chain().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            ("refuses connections".to_owned(), "is it up, and is --kubernetes-api-server right?")
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            ("cannot be reached".to_owned(), "does the network let us there?")
        }
        _ if error.is_connect() => ("cannot be connected to".to_owned(), "is --kubernetes-api-server right?"),
        _ => ("broke off before the end of its answer".to_owned(), ""),
    }
}

/// An I/O error hides what it wraps from `source`, and wraps others of its kind.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => tls_error(wrapper.get_ref()?),
        None => error.downcast_ref(),
    }
}
