//! Registers the driver with kubelet, and again whenever kubelet has forgotten or refused it.
//!
//! Kubelet never repeats a registration that failed late. If a socket does not answer, kubelet waits longer and longer
//! before it dials again. A new socket file is a new plugin for kubelet. So the remedy for every failure is to remove the
//! file and to make another.
//!
//! A socket that kubelet registered stays as it is while the mounter holds it, also through a restart of this process.
//! Kubelet does not notice the restart. If it did, it would forget the driver, and it cannot register one while the API
//! server is away.

mod answers;
mod keeper;
mod memory;
mod sockets;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keeper::Keeper;
use mounter::{Mounter, registration_socket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The registration sockets of `driver` in kubelet's `directory`.
///
/// # Errors
///
/// The directory cannot be read.
pub fn registration_sockets(directory: &Path, driver: &str) -> io::Result<Vec<PathBuf>> {
    sockets::own(directory, driver)
}

/// The state of the registration with kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The socket does not exist, so kubelet cannot know the driver.
    Unbound,
    /// The socket exists. Kubelet has not asked yet.
    Bound,
    /// Kubelet has asked for the driver's name, and has not yet said whether it accepts the driver.
    Asked,
    /// Kubelet uses the driver.
    Registered,
    /// Kubelet refused the driver, for this reason.
    Refused(String),
}

/// How long each step may take before a new socket is made.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From a new socket to kubelet's first question.
    pub asked: Duration,
    /// From kubelet's question to its answer.
    pub notified: Duration,
    /// Time between two checks that the socket file still exists.
    pub look: Duration,
    /// Shortest and longest pause before a new socket, after the last one failed.
    pub pause: (Duration, Duration),
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            asked: Duration::from_secs(60),
            notified: Duration::from_secs(30),
            look: Duration::from_secs(1),
            pause: (Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

/// What kubelet is told, and on which socket.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The name of the CSIDriver object.
    pub driver: String,
    /// The path of the CSI socket in kubelet's file system, which may differ from ours.
    pub endpoint: String,
    /// Kubelet's `plugins_registry`, as a path in our file system.
    pub directory: PathBuf,
    /// The id of this boot of the node.
    pub boot_id: String,
    /// A file that lasts as long as this boot. It names the socket that kubelet registered, for the next process.
    pub memory: PathBuf,
    /// How long each step may take.
    pub patience: Patience,
}

/// A registration that runs on a thread of its own. Kubelet waits only one second for an answer, and a busy process
/// must not miss it.
#[derive(Debug)]
pub struct Running {
    state: watch::Receiver<State>,
    thread: JoinHandle<()>,
}

impl Running {
    /// The present and all later states of the registration.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits for the thread to end, after shutdown.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the registration's thread panicked");
        }
    }
}

impl Registration {
    /// Keeps the driver registered until `shutdown`. The socket file stays. Without it kubelet would remove the driver
    /// from the node, and could not unmount the volumes of running pods.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(self, mounter: Arc<dyn Mounter>, shutdown: CancellationToken) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keeper = Keeper::new(self, mounter);
        let state = keeper.state();
        let keep = move || runtime.block_on(keeper.run(&shutdown));
        let thread = thread::Builder::new().name("registration".to_owned()).spawn(keep)?;
        Ok(Running { state, thread })
    }

    /// A name that no earlier boot used. Kubelet may still be waiting to dial an old name again.
    fn socket(&self) -> PathBuf {
        self.directory.join(registration_socket(&self.driver, &self.boot_id))
    }
}

#[cfg(test)]
mod tests;
