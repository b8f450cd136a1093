//! Requests to read classes now, which somebody wrote where every node sees them. Whoever may write them must not be able
//! to make a node ask its stores without end: plain state says when each is followed, and every method takes the time.

use std::collections::BTreeMap;
use std::time::Duration;

use class::ClassName;
use provider::Moment as _;
use tokio::time::Instant;

/// Shortest time between two readings of a class because of requests. Requests that come meanwhile become one, at its end.
pub const PAUSE: Duration = Duration::from_secs(10);
/// How many readings of the classes of one namespace begin within one [`PAUSE`].
pub const OF_A_NAMESPACE: usize = 32;

/// The requests of a node.
#[derive(Debug, Default)]
pub struct Requests(BTreeMap<ClassName, Request>);

#[derive(Debug, Default)]
struct Request {
    /// When the class was read last because of a request.
    read: Option<Instant>,
    /// Whether somebody has asked since.
    is_wanted: bool,
}

impl Requests {
    /// Somebody asks for `class` to be read.
    pub fn note(&mut self, class: ClassName) {
        self.0.entry(class).or_default().is_wanted = true;
    }

    /// The classes to read now, each with the place that `place` gives to its namespace. They count as read from now on.
    /// A class whose namespace gets no place stays asked for.
    pub fn due<P>(&mut self, now: Instant, mut place: impl FnMut(&str) -> Option<P>) -> Vec<(ClassName, P)> {
        self.0.retain(|_, request| request.is_wanted || request.is_recent(now));
        let mut begun: BTreeMap<String, usize> = BTreeMap::new();
        for (class, _) in self.0.iter().filter(|(_, request)| request.is_recent(now)) {
            let count = begun.entry(class.namespace.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let mut due = Vec::new();
        for (class, request) in self.0.iter_mut().filter(|(_, request)| request.is_wanted) {
            let count = begun.entry(class.namespace.clone()).or_default();
            if request.is_recent(now) || *count >= OF_A_NAMESPACE {
                continue;
            }
            let Some(place) = place(&class.namespace) else { continue };
            *count = count.saturating_add(1);
            *request = Request { read: Some(now), is_wanted: false };
            due.push((class.clone(), place));
        }
        due
    }

    /// When [`due`](Self::due) has something to say next; `None` if nobody asks.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        let wanted: Vec<&ClassName> =
            self.0.iter().filter(|(_, request)| request.is_wanted).map(|(class, _)| class).collect();
        if wanted.is_empty() {
            return None;
        }
        // A namespace that used its share waits for the first of its readings to be long ago.
        let is_of = |class: &ClassName| wanted.iter().any(|wanted| wanted.namespace == class.namespace);
        let ends = self.0.iter().filter(|(class, _)| is_of(class));
        let ends = ends.filter_map(|(_, request)| Some(request.read?.later(PAUSE))).filter(|end| *end > now);
        Some(ends.min().unwrap_or(now))
    }
}

impl Request {
    fn is_recent(&self, now: Instant) -> bool {
        self.read.is_some_and(|read| now < read.later(PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(namespace: &str, name: &str) -> ClassName {
        ClassName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The classes to read now, where everybody gets a place.
    fn due(requests: &mut Requests, now: Instant) -> Vec<ClassName> {
        requests.due(now, |_| Some(())).into_iter().map(|(class, ())| class).collect()
    }

    #[test]
    fn a_class_is_read_at_once_and_then_once_for_all_who_ask_within_a_pause() {
        let (mut requests, begin) = (Requests::default(), Instant::now());
        let mut read = 0;
        for tick in 0..1000 {
            let now = begin + Duration::from_millis(60 * tick);
            requests.note(class("shop", "db"));
            let count = due(&mut requests, now).len();
            assert!(tick > 0 || count == 1, "the first is followed at once");
            read += count;
        }
        assert_eq!(read, 6, "1,000 requests of one minute");
        let next = requests.next_due(begin + Duration::from_secs(60)).unwrap();
        assert!(next > begin + PAUSE * 6 && next < begin + PAUSE * 7);
        assert_eq!(due(&mut requests, next).len(), 1, "the last one is not forgotten");
        assert_eq!(requests.next_due(next), None);
    }

    #[test]
    fn a_namespace_that_asks_for_many_classes_makes_no_other_wait() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        (0..OF_A_NAMESPACE * 3).for_each(|n| requests.note(class("loud", &n.to_string())));
        requests.note(class("shop", "db"));

        let read = due(&mut requests, now);

        assert_eq!(read.iter().filter(|class| class.namespace == "loud").count(), OF_A_NAMESPACE);
        assert!(read.contains(&class("shop", "db")));
        let later = requests.next_due(now).unwrap();
        assert_eq!((later, due(&mut requests, later).len()), (now + PAUSE, OF_A_NAMESPACE));
    }
    #[test]
    fn a_namespace_without_a_place_waits_for_one_and_makes_no_other_wait() {
        let (mut requests, now) = (Requests::default(), Instant::now());
        ["loud", "shop"].iter().for_each(|namespace| requests.note(class(namespace, "db")));

        let first = requests.due(now, |namespace| (namespace == "shop").then_some(()));

        assert_eq!(first, [(class("shop", "db"), ())]);
        assert_eq!(requests.next_due(now), Some(now), "the other one is still asked for");
        assert_eq!(due(&mut requests, now), [class("loud", "db")]);
    }
}
