use super::*;
use crate::secret_sync::live::Writer;

const OURS: &str = "secretfs/shop";

fn bytes(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), bytes(value))).collect()
}

fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn owner(uid: &str) -> OwnerReference {
    OwnerReference { uid: uid.to_owned(), ..OwnerReference::default() }
}

fn wanted(pairs: &[(&str, &str)]) -> Wanted {
    Wanted {
        name: "db".to_owned(),
        kind: OPAQUE.to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: data(pairs),
        absent: BTreeSet::new(),
        unusable: BTreeSet::new(),
        faults: Vec::new(),
    }
}

/// A managed Secret with one owner, whose keys are all ours.
fn live(pairs: &[(&str, &str)]) -> Live {
    let names: Vec<_> = pairs.iter().map(|(key, _)| *key).collect();
    Live {
        uid: "u".to_owned(),
        version: "7".to_owned(),
        managed: true,
        kind: OPAQUE.to_owned(),
        labels: BTreeMap::from([(MANAGED.to_owned(), "true".to_owned())]),
        data: data(pairs),
        owners: vec![owner("1")],
        writers: vec![writer(OURS, true, &names)],
        ..Live::default()
    }
}

fn writer(name: &str, applies: bool, names: &[&str]) -> Writer {
    Writer { name: name.to_owned(), applies, keys: keys(names), owners: keys(&["1"]) }
}

struct Case<'a> {
    wanted: &'a Wanted,
    live: Option<&'a Live>,
    rivals: &'a [&'a str],
    entitled: bool,
    owners: &'a [&'a str],
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            wanted: Box::leak(Box::new(wanted(&[("a", "1")]))),
            live: None,
            rivals: &[],
            entitled: false,
            owners: &["1"],
        }
    }
}

impl Case<'_> {
    fn judge(&self) -> Verdict {
        let owners: Vec<_> = self.owners.iter().map(|uid| owner(uid)).collect();
        let rivals = keys(self.rivals);
        let judge = Judge {
            manager: OURS,
            wanted: self.wanted,
            owners: &owners,
            rivals: &rivals,
            entitled: self.entitled,
        };
        judge.judge(self.live)
    }

    /// The values that would be written.
    fn written(&self) -> Vec<(String, String)> {
        let Step::Write(manifest, _) = self.judge().step else { return Vec::new() };
        let text = |value: &SecretBytes| value.expose_str().unwrap().to_owned();
        manifest.data.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }
}

fn leaves(verdict: &Verdict) -> bool {
    matches!(verdict.step, Step::Leave)
}

fn deletes(verdict: &Verdict) -> bool {
    matches!(&verdict.step, Step::Delete { uid, version } if uid == "u" && version == "7")
}

#[test]
fn a_secret_that_is_not_there_is_made_for_pods_that_live() {
    let Step::Write(manifest, _) = Case::default().judge().step else { panic!("not made") };
    assert_eq!((manifest.version, manifest.owners.len()), (None, 1));
    assert_eq!(manifest.labels[MANAGED], "true");

    assert!(leaves(&Case { owners: &[], ..Case::default() }.judge()), "the last pod is on its way");
    assert!(leaves(&Case { wanted: &wanted(&[]), ..Case::default() }.judge()), "there is nothing to show");
}

#[test]
fn a_typed_secret_is_made_only_whole() {
    for (absent, unusable) in [(keys(&["b"]), keys(&[])), (keys(&[]), keys(&["b"]))] {
        let kind = "kubernetes.io/tls".to_owned();
        let partial = Wanted { kind, absent, unusable, ..wanted(&[("a", "1")]) };
        assert!(leaves(&Case { wanted: &partial, ..Case::default() }.judge()));
    }
}

#[test]
fn one_that_is_not_managed_stays_as_it_is_and_the_remedy_is_told() {
    let foreign = Live { managed: false, ..live(&[]) };
    let verdict = Case { live: Some(&foreign), entitled: true, ..Case::default() }.judge();

    assert!(leaves(&verdict));
    assert!(
        verdict.faults[0].contains("is not managed by secretfs") && verdict.faults[0].contains("delete it")
    );
}

