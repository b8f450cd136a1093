//! Files whose contents nobody knows before they are opened: asks at the door of the engine, for who opens or reads.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use fuse_tree::{Answer, Ask, Contents, Question, Refusal};
use provider::ObjectPath;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::front::Live;
use super::guard::Guard;
use super::opens::Read;
use crate::mode::{Door, Error, Loan, Unopened};

/// Asks for one volume. The threads that answer the kernel put their questions here and wait for nobody: each question
/// has a task of its own, of which there are no more than the session layer lets requests of one volume wait. Once this
/// is gone, the tasks end.
pub(super) struct Asker {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    guard: Arc<Guard>,
    /// Where to ask. There is no door until the volume's class is known, after a restart.
    door: watch::Sender<Option<Arc<dyn Door>>>,
    /// The mount, once it is seen.
    live: OnceLock<Weak<dyn Live>>,
    over: CancellationToken,
}

impl Asker {
    /// Asks at `door`; without one, whoever opens a file waits until it is [set](Self::set_door).
    ///
    /// # Errors
    ///
    /// The thread belongs to no async runtime.
    pub(super) fn new(guard: &Arc<Guard>, door: Option<&Arc<dyn Door>>) -> Result<Arc<Self>, Error> {
        let runtime = Handle::try_current().map_err(|error| Error::Failed(error.into()))?;
        let (guard, door) = (Arc::clone(guard), watch::Sender::new(door.cloned()));
        let (live, over) = Default::default();
        Ok(Arc::new(Self { shared: Arc::new(Shared { guard, door, live, over }), runtime }))
    }

    /// Asks at `door` from now on.
    pub(super) fn set_door(&self, door: &Arc<dyn Door>) {
        self.shared.door.send_replace(Some(Arc::clone(door)));
    }

    /// Has the kernel drop pages of this file that it keeps since an earlier process answered it.
    pub(super) fn drop_earlier_pages(&self, path: &str) {
        self.shared.drop_pages(path, true);
    }

    /// The mount whose kernel drops pages of contents that are taken back.
    pub(super) fn set_live(&self, live: &Arc<dyn Live>) {
        // It is set once: a volume has one mount.
        let _ = self.shared.live.set(Arc::downgrade(live));
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.over.cancel();
    }
}

impl Ask for Asker {
    fn ask(&self, question: Question, answer: Answer) {
        let shared = Arc::clone(&self.shared);
        // Watched by whoever waits for the answer: an answer that is dropped, also by a panic, is a failure.
        drop(self.runtime.spawn(async move {
            let found = tokio::select! {
                biased;
                () = shared.over.cancelled() => Err(Refusal::Failed),
                found = shared.find(&question) => found,
            };
            match found {
                Ok((version, contents)) => answer.holds(version, contents),
                Err(refusal) => answer.refuse(refusal),
            }
        }));
    }
}

impl Shared {
    async fn find(self: &Arc<Self>, question: &Question) -> Result<(u64, Arc<dyn Contents>), Refusal> {
        let Question { caller, path: name, wanted, patience } = question;
        let path = ObjectPath::try_from(name.as_str()).map_err(|_| Refusal::Missing)?;
        let begun = Instant::now();
        let door = timeout(*patience, self.door()).await.map_err(|_| Refusal::Late)?;
        let door = door.ok_or(Refusal::Failed)?;
        let who = self.guard.describe(*caller);
        let left = patience.saturating_sub(begun.elapsed());
        let opened = door.open(&path, &who, left).await;
        if wanted.is_none() {
            self.guard.count_read(*caller, name, told(&opened));
        }
        let loan = opened.map_err(|error| refusal(&error, wanted.is_some()))?;
        let version = loan.version().number();
        let (shared, name) = (Arc::downgrade(self), name.clone());
        loan.when_taken_back(move || {
            shared.upgrade().iter().for_each(|shared| shared.drop_pages(&name, false))
        });
        Ok((version, Arc::new(Lent(loan))))
    }

    /// The door, once there is one.
    async fn door(&self) -> Option<Arc<dyn Door>> {
        self.door.subscribe().wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Contents that were taken back stay in no page that a kernel keeps for mappings.
    fn drop_pages(&self, path: &str, of_earlier: bool) {
        let Some(live) = self.live.get().and_then(Weak::upgrade) else { return };
        if let Err(error) = live.drop_pages(path, of_earlier) {
            tracing::warn!(path, %error, "a file that was mapped stays in pages of the kernel until it is closed");
        }
    }
}

/// What is told of an open. Failures of one kind count as one version.
fn told(opened: &Result<Loan, Error>) -> (u64, Read) {
    let error = match opened {
        Ok(loan) => return (loan.version().number(), Read::Made(loan.shared_made())),
        Err(error) => error,
    };
    let (number, is_denial) = match error {
        Error::Refused(_) => (1, true),
        Error::Missing(_) => (2, false),
        Error::TooLate(_) => (3, false),
        _ => (4, false),
    };
    (number, Read::Failed(Unopened { is_denial, why: error.to_string() }))
}

/// What the kernel is told. A handle of a file that is no more is refused, as one of a withdrawn file.
fn refusal(error: &Error, is_reading: bool) -> Refusal {
    match error {
        Error::Refused(_) => Refusal::Denied,
        Error::Missing(_) if is_reading => Refusal::Denied,
        Error::Missing(_) => Refusal::Missing,
        Error::TooLate(_) => Refusal::Late,
        _ => Refusal::Failed,
    }
}

/// Contents that the engine may take back.
#[derive(Debug)]
struct Lent(Loan);

impl Contents for Lent {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn is_here(&self) -> bool {
        self.0.is_here()
    }

    fn copy(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        self.0.read(|bytes| {
            let rest =
                usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let count = rest.len().min(into.len());
            into.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            count
        })
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}
