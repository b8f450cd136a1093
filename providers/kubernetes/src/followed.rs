//! What is known of one Secret of one identity, and who is told when that changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::select_all;
use provider::{Changes, Share};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A Secret that somebody shows. Its watch ends with it.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) facts: Arc<Facts>,
    /// Absent where its namespace has as many watches as it may.
    _watch: Option<(AbortOnDropHandle<()>, Share)>,
}

impl Followed {
    pub(crate) fn new(facts: Arc<Facts>, watch: Option<(AbortOnDropHandle<()>, Share)>) -> Self {
        Self { facts, _watch: watch }
    }
}

/// The latest known version, by reading or by the watch. Whoever learns of another announces it.
#[derive(Debug)]
pub(crate) struct Facts {
    register: Mutex<Register>,
    announce: watch::Sender<Instant>,
}

#[derive(Debug)]
struct Register {
    known: Known,
    /// Counts what the watch brought.
    events: u64,
}

/// What is known of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing yet.
    Nothing,
    /// It is there in this version.
    Version(String),
    /// The watch told that it was deleted.
    Deleted,
}

/// A reading that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    at: Instant,
    events: u64,
}

/// Whether a reading is the latest word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is.
    Latest,
    /// The watch brought another while it was under way.
    Overtaken,
}

impl Default for Facts {
    fn default() -> Self {
        let register = Mutex::new(Register { known: Known::Nothing, events: 0 });
        Self { register, announce: watch::Sender::new(Instant::now()) }
    }
}

impl Facts {
    fn lock(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reading begins.
    pub(crate) fn begin(&self) -> Begun {
        Begun { at: Instant::now(), events: self.lock().events }
    }

    /// A reading gave `version`. If it was known in another, somebody may show that one still.
    pub(crate) fn read(&self, begun: Begun, version: &str) -> Settled {
        let mut register = self.lock();
        let read = Known::Version(version.to_owned());
        if register.known == read {
            return Settled::Latest;
        }
        if register.events != begun.events {
            return Settled::Overtaken;
        }
        if std::mem::replace(&mut register.known, read) != Known::Nothing {
            // From when the reading began: the reading itself is as new as that.
            self.announce.send_replace(begun.at);
        }
        Settled::Latest
    }

    /// The version that a reading or the watch told last, while there is one.
    pub(crate) fn version(&self) -> Option<String> {
        match &self.lock().known {
            Known::Version(version) => Some(version.clone()),
            Known::Nothing | Known::Deleted => None,
        }
    }

    /// A look that was begun once the watch stood found no Secret. One that was known was deleted before the
    /// watch began: no stream tells of that. Tells whether it is to be announced.
    pub(crate) fn vanished(&self, begun: Begun) -> bool {
        let mut register = self.lock();
        let was_there = matches!(register.known, Known::Version(_)) && register.events == begun.events;
        if was_there {
            register.known = Known::Deleted;
            register.events += 1;
        }
        was_there
    }

    /// A reading found no Secret.
    pub(crate) fn absent(&self, begun: Begun) -> Settled {
        let register = self.lock();
        let overtaken = register.events != begun.events && register.known != Known::Deleted;
        if overtaken { Settled::Overtaken } else { Settled::Latest }
    }

    /// The watch brought `known`. Tells whether it is to be announced.
    pub(crate) fn event(&self, known: Known) -> bool {
        let mut register = self.lock();
        register.events += 1;
        let before = std::mem::replace(&mut register.known, known);
        before != Known::Nothing && before != register.known
    }

    /// Something may have changed.
    pub(crate) fn announce(&self) {
        self.announce.send_replace(Instant::now());
    }

    /// Whether the API server told that the Secret was deleted, and nothing else since.
    pub(crate) fn is_deleted(&self) -> bool {
        self.lock().known == Known::Deleted
    }
}

/// One volume's view of its Secrets, which it keeps followed.
pub(crate) struct Subscription<T> {
    announcements: Vec<watch::Receiver<Instant>>,
    _followed: Vec<Arc<Followed>>,
    _account: T,
}

impl<T> Subscription<T> {
    pub(crate) fn new(followed: Vec<Arc<Followed>>, account: T) -> Self {
        let announcements = followed.iter().map(|one| one.facts.announce.subscribe()).collect();
        Self { announcements, _followed: followed, _account: account }
    }
}

#[async_trait]
impl<T: Send + Sync> Changes for Subscription<T> {
    async fn changed(&mut self) -> Instant {
        if self.announcements.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.announcements.iter_mut().map(|one| Box::pin(next(one)))).await.0
    }
}

async fn next(announcements: &mut watch::Receiver<Instant>) -> Instant {
    match announcements.changed().await {
        Ok(()) => *announcements.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Known {
        Known::Version(text.to_owned())
    }

    #[test]
    fn what_a_reading_told_is_not_announced_when_the_watch_tells_it_again() {
        let facts = Facts::default();
        let heard = facts.announce.subscribe();

        assert_eq!(facts.read(facts.begin(), "1"), Settled::Latest);
        assert!(!facts.event(version("1")));
        assert!(facts.event(version("2")));
        assert!(!facts.event(version("2")));
        assert!(!heard.has_changed().unwrap(), "who watches announces, after a moment");
    }

    #[test]
    fn a_reading_that_finds_another_version_tells_those_who_show_the_old() {
        let facts = Facts::default();
        let mut heard = facts.announce.subscribe();
        facts.read(facts.begin(), "1");
        assert!(!heard.has_changed().unwrap());

        let begun = facts.begin();
        facts.read(begun, "2");

        assert_eq!(*heard.borrow_and_update(), begun.at);
        assert!(!facts.event(version("2")));
    }

    #[test]
    fn a_reading_that_the_watch_overtook_is_made_again() {
        let facts = Facts::default();
        facts.read(facts.begin(), "1");
        let begun = facts.begin();
        facts.event(version("2"));

        assert_eq!(facts.read(begun, "1"), Settled::Overtaken);
        assert_eq!(facts.read(begun, "2"), Settled::Latest);
        assert_eq!(facts.absent(begun), Settled::Overtaken);
        assert_eq!(facts.absent(facts.begin()), Settled::Latest);
    }

    #[test]
    fn a_secret_that_was_known_and_is_gone_once_the_watch_stands_was_deleted() {
        let facts = Facts::default();
        assert!(!facts.vanished(facts.begin()), "it was never known");
        facts.read(facts.begin(), "1");
        assert_eq!(facts.version().as_deref(), Some("1"));

        let overtaken = facts.begin();
        facts.event(version("2"));
        assert!(!facts.vanished(overtaken), "the watch knows better");
        assert!(facts.vanished(facts.begin()) && facts.is_deleted());
        assert!(!facts.vanished(facts.begin()), "it is announced once");
        assert_eq!(facts.version(), None);
    }

    #[test]
    fn a_deletion_is_remembered_until_the_secret_is_there_again() {
        let facts = Facts::default();
        facts.read(facts.begin(), "1");
        assert!(facts.event(Known::Deleted) && facts.is_deleted());

        facts.read(facts.begin(), "3");
        assert!(!facts.is_deleted());
    }

    #[tokio::test]
    async fn a_subscription_hears_of_each_of_its_secrets() {
        let followed: Vec<_> = (0..3).map(|_| Arc::new(Followed::new(Arc::default(), None))).collect();
        let mut changes = Subscription::new(followed.clone(), ());

        for one in &followed {
            let before = Instant::now();
            one.facts.announce();
            assert!(changes.changed().await >= before);
        }
    }
}
