//! Opens and reads that wait, and how that ends.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fuse_session::Settings;
use fuse_tree::{
    Access, AllowAll, Answer, Ask, Caller, Errno, Plain, Policy, Purpose, Question, Refusal, Ruling, Source,
};

use super::mounted::{KEY, Mounted, Place, errno, eventually, leave_mounts};
use super::shown::{edition, edition_of, showing};

const SHORT: Duration = Duration::from_millis(300);

/// Answers when the test says so.
#[derive(Debug, Default)]
struct Store {
    asked: Mutex<Vec<(Question, Answer)>>,
}

impl Ask for Store {
    fn ask(&self, question: Question, answer: Answer) {
        self.asked.lock().unwrap().push((question, answer));
    }
}

impl Store {
    fn next(&self) -> (Question, Answer) {
        eventually("it is asked", || !self.asked.lock().unwrap().is_empty());
        self.asked.lock().unwrap().remove(0)
    }
}

fn asking(settings: Settings) -> (Mounted, Arc<Store>) {
    let store = Arc::new(Store::default());
    let files = [("a", Source::Asked(store.clone())), ("b", Source::Known(Plain::of("known")))];
    (Mounted::with(showing("asked", Arc::new(AllowAll), edition_of(1, files)), settings), store)
}

fn short() -> Settings {
    Settings { patience: SHORT, ..Settings::default() }
}

#[test]
fn who_opens_waits_for_the_answer_and_nobody_else_does() {
    let (volume, store) = asking(Settings::default());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| volume.read("a"));
        let (question, answer) = store.next();
        assert_eq!(volume.read("b").unwrap(), b"known");
        assert_eq!(volume.sessions.health().waiting, 1);

        answer.holds(3, Plain::of("asked for"));

        assert_eq!((question.path.as_str(), question.wanted), ("a", None));
        assert_eq!(reader.join().unwrap().unwrap(), b"asked for");
    });
    eventually("nothing waits", || volume.sessions.health().waiting == 0);
}

#[test]
fn a_refusal_is_told_by_its_errno() {
    let (volume, store) = asking(Settings::default());
    for (refusal, told) in
        [(Refusal::Denied, Errno::ACCESS), (Refusal::Missing, Errno::NOENT), (Refusal::Failed, Errno::IO)]
    {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| errno(volume.read("a")));
            store.next().1.refuse(refusal);
            assert_eq!(reader.join().unwrap(), told);
        });
    }
}

#[test]
fn nobody_waits_beyond_the_deadline() {
    let (volume, store) = asking(short());

    assert_eq!(errno(volume.read("a")), Errno::TIMEDOUT);

    store.next().1.holds(1, Plain::of("too late"));
    assert_eq!(volume.sessions.health().waiting, 0);
}

#[test]
fn who_is_killed_while_it_waits_is_gone_at_once() {
    let (volume, _store) = asking(Settings::default());
    let mut cat = Command::new("cat").arg(volume.at("a")).stdout(Stdio::null()).spawn().unwrap();
    eventually("it waits", || volume.sessions.health().waiting == 1);

    cat.kill().unwrap();

    assert!(!cat.wait().unwrap().success());
    eventually("nothing waits", || volume.sessions.health().waiting == 0);
}

#[test]
fn no_more_wait_than_may() {
    let (volume, store) = asking(Settings { waiting_for_each: 3, ..Settings::default() });
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| volume.read("a"))).collect();
        eventually("three wait", || volume.sessions.health().waiting == 3);

        assert_eq!(errno(volume.read("a")), Errno::IO);

        store.asked.lock().unwrap().drain(..).for_each(|(_, answer)| answer.holds(1, Plain::of("x")));
        assert!(readers.into_iter().all(|reader| reader.join().unwrap().unwrap() == b"x"));
    });
}

#[test]
fn a_volume_that_ends_leaves_nobody_waiting() {
    let (volume, _store) = asking(Settings::default());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| volume.read("a"));
        eventually("it waits", || volume.sessions.health().waiting == 1);

        volume.sessions.stop(KEY);

        assert!(reader.join().unwrap().is_err());
    });
}

