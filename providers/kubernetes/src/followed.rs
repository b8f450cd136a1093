//! The known state of one Secret for one identity, and the subscribers that hear of its changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::select_all;
use provider::{Changes, Share};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A Secret that some volume shows. Dropping it ends its watch.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) facts: Arc<Facts>,
    /// `None` if the namespace already has as many watches as it may.
    _watch: Option<(AbortOnDropHandle<()>, Share)>,
}

impl Followed {
    pub(crate) fn new(facts: Arc<Facts>, watch: Option<(AbortOnDropHandle<()>, Share)>) -> Self {
        Self { facts, _watch: watch }
    }
}

/// The latest known version, from a reading or from the watch. Whoever notices a new version announces it.
#[derive(Debug)]
pub(crate) struct Facts {
    register: Mutex<Register>,
    announce: watch::Sender<Instant>,
}

#[derive(Debug)]
struct Register {
    known: Known,
    /// The number of events from the watch.
    events: u64,
}

/// The known state of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing yet.
    Nothing,
    /// It exists in this version.
    Version(String),
    /// The watch reported that it was deleted.
    Deleted,
}

/// A reading that is running.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    at: Instant,
    events: u64,
}

/// Whether a reading is the latest state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is the latest.
    Latest,
    /// The watch reported another state while the reading was running.
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

    /// Notes that a reading begins.
    pub(crate) fn begin(&self) -> Begun {
        Begun { at: Instant::now(), events: self.lock().events }
    }

    /// Notes that a reading returned `version`. If another version was known before, a volume may still show that one,
    /// so the change is announced.
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
            // The time at which the reading began, because readings from then on are new enough.
            self.announce.send_replace(begun.at);
        }
        Settled::Latest
    }

    /// The latest version from a reading or from the watch, while the Secret exists.
    pub(crate) fn version(&self) -> Option<String> {
        match &self.lock().known {
            Known::Version(version) => Some(version.clone()),
            Known::Nothing | Known::Deleted => None,
        }
    }

    /// Notes that the Secret was not found by a look that began after the watch was open. If it was known, it was
    /// deleted before the watch began, and no event reports that. Returns whether the deletion has to be announced.
    pub(crate) fn vanished(&self, begun: Begun) -> bool {
        let mut register = self.lock();
        let was_there = matches!(register.known, Known::Version(_)) && register.events == begun.events;
        if was_there {
            register.known = Known::Deleted;
            register.events += 1;
        }
        was_there
    }

    /// Notes that a reading found no Secret.
    pub(crate) fn absent(&self, begun: Begun) -> Settled {
        let register = self.lock();
        let overtaken = register.events != begun.events && register.known != Known::Deleted;
        if overtaken { Settled::Overtaken } else { Settled::Latest }
    }

    /// Notes that the watch reported `known`. Returns whether that has to be announced.
    pub(crate) fn event(&self, known: Known) -> bool {
        let mut register = self.lock();
        register.events += 1;
        let before = std::mem::replace(&mut register.known, known);
        before != Known::Nothing && before != register.known
    }

    /// Announces that something may have changed.
    pub(crate) fn announce(&self) {
        self.announce.send_replace(Instant::now());
    }

    /// Whether the last report of the API server says that the Secret was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.lock().known == Known::Deleted
    }
}

/// The announcements about the Secrets of one volume. It keeps their watches running.
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
