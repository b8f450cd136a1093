//! `/livez`, `/readyz` and `/metrics`.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use metrics::Metrics;
use program::readiness::Readiness;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::peers::{Peers, Seat};

/// Connections that are served at the same time. Further ones are closed at once, because a late scrape is useless.
const MOST_CONNECTIONS: usize = 256;
/// How long a request's header may take to arrive.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may last. It is of no use to keep one for longer than any scrape interval.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);
/// The greatest age of the last beat of a live process.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The beat of the loop that keeps volumes fresh. The process counts as alive while the loop runs.
#[derive(Clone)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Pulse {
    /// Notes that the loop ran. Call it at least every ten seconds.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Time since the last beat.
    fn pause(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pulse({:?} ago)", self.pause())
    }
}

/// What the three paths report.
#[derive(Debug, Clone)]
pub struct Health {
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` reports.
    pub readiness: Readiness,
    /// What `/livez` reports.
    pub pulse: Pulse,
}

impl Health {
    /// Whether the process is alive, with a message.
    pub fn live(&self) -> Result<&'static str, String> {
        let pause = self.pulse.pause();
        if pause <= LONGEST_PAUSE {
            return Ok("alive");
        }
        Err(format!("not alive: the event loop has not turned for {} s", pause.as_secs()))
    }

    /// Whether the process is ready, with a message.
    pub fn ready(&self) -> Result<&'static str, String> {
        let missing = self.readiness.missing();
        if missing.is_empty() {
            return Ok("ready");
        }
        Err(format!("not ready, missing: {}", missing.join(", ")))
    }
}

/// Answers on `listener` until `shutdown`, then finishes the running answers.
pub async fn serve(listener: TcpListener, health: Health, shutdown: CancellationToken) {
    let router = router(health);
    let peers = Peers::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) if connections.len() < MOST_CONNECTIONS => {
                    if let Some(seat) = peers.seat(from.ip()) {
                        connections.spawn(converse(stream, router.clone(), shutdown.clone(), seat));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the HTTP listener cannot accept");
                    sleep(Duration::from_secs(1)).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, router: Router, shutdown: CancellationToken, _seat: Seat) {
    // HTTP/1 only. Otherwise the server would wait without a limit for the bytes that distinguish HTTP/2 from HTTP/1.
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = timeout(CONNECTION_DEADLINE, async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    });
    if let Ok(Err(error)) = served.await {
        tracing::debug!(error = error.as_ref() as &dyn std::error::Error, "an HTTP connection ended early");
    }
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn livez(State(health): State<Health>) -> Response {
    told(health.live())
}

async fn readyz(State(health): State<Health>) -> Response {
    told(health.ready())
}

fn told(health: Result<&'static str, String>) -> Response {
    match health {
        Ok(well) => format!("{well}\n").into_response(),
        Err(ill) => (StatusCode::SERVICE_UNAVAILABLE, format!("{ill}\n")).into_response(),
    }
}

/// The media type of OpenMetrics' text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(health): State<Health>) -> Response {
    match health.metrics.exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tower::ServiceExt as _;

    use super::*;

    fn health() -> Health {
        Health { metrics: Metrics::default(), readiness: Readiness::default(), pulse: Pulse::default() }
    }

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(health.clone()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing_until_nothing_is() {
        let health = health();
        let registered = health.readiness.latch("registered");
        let recovered = health.readiness.latch("recovered");
        recovered.set(true);

        let before = ask(&health, "/readyz").await;
        registered.set(true);
        let after = ask(&health, "/readyz").await;
        registered.set(false);
        let lost = ask(&health, "/readyz").await;

        let missing = (StatusCode::SERVICE_UNAVAILABLE, "not ready, missing: registered\n".to_owned());
        assert_eq!(before, missing);
        assert_eq!(after, (StatusCode::OK, "ready\n".to_owned()));
        assert_eq!(lost, missing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_whose_loop_stands_still_is_not_alive() {
        let health = health();

        tokio::time::advance(LONGEST_PAUSE).await;
        let pausing = ask(&health, "/livez").await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let stuck = ask(&health, "/livez").await;
        health.pulse.beat();
        let turning = ask(&health, "/livez").await;

        assert_eq!(pausing.0, StatusCode::OK);
        assert_eq!(stuck.1, "not alive: the event loop has not turned for 31 s\n");
        assert_eq!(stuck.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(turning.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_over_tcp_until_told_to_stop() {
        let health = health();
        health.metrics.set_registered(true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, health, shutdown.clone()));

        // A connection that sends nothing must not keep the server from stopping.
        let _silent = TcpStream::connect(address).await.unwrap();
        let response = scrape(address).await;
        shutdown.cancel();
        timeout(Duration::from_secs(20), server).await.unwrap().unwrap();

        assert!(response.contains(&format!("content-type: {OPEN_METRICS}\r\n")), "{response}");
        assert!(response.contains("secretfs_registration_state 1\n"), "{response}");
    }

    struct Listening {
        address: SocketAddr,
        shutdown: CancellationToken,
        server: tokio::task::JoinHandle<()>,
    }

    async fn listening() -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, health(), shutdown.clone()));
        Listening { address, shutdown, server }
    }

    impl Listening {
        async fn from(&self, local: &str) -> TcpStream {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{local}:0").parse().unwrap()).unwrap();
            socket.connect(self.address).await.unwrap()
        }

        async fn stop(self) {
            self.shutdown.cancel();
            timeout(Duration::from_secs(60), self.server).await.unwrap().unwrap();
        }
    }

    /// Reads to the end. Returns how long that took.
    async fn closed(mut stream: TcpStream) -> Duration {
        let (since, mut rest) = (std::time::Instant::now(), Vec::new());
        let _ = timeout(CONNECTION_DEADLINE, stream.read_to_end(&mut rest)).await.expect("an end");
        since.elapsed()
    }

    #[tokio::test]
    async fn a_peer_that_takes_every_connection_it_gets_keeps_no_other_from_being_answered() {
        let server = listening().await;
        let mut idle = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            idle.push(server.from("127.0.0.2").await);
        }

        let answer = timeout(HEADER_DEADLINE / 2, scrape(server.address)).await;

        assert!(answer.expect("an answer").starts_with("HTTP/1.1 200"));
        server.stop().await;
    }

    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed_within_seconds_whatever_version_it_pretends() {
        let server = listening().await;
        for beginning in ["", "G", "GET /livez HTTP/1.1\r\nx: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = server.from("127.0.0.2").await;
            stream.write_all(beginning.as_bytes()).await.unwrap();

            let took = closed(stream).await;

            assert!(took < CONNECTION_DEADLINE / 2, "{beginning:?} took {took:?}");
        }
        server.stop().await;
    }

    async fn scrape(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }
}
