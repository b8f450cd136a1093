//! What this node remembers of a Secret that a class wants: whether it may overwrite it, and what it reported. Pure.

use std::collections::BTreeSet;

use engine::snapshot::{Fingerprint, FingerprintKey};
use tokio::time::Instant;

use super::plan::Wanted;

/// Identifies the contents of a wanted Secret without holding them.
pub(super) fn fingerprint(wanted: &Wanted, key: &FingerprintKey) -> Fingerprint {
    let marks = wanted.labels.iter().chain(&wanted.annotations);
    let marks = marks.flat_map(|(mark, value)| [mark.as_bytes(), value.as_bytes()]);
    let absent = wanted.absent.iter().map(String::as_bytes);
    let data = wanted.data.iter().flat_map(|(name, value)| [name.as_bytes(), value.expose()]);
    key.fingerprint_of([wanted.kind.as_bytes()].into_iter().chain(marks).chain(absent).chain(data))
}

/// What is remembered of one Secret.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What this node wanted at the last round that was carried out.
    settled: Option<Fingerprint>,
    /// Since when the Secret differs from what this node wants, while the node may not overwrite it yet.
    differs_since: Option<Instant>,
    /// Whether this node overwrote such a difference once. If it comes back, another node wants it, and the two would
    /// take turns.
    repaired: bool,
    /// The faults that were reported and still exist.
    told: BTreeSet<String>,
}

impl Memory {
    /// Whether this node may overwrite what its class wrote: its own contents changed, or the store `confirmed` them
    /// after the node saw the difference. For the first contents, `news` tells whether this process read them, or only
    /// found them mounted.
    pub(super) fn entitles(&self, wanted: &Fingerprint, news: bool, confirmed: Option<Instant>) -> bool {
        self.changed(wanted, news)
            || (!self.repaired && self.differs_since.is_some_and(|since| confirmed > Some(since)))
    }

    fn changed(&self, wanted: &Fingerprint, news: bool) -> bool {
        self.settled.as_ref().map_or(news, |settled| settled != wanted)
    }

    /// Records that a verdict was carried out. `waits` tells whether something still differs.
    pub(super) fn settle(&mut self, wanted: Fingerprint, news: bool, entitled: bool, waits: bool) {
        if self.changed(&wanted, news) {
            (self.repaired, self.differs_since) = (false, None);
        } else if entitled {
            (self.repaired, self.differs_since) = (true, None);
        }
        if waits {
            self.differs_since.get_or_insert_with(Instant::now);
        } else {
            self.differs_since = None;
        }
        self.settled = Some(wanted);
    }

    /// Whether the Secret should be checked again soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.differs_since.is_some() && !self.repaired
    }

    /// The faults of the Secret.
    pub(super) fn faults(&self) -> impl Iterator<Item = &String> {
        self.told.iter()
    }

    /// Keeps `faults`, and returns those that are new.
    pub(super) fn news(&mut self, faults: Vec<String>) -> Vec<String> {
        let faults: BTreeSet<_> = faults.into_iter().collect();
        let new = faults.difference(&self.told).cloned().collect();
        self.told = faults;
        new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn contents(text: &str) -> Fingerprint {
        FingerprintKey::new(&[0; 32]).fingerprint_of([text.as_bytes()])
    }

    #[test]
    fn what_was_read_may_be_written_once_and_what_was_found_may_not() {
        let mut memory = Memory::default();
        assert!(memory.entitles(&contents("a"), true, None) && !memory.entitles(&contents("a"), false, None));

        memory.settle(contents("a"), true, true, false);
        assert!(!memory.entitles(&contents("a"), true, None) && memory.entitles(&contents("b"), true, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_difference_is_mended_once_after_the_store_confirmed_what_this_node_shows() {
        let mut memory = Memory::default();
        let before = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        memory.settle(contents("a"), false, false, true);
        assert!(memory.is_waiting() && !memory.entitles(&contents("a"), false, Some(before)));

        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(memory.entitles(&contents("a"), false, Some(Instant::now())));
        memory.settle(contents("a"), false, true, false);

        memory.settle(contents("a"), false, false, true);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!memory.is_waiting() && !memory.entitles(&contents("a"), false, Some(Instant::now())));
        assert!(memory.entitles(&contents("b"), false, None), "its own next change is written again");
    }

    #[test]
    fn a_fault_is_told_once_while_it_lasts() {
        let mut memory = Memory::default();
        assert_eq!(memory.news(vec!["a".to_owned(), "b".to_owned()]).len(), 2);
        assert_eq!(memory.news(vec!["a".to_owned()]), Vec::<String>::new());
        assert_eq!(memory.news(vec!["a".to_owned(), "b".to_owned()]), ["b"]);
    }
}
