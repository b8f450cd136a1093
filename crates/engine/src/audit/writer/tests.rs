use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use audit_chain::{Key, Report, Verifier, verify};

use super::*;

fn put() -> Record {
    Record::new(Operation::Put, Actor::person())
}

fn audit(path: &Path) -> Audit {
    Audit::to([Destination::File(path.to_owned())]).unwrap()
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn records_are_appended_to_a_file_of_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");

    audit(&path).record(&put());
    audit(&path).record(&put());

    assert_eq!(lines(&path).len(), 2);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_renamed_file_is_left_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
    let audit = audit(&path);
    audit.record(&put());

    std::fs::rename(&path, &rotated).unwrap();
    audit.record(&put());

    assert_eq!((lines(&rotated).len(), lines(&path).len()), (1, 1));
}

#[test]
fn lines_of_several_writers_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let audits: Vec<Audit> = (0..4).map(|_| audit(&path)).collect();

    std::thread::scope(|scope| {
        for audit in &audits {
            scope.spawn(|| (0..250).for_each(|_| audit.record(&put())));
        }
    });

    let mut ids: Vec<String> = lines(&path).iter().map(|line| line["metadata"]["uid"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn a_full_disk_is_counted_and_stops_nothing() {
    let audit = Audit::to([Destination::File(PathBuf::from("/dev/full"))]).unwrap();

    audit.record(&put());
    audit.record(&put());

    assert_eq!(audit.dropped(), 2);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let error = Audit::to([Destination::File(PathBuf::from("/nonexistent/audit"))]).unwrap_err();

    assert!(error.to_string().contains("/nonexistent/audit"), "{error}");
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A place with a chain.
struct Chained {
    dir: tempfile::TempDir,
    key: String,
}

impl Chained {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Keeper::init(&dir.path().join("audit.jsonl.chain")).unwrap().reveal().to_string();
        Self { dir, key }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("audit.jsonl")
    }

    fn audit_to(&self, log: &Path) -> Audit {
        let checkpoints = Some(Destination::File(self.dir.path().join("checkpoints")));
        let directory = Some(self.dir.path().join("audit.jsonl.chain"));
        let chain = ChainArgs { directory, checkpoints };
        Audit::chained_to([Destination::File(log.to_owned())], chain).unwrap()
    }

    fn audit(&self) -> Audit {
        self.audit_to(&self.log())
    }

    fn report(&self) -> Report {
        let known = std::fs::read_to_string(self.dir.path().join("checkpoints")).unwrap_or_default();
        let known = known.lines().filter_map(audit_chain::Checkpoint::parse).collect::<Vec<_>>();
        let log = std::fs::read(self.log()).unwrap();
        verify(Verifier::new(Key::parse(&self.key).unwrap(), known, false), [log.as_slice()]).unwrap()
    }
}

#[test]
fn records_of_a_chain_go_on_over_restarts_and_end_with_a_checkpoint() {
    let chained = Chained::new();
    for _ in 0..3 {
        let audit = chained.audit().for_long().unwrap();
        (0..10).for_each(|_| audit.record(&put()));
        assert!(audit.flush(PATIENCE));
    }

    let report = chained.report();

    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.verified, report.checkpoint, report.gaps.len()), (33, Some(32), 0));
    assert_eq!(lines(&chained.log())[11]["api"]["operation"], "begin");
}

#[test]
fn commands_and_a_process_that_stays_write_to_one_chain() {
    let chained = Chained::new();
    let staying = chained.audit().for_long().unwrap();

    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                (0..10).for_each(|_| chained.audit().require(&put()).unwrap());
            });
        }
        scope.spawn(|| (0..10).for_each(|_| staying.record(&put())));
    });
    assert!(staying.flush(PATIENCE));

    let report = chained.report();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.verified, report.gaps.len()), (41, 0));
}

#[test]
fn a_trail_that_is_cut_by_its_last_record_is_found_out_by_the_checkpoint() {
    let chained = Chained::new();
    let audit = chained.audit();
    (0..3).for_each(|_| audit.record(&put()));
    audit.flush(PATIENCE);
    let text = std::fs::read_to_string(chained.log()).unwrap();

    let kept: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(chained.log(), kept).unwrap();

    assert!(!chained.report().is_intact());
}

#[test]
fn what_must_be_recorded_and_cannot_be_is_an_error() {
    let chained = Chained::new();
    let full = chained.audit_to(Path::new("/dev/full"));
    let plain = Audit::to([Destination::File(PathBuf::from("/dev/full"))]).unwrap();

    assert!(full.require(&put()).is_err() && plain.require(&put()).is_err());
    assert_eq!((full.dropped(), plain.dropped()), (1, 1));
    assert!(Audit::default().require(&put()).is_ok());
}

#[test]
fn a_process_that_died_between_key_and_file_leaves_a_gap_that_is_told() {
    let chained = Chained::new();
    chained.audit().record(&put());
    // The key moves on, and the record is in no file.
    chained.audit_to(Path::new("/dev/full")).record(&put());
    chained.audit().record(&put());

    let report = chained.report();

    assert!(report.is_intact(), "{report:?}");
    let [gap] = &report.gaps[..] else { panic!("{report:?}") };
    assert_eq!((gap.from, gap.to, report.verified), (1, 1, 2));
}

#[test]
fn what_a_full_disk_refused_is_written_when_there_is_room_again() {
    let chained = Chained::new();
    let mount = chained.dir.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &mount).unwrap();
    let audit = chained.audit_to(&mount).for_long().unwrap();
    (0..10).for_each(|_| audit.record(&put()));
    assert!(!audit.flush(Duration::from_millis(300)));

    // The name leads to another file now, as after a rotation of logs.
    std::fs::remove_file(&mount).unwrap();
    std::os::unix::fs::symlink(chained.log(), &mount).unwrap();

    assert!(audit.flush(PATIENCE));
    let report = chained.report();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.verified, report.gaps.len(), audit.dropped()), (11, 0, 0));
}

#[test]
fn a_trail_that_nobody_can_write_costs_a_tenant_its_own_records_and_no_waiting() {
    let chained = Chained::new();
    let audit = chained.audit_to(Path::new("/dev/full")).for_long().unwrap();
    let of = |namespace: &str| {
        let identity = provider::Identity::named(namespace, "web");
        let subject = crate::subject::Subject { identity, pod: None };
        Record::new(Operation::Open, Actor::from(&subject)).failed("x".repeat(10_000))
    };

    (0..1000).for_each(|_| audit.later(&of("loud")));
    let lost = audit.dropped();
    audit.later(&of("quiet"));

    assert!((500..1000).contains(&lost), "{lost}");
    assert_eq!(audit.dropped(), lost);
}

#[test]
fn where_no_chain_was_begun_records_are_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");

    audit(&path).for_long().unwrap().record(&put());

    assert_eq!((lines(&path).len(), lines(&path)[0].get("chain")), (1, None));
    let asked_for = ChainArgs { directory: Some(dir.path().join("chain")), checkpoints: None };
    let error = Audit::chained_to([Destination::File(path)], asked_for).unwrap_err();
    assert!(error.to_string().contains("audit init"), "{error}");
}

#[test]
fn a_chain_beside_the_file_is_used_without_being_asked_for() {
    let chained = Chained::new();

    audit(&chained.log()).record(&put());

    assert_eq!(chained.report().verified, 1);
}
