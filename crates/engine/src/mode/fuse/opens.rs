//! Counts who opened what, for the audit trail.
//!
//! The threads that answer the kernel count here, and wait for nobody. Somebody else takes what was counted, soon after
//! something new happened and once a minute what was repeated.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::mode::{Caller, Due, Opening, Unopened};
use crate::snapshot::Made;

/// How many kinds of opens of one volume are told apart: by container, file, version and decision.
const KINDS_MAX: usize = 1024;
/// Of how many editions it is known what their files were made of.
const EDITIONS_MAX: usize = 16;
/// How often the same is told again.
const REPEATED: Duration = Duration::from_secs(60);

/// What one open was.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub(super) struct Kind<'a> {
    /// Name of the container; empty where there is none or it is not known.
    pub(super) container: &'a str,
    pub(super) path: &'a str,
    pub(super) edition: u64,
    pub(super) is_allowed: bool,
}

/// The process that was the first to do it.
#[derive(Debug, Clone, Default)]
pub(super) struct Doer {
    pub(super) pid: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) program: Option<PathBuf>,
    pub(super) name: Option<String>,
}

/// The opens of one volume.
#[derive(Debug, Default)]
pub(super) struct Opens {
    table: Mutex<Table>,
    hasher: RandomState,
    /// Whether something happened that was not told before.
    has_news: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    kinds: HashMap<u64, Vec<Counted>>,
    count: usize,
    /// Opens that are told without saying of what, because there are too many kinds.
    others: Option<Counted>,
    made: BTreeMap<u64, Arc<[Made]>>,
    newest: u64,
}

#[derive(Debug)]
struct Counted {
    container: String,
    path: String,
    edition: u64,
    is_allowed: bool,
    doer: Doer,
    waiting: u64,
    first: Timestamp,
    last: Timestamp,
    told: Option<Instant>,
    /// Of a file that was read for who opened it.
    read: Option<Read>,
}

/// What came of a reading for who opened a file.
#[derive(Debug, Clone)]
pub(super) enum Read {
    /// What the file was made of. Of other files the edition tells.
    Made(Arc<[Made]>),
    /// Nothing.
    Failed(Unopened),
}

impl Counted {
    fn new(kind: Kind<'_>, doer: Doer, now: Timestamp) -> Self {
        let Kind { container, path, edition, is_allowed } = kind;
        let (container, path) = (container.to_owned(), path.to_owned());
        let (waiting, first, last, told, read) = (1, now, now, None, None);
        Self { container, path, edition, is_allowed, doer, waiting, first, last, told, read }
    }

    fn is(&self, kind: Kind<'_>) -> bool {
        let Self { container, path, edition, is_allowed, .. } = self;
        kind == Kind { container, path, edition: *edition, is_allowed: *is_allowed }
    }

    fn again(&mut self, now: Timestamp) {
        if self.waiting == 0 {
            self.first = now;
        }
        self.waiting = self.waiting.saturating_add(1);
        self.last = now;
    }

    fn is_due(&self, due: Due) -> bool {
        let is_due = match due {
            Due::News => self.told.is_none(),
            Due::Repeated => self.told.is_none_or(|told| told.elapsed() >= REPEATED),
            Due::All => true,
        };
        self.waiting > 0 && is_due
    }
}

impl Opens {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one. `doer` is asked if nothing of the kind was counted before.
    pub(super) fn count(&self, kind: Kind<'_>, doer: impl FnOnce() -> Doer) {
        self.count_read(kind, || None, doer);
    }

    /// The same of a file that was read for who opened it. Its version stands for the edition.
    pub(super) fn count_read(
        &self,
        kind: Kind<'_>,
        read: impl FnOnce() -> Option<Read>,
        doer: impl FnOnce() -> Doer,
    ) {
        let (now, hash) = (Timestamp::now(), self.hasher.hash_one(kind));
        let mut table = self.lock();
        let known =
            table.kinds.get_mut(&hash).and_then(|same| same.iter_mut().find(|counted| counted.is(kind)));
        if let Some(counted) = known {
            return counted.again(now);
        }
        if table.count >= KINDS_MAX && !table.make_room() {
            match &mut table.others {
                Some(others) => others.again(now),
                None => {
                    table.others =
                        Some(Counted::new(Kind { container: "", path: "", ..kind }, Doer::default(), now))
                }
            }
        } else {
            let counted = Counted { read: read(), ..Counted::new(kind, doer(), now) };
            table.kinds.entry(hash).or_default().push(counted);
            table.count += 1;
        }
        drop(table);
        self.has_news.store(true, Ordering::Release);
    }

    /// What the files of an edition were made of. The last one that is told of is shown.
    pub(super) fn shows(&self, edition: u64, made: &[Made]) {
        let mut table = self.lock();
        table.newest = edition;
        if !made.is_empty() {
            table.made.insert(edition, made.into());
        }
        while table.made.len() > EDITIONS_MAX {
            table.made.pop_first();
        }
    }