#[test]
fn a_type_is_not_changed() {
    let typed = Live { kind: "kubernetes.io/tls".to_owned(), ..live(&[("a", "1")]) };
    let verdict = Case { live: Some(&typed), entitled: true, ..Case::default() }.judge();

    assert!(leaves(&verdict) && verdict.faults[0].contains("a type cannot change; delete the Secret"));
}

#[test]
fn types_that_the_api_server_fills_with_credentials_are_never_made() {
    let token = Wanted { kind: "kubernetes.io/service-account-token".to_owned(), ..wanted(&[("a", "1")]) };
    let verdict = Case { wanted: &token, entitled: true, ..Case::default() }.judge();

    assert!(leaves(&verdict) && verdict.faults[0].contains("is never made"), "{:?}", verdict.faults);
}

#[test]
fn what_is_as_wanted_is_not_written() {
    let verdict = Case { live: Some(&live(&[("a", "1")])), ..Case::default() }.judge();

    assert!(leaves(&verdict) && !verdict.waits && verdict.faults.is_empty());
}

#[test]
fn another_value_of_the_class_is_overwritten_only_by_who_is_entitled() {
    let newer = live(&[("a", "2")]);
    let waiting = Case { live: Some(&newer), ..Case::default() }.judge();
    assert!(leaves(&waiting) && waiting.waits);

    let entitled = Case { live: Some(&newer), entitled: true, ..Case::default() };
    assert_eq!(entitled.written(), [("a".to_owned(), "1".to_owned())]);
}

#[test]
fn a_new_owner_is_added_at_once_and_overwrites_nothing() {
    let newer = live(&[("a", "2")]);
    let case = Case { live: Some(&newer), owners: &["2"], ..Case::default() };

    let Step::Write(manifest, _) = case.judge().step else { panic!("not added") };
    let uids: Vec<_> = manifest.owners.iter().map(|owner| owner.uid.as_str()).collect();
    assert_eq!(uids, ["1", "2"]);
    assert_eq!(case.written(), [("a".to_owned(), "2".to_owned())]);
    assert!(case.judge().waits);
}

#[test]
fn what_a_person_wrote_over_the_class_is_mended_and_what_they_added_stays_out_of_it() {
    let edited = Live {
        writers: vec![writer(OURS, true, &["b"]), writer("kubectl-edit", false, &["a", "theirs"])],
        ..live(&[("a", "edited"), ("b", "1"), ("theirs", "x")])
    };
    let wanted = wanted(&[("a", "1"), ("b", "1")]);

    let written = Case { wanted: &wanted, live: Some(&edited), ..Case::default() }.written();
    assert_eq!(written, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())]);
}

#[test]
fn of_two_classes_that_want_one_key_the_one_that_has_it_keeps_it() {
    let other = Live { writers: vec![writer("secretfs/other", true, &["a"])], ..live(&[("a", "2")]) };
    let both = wanted(&[("a", "1"), ("b", "1")]);
    let case = Case {
        wanted: &both,
        live: Some(&other),
        rivals: &["secretfs/other"],
        entitled: true,
        ..Case::default()
    };

    assert_eq!(case.written(), [("b".to_owned(), "1".to_owned())], "the other keys are merged");
    assert_eq!(
        case.judge().faults,
        ["key a of Secret db is written by class other with another value, so it stays as it is; \
          choose another key or another secretName"]
    );
    let alone = Case { live: Some(&other), rivals: &["secretfs/other"], entitled: true, ..Case::default() };
    assert!(leaves(&alone.judge()), "a class that may write nothing takes no part in the Secret");
    let gone = Case { live: Some(&other), entitled: true, ..Case::default() };
    assert_eq!(gone.written(), [("a".to_owned(), "1".to_owned())], "a class that is gone keeps nothing");
}

