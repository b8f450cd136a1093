//! Every change of a trail is seen, and no restart is taken for one.

#![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

use std::path::Path;

use audit_chain::{Checkpoint, Keeper, Key, Report, Verifier, verify};
use proptest::prelude::*;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is written, and the writer lives on.
    Written,
    /// So many of its lines are written, and the next one in part; then the writer is gone.
    Crash(usize),
}

/// A trail, the checkpoints of its batches, and its first key.
#[derive(Debug)]
struct Trail {
    lines: Vec<Vec<u8>>,
    checkpoints: Vec<Checkpoint>,
    key: String,
}

fn trail(batches: &[(usize, End)]) -> Trail {
    let dir = tempfile::tempdir().unwrap();
    let key = Keeper::init(dir.path()).unwrap().reveal().to_string();
    let mut trail = Trail { lines: Vec::new(), checkpoints: Vec::new(), key };
    for &(count, end) in batches {
        trail.write(dir.path(), count, end);
    }
    trail
}

impl Trail {
    fn write(&mut self, directory: &Path, count: usize, end: End) {
        let keeper = Keeper::open(directory).unwrap().unwrap();
        let mut batch = keeper.batch().unwrap();
        for number in 0..count {
            assert!(batch.seal(&format!(r#"{{"time":"2026-03-01T12:00:00Z","number":{number}}}"#)));
        }
        let lines = batch.save().unwrap();
        let End::Crash(written) = end else {
            self.lines.extend(lines);
            return self.checkpoints.extend(batch.written());
        };
        self.lines.extend(lines.iter().take(written).cloned());
        if let Some(torn) = lines.get(written) {
            let half = torn[..torn.len() / 2].to_vec();
            // The next writer ends the line.
            self.lines.push([half, b"\n".to_vec()].concat());
        }
    }

    fn key(&self) -> Key {
        Key::parse(&self.key).unwrap()
    }

    fn report(&self, lines: &[Vec<u8>], with_checkpoints: bool) -> Report {
        let known = if with_checkpoints { self.checkpoints.clone() } else { Vec::new() };
        let bytes = lines.concat();
        verify(Verifier::new(self.key(), known, false), [bytes.as_slice()]).unwrap()
    }
}

fn batches() -> impl Strategy<Value = Vec<(usize, End)>> {
    let end = prop_oneof![3 => Just(End::Written), 1 => (0usize..5).prop_map(End::Crash)];
    let batches = proptest::collection::vec((1usize..5, end), 1..5);
    // The last batch arrives: what a crash cut off at the very end, nobody has told yet.
    batches.prop_map(|mut batches| {
        batches.push((2, End::Written));
        batches
    })
}

/// Whether the report of a changed trail says that it is changed, or at least that something is missing that was there.
fn is_seen(before: &Report, after: &Report) -> bool {
    !after.is_intact() || after.gaps != before.gaps || after.torn != before.torn
}

/// The lines without those that a crash cut short. These say nothing, so it does not matter where they stand.
fn whole(lines: &[Vec<u8>]) -> Vec<&Vec<u8>> {
    lines.iter().filter(|line| line.ends_with(b"\"}}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_trail_with_restarts_and_crashes_is_intact(batches in batches()) {
        let trail = trail(&batches);

        let report = trail.report(&trail.lines, true);

        prop_assert!(report.is_intact(), "{:?}", report);
        prop_assert_eq!(report.verified + report.torn + report.before, trail.lines.len() as u64);
    }

    #[test]
    fn every_removed_doubled_or_moved_line_is_seen(batches in batches()) {
        let trail = trail(&batches);
        let before = trail.report(&trail.lines, true);
        let count = trail.lines.len();

        for at in 0..count {
            let mut removed = trail.lines.clone();
            let line = removed.remove(at);
            prop_assert!(is_seen(&before, &trail.report(&removed, true)), "without {}", at);
            for to in 0..=count {
                let mut doubled = trail.lines.clone();
                doubled.insert(to, line.clone());
                prop_assert!(is_seen(&before, &trail.report(&doubled, true)), "{} also at {}", at, to);
            }
            for to in (0..count).filter(|to| *to != at) {
                let mut moved = removed.clone();
                moved.insert(to, line.clone());
                let is_same = whole(&moved) == whole(&trail.lines);
                prop_assert!(is_same || is_seen(&before, &trail.report(&moved, true)), "{} at {}", at, to);
            }
        }
    }

    #[test]
    fn every_changed_byte_is_seen(batches in batches(), bit in 0u32..8) {
        let trail = trail(&batches);
        let before = trail.report(&trail.lines, true);

        for at in 0..trail.lines.len() {
            for byte in 0..trail.lines[at].len() {
                let mut changed = trail.lines.clone();
                changed[at][byte] ^= 1 << bit;
                let after = trail.report(&changed, true);
                // In what a crash left of a line nothing is to be changed: it says nothing.
                let is_torn = !trail.lines[at].ends_with(b"\"}}\n");
                prop_assert!(is_torn || is_seen(&before, &after), "byte {} of line {}", byte, at);
            }
        }
    }

    #[test]
    fn every_cut_is_seen_by_a_checkpoint_kept_elsewhere(batches in batches()) {
        let trail = trail(&batches);

        for kept in 0..trail.lines.len() {
            let report = trail.report(&trail.lines[..kept], true);
            prop_assert!(!report.is_intact(), "{} lines kept", kept);
        }
    }

    #[test]
    fn without_crashes_and_checkpoints_every_removed_line_but_the_last_ones_is_a_fault(count in 2usize..12) {
        let trail = trail(&[(count, End::Written), (count, End::Written)]);

        for at in 0..2 * count - 1 {
            let mut removed = trail.lines.clone();
            removed.remove(at);
            prop_assert!(!trail.report(&removed, false).is_intact(), "without {}", at);
        }
    }
}

#[test]
fn what_a_crash_lost_is_a_gap_that_is_told() {
    let trail = trail(&[(3, End::Written), (4, End::Crash(1)), (2, End::Written)]);

    let report = trail.report(&trail.lines, true);

    assert!(report.is_intact(), "{report:?}");
    let [gap] = report.gaps.try_into().unwrap();
    assert_eq!((gap.from, gap.to, report.torn, report.verified), (4, 6, 1, 6));
}

#[test]
fn a_key_of_later_forges_nothing_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut trail = Trail {
        key: Keeper::init(dir.path()).unwrap().reveal().to_string(),
        lines: Vec::new(),
        checkpoints: Vec::new(),
    };
    trail.write(dir.path(), 4, End::Written);
    // Who has the directory now writes whatever he likes, but only after what is there.
    let mut forged = trail.lines.clone();
    forged.pop();
    trail.lines.clear();
    trail.write(dir.path(), 1, End::Written);
    forged.extend(trail.lines.clone());

    let report = trail.report(&forged, false);

    assert!(!report.is_intact());
    let told: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["records 3 to 3 are missing before line 4"]);
}

#[test]
fn lines_of_other_chains_and_of_before_are_counted_and_do_not_matter() {
    let ours = trail(&[(3, End::Written)]);
    let other = trail(&[(2, End::Written)]);
    let before = b"{\"time\":\"2026-01-01T00:00:00Z\"}\n".to_vec();
    let mixed = [vec![before], other.lines, ours.lines.clone()].concat();

    let report = ours.report(&mixed, true);

    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.before, report.others, report.verified), (1, 2, 3));
    let inserted = [ours.lines.clone(), vec![b"{\"time\":\"x\"}\n".to_vec()]].concat();
    assert!(!ours.report(&inserted, true).is_intact());
}

#[test]
fn a_trail_whose_older_files_were_deleted_on_purpose_is_verified_from_its_first_line_on() {
    let trail = trail(&[(3, End::Written), (3, End::Written)]);
    let rest = &trail.lines[2..];

    assert!(!trail.report(rest, true).is_intact());
    let bytes = rest.concat();
    let report = verify(Verifier::new(trail.key(), [], true), [bytes.as_slice()]).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.first, report.last), (Some(2), Some(5)));
}

#[test]
fn another_key_verifies_nothing() {
    let trail = trail(&[(3, End::Written)]);
    let other = trail_key();

    let bytes = trail.lines.concat();
    let report = verify(Verifier::new(other, [], false), [bytes.as_slice()]).unwrap();

    assert_eq!((report.is_intact(), report.verified, report.others), (false, 0, 3));
}

fn trail_key() -> Key {
    trail(&[(1, End::Written)]).key()
}
