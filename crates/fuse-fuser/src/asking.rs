//! Requests that wait for contents that somebody is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fuse_tree::{Answer, Asking, Contents, Refusal};

/// How long an open or a read waits for what somebody is asked.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How many may wait at one time. Further ones fail at once.
const MOST: usize = 128;

/// What is said to a question.
pub(crate) type Told = Result<(u64, Arc<dyn Contents>), Refusal>;
/// Answers the request that waits.
type Settle = Box<dyn FnOnce(Told) + Send>;

/// The requests of one volume that wait.
pub(crate) struct Waiting {
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    /// In the order in which they came, and so in that of their ends.
    entries: BTreeMap<u64, (Instant, Settle)>,
    /// Whether a thread ends those whose time is over.
    is_watched: bool,
}

impl Waiting {
    pub(crate) fn new(patience: Duration) -> Arc<Self> {
        let (state, changed) = Default::default();
        Arc::new(Self { patience, state, changed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and has `settle` called once: with what was told, or when the time is over.
    pub(crate) fn ask(self: &Arc<Self>, asking: Asking, settle: impl FnOnce(Told) + Send + 'static) {
        match self.enter(Box::new(settle)) {
            Ok(ticket) => {
                let waiting = Arc::clone(self);
                asking.ask(self.patience, Answer::new(move |told| waiting.settle(ticket, told)));
            }
            Err(settle) => settle(Err(Refusal::Failed)),
        }
    }

    fn enter(self: &Arc<Self>, settle: Settle) -> Result<u64, Settle> {
        let now = Instant::now();
        let mut state = self.state();
        if state.entries.len() >= MOST || !self.is_watched(&mut state) {
            return Err(settle);
        }
        state.last = state.last.wrapping_add(1);
        let ticket = state.last;
        state.entries.insert(ticket, (now.checked_add(self.patience).unwrap_or(now), settle));
        self.changed.notify_one();
        Ok(ticket)
    }

    /// Has a thread look after what waits. It ends when nothing waits.
    fn is_watched(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.is_watched {
            let waiting = Arc::clone(self);
            let watch = thread::Builder::new().name("fuse-late".to_owned()).spawn(move || waiting.watch());
            state.is_watched = watch.is_ok();
        }
        state.is_watched
    }

    fn settle(&self, ticket: u64, told: Told) {
        let entry = self.state().entries.remove(&ticket);
        self.changed.notify_one();
        if let Some((_, settle)) = entry {
            settle(told);
        }
    }

    fn watch(&self) {
        while let Some(ticket) = self.late() {
            self.settle(ticket, Err(Refusal::Late));
        }
    }

    /// The next request whose time is over; `None` once none waits.
    fn late(&self) -> Option<u64> {
        let mut state = self.state();
        loop {
            let first = state.entries.first_key_value().map(|(ticket, (until, _))| (*ticket, *until));
            let Some((ticket, until)) = first else {
                state.is_watched = false;
                return None;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(ticket);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests", self.state().entries.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc::{Receiver, channel};

    use fuse_tree::{
        AllowAll, Ask, Caller, Edition, File, Look, Moment, NodeId, Opening, Plain, Question, Source, Volume,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    /// Keeps the answers to itself.
    #[derive(Debug, Default)]
    struct Silent(Mutex<Vec<Answer>>);

    impl Ask for Silent {
        fn ask(&self, _: Question, answer: Answer) {
            self.0.lock().unwrap().push(answer);
        }
    }

    /// What an open of a file asks.
    fn asking(of: &Arc<Silent>) -> Asking {
        let look = Look { uid: 0, gid: 0, directory_mode: 0o755 };
        let volume = Volume::new("asking", look, Arc::new(AllowAll));
        let file = File { mode: 0o444, source: Source::Asked(Arc::<Silent>::clone(of)) };
        let files = BTreeMap::from([("a".to_owned(), file)]);
        volume
            .add(Edition { number: 1, name: "..v1".to_owned(), changed: Moment::default(), files })
            .unwrap();
        let directory = volume.lookup(NodeId::ROOT, b"..v1").unwrap().node;
        let node = volume.lookup(directory, b"a").unwrap().node;
        match volume.open(Caller { tid: 1, uid: 0, gid: 0 }, node) {
            Ok(Opening::Ask(asking)) => asking,
            other => panic!("{other:?}"),
        }
    }

    fn ask(waiting: &Arc<Waiting>, store: &Arc<Silent>) -> Receiver<Result<u64, Refusal>> {
        let (send, told) = channel();
        waiting.ask(asking(store), move |told| send.send(told.map(|(version, _)| version)).unwrap());
        told
    }

    #[test]
    fn who_gets_no_answer_in_time_gets_an_error_and_a_late_answer_is_of_no_use() {
        let (waiting, store) = (Waiting::new(SHORT), Arc::<Silent>::default());

        for _ in 0..2 {
            let told = ask(&waiting, &store);
            assert_eq!(told.recv_timeout(LONG).unwrap(), Err(Refusal::Late));
            store.0.lock().unwrap().remove(0).holds(1, Plain::of("late"));
            assert!(told.recv_timeout(SHORT).is_err());
        }
    }

    #[test]
    fn who_is_answered_in_time_gets_the_answer_and_no_more_wait_than_may() {
        let (waiting, store) = (Waiting::new(LONG), Arc::<Silent>::default());
        let told: Vec<_> = (0..MOST).map(|_| ask(&waiting, &store)).collect();

        let refused = ask(&waiting, &store).recv_timeout(LONG).unwrap();
        for answer in std::mem::take(&mut *store.0.lock().unwrap()) {
            answer.holds(7, Plain::of("value"));
        }

        assert_eq!(refused, Err(Refusal::Failed));
        assert!(told.iter().all(|told| told.recv_timeout(LONG).unwrap() == Ok(7)));
        assert_eq!(format!("{waiting:?}"), "0 requests");
    }
}
