use std::sync::atomic::{AtomicU64, Ordering};

use provider::{Error, ErrorKind, Result};

/// Lets one caller try at a time. If the try meets an outage, the callers that waited get that error too. They do not
/// share a refusal.
#[derive(Debug, Default)]
pub struct Turn {
    attempts: AtomicU64,
    outage: tokio::sync::Mutex<Option<Error>>,
}

impl Turn {
    /// What `ready` has, or what `make` makes. If `make` meets an outage while others wait, they get the same error, as
    /// `told` words it.
    ///
    /// # Errors
    ///
    /// As `make`.
    pub async fn take<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        make: impl Future<Output = Result<T>>,
        told: fn(&Error) -> Error,
    ) -> Result<T> {
        if let Some(value) = ready() {
            return Ok(value);
        }
        let asked = self.attempts.load(Ordering::Acquire);
        let mut outage = self.outage.lock().await;
        if let Some(value) = ready() {
            return Ok(value);
        }
        let waited = self.attempts.load(Ordering::Acquire) > asked;
        if let Some(error) = outage.as_ref().filter(|_| waited) {
            return Err(told(error));
        }
        let outcome = make.await;
        *outage = outcome.as_ref().err().filter(|error| error.kind() == ErrorKind::Unavailable).cloned();
        self.attempts.fetch_add(1, Ordering::Release);
        outcome
    }
}
