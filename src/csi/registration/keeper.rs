use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use csi_proto::registration::registration_server::RegistrationServer;
use mounter::Mounter;
use provider::Span;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::answers::Answers;
use super::sockets::{self, SocketFile};
use super::{Patience, Registration, State};
use crate::csi::connection;

/// How long running calls may take after their socket was given up.
const DRAIN: Duration = Duration::from_secs(5);

/// Why a new socket has to be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("kubelet did not ask what the driver is within {} s", .0.as_secs_f32())]
    NotAsked(Duration),
    #[error("kubelet did not say within {} s what became of the registration", .0.as_secs_f32())]
    NotNotified(Duration),
    #[error("kubelet refused the driver: {0}")]
    Refused(String),
    #[error("the registration socket was removed")]
    Removed,
    #[error("{0}")]
    Unbound(#[from] mounter::Error),
    #[error("the registration socket failed: {0}")]
    Failed(#[from] io::Error),
}

/// Makes sockets, and watches whether kubelet registers them.
pub(super) struct Keeper {
    registration: Registration,
    mounter: Arc<dyn Mounter>,
    state: watch::Sender<State>,
}

impl Keeper {
    pub(super) fn new(registration: Registration, mounter: Arc<dyn Mounter>) -> Self {
        Self { registration, mounter, state: watch::Sender::new(State::Unbound) }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) async fn run(self, shutdown: &CancellationToken) {
        let mut failures = 0;
        while let Some(Ok(lost) | Err(lost)) = shutdown.run_until_cancelled(self.round()).await {
            let registered = self.state.send_replace(State::Unbound) == State::Registered;
            failures = if registered { 0 } else { failures + 1 };
            let pause = self.registration.patience.before_next(&lost, failures);
            tracing::warn!(%lost, pause_ms = pause.as_millis() as u64, "registering anew");
            if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Serves one socket as long as it is useful. Returns why it no longer is.
    async fn round(&self) -> Result<Lost, Lost> {
        let (listener, file) = self.bind()?;
        let given_up = CancellationToken::new();
        let mut serving = pin!(self.serve(listener, given_up.clone()));
        let lost = tokio::select! {
            served = &mut serving => {
                served?;
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            lost = self.silent(&file) => lost,
            () = self.removed(&file) => Lost::Removed,
        };
        self.registration.forget();
        file.remove();
        given_up.cancel();
        // So kubelet still gets the answer to its refusal.
        let _ = timeout(DRAIN, serving).await;
        Ok(lost)
    }

    fn bind(&self) -> Result<(UnixListener, SocketFile), Lost> {
        let path = self.registration.socket();
        if let Some(kept) = self.kept(&path)? {
            return Ok(kept);
        }
        // The present socket is removed too, because kubelet reacts only to a file that appears.
        if self.mounter.makes_files_of_root() {
            sockets::remove_own(&self.registration.directory, &self.registration.driver)?;
        } else {
            // Kubelet's directory is for root. The mounter knows no socket of an earlier boot: kubelet finds nobody there.
            self.mounter.remove_socket(&path)?;
        }
        let listener = self.mounter.listen(&path)?;
        let file = SocketFile::at(&path, &self.mounter)?;
        self.state.send_replace(State::Bound);
        Ok((listener, file))
    }

    /// The socket that kubelet registered for an earlier process, if the mounter still holds it.
    fn kept(&self, path: &Path) -> Result<Option<(UnixListener, SocketFile)>, Lost> {
        let Some(file) =
            SocketFile::at(path, &self.mounter).ok().filter(|file| self.registration.remembers(file))
        else {
            return Ok(None);
        };
        let listener = self.mounter.listen(path)?;
        if SocketFile::at(path, &self.mounter)? != file {
            return Ok(None);
        }
        tracing::info!("kubelet still has the driver registered");
        self.state.send_replace(State::Registered);
        Ok(Some((listener, file)))
    }

    async fn serve(&self, listener: UnixListener, given_up: CancellationToken) -> io::Result<()> {
        let answers = Answers::new(&self.registration, self.state.clone());
        Server::builder()
            .add_service(RegistrationServer::new(answers))
            .serve_with_incoming_shutdown(connection::incoming(listener)?, given_up.cancelled_owned())
            .await
            .map_err(io::Error::other)
    }

    /// Returns when kubelet has refused the driver, or has not taken the next step in time.
    async fn silent(&self, file: &SocketFile) -> Lost {
        let Patience { asked, notified, .. } = self.registration.patience;
        let mut state = self.state.subscribe();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Registered => self.registration.remember(file),
                _ => self.registration.forget(),
            }
            let (patience, lost) = match now {
                State::Refused(reason) => return Lost::Refused(reason),
                State::Registered => (Duration::MAX, Lost::Removed),
                State::Asked => (notified, Lost::NotNotified(notified)),
                State::Bound | State::Unbound => (asked, Lost::NotAsked(asked)),
            };
            if timeout(patience, state.changed()).await.is_err() {
                return lost;
            }
        }
    }

    async fn removed(&self, file: &SocketFile) {
        while file.is_there() {
            sleep(self.registration.patience.look).await;
        }
    }
}

impl Patience {
    /// How long to wait before a new socket, after `failures` in a row.
    pub(super) fn before_next(&self, lost: &Lost, failures: u32) -> Duration {
        if matches!(lost, Lost::Removed) {
            return Duration::ZERO;
        }
        let (shortest, longest) = self.pause;
        let most =
            shortest.saturating_mul(2_u32.saturating_pow(failures)).clamp(shortest, longest.max(shortest));
        Span::from(most.saturating_sub(shortest)).times(fastrand::f64()).plus(shortest).get()
    }
}
