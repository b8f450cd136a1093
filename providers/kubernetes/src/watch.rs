//! The watch of one Secret. It follows the API server's stream, and opens a new one when a stream ends.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use provider::{Doubling, Error, ErrorKind, Pauses, Restarts, Result, SecretBytes, Span};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::connection::{ApiServer, Stream};
use crate::followed::{Facts, Known};
use crate::meaning::Status;
use crate::reader::Reader;

/// The length of one stream, in seconds. The next stream uses the newest token.
const STREAM: std::ops::Range<u64> = 240..300;
/// A stream brings a bookmark every minute. If it is silent for longer than this, it is closed.
const SILENCE: Duration = Duration::from_secs(150);
/// The longest event, in bytes: the metadata of a Secret, annotations included.
const MAX_EVENT: usize = 2 << 20;
/// After a deletion, how long to wait for a new Secret with the same name.
const REPLACED: Duration = Duration::from_millis(200);
/// A stream of at least this length does not count as a failure.
const LASTED: Duration = Duration::from_secs(1);
/// Pauses after failures.
const PAUSES: Doubling =
    Doubling { first: Duration::from_millis(250), longest: Duration::from_secs(30), spread: [0.1, 1.0] };
/// How long to wait after a refusal before the next try: the account may get the right meanwhile.
const REFUSED: Duration = Duration::from_secs(60);

/// Which Secret is watched, and with which identity.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) reader: Reader,
    pub(crate) secret: String,
    pub(crate) token: watch::Receiver<SecretBytes>,
    pub(crate) facts: Arc<Facts>,
}

/// The watch of one Secret.
#[derive(Debug)]
struct Watch {
    of: Watched,
    /// The version after which the next stream begins: the last one that a stream brought.
    since: Option<String>,
    /// Whether the API server does not remember the changes since the known version any more.
    missed: bool,
    failures: u32,
    /// Whether the log says already that this Secret is polled.
    told: bool,
}

