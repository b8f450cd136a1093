//! Programs that read while the process that serves them is killed.

use std::fs;
use std::thread;
use std::time::Duration;

use testing::count;

use super::keeper::{By, Keeper};
use super::mounted::leave_mounts;
use super::program::Program;
use super::watchdog::LIMIT;

/// How much longer each kill may take.
const KILL: Duration = Duration::from_secs(3);
/// How long each process serves.
const LIFE: Duration = Duration::from_millis(100);

/// A process that looks at all volumes of a keeper, since this one starts who serves them.
struct Look(Program);

/// What it saw.
struct Seen {
    looks: usize,
    errors: usize,
    /// A few of them.
    told: Vec<String>,
    /// The longest time that one look took.
    longest: Duration,
}

impl Look {
    fn at(keeper: &Keeper) -> Self {
        let look = Self(Program::start("look", keeper.places.iter().map(|(place, _)| place.path())));
        assert_eq!(look.0.receive().0, "ready");
        look
    }

    fn enough(self) -> Seen {
        self.0.send("enough", None);
        let mut told = Vec::new();
        loop {
            let text = self.0.receive().0;
            let Some(numbers) = text.strip_prefix("seen ") else {
                told.push(text);
                continue;
            };
            let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            let count = |at: usize| usize::try_from(numbers[at]).unwrap();
            return Seen {
                looks: count(0),
                errors: count(1),
                told,
                longest: Duration::from_micros(numbers[2]),
            };
        }
    }
}

fn killed_under_load(by: By) {
    leave_mounts();
    let (volumes, kills) = (count("LAYER_VOLUMES"), count("LAYER_KILLS"));
    let limit = LIMIT + KILL * u32::try_from(kills).unwrap();
    let mut keeper = Keeper::watched(volumes, by, true, limit);
    let look = Look::at(&keeper);
    for _ in 0..kills {
        thread::sleep(LIFE);
        keeper.restart();
    }
    thread::sleep(LIFE);
    let Seen { looks, errors, told, longest } = look.enough();

    println!(
        "{by:?}: {kills} kills, {looks} looks at {volumes} volumes, {errors} errors, worst pause {longest:?}"
    );
    assert!(errors == 0, "{errors}: {told:?}");
    assert!(looks > kills, "they were not read all the time");
}

#[test]
fn a_process_that_is_killed_under_load_is_missed_by_nobody() {
    killed_under_load(By::Resend);
}

#[test]
fn a_kernel_that_does_not_send_again_is_answered_from_the_journal() {
    killed_under_load(By::Journal);
}

#[test]
fn who_waits_while_nobody_serves_is_answered_by_the_next_process() {
    leave_mounts();
    let mut keeper = Keeper::of(1, By::Resend, true);
    let path = keeper.places[0].0.at("a");
    keeper.stop();
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&path).unwrap());
        thread::sleep(LIFE);
        assert!(!reader.is_finished());
        keeper.go_on();
        assert_eq!(reader.join().unwrap(), b"of volume 0\n");
    });
}

fn taken_over(by: By) {
    leave_mounts();
    let mut keeper = Keeper::of(1, by, false);
    let path = keeper.places[0].0.at("asked");
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(&path).unwrap());
        thread::sleep(LIFE);
        assert!(!reader.is_finished());
        keeper.answers = true;
        keeper.restart();
        assert_eq!(reader.join().unwrap(), b"told");
    });
}

#[test]
fn what_waited_in_a_killed_process_is_asked_again_when_it_is_sent_again() {
    taken_over(By::Resend);
}

#[test]
fn what_waited_in_a_killed_process_is_asked_again_from_its_journal() {
    taken_over(By::Journal);
}