/// Says what the test told it, and remembers who was judged.
#[derive(Debug)]
struct Said {
    ruling: Mutex<Ruling>,
    judged: Mutex<Vec<(Caller, Purpose)>>,
}

impl Policy for Said {
    fn judge(&self, access: &Access<'_>) -> Ruling {
        self.judged.lock().unwrap().push((access.caller, access.purpose));
        *self.ruling.lock().unwrap()
    }
}

fn judged(ruling: Ruling, settings: Settings) -> (Mounted, Arc<Said>) {
    let said = Arc::new(Said { ruling: ruling.into(), judged: Mutex::default() });
    (Mounted::with(showing("judged", said.clone(), edition(1, &[("a", b"x")])), settings), said)
}

#[test]
fn each_open_and_read_is_judged_by_the_thread_that_does_it() {
    let (volume, said) = judged(Ruling::Allow, Settings::default());
    let mut file = File::open(volume.at("a")).unwrap();
    let opener = u32::try_from(rustix::thread::gettid().as_raw_pid()).unwrap();
    let reader = std::thread::spawn(move || {
        file.read_exact(&mut [0; 1]).unwrap();
        u32::try_from(rustix::thread::gettid().as_raw_pid()).unwrap()
    });
    let reader = reader.join().unwrap();

    let judged = said.judged.lock().unwrap();
    // Where a mount may be idmapped, Linux tells users only of requests that make something.
    let user = if volume.served.agreed().allows_idmap() { u32::MAX } else { 0 };
    let by = |tid, purpose| judged.contains(&(Caller { tid, uid: user, gid: user }, purpose));
    assert!(
        by(opener, Purpose::Open) && by(reader, Purpose::Read) && !by(opener, Purpose::Read),
        "{opener} {reader} {judged:?}"
    );
}

#[test]
fn who_may_not_open_or_not_read_gets_eacces() {
    let (volume, said) = judged(Ruling::Allow, Settings::default());
    let file = File::open(volume.at("a")).unwrap();

    *said.ruling.lock().unwrap() = Ruling::Deny;

    assert_eq!(errno(File::open(volume.at("a"))), Errno::ACCESS);
    assert_eq!(errno(file.read_at(&mut [0; 1], 0)), Errno::ACCESS);
    assert_eq!(volume.sessions.health().waiting, 0);
}

#[test]
fn who_is_not_known_yet_waits_and_is_judged_again() {
    let (volume, said) = judged(Ruling::NotYet, Settings::default());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| volume.read("a"));
        eventually("it is judged again", || said.judged.lock().unwrap().len() > 2);
        *said.ruling.lock().unwrap() = Ruling::Allow;
        assert_eq!(reader.join().unwrap().unwrap(), b"x");
    });
}

#[test]
fn who_is_not_known_by_the_deadline_may_not() {
    let (volume, _) = judged(Ruling::NotYet, short());
    let start = Instant::now();

    assert_eq!(errno(volume.read("a")), Errno::ACCESS);
    assert!(start.elapsed() >= SHORT);
}

/// Fails where nobody expects it.
#[derive(Debug)]
struct Broken;

impl Policy for Broken {
    fn judge(&self, access: &Access<'_>) -> Ruling {
        assert_ne!(access.path, "a", "a policy with a fault");
        Ruling::Allow
    }
}

#[test]
fn a_policy_that_panics_fails_its_own_request_only() {
    let volume = Mounted::new(showing("broken", Arc::new(Broken), edition(1, &[("a", b"x"), ("b", b"y")])));

    for _ in 0..5 {
        assert_eq!(errno(volume.read("a")), Errno::IO);
        assert_eq!(volume.read("b").unwrap(), b"y");
    }
}

#[test]
fn who_waits_for_too_long_in_a_test_gets_an_error_and_the_test_fails() {
    leave_mounts();
    let (place, _nobody_serves_it) = Place::watched(SHORT);

    assert!(std::fs::read(place.at("a")).is_err());

    assert!(catch_unwind(AssertUnwindSafe(|| drop(place))).is_err());
}
