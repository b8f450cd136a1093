//! The task of one served volume, watched: where it ends by itself it is begun anew, with what is known of the volume.

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
    /// The volume as its record and its mount tell it, for another task; whoever listens is told.
    pub(super) async fn begin_anew(&self) -> Served {
        let (parts, mounted, id) =
            (Arc::clone(&self.parts), Arc::clone(&self.mounted), self.publish.id.clone());
        // What the ended task was writing is written to its end.
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
                // Whoever makes something else of them is not told that they are gone.
                (None, self.showing.get())
            }
        };
        self.parts.reporter.begun_anew(&self.publish, ENDED);
        let served = Served::begun_anew(self.clone(), record.as_ref(), &shown);
        served.describe();
        served
    }
}

/// Keeps a volume fresh until `stop`, then gives it back as it is.
pub(super) async fn keep(
    served: Served,
    mut orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
) -> Served {
    let remains = served.remains();
    let (mut next, mut pauses, mut begun) = (served, Pauses::default(), Instant::now());
    loop {
        // A panic's message may hold anything, and is not told.
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
