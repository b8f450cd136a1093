//! Objects whose owner gave them an expiry date, and which of these dates were already reported. Plain state.

use std::collections::BTreeMap;

use jiff::Timestamp;
use provider::{ObjectPath, ObjectRef};

/// How long before its expiry an object is reported, in seconds: a week.
const EARLY: i64 = 7 * 24 * 3600;
/// Most objects that one report names.
const NAMED: usize = 10;

/// What was reported of each object, and what is still to be reported.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    told: BTreeMap<ObjectPath, (i64, Phase)>,
    news: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Soon,
    Over,
}

fn phase(expires: i64, now: i64) -> Option<Phase> {
    match expires.saturating_sub(now) {
        ..=0 => Some(Phase::Over),
        1..=EARLY => Some(Phase::Soon),
        _ => None,
    }
}

impl Expiries {
    /// Notes when the object of `path` expires, if it does. Both times are in seconds since 1970. Each date is reported
    /// once for each phase: when the week before it begins, and when it is over.
    pub(super) fn note(&mut self, path: &ObjectPath, expires: Option<i64>, now: i64) {
        let Some((at, phase)) = expires.and_then(|at| Some((at, phase(at, now)?))) else {
            self.told.remove(path);
            return;
        };
        if self.told.insert(path.clone(), (at, phase)) != Some((at, phase)) {
            let verb = if phase == Phase::Over { "expired" } else { "expires" };
            self.news.push(format!("{path} {verb} at {}", date(at)));
        }
    }

    /// Forgets what was reported of objects other than these, so that repeated edits of a class do not fill memory.
    pub(super) fn keep(&mut self, objects: &[ObjectRef]) {
        let is_there = |path: &ObjectPath| objects.iter().any(|object| object.path == *path);
        self.told.retain(|path, _| is_there(path));
    }

    /// The next report, if there is something to report. It counts as reported from then on.
    pub(super) fn news(&mut self) -> Option<String> {
        let news = std::mem::take(&mut self.news);
        let more = news.len().saturating_sub(NAMED);
        let named = news.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!news.is_empty()).then(|| named + &more)
    }
}

/// The time in the form of a calendar, or as a number if it is outside of the calendar.
fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::try_from(text).unwrap()
    }

    #[test]
    fn an_end_is_told_a_week_before_and_when_it_is_there() {
        assert_eq!(phase(EARLY + 1, 0), None);
        assert_eq!(phase(EARLY, 0), Some(Phase::Soon));
        assert_eq!(phase(1, 0), Some(Phase::Soon));
        assert_eq!(phase(0, 0), Some(Phase::Over));
        assert_eq!(phase(i64::MIN, i64::MAX), Some(Phase::Over));
    }

    #[test]
    fn it_is_told_once_for_each_object_date_and_phase() {
        let mut expiries = Expiries::default();
        let mut told = |name: &str, at: i64, now: i64| {
            expiries.note(&path(name), Some(at), now);
            expiries.news()
        };

        assert_eq!(told("a", 60, 0).unwrap(), "a expires at 1970-01-01T00:01:00Z");
        assert_eq!(told("a", 60, 1), None);
        assert!(told("b", 60, 1).is_some() && told("a", 61, 1).is_some());
        assert_eq!(told("a", 61, 61).unwrap(), "a expired at 1970-01-01T00:01:01Z");
        assert_eq!(told("a", i64::MAX, 61), None);
    }

    #[test]
    fn what_the_class_has_no_more_is_forgotten() {
        let mut expiries = Expiries::default();
        ["a", "b"].iter().for_each(|name| expiries.note(&path(name), Some(0), 1));

        expiries.keep(&[ObjectRef::new(path("b"), provider::Request::shared("r"))]);

        assert_eq!(expiries.told.keys().map(ObjectPath::as_str).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn of_many_few_are_named() {
        let mut expiries = Expiries::default();
        (0..12).for_each(|n| expiries.note(&path(&format!("f{n}")), Some(0), 1));

        assert!(expiries.news().unwrap().ends_with("f9 expired at 1970-01-01T00:00:00Z and 2 more"));
    }
}