#[test]
fn a_key_whose_file_was_withdrawn_goes_whoever_wrote_it_too() {
    let shared = Live {
        writers: vec![writer(OURS, true, &["a", "b"]), writer("secrets-store-csi-driver", false, &["b"])],
        ..live(&[("a", "1"), ("b", "2")])
    };
    let less = Wanted { absent: keys(&["b"]), ..wanted(&[("a", "1")]) };

    let Step::Write(manifest, remove) =
        Case { wanted: &less, live: Some(&shared), entitled: true, ..Case::default() }.judge().step
    else {
        panic!("not written")
    };
    assert!(!manifest.data.contains_key("b"));
    assert_eq!(remove, keys(&["b"]));
    let waiting = Case { wanted: &less, live: Some(&shared), ..Case::default() }.judge();
    assert!(leaves(&waiting) && waiting.waits, "another node may still show it");
}

#[test]
fn a_secret_that_holds_nothing_more_of_anybody_is_deleted() {
    let none = Wanted { absent: keys(&["a"]), ..wanted(&[]) };
    let sole = live(&[("a", "1")]);
    assert!(deletes(&Case { wanted: &none, live: Some(&sole), entitled: true, ..Case::default() }.judge()));
    assert!(leaves(&Case { wanted: &none, live: Some(&sole), ..Case::default() }.judge()));

    let shared = Live { writers: vec![writer(OURS, true, &["a"])], ..live(&[("a", "1"), ("theirs", "x")]) };
    let case = Case { wanted: &none, live: Some(&shared), entitled: true, ..Case::default() };
    let Step::Write(manifest, _) = case.judge().step else { panic!("not emptied") };
    assert!(manifest.data.is_empty() && manifest.owners.is_empty());
}

#[test]
fn a_typed_secret_that_loses_a_key_is_deleted_whole() {
    let kind = "kubernetes.io/tls".to_owned();
    let crt = Wanted { kind: kind.clone(), absent: keys(&["tls.key"]), ..wanted(&[("tls.crt", "c")]) };
    let pair = Live { kind, ..live(&[("tls.crt", "c"), ("tls.key", "k")]) };

    assert!(deletes(&Case { wanted: &crt, live: Some(&pair), entitled: true, ..Case::default() }.judge()));
}

#[test]
fn a_key_whose_file_cannot_be_used_keeps_its_last_value() {
    let kind = "kubernetes.io/tls".to_owned();
    let broken = Wanted { kind: kind.clone(), unusable: keys(&["tls.key"]), ..wanted(&[("tls.crt", "new")]) };
    let pair = Live { kind, ..live(&[("tls.crt", "c"), ("tls.key", "k")]) };

    let written = Case { wanted: &broken, live: Some(&pair), entitled: true, ..Case::default() }.written();
    assert_eq!(written, [("tls.crt".to_owned(), "new".to_owned()), ("tls.key".to_owned(), "k".to_owned())]);
}

#[test]
fn a_secret_that_the_class_names_no_more_goes_unless_others_keep_something_in_it() {
    assert!(matches!(release("db", OURS, &live(&[("a", "1")])), Step::Delete { .. }));

    let shared = Live { writers: vec![writer(OURS, true, &["a"])], ..live(&[("a", "1"), ("theirs", "x")]) };
    let Step::Write(nothing, _) = release("db", OURS, &shared) else { panic!("not let go") };
    assert!(nothing.data.is_empty() && nothing.labels.is_empty() && nothing.kind.is_none());

    let foreign = Live { managed: false, ..live(&[("a", "1")]) };
    assert!(matches!(release("db", OURS, &foreign), Step::Leave));
    assert!(matches!(release("db", "secretfs/another", &live(&[("a", "1")])), Step::Leave));
}

#[test]
fn the_manager_of_a_class_with_a_long_name_is_short_enough_and_its_own() {
    let (long, longer) = ("x".repeat(130), "x".repeat(131));
    assert_eq!(manager("shop"), OURS);
    assert!(manager(&long).len() <= 128 && manager(&long) != manager(&longer));
}
