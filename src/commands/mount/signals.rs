//! The signals that end a mount: SIGTERM, SIGINT and SIGHUP.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals that have arrived.
#[derive(Debug)]
pub(super) struct Signals {
    first: CancellationToken,
    second: CancellationToken,
}

impl Signals {
    /// Handles these signals from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [terminate, interrupt, hangup] = kinds.map(signal);
        let streams = [("SIGTERM", terminate?), ("SIGINT", interrupt?), ("SIGHUP", hangup?)];
        let signals = Self { first: CancellationToken::new(), second: CancellationToken::new() };
        let tokens = [signals.first.clone(), signals.second.clone()];
        // The task ends with the runtime at the latest.
        drop(tokio::spawn(tell(streams, tokens)));
        Ok(signals)
    }

    /// Cancelled by the first signal.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.first
    }

    /// Waits for the second signal. Its sender does not want to wait for what the first one started.
    pub(super) async fn again(&self) {
        self.second.cancelled().await;
    }
}

async fn tell(mut streams: [(&'static str, Signal); 3], tokens: [CancellationToken; 2]) {
    for token in tokens {
        let [terminate, interrupt, hangup] = &mut streams;
        let name = tokio::select! {
            _ = terminate.1.recv() => terminate.0,
            _ = interrupt.1.recv() => interrupt.0,
            _ = hangup.1.recv() => hangup.0,
        };
        tracing::info!("{name}: taking away what this process mounted; once more ends it at once");
        token.cancel();
    }
}
