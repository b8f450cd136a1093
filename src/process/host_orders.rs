//! The orders to take secrets back that were given on this host: a file that `secretfs revoke --here` writes.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::revocation::{InForce, Record};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at, for orders of which no command told this process.
const LOOK: Duration = Duration::from_millis(500);

/// The orders of this host, and whom they are told.
#[derive(Debug)]
pub(super) struct HostOrders {
    record: Record,
    in_force: Arc<InForce>,
    /// The file that was read last.
    seen: Mutex<Option<Seen>>,
}

/// Tells a file from the one that replaced it: inode, length, and time of change in seconds and nanoseconds.
type Seen = (u64, u64, i64, i64);

impl HostOrders {
    /// Follows the orders in the file at `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or trusted. Then nobody knows what holds.
    pub(super) fn load(path: &Path, in_force: &Arc<InForce>) -> io::Result<Self> {
        let orders =
            Self { record: Record::at(path), in_force: Arc::clone(in_force), seen: Mutex::default() };
        orders.read_again()?;
        Ok(orders)
    }

    /// Follows what the file has now.
    ///
    /// # Errors
    ///
    /// It cannot be read or trusted. The orders of before hold.
    pub(super) fn read_again(&self) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // First, so that a change during the reading is seen at the next look.
        let there = self.look();
        self.in_force.set_of_host(self.record.load()?);
        *seen = there;
        Ok(())
    }

    /// Follows the file until `stop`.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == self.look() {
                continue;
            }
            match self.read_again() {
                Ok(()) => told = false,
                Err(_) if told => {}
                Err(error) => {
                    tracing::error!(%error, "new revocations of this host are not followed; those of before hold");
                    told = true;
                }
            }
        }
    }

    fn look(&self) -> Option<Seen> {
        let about = std::fs::symlink_metadata(self.record.path()).ok()?;
        Some((about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
    }
}