    /// What the files of the edition that is shown were made of, if that was not known before.
    pub(super) fn explain(&self, made: &[Made]) {
        let mut table = self.lock();
        let newest = table.newest;
        table.made.insert(newest, made.into());
    }

    /// Takes what is to be told.
    pub(super) fn take(&self, due: Due) -> Vec<Opening> {
        if !self.has_news.swap(false, Ordering::AcqRel) && due == Due::News {
            return Vec::new();
        }
        let mut table = self.lock();
        let Table { kinds, others, made, newest, .. } = &mut *table;
        let now = Instant::now();
        let counted = kinds.values_mut().flatten().chain(others);
        counted
            .filter(|counted| counted.is_due(due))
            .map(|counted| told(counted, now, made, *newest))
            .collect()
    }
}

impl Table {
    /// Forgets kinds of which everything was told. Returns whether there is room.
    fn make_room(&mut self) -> bool {
        self.kinds.values_mut().for_each(|same| same.retain(|counted| counted.waiting > 0));
        self.kinds.retain(|_, same| !same.is_empty());
        self.count = self.kinds.values().map(Vec::len).sum();
        self.count < KINDS_MAX
    }
}

fn told(counted: &mut Counted, now: Instant, made: &BTreeMap<u64, Arc<[Made]>>, newest: u64) -> Opening {
    counted.told = Some(now);
    let known = |text: &String| (!text.is_empty()).then(|| text.clone());
    let Doer { pid, uid, program, name } = counted.doer.clone();
    let shows = |made: &&Made| made.asked.paths().any(|path| path.as_str() == counted.path);
    let (of_read, unopened) = match &counted.read {
        Some(Read::Made(made)) => (Some(made), None),
        Some(Read::Failed(unopened)) => (None, Some(unopened.clone())),
        None => (None, None),
    };
    let all_made = of_read.or_else(|| made.get(&counted.edition));
    Opening {
        path: known(&counted.path),
        caller: Caller { pod: None, container: known(&counted.container), uid, pid },
        program,
        name,
        is_allowed: counted.is_allowed,
        count: std::mem::take(&mut counted.waiting),
        first: counted.first,
        last: counted.last,
        made: all_made.iter().flat_map(|made| made.iter()).filter(shows).cloned().collect(),
        is_newest: counted.read.is_some() || counted.edition == newest,
        unopened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(container: &'static str, path: &'static str) -> Kind<'static> {
        Kind { container, path, edition: 1, is_allowed: true }
    }

    fn sum(openings: &[Opening]) -> u64 {
        openings.iter().map(|opening| opening.count).sum()
    }

    #[test]
    fn the_first_open_is_told_soon_and_its_repetitions_once_a_minute() {
        let opens = Opens::default();
        opens.count(kind("web", "a"), || Doer { pid: Some(7), ..Doer::default() });
        let first = opens.take(Due::News);
        (0..5).for_each(|_| opens.count(kind("web", "a"), Doer::default));

        assert_eq!((first[0].count, first[0].caller.pid), (1, Some(7)));
        assert_eq!(first[0].caller.container.as_deref(), Some("web"));
        assert_eq!(sum(&opens.take(Due::News)) + sum(&opens.take(Due::Repeated)), 0);
        assert_eq!(sum(&opens.take(Due::All)), 5);
        assert_eq!(sum(&opens.take(Due::All)), 0);
    }

    #[test]
    fn every_open_is_counted_once_from_however_many_threads_and_kinds() {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let opens = Opens::default();
        let taken: u64 = std::thread::scope(|scope| {
            for name in NAMES {
                let opens = &opens;
                scope.spawn(move || {
                    for number in 0u64..10_000 {
                        let edition = number % 700;
                        opens.count(Kind { edition, ..kind(name, "path") }, Doer::default);
                    }
                });
            }
            (0..200).map(|_| sum(&opens.take(Due::News))).sum()
        });

        assert_eq!(taken + sum(&opens.take(Due::All)), 40_000);
        assert!(opens.lock().count <= KINDS_MAX);
    }

    #[test]
    fn a_denial_and_another_version_are_told_apart() {
        let opens = Opens::default();
        let other = Kind { edition: 2, ..kind("web", "a") };
        for kind in [kind("web", "a"), other, Kind { is_allowed: false, ..other }, other] {
            opens.count(kind, Doer::default);
        }
        opens.shows(2, &[]);

        let mut taken = opens.take(Due::All);

        taken.sort_by_key(|opening| (opening.is_newest, opening.is_allowed));
        let taken: Vec<_> = taken.iter().map(|open| (open.is_newest, open.is_allowed, open.count)).collect();
        assert_eq!(taken, [(false, true, 1), (true, false, 1), (true, true, 2)]);
    }
}