/// How a stream ended.
enum End {
    /// Normally.
    Closed,
    /// The API server does not remember the changes since the last event.
    Missed,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Subject {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

/// Watches until the task is aborted, when nobody follows the Secret any more. A watch that ends unexpectedly is
/// restarted. Until then volumes see changes at their next refresh.
pub(crate) async fn keep(watched: Watched, restarts: Arc<Restarts>) {
    let mut pauses = Pauses::default();
    loop {
        let begun = Instant::now();
        // The message of a panic may hold anything, so it is not logged.
        drop(AssertUnwindSafe(Watch::new(watched.clone()).run()).catch_unwind().await);
        restarts.count();
        tell_of_end(&watched);
        sleep(pauses.after(begun.elapsed())).await;
        // The watch may have ended after it noticed a change and before it announced it.
        watched.facts.announce();
    }
}

fn tell_of_end(watched: &Watched) {
    tracing::error!(
        secret = watched.secret,
        namespace = watched.reader.namespace,
        "the watch of a Secret ended by itself, which is a fault of secretfs; it is begun anew, and changes are \
         seen at the next refresh meanwhile"
    );
}

impl Watch {
    fn new(of: Watched) -> Self {
        Self { of, since: None, missed: false, failures: 0, told: false }
    }

    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let end = self.stream().await;
            self.failures = if begun.elapsed() > LASTED { 0 } else { self.failures.saturating_add(1) };
            match end {
                Ok(End::Closed) => sleep(self.pause()).await,
                Ok(End::Missed) => self.begin_anew().await,
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn stream(&mut self) -> Result<End> {
        let token = self.of.token.borrow_and_update().clone();
        let seconds = fastrand::u64(STREAM);
        let since = self.since.clone().or_else(|| self.of.facts.version()).filter(|_| !self.missed);
        let opened =
            self.of.server.watch(&self.of.reader, &self.of.secret, &token, since.as_deref(), seconds);
        let Some(stream) = opened.await? else { return Ok(End::Missed) };
        if since.is_none() {
            self.look(&token).await?;
        }
        self.missed = false;
        self.follow(stream).await
    }

    /// Compares the Secret with its known state after the stream is open. The stream does not report that the Secret
    /// was deleted or replaced before it began.
    async fn look(&self, token: &SecretBytes) -> Result<()> {
        let begun = self.of.facts.begin();
        match self.of.server.look(&self.of.reader, &self.of.secret, token).await {
            Ok(json) => {
                let subject: Subject = serde_json::from_slice(json.expose())
                    .map_err(|_| self.odd("a look that makes no sense"))?;
                self.of.facts.read(begun, &subject.metadata.resource_version);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.of.facts.vanished(begun) {
                    self.announce_deletion().await;
                }
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            // An identity that may watch the Secret but not read it cannot compare.
            Err(_) => {}
        }
        Ok(())
    }

    async fn follow(&mut self, mut stream: Stream) -> Result<End> {
        let mut buffer = Zeroizing::new(Vec::new());
        loop {
            let Ok(chunk) = timeout(SILENCE, stream.next()).await else { return Ok(End::Closed) };
            let Some(chunk) = chunk? else { return Ok(End::Closed) };
            let chunk = chunk.as_ref();
            if buffer.len() + chunk.len() > MAX_EVENT {
                return Err(self.odd("an event that is too long"));
            }
            buffer.extend_from_slice(chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Zeroizing<Vec<u8>> = Zeroizing::new(buffer.drain(..=end).collect());
                if let Some(end) = self.event(&line).await? {
                    return Ok(end);
                }
            }
        }
    }

    async fn event(&mut self, line: &[u8]) -> Result<Option<End>> {
        let odd = || self.odd("an event that makes no sense");
        let event: Event<'_> = serde_json::from_slice(line).map_err(|_| odd())?;
        if event.kind == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(|_| odd())?;
            return if status.code == 410 { Ok(Some(End::Missed)) } else { Err(self.odd("an error")) };
        }
        let subject: Subject = serde_json::from_str(event.object.get()).map_err(|_| odd())?;
        let version = subject.metadata.resource_version;
        match &*event.kind {
            "ADDED" | "MODIFIED" => self.learn(Known::Version(version.clone())).await,
            "DELETED" => self.learn(Known::Deleted).await,
            // A bookmark.
            _ => {}
        }
        self.since = Some(version);
        Ok(None)
    }

    async fn learn(&self, known: Known) {
        let deleted = known == Known::Deleted;
        match self.of.facts.event(known) {
            true if deleted => self.announce_deletion().await,
            true => self.of.facts.announce(),
            false => {}
        }
    }

    /// Announces a deletion after a moment. If the Secret is being replaced, the reading then finds the new one.
    async fn announce_deletion(&self) {
        sleep(REPLACED).await;
        self.of.facts.announce();
    }

    async fn begin_anew(&mut self) {
        self.since = None;
        self.missed = true;
        self.of.facts.announce();
        sleep(self.pause()).await;
    }

    async fn rest(&mut self, error: &Error) {
        match error.kind() {
            ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Revoked => {
                self.tell(error);
                sleep(Span::from(REFUSED).times(1.0 + fastrand::f64()).get()).await;
            }
            // Kubelet's next republish brings a newer token.
            ErrorKind::Unauthenticated | ErrorKind::NoCredential => {
                tokio::select! {
                    Ok(()) = self.of.token.changed() => {}
                    () = sleep(REFUSED) => {}
                }
            }
            ErrorKind::Unavailable => sleep(self.pause().max(error.wait().unwrap_or_default())).await,
        }
    }

    fn tell(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%error, "a Secret cannot be watched: changes are seen at the next refresh");
        }
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => PAUSES.pause(failures, fastrand::f64()).get(),
        }
    }

    fn odd(&self, what: &str) -> Error {
        let text =
            format!("the watch of Secret {}/{} brought {what}", self.of.reader.namespace, self.of.secret);
        Error::new(ErrorKind::Unavailable, text)
    }
}
