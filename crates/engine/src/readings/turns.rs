//! Asking for several entries in one call.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use provider::{Found, Query, Request, Result};
use tokio::sync::MutexGuard;

use super::{Answer, Entry, Held, Turn};

/// What a caller must do to get the readings of several entries.
#[derive(Debug, Default)]
pub struct Begun<'a> {
    /// Entries that need no call.
    pub settled: Vec<(Request, Answer)>,
    /// Entries that the caller must ask for.
    pub turns: Turns<'a>,
    /// Entries that another caller is asking for at this moment: [`Entry::read`] waits for that caller's answer.
    pub busy: Vec<(Request, Arc<Entry>)>,
}

/// The turns of several entries. Other callers wait until these are settled or dropped.
#[derive(Default)]
pub struct Turns<'a>(Vec<(&'a Request, Mine<'a>)>);

/// The turn of one entry.
struct Mine<'a> {
    entry: &'a Entry,
    turn: MutexGuard<'a, Turn>,
    /// The reading that the store may call unchanged.
    held: Option<Arc<Held>>,
}

enum Asking<'a> {
    Settled(Answer),
    Mine(Mine<'a>),
    Busy,
}

/// Takes the turns of the `entries` whose reading `enough` does not accept. Never waits: a caller that holds a turn
/// must not wait for another one, or two callers could wait for each other.
///
/// One caller after the other takes its turns. If two took them at the same time, each could get a part of the entries
/// that both want, and the store would be called twice for what one call can return.
pub fn begin<'a>(entries: &'a [(Request, Arc<Entry>)], enough: impl Fn(&Held) -> bool) -> Begun<'a> {
    static BEGINNING: Mutex<()> = Mutex::new(());
    let _beginning = BEGINNING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut begun = Begun::default();
    for (request, entry) in entries {
        match entry.begin(&enough) {
            Asking::Settled(answer) => begun.settled.push((request.clone(), answer)),
            Asking::Mine(mine) => begun.turns.0.push((request, mine)),
            Asking::Busy => begun.busy.push((request.clone(), Arc::clone(entry))),
        }
    }
    begun
}

impl Entry {
    fn begin(&self, enough: &impl Fn(&Held) -> bool) -> Asking<'_> {
        let good_enough = || self.granted().filter(|held| enough(held));
        if let Some(held) = good_enough() {
            return Asking::Settled(Answer::Shared(held));
        }
        let Ok(turn) = self.turn.try_lock() else { return Asking::Busy };
        if turn.leased {
            return Asking::Settled(Answer::Leased);
        }
        // Another caller may have settled the turn after the first look.
        match good_enough() {
            Some(held) => Asking::Settled(Answer::Shared(held)),
            None => Asking::Mine(Mine { entry: self, turn, held: self.granted() }),
        }
    }
}

impl Turns<'_> {
    /// The queries that the call must make.
    pub fn queries(&self) -> Vec<Query> {
        let version = |mine: &Mine<'_>| mine.held.as_ref()?.reading.version.clone();
        self.0
            .iter()
            .map(|(request, mine)| Query { request: (*request).clone(), held: version(mine) })
            .collect()
    }

    /// Keeps the answers to [`queries`](Self::queries), which come in the same order.
    pub fn settle(self, found: impl IntoIterator<Item = Result<Found>>) -> Vec<(Request, Result<Answer>)> {
        let settle = |((request, mut mine), found): ((&Request, Mine<'_>), Result<Found>)| {
            let held = mine.held.filter(|held| held.reading.version.is_some());
            (request.clone(), mine.entry.settle(&mut mine.turn, held.as_deref(), found))
        };
        self.0.into_iter().zip(found).map(settle).collect()
    }
}

impl fmt::Debug for Turns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(request, _)| request)).finish()
    }
}

#[cfg(test)]
mod tests {
    use provider::{Error, ErrorKind, Ownership, Reading};

    use super::*;
    use crate::readings::{Key, Readings};

