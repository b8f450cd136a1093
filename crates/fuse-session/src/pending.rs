//! Requests that wait, until somebody knows or their time is over.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fuse_tree::{Answer, Asking, Contents, Errno, Refusal};

use crate::answering::{Waits, Why, refuse};
use crate::journal::Journal;
use crate::served::Served;
use crate::sessions::Settings;
use crate::wire::RESENT;

type Told = Result<(u64, Arc<dyn Contents>), Refusal>;

/// All requests of a process that wait.
#[derive(Debug)]
pub(crate) struct Pending {
    state: Mutex<State>,
    changed: Condvar,
    journal: Arc<Journal>,
    patience: Duration,
    recognition: Duration,
    for_each_volume: usize,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    entries: HashMap<u64, Entry>,
    told: Vec<(u64, Told)>,
    /// Something else happened that who [waits](Pending::wait) wants to know.
    is_poked: bool,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) served: Arc<Served>,
    pub(crate) waits: Waits,
    until: Instant,
    slot: usize,
    is_to_be_judged: bool,
}

impl Pending {
    pub(crate) fn new(journal: Arc<Journal>, settings: &Settings) -> Self {
        let (state, changed) = Default::default();
        let Settings { patience, recognition, waiting_for_each: for_each_volume, .. } = *settings;
        Self { state, changed, journal, patience, recognition: recognition.min(patience), for_each_volume }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a request wait. If too many wait already, it fails at once.
    pub(crate) fn add(self: &Arc<Self>, served: &Arc<Served>, waits: Waits, why: Why, bytes: &[u8]) {
        let Some(slot) = self.slot(served, bytes) else {
            let _ = refuse(served, waits.unique, Errno::IO);
            return;
        };
        let is_to_be_judged = matches!(why, Why::NotYet);
        let until = end(if is_to_be_judged { self.recognition } else { self.patience });
        let ticket = self.enter(Entry { served: served.clone(), waits, until, slot, is_to_be_judged });
        if let Why::Ask(asking) = why {
            asking.ask(self.patience, self.answer_to(ticket));
        }
    }

    /// A request that waited to be judged waits for an answer now.
    pub(crate) fn ask(self: &Arc<Self>, ticket: u64, asking: Asking) {
        {
            let mut state = self.state();
            let Some(entry) = state.entries.get_mut(&ticket) else { return };
            (entry.is_to_be_judged, entry.until) = (false, end(self.patience));
        }
        asking.ask(self.patience, self.answer_to(ticket));
    }

    fn answer_to(self: &Arc<Self>, ticket: u64) -> Answer {
        let pending = self.clone();
        Answer::new(move |told| pending.tell(ticket, told))
    }

    fn slot(&self, served: &Served, bytes: &[u8]) -> Option<usize> {
        if served.waiting.fetch_add(1, Ordering::AcqRel) < self.for_each_volume
            && let Some(slot) = self.journal.keep(served.key, bytes)
        {
            return Some(slot);
        }
        served.waiting.fetch_sub(1, Ordering::AcqRel);
        None
    }

    fn enter(&self, entry: Entry) -> u64 {
        let mut state = self.state();
        state.last = state.last.wrapping_add(1);
        let ticket = state.last;
        state.entries.insert(ticket, entry);
        self.changed.notify_all();
        ticket
    }

    fn tell(&self, ticket: u64, told: Told) {
        let mut state = self.state();
        if state.entries.contains_key(&ticket) {
            state.told.push((ticket, told));
            self.changed.notify_all();
        }
    }

    /// Wakes who [waits](Self::wait).
    pub(crate) fn poke(&self) {
        self.state().is_poked = true;
        self.changed.notify_all();
    }

    /// Answers the request of this number, whose caller was killed.
    pub(crate) fn give_up(&self, served: &Served, unique: u64) {
        let ticket = {
            let state = self.state();
            let is_it =
                |entry: &Entry| entry.served.key == served.key && entry.waits.unique & !RESENT == unique;
            state.entries.iter().find(|(_, entry)| is_it(entry)).map(|(ticket, _)| *ticket)
        };
        if let Some(entry) = ticket.and_then(|ticket| self.take(ticket)) {
            let _ = refuse(&entry.served, entry.waits.unique, Errno::INTR);
            self.answered(&entry);
        }
    }

    /// Takes a request out. Whoever has it answers it, and says so by [`Self::answered`].
    pub(crate) fn take(&self, ticket: u64) -> Option<Entry> {
        self.state().entries.remove(&ticket)
    }

    pub(crate) fn answered(&self, entry: &Entry) {
        self.journal.answered(entry.slot);
        entry.served.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Forgets the requests of a volume that has ended.
    pub(crate) fn drop_volume(&self, key: u64) {
        let gone: Vec<u64> = {
            let state = self.state();
            let of_it = state.entries.iter().filter(|(_, entry)| entry.served.key == key);
            of_it.map(|(ticket, _)| *ticket).collect()
        };
        for entry in gone.into_iter().filter_map(|ticket| self.take(ticket)) {
            let _ = refuse(&entry.served, entry.waits.unique, Errno::NODEV);
            self.answered(&entry);
        }
    }

    /// How many requests wait.
    pub(crate) fn count(&self) -> usize {
        self.state().entries.len()
    }

    /// What was told meanwhile. Waits for it, or until a request's time is over, or until it is [poked](Self::poke), but
    /// no longer than `longest`.
    pub(crate) fn wait(&self, longest: Option<Duration>) -> Vec<(u64, Told)> {
        let mut state = self.state();
        if state.told.is_empty() && !state.is_poked {
            let now = Instant::now();
            let first = state.entries.values().map(|entry| entry.until.saturating_duration_since(now)).min();
            let time = first.into_iter().chain(longest).min();
            state = match time {
                Some(time) => {
                    self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.is_poked = false;
        std::mem::take(&mut state.told)
    }

    /// Requests whose time is over.
    pub(crate) fn late(&self) -> Vec<u64> {
        let now = Instant::now();
        self.tickets(|entry| entry.until <= now)
    }

    /// Requests that are to be judged again.
    pub(crate) fn to_be_judged(&self) -> Vec<(u64, Arc<Served>, Waits)> {
        let state = self.state();
        let those = state.entries.iter().filter(|(_, entry)| entry.is_to_be_judged);
        those.map(|(ticket, entry)| (*ticket, entry.served.clone(), entry.waits)).collect()
    }

    fn tickets(&self, which: impl Fn(&Entry) -> bool) -> Vec<u64> {
        self.state().entries.iter().filter(|(_, entry)| which(entry)).map(|(ticket, _)| *ticket).collect()
    }
}

fn end(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or(now)
}

impl Entry {
    /// What its caller gets when its time is over.
    pub(crate) fn errno_when_late(&self) -> Errno {
        if self.is_to_be_judged { Errno::ACCESS } else { Errno::TIMEDOUT }
    }
}
