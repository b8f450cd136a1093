use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::background::{Running, wait};
use crate::tls::{Authority, Identity};

/// The longest request, head and body, that a fault server accepts, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// A request that a [`FaultServer`] received.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The certificate (DER) that the client showed. Empty if it showed none.
    pub client: Vec<u8>,
}

impl Seen {
    /// The value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How a [`FaultServer`] answers a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A complete answer.
    Reply {
        /// Status code.
        status: u16,
        /// Headers besides `content-length`.
        headers: Vec<(&'static str, String)>,
        /// Body.
        body: Vec<u8>,
    },
    /// Status 200 and a body that ends after half of what `content-length` promised.
    Truncated(Vec<u8>),
    /// Status 200 and a body of this many spaces.
    Huge(usize),
    /// Status 200 and a body of spaces without a `content-length`: at least this many, as long as the client reads.
    Endless(usize),
    /// Status 200 and a body that arrives at one byte per interval.
    Drip(Vec<u8>, Duration),
    /// No answer, as long as the client waits.
    Hang,
    /// The connection is reset.
    Reset,
    /// The answer of another server (`host:port`, plain HTTP).
    Forward(String),
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    /// A text answer.
    pub fn text(status: u16, kind: &str, body: &str) -> Self {
        Self::Reply { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// Adds a header. Only a [`Reply`](Self::Reply) has headers.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Script = Box<dyn Fn(&Seen) -> Answer + Send + Sync>;

struct Stage {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Stage {
    fn new(script: Script) -> Self {
        Self {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        }
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Stage>);

impl Open {
    fn new(stage: &Arc<Stage>) -> Self {
        stage.accepted.fetch_add(1, Ordering::SeqCst);
        stage.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(stage))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An HTTP server whose answers a test decides.
pub struct FaultServer {
    address: SocketAddr,
    scheme: &'static str,
    stage: Arc<Stage>,
    _server: Running,
}

impl fmt::Debug for FaultServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultServer({})", self.url())
    }
}

impl FaultServer {
    /// Serves plain HTTP with the answers of `script`.
    pub fn http(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(script))
    }

    /// Serves HTTPS with the answers of `script` and the certificate `identity`.
    pub fn https(identity: &Identity, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(Some(identity.server_config()), Box::new(script))
    }

    /// The same, for clients that show a certificate of `clients`.
    pub fn https_for(
        identity: &Identity,
        clients: &Authority,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(identity.server_config_for(clients)), Box::new(script))
    }

    /// Forwards all requests to the server at `url` (`http://host:port`), until a [`script`](Self::script) is set.
    pub fn before(url: &str) -> Self {
        Self::http(forward(url))
    }

    /// Uses another script from the next request on.
    pub fn script(&self, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *locked(&self.stage.script) = Arc::new(Box::new(script));
    }

    /// Forwards all requests to the server at `url` from the next request on.
    pub fn forward(&self, url: &str) {
        self.script(forward(url));
    }

    /// `http://127.0.0.1:<port>`, or `https://localhost:<port>`.
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.stage.seen).clone()
    }

    /// Whether `text` was in a request, anywhere.
    pub fn saw(&self, text: &str) -> bool {
        let holds = |body: &[u8]| String::from_utf8_lossy(body).contains(text);
        self.seen().iter().any(|seen| format!("{seen:?}").contains(text) || holds(&seen.body))
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.stage.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.stage.open.load(Ordering::SeqCst)
    }

    fn start(tls: Option<Arc<ServerConfig>>, script: Script) -> Self {
        let listener = wait(async { TcpListener::bind("127.0.0.1:0").await.expect("a port on 127.0.0.1") });
        let address = listener.local_addr().expect("the port just bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let stage = Arc::new(Stage::new(script));
        let server = Running::start(accept(listener, tls.map(TlsAcceptor::from), Arc::clone(&stage)));
        Self { address, scheme, stage, _server: server }
    }
}

fn forward(url: &str) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    let target = url.trim_start_matches("http://").to_owned();
    move |_| Answer::Forward(target.clone())
}

fn locked<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, stage) = (tls.clone(), Arc::clone(&stage));
        let open = Open::new(&stage);
        connections.spawn(async move {
            let _open = open;
            let _ = stream.set_nodelay(true);
            match tls {
                None => serve(stream, &stage, &[]).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        let client = shown.map(|shown| shown.to_vec()).unwrap_or_default();
                        serve(stream, &stage, &client).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Sockets that can be closed without an orderly end.
trait Cut {
    fn cut(&self);
}

impl Cut for TcpStream {
    fn cut(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Cut for tokio_rustls::server::TlsStream<TcpStream> {
    fn cut(&self) {
        self.get_ref().0.cut();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Cut + Unpin>(mut stream: S, stage: &Stage, client: &[u8]) {
    while let Some((raw, seen)) = request(&mut stream).await {
        let seen = Seen { client: client.to_vec(), ..seen };
        locked(&stage.seen).push(seen.clone());
        let script = Arc::clone(&locked(&stage.script));
        if play(&mut stream, script(&seen), &raw).await.is_none() {
            return;
        }
    }
}

/// Reads one request. Returns its bytes, and the parsed request.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(Vec<u8>, Seen)> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut raw).await?;
    };
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, target, headers, body: Vec::new(), client: Vec::new() };
    let length: usize = seen.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while raw.len() < end + length {
        more(stream, &mut raw).await?;
    }
    seen.body = raw[end..end + length].to_vec();
    Some((raw, seen))
}

async fn more(stream: &mut (impl AsyncRead + Unpin), raw: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(raw).await.ok()?;
    (read > 0 && raw.len() <= MAX_REQUEST).then_some(())
}

/// Gives `answer`. `None` if the connection cannot be used again.
async fn play<S: AsyncRead + AsyncWrite + Cut + Unpin>(
    stream: &mut S,
    answer: Answer,
    raw: &[u8],
) -> Option<()> {
    match answer {
        Answer::Reply { status, headers, body } => {
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            write(stream, head(status, &headers, body.len()).as_bytes()).await?;
            write(stream, &body).await
        }
        Answer::Truncated(body) => {
            write(stream, head(200, "", body.len()).as_bytes()).await?;
            write(stream, &body[..body.len() / 2]).await?;
            None
        }
        Answer::Huge(length) => {
            write(stream, head(200, "", length).as_bytes()).await?;
            spaces(stream, length).await?;
            None
        }
        Answer::Endless(length) => {
            write(stream, b"HTTP/1.1 200 Scripted\r\nconnection: close\r\n\r\n").await?;
            spaces(stream, length).await?;
            None
        }
        Answer::Drip(body, interval) => {
            write(stream, head(200, "", body.len()).as_bytes()).await?;
            for byte in body {
                tokio::time::sleep(interval).await;
                write(stream, &[byte]).await?;
            }
            Some(())
        }
        Answer::Hang => {
            // Waits until the client closes the connection.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            None
        }
        Answer::Reset => {
            stream.cut();
            None
        }
        Answer::Forward(target) => {
            relay(stream, &target, raw).await;
            None
        }
    }
}

fn head(status: u16, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: {length}\r\n\r\n")
}

async fn spaces(stream: &mut (impl AsyncWrite + Unpin), length: usize) -> Option<()> {
    for _ in 0..length.div_ceil(65_536) {
        write(stream, &[b' '; 65_536]).await?;
    }
    Some(())
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()
}

/// Forwards one request over one connection. With `connection: close`, the answer ends where the stream ends.
async fn relay(stream: &mut (impl AsyncWrite + Unpin), target: &str, raw: &[u8]) -> Option<()> {
    let mut upstream = TcpStream::connect(target).await.ok()?;
    let line = raw.windows(2).position(|window| window == b"\r\n")? + 2;
    upstream.write_all(&raw[..line]).await.ok()?;
    upstream.write_all(b"connection: close\r\n").await.ok()?;
    upstream.write_all(&raw[line..]).await.ok()?;
    tokio::io::copy(&mut upstream, stream).await.ok()?;
    stream.shutdown().await.ok()
}
