//! Versions that are no longer shown, and when they may be removed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use provider::Moment as _;

/// How long a version stays after the next one is shown. A process that opens a file may have read the link `..data`
/// just before, and will open the directory that it named.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The directories of one volume that are kept for this time.
#[derive(Debug, Default)]
pub(super) struct Retired {
    /// By name: when the directory may be removed, because no process can still be about to open it.
    due: BTreeMap<String, Instant>,
    /// Whether the sweeper will come to remove them.
    pub(super) is_awaited: bool,
}

impl Retired {
    /// Whether `name` must stay at `now`.
    pub(super) fn spares(&self, name: &str, now: Instant) -> bool {
        self.due.get(name).is_some_and(|due| *due > now)
    }

    /// Sets the names of all old versions that exist at `now`. A name that is new here was shown until now.
    pub(super) fn are(&mut self, names: Vec<String>, now: Instant) {
        let known = std::mem::take(&mut self.due);
        let due = |name: String| (name.clone(), known.get(&name).copied().unwrap_or(now.later(GRACE)));
        self.due = names.into_iter().map(due).collect();
    }

    /// Removes and returns the names that may go at `now`.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<String> {
        self.due.extract_if(.., |_, due| *due <= now).map(|(name, _)| name).collect()
    }

    /// Adds `names` again, so that their removal is tried again after `now`.
    pub(super) fn put_back(&mut self, names: Vec<String>, now: Instant) {
        self.due.extend(names.into_iter().map(|name| (name, now.later(GRACE))));
    }

    /// When the first of them may go.
    pub(super) fn first_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// When all of them may go.
    pub(super) fn last_due(&self) -> Option<Instant> {
        self.due.values().max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_version_stays_for_a_second_after_it_was_shown_whatever_comes_after_it() {
        let (start, mut retired) = (Instant::now(), Retired::default());
        let later = |millis| start + Duration::from_millis(millis);

        retired.are(names(&["first"]), start);
        retired.are(names(&["first", "second"]), later(600));

        assert!(retired.spares("first", later(999)) && !retired.spares("first", later(1000)));
        assert!(retired.spares("second", later(1599)) && !retired.spares("second", later(1600)));
        assert_eq!((retired.first_due(), retired.last_due()), (Some(later(1000)), Some(later(1600))));
    }

    #[test]
    fn what_is_due_is_given_once() {
        let (start, mut retired) = (Instant::now(), Retired::default());
        retired.are(names(&["first"]), start);
        retired.are(names(&["first", "second"]), start + GRACE / 2);

        assert_eq!(retired.take_due(start + GRACE), names(&["first"]));
        assert_eq!(retired.take_due(start + GRACE), names(&[]));
        assert_eq!(retired.first_due(), Some(start + GRACE / 2 + GRACE));
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_was_never_known_is_not_spared() {
        let (now, mut retired) = (Instant::now(), Retired::default());
        retired.are(names(&["first"]), now);

        retired.are(names(&[]), now);

        assert!(!retired.spares("first", now) && !retired.spares("other", now));
        assert_eq!(retired.first_due(), None);
    }
}
