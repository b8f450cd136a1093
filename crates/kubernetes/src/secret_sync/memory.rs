//! What this node remembers of a Secret that a class wants: whether it may overwrite, what it told. Pure.

use std::collections::BTreeSet;

use engine::snapshot::{Fingerprint, FingerprintKey};
use tokio::time::Instant;

use super::plan::Wanted;

/// Tells contents of Secrets apart without holding them.
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
    /// What this node wanted when it last had its way, or first looked.
    settled: Option<Fingerprint>,
    /// Since when it shows what this node does not want and may not overwrite yet.
    differs_since: Option<Instant>,
    /// Whether it was overwritten once since then. A second time would be a quarrel with another node.
    repaired: bool,
    /// What was told and is still so.
    told: BTreeSet<String>,
}

impl Memory {
    /// Whether this node may overwrite what its class has written: its own contents changed (`news` tells of the
    /// first ones whether they are read or were found), or the store `confirmed` them after the difference was seen.
    pub(super) fn entitles(&self, wanted: &Fingerprint, news: bool, confirmed: Option<Instant>) -> bool {
        self.changed(wanted, news)
            || (!self.repaired && self.differs_since.is_some_and(|since| confirmed > Some(since)))
    }

    fn changed(&self, wanted: &Fingerprint, news: bool) -> bool {
        self.settled.as_ref().map_or(news, |settled| settled != wanted)
    }

    /// A judgement was carried out. `waits` tells whether something differs still.
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

    /// Whether it is worth another look soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.differs_since.is_some() && !self.repaired
    }

    /// What is not well with it.
    pub(super) fn faults(&self) -> impl Iterator<Item = &String> {
        self.told.iter()
    }

    /// Which of `faults` are new.
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
