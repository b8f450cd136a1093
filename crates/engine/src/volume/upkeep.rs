//! Watches the task of one served volume. If the task panics, a new one goes on with what is known of the volume.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use provider::Pauses;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::volume::blocking;
use crate::volume::remains::Remains;
use crate::volume::served::{Order, Served};
use crate::volume::status::ENDED;

impl Remains {
    /// Rebuilds the volume from its record and its mount for a new task, and reports that.
    pub(super) async fn begin_anew(&self) -> Served {
        let (parts, mounted, id) =
            (Arc::clone(&self.parts), Arc::clone(&self.mounted), self.publish.id.clone());
        // Waits until writes of the ended task are complete.
        drop(self.writing.lock().await);
        let found = blocking(move || {
            let record = parts.records.of(&id);
            let files = mounted.contents()?;
            Ok((record, files))
        });
        let (record, shown) = match found.await {
            Ok((record, files)) => {
                let shown = self.parts.shown(&self.publish, record.as_ref(), files);
                (record, Arc::new(shown))
            }
            Err(error) => {
                tracing::error!(volume = %self.publish.id, %error, "the files of the volume cannot be read back");
                // Keeps the last known snapshot, so that modules which make Secrets of the files do not think that they
                // are gone.
                (None, self.showing.get())
            }
        };
        self.parts.reporter.begun_anew(&self.publish, ENDED);
        let served = Served::begun_anew(self.clone(), record.as_ref(), &shown);
        served.describe();
        served
    }
}

/// Keeps a volume fresh until `stop`, then returns it as it is.
pub(super) async fn keep(
    served: Served,
    mut orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
) -> Served {
    let remains = served.remains();
    let (mut next, mut pauses, mut begun) = (served, Pauses::default(), Instant::now());
    loop {
        // The message of a panic is not logged: it may contain a secret.
        if let Ok(stopped) = AssertUnwindSafe(next.run(&mut orders, &stop)).catch_unwind().await {
            return stopped;
        }
        let pause = pauses.after(begun.elapsed());
        next = remains.begin_anew().await;
        tokio::select! {
            () = stop.cancelled() => return next,
            () = sleep(pause) => {}
        }
        begun = Instant::now();
    }
}
