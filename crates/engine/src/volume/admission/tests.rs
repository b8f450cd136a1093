use std::pin::Pin;

use futures::FutureExt as _;

use super::*;

const BOUNDS: Bounds = Bounds { process: 64, namespace: 16, place: 16, waiting: 100 };

type Waiting = Pin<Box<dyn Future<Output = Result<Turn, Crowded>>>>;

fn ask(admission: &Arc<Admission>, namespace: &'static str, place: &'static str) -> Waiting {
    let admission = Arc::clone(admission);
    Box::pin(async move { admission.enter(namespace, place).await })
}

/// Takes turns until one is not given at once, and at most `most`.
fn take(admission: &Arc<Admission>, namespace: &'static str, place: &'static str, most: usize) -> Vec<Turn> {
    let taken = (0..most).map_while(|_| ask(admission, namespace, place).now_or_never());
    taken.map(Result::unwrap).collect()
}

fn is_given(waiting: &mut Waiting) -> Option<Turn> {
    waiting.now_or_never().map(Result::unwrap)
}

#[test]
fn who_hangs_everywhere_leaves_room_for_every_other_namespace() {
    let admission = Admission::new(BOUNDS);
    let hostile: [&'static str; 6] = ["a", "b", "c", "d", "e", "f"];

    let hanging: Vec<_> =
        hostile.iter().flat_map(|namespace| take(&admission, namespace, namespace, 100)).collect();
    let beside = take(&admission, "healthy", "store", 100);

    println!("{} hang, {} turns beside them", hanging.len(), beside.len());
    assert!(beside.len() >= 4, "{}", beside.len());
}

#[test]
fn who_hangs_at_a_store_that_others_use_leaves_room_there() {
    let admission = Admission::new(BOUNDS);
    let hanging = take(&admission, "hostile", "store", 100);
    assert_eq!(hanging.len(), 8);
    assert_eq!(take(&admission, "healthy", "store", 100).len(), 4);
}

#[test]
fn a_store_that_hangs_leaves_room_for_the_other_stores_of_its_namespace() {
    let admission = Admission::new(BOUNDS);
    let hanging = take(&admission, "shop", "away", 100);
    assert_eq!(hanging.len(), 8);
    assert!(!take(&admission, "shop", "here", 100).is_empty());
}

#[test]
fn turns_go_round_between_namespaces_however_many_of_one_wait() {
    let admission = Admission::new(Bounds { process: 2, ..BOUNDS });
    let first = take(&admission, "many", "store", 100);
    let second = take(&admission, "few", "store", 100);
    let mut many: Vec<_> = (0..50).map(|_| ask(&admission, "many", "store")).collect();
    let mut other = ask(&admission, "other", "store");
    assert!(many.iter_mut().chain([&mut other]).all(|waiting| is_given(waiting).is_none()));

    drop(first);
    let _others = is_given(&mut other).expect("its turn before the next of who had one");
    drop(second);
    assert!(is_given(&mut many[0]).is_some());
}

#[test]
fn the_first_that_waits_is_the_first_that_goes_on() {
    let admission = Admission::new(Bounds { place: 2, ..BOUNDS });
    let mut turns = take(&admission, "shop", "store", 100);
    let mut waiting: Vec<_> = (0..3).map(|_| ask(&admission, "shop", "store")).collect();
    waiting.iter_mut().for_each(|waiting| assert!(is_given(waiting).is_none()));

    for waiting in &mut waiting {
        turns.pop();
        turns.push(is_given(waiting).expect("the turn of the one before"));
    }
}

#[test]
fn who_stops_waiting_is_passed_over_and_its_turn_is_not_lost() {
    let admission = Admission::new(Bounds { place: 2, ..BOUNDS });
    let turns = take(&admission, "shop", "store", 100);
    let (mut gone, mut late) = (ask(&admission, "shop", "store"), ask(&admission, "shop", "store"));
    let mut stays = ask(&admission, "shop", "store");
    for waiting in [&mut gone, &mut late, &mut stays] {
        assert!(is_given(waiting).is_none());
    }

    drop(gone);
    drop(turns);
    // This caller was given the turn, and never polled its future again.
    drop(late);

    assert!(is_given(&mut stays).is_some());
    assert_eq!(admission.lock().held.all, 0);
}

/// A slow model of the same rules: it lists the waiting callers and the held turns in order, and finds every answer by
/// looking at all of them.
#[derive(Default)]
struct Model {
    waiting: Vec<(usize, Lane)>,
    held: Vec<(usize, Lane)>,
    last: HashMap<Arc<str>, usize>,
    turns: usize,
}

impl Model {
    fn fits(&self, lane: &Lane, bounds: &Bounds) -> bool {
        let mut shares = Shares::default();
        self.held.iter().for_each(|(_, held)| shares.take(held, 1));
        shares.fits(lane, 1, bounds)
    }

    fn has(&self, matches: impl Fn(&Lane) -> bool) -> usize {
        self.held.iter().filter(|(_, held)| matches(held)).count()
    }

    fn grant(&mut self, who: usize, lane: Lane) {
        self.turns += 1;
        self.last.insert(Arc::clone(&lane.namespace), self.turns);
        self.held.push((who, lane));
    }

    fn ask(&mut self, who: usize, lane: Lane, bounds: &Bounds) {
        if self.waiting.iter().all(|(_, other)| *other != lane) && self.fits(&lane, bounds) {
            self.grant(who, lane);
        } else {
            self.waiting.push((who, lane));
        }
    }

    fn give_back(&mut self, who: usize, bounds: &Bounds) {
        self.held.retain(|(other, _)| *other != who);
        loop {
            let mut lanes: Vec<_> = self.waiting.iter().map(|(_, lane)| lane.clone()).collect();
            lanes.sort();
            lanes.retain(|lane| self.fits(lane, bounds));
            let Some(lane) = lanes.into_iter().min_by_key(|lane| {
                let last = self.last.get(&lane.namespace).copied().unwrap_or(0);
                (self.has(|held| held.namespace == lane.namespace), last, self.has(|held| held == lane))
            }) else {
                break;
            };
            let first = self.waiting.iter().position(|(_, other)| *other == lane).unwrap();
            let (who, lane) = self.waiting.remove(first);
            self.grant(who, lane);
        }
        self.forget();
    }

    fn leave(&mut self, who: usize) {
        self.waiting.retain(|(other, _)| *other != who);
        self.forget();
    }

    fn forget(&mut self) {
        let Self { waiting, held, last, .. } = self;
        last.retain(|namespace, _| {
            waiting.iter().chain(&*held).any(|(_, lane)| lane.namespace == *namespace)
        });
    }
}

#[test]
fn turns_are_given_as_if_all_who_wait_were_looked_at_each_time_whoever_leaves_meanwhile() {
    let bounds = Bounds { process: 9, namespace: 6, place: 5, waiting: 1000 };
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (admission, mut model) = (Admission::new(bounds), Model::default());
    let mut waiting: Vec<(usize, Waiting)> = Vec::new();
    let mut held: Vec<(usize, Turn)> = Vec::new();
    for step in 0..5000 {
        match random.u8(0..5) {
            0 | 1 => {
                let namespace = ["a", "b", "c"][random.usize(0..3)];
                let place = ["x", "y"][random.usize(0..2)];
                waiting.push((step, ask(&admission, namespace, place)));
                model.ask(step, Lane::new(namespace, place), &bounds);
            }
            2 if !waiting.is_empty() => {
                let (who, left) = waiting.swap_remove(random.usize(0..waiting.len()));
                drop(left);
                model.leave(who);
            }
            _ if !held.is_empty() => {
                let (who, turn) = held.swap_remove(random.usize(0..held.len()));
                drop(turn);
                model.give_back(who, &bounds);
            }
            _ => {}
        }
        waiting.retain_mut(|(who, waiting)| match is_given(waiting) {
            Some(turn) => {
                held.push((*who, turn));
                false
            }
            None => true,
        });
        let mut has: Vec<_> = held.iter().map(|(who, _)| *who).collect();
        let mut wanted: Vec<_> = model.held.iter().map(|(who, _)| *who).collect();
        has.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(has, wanted, "seed {seed}, step {step}");
    }
    drop((waiting, held));
    let state = admission.lock();
    assert!(state.last.is_empty() && state.waiting.is_empty() && state.waiters.is_empty());
}

#[test]
fn more_than_a_bounded_number_of_one_namespace_do_not_wait() {
    let admission = Admission::new(Bounds { waiting: 3, place: 2, ..BOUNDS });
    let _turns = take(&admission, "hostile", "store", 100);
    let mut waiting: Vec<_> = (0..3).map(|_| ask(&admission, "hostile", "store")).collect();
    waiting.iter_mut().for_each(|waiting| assert!(is_given(waiting).is_none()));

    let refused = ask(&admission, "hostile", "store").now_or_never().unwrap().unwrap_err();
    assert_eq!(refused, Crowded { waiting: 3 });
    assert!(ask(&admission, "healthy", "elsewhere").now_or_never().unwrap().is_ok());
}

#[test]
fn nothing_is_remembered_of_namespaces_and_places_that_are_done() {
    let admission = Admission::new(BOUNDS);
    for name in ["a", "b", "c"] {
        drop(take(&admission, name, name, 100));
    }
    let state = admission.lock();
    assert!(state.last.is_empty() && state.waiting.is_empty());
    assert!(state.held.namespaces.is_empty() && state.held.places.is_empty());
}