    #[test]
    fn of_callers_at_the_same_time_one_gets_all_turns_and_the_others_none() {
        const ENTRIES: usize = 200;
        let names: Vec<String> = (0..ENTRIES).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for _ in 0..50 {
            let (readings, start) = (Readings::default(), std::sync::Barrier::new(4));
            let all = entries_of(&readings, &names);
            let took = || {
                start.wait();
                let begun = begin(&all, |_| true);
                let mine = begun.turns.queries().len();
                // Nobody lets go before all have tried.
                start.wait();
                mine
            };
            let counts: Vec<usize> = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..4).map(|_| scope.spawn(took)).collect();
                callers.into_iter().map(|caller| caller.join().unwrap()).collect()
            });
            assert!(counts.iter().all(|count| [0, ENTRIES].contains(count)), "{counts:?}");
        }
    }

    fn entries(names: &[&str]) -> Vec<(Request, Arc<Entry>)> {
        entries_of(&Readings::default(), names)
    }

    fn entries_of(readings: &Readings, names: &[&str]) -> Vec<(Request, Arc<Entry>)> {
        let entry = |name: &&str| {
            let request = Request { text: (*name).into(), ownership: Ownership::Shared };
            let key = Key { store: "s".into(), identity: "i".into(), request: request.clone() };
            (request, readings.entry(&key))
        };
        names.iter().map(entry).collect()
    }

    fn reading(version: Option<&str>) -> Reading {
        Reading { body: b"v".to_vec().into(), version: version.map(str::to_owned), validity: None }
    }

    fn asked(turns: &Turns<'_>) -> Vec<(String, Option<String>)> {
        turns.queries().into_iter().map(|query| (query.request.text.to_string(), query.held)).collect()
    }

    fn new(version: Option<&str>) -> Result<Found> {
        Ok(Found::New(reading(version)))
    }

    #[test]
    fn a_call_asks_for_what_nobody_else_asks_for_and_the_rest_is_waited_for() {
        let readings = Readings::default();
        let (ours, theirs) = (entries_of(&readings, &["a", "b", "c"]), entries_of(&readings, &["b"]));
        let their_turn = begin(&theirs, |_| false);

        let begun = begin(&ours, |_| false);

        assert_eq!(asked(&begun.turns), [("a".to_owned(), None), ("c".to_owned(), None)]);
        assert_eq!(begun.busy.iter().map(|(request, _)| &*request.text).collect::<Vec<_>>(), ["b"]);
        drop((their_turn, begun));
        assert_eq!(begin(&ours, |_| false).turns.queries().len(), 3, "a turn that was let go is free");
    }

    #[test]
    fn each_entry_takes_its_own_part_of_a_call() {
        let entries = entries(&["a", "b"]);
        let refused = Err(Error::new(ErrorKind::Denied, "no"));

        let settled = begin(&entries, |_| false).turns.settle([new(None), refused]);

        assert!(settled[0].1.is_ok() && settled[1].1.is_err());
        let again = begin(&entries, |_| true);
        assert_eq!(again.settled.len(), 1, "what was read is shared, what was refused is asked for again");
        assert_eq!(asked(&again.turns), [("b".to_owned(), None)]);
    }

    #[test]
    fn a_reading_that_the_store_vouches_for_is_held_as_if_it_were_read_again() {
        let entries = entries(&["a"]);
        begin(&entries, |_| false).turns.settle([new(Some("3"))]);
        let before = entries[0].1.last_good().unwrap().at;

        let begun = begin(&entries, |_| false);
        assert_eq!(asked(&begun.turns), [("a".to_owned(), Some("3".to_owned()))]);
        begun.turns.settle([Ok(Found::Unchanged)]);

        let held = entries[0].1.last_good().unwrap();
        assert!(held.at > before && held.reading.body.expose() == b"v");
    }

    #[test]
    fn nobody_can_vouch_for_what_is_not_held_or_was_refused_or_has_no_version() {
        let entries = entries(&["a"]);
        let unchanged = || begin(&entries, |_| false).turns.settle([Ok(Found::Unchanged)]).remove(0).1;
        assert_eq!(unchanged().unwrap_err().kind(), ErrorKind::Unavailable);

        begin(&entries, |_| false).turns.settle([new(None)]);
        assert!(unchanged().is_err(), "nothing tells what it would have vouched for");

        begin(&entries, |_| false).turns.settle([new(Some("3"))]);
        begin(&entries, |_| false).turns.settle([Err(Error::new(ErrorKind::Denied, "no"))]);
        assert_eq!(asked(&begin(&entries, |_| false).turns), [("a".to_owned(), None)]);
        assert!(unchanged().is_err());
    }
}
