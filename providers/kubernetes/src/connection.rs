use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use provider::{Error, ErrorKind, Result, SecretBytes};
use provider_client::{
    Answer, Connection, Endpoint, Lookups, Material, Names, Opened, Patience, Settings, Tls, confidential,
};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, RequestBuilder, Response};
use url::Url;

use crate::config::KubernetesConfig;
use crate::meaning::Refusal;
use crate::reader::Reader;

/// The longest answer, in bytes. A Secret holds up to a megabyte; base64 makes it longer, and an annotation may repeat
/// it.
const MAX_BODY: usize = 4 << 20;
/// The content type of a watch: metadata only, no values.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The names of the administrator's settings, for messages.
const NAMES: Names = Names {
    address: "--kubernetes-api-server",
    may_be_plain: false,
    authorities: "--kubernetes-ca",
    given_authorities: "--kubernetes-ca",
    server_name: None,
    client_pair: None,
};

/// The connection to the API server, shared by all. Each call carries the token of its workload.
pub(crate) struct ApiServer {
    /// The name by which outages are counted.
    pub(crate) name: String,
    address: Option<Url>,
    ca: Option<PathBuf>,
    settings: Settings,
    lookups: Arc<Lookups>,
    latest: Mutex<Option<Latest>>,
}

/// The trusted authorities, and the connections that trust them.
type Latest = (Option<Vec<u8>>, Arc<Connection>);

/// The stream of a watch.
pub(crate) struct Stream {
    response: Response,
    connection: Arc<Connection>,
    /// What is watched, for messages.
    what: String,
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
            settings: settings(config),
            lookups: Arc::default(),
            latest: Mutex::new(None),
        })
    }

    /// The current Secret, as the API server writes it.
    ///
    /// # Errors
    ///
    /// The error that the answer means; `Unavailable` if there was no answer.
    pub(crate) async fn get(
        &self,
        reader: &Reader,
        secret: &str,
        token: &SecretBytes,
    ) -> Result<SecretBytes> {
        let connection = self.connection().await?;
        let request = request(&connection, reader, &[secret], &[], token)?;
        fetch(&connection, request, reader, secret, token).await
    }

    /// The current version of a Secret: its metadata, without values.
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
        let connection = self.connection().await?;
        let request = request(&connection, reader, &[secret], &[], token)?;
        fetch(&connection, request.header(ACCEPT, METADATA), reader, secret, token).await
    }

    /// The stream of changes of a Secret after `version`, or from its current state on, for at most `seconds`. `None`
    /// if the API server does not remember `version` any more.
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
    ) -> Result<Option<Stream>> {
        let (selector, seconds) = (format!("metadata.name={secret}"), seconds.to_string());
        let mut query = vec![
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("fieldSelector", &selector),
            ("timeoutSeconds", &seconds),
        ];
        query.extend(version.map(|version| ("resourceVersion", version)));
        let connection = self.connection().await?;
        let request = request(&connection, reader, &[], &query, token)?.header(ACCEPT, METADATA);
        let what = asked(secret);
        match connection.open(&what, request).await? {
            Opened::Stream(response) => Ok(Some(Stream { response, connection, what })),
            Opened::Refused(gone) if gone.status == 410 => Ok(None),
            Opened::Refused(answer) => Err(refusal(&answer, reader, secret, token)),
        }
    }

    /// The connections. New ones if the authorities have changed.
    async fn connection(&self) -> Result<Arc<Connection>> {
        let address = self.address.as_ref().ok_or_else(nowhere)?;
        let pem = match &self.ca {
            Some(file) => Some(tokio::fs::read(file).await.map_err(|error| self.no_authorities(&error))?),
            None => None,
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connection)) = latest.as_ref().filter(|(known, _)| *known == pem) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.connect(address, pem.clone())?);
        *latest = Some((pem, Arc::clone(&connection)));
        Ok(connection)
    }

    fn connect(&self, address: &Url, authorities: Option<Vec<u8>>) -> Result<Connection> {
        let endpoint = Endpoint { name: &self.name, address: address.as_str(), tls: &Tls::default() };
        let material = Material { authorities, client: None };
        Connection::new(endpoint, &material, &self.settings, &self.lookups)
    }

    fn no_authorities(&self, error: &io::Error) -> Error {
        let file = self.ca.as_deref().map_or_else(String::new, |file| file.display().to_string());
        Error::new(ErrorKind::Invalid, format!("the API server's authorities in {file}: {error}"))
            .remedy("correct --kubernetes-ca")
    }
}

impl Stream {
    /// The next part of the stream; `None` at its end.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the stream broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>> {
        self.response.chunk().await.map_err(|error| self.connection.broken(&self.what, &error))
    }
}

/// Only HTTP/1.1: with HTTP/2 the watches would use up the streams of the single connection, and reads would wait.
fn settings(config: &KubernetesConfig) -> Settings {
    Settings {
        names: NAMES,
        tls13_only: config.tls13_only,
        http1_only: true,
        proxy: None,
        max_body: MAX_BODY,
        patience: Patience { connect: config.connect, first_byte: config.total, total: config.total },
    }
}

fn request(
    connection: &Connection,
    reader: &Reader,
    below: &[&str],
    query: &[(&str, &str)],
    token: &SecretBytes,
) -> Result<RequestBuilder> {
    let path = ["api", "v1", "namespaces", &reader.namespace, "secrets"];
    let mut url = connection.url(path.into_iter().chain(below.iter().copied()))?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let unfit = || Error::new(ErrorKind::Unauthenticated, "the token is no header value");
    let bearer = confidential(&[b"Bearer ", token.expose()]).ok_or_else(unfit)?;
    Ok(connection.request(Method::GET, url).header(AUTHORIZATION, bearer))
}

async fn fetch(
    connection: &Connection,
    request: RequestBuilder,
    reader: &Reader,
    secret: &str,
    token: &SecretBytes,
) -> Result<SecretBytes> {
    let answer = connection.call(&asked(secret), request).await?;
    if answer.is_success() { Ok(answer.body) } else { Err(refusal(&answer, reader, secret, token)) }
}

fn refusal(answer: &Answer, reader: &Reader, secret: &str, token: &SecretBytes) -> Error {
    let Answer { status, retry_after, body, .. } = answer;
    let token = token.expose_str().unwrap_or_default();
    let refusal =
        Refusal { status: *status, retry_after: retry_after.as_deref(), body: body.expose(), token };
    refusal.error(reader, secret, Timestamp::now())
}

/// What a call asks for, for messages.
fn asked(secret: &str) -> String {
    format!("Secret {secret}")
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
