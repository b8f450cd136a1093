//! The annotation on the pod template of a workload: for which versions it was rolled out, and when last. Plain state.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use k8s_openapi::jiff::Timestamp;
use provider::{Origin, Scope};

/// The annotation.
pub(crate) const ANNOTATION: &str = "secretfs.dev/rolled-out-for";
/// How many bytes of the hash a digest has: enough to tell the versions of one workload apart.
const BYTES: usize = 8;
/// How many versions an annotation names, newest first. A node that is so many versions behind may cause a rollout anew.
pub(super) const KEPT: usize = 256;
/// Of more versions in one rotation, one digest of all of them is written.
const MOST_AT_ONCE: usize = 64;
/// The longest annotation that is read. Whatever somebody else wrote there, no more of it counts.
const MOST_TEXT: usize = 8192;

/// Stands for one version of one secret of a store: the same on every node. It is made of names alone, and never of a
/// value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(String);

impl Digest {
    /// The digest of `version` of the secret that `provider` keeps at `origin`. All keys of a secret have its version.
    pub(crate) fn of(provider: &str, origin: &Origin, version: &str) -> Self {
        let scope = match &origin.scope {
            Scope::Named(namespace) => namespace.as_str(),
            Scope::Whole | Scope::OfWorkload => "",
        };
        Self::over([provider, &origin.address, scope, &origin.path, version])
    }

    /// One digest for several.
    fn of_all(digests: &BTreeSet<Self>) -> Self {
        Self::over(digests.iter().map(|digest| digest.0.as_str()))
    }

    fn over<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in parts {
            hash.update(&part.len().to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finish().as_ref().iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    fn read(text: &str) -> Option<Self> {
        let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 2 * BYTES && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `digests`, or one for all of them if they are many.
pub(crate) fn bounded(digests: BTreeSet<Digest>) -> BTreeSet<Digest> {
    if digests.len() <= MOST_AT_ONCE { digests } else { BTreeSet::from([Digest::of_all(&digests)]) }
}

/// What an annotation says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// When the workload was rolled out last. `None` if it never was.
    at: Option<Timestamp>,
    /// For which versions, newest first.
    digests: Vec<Digest>,
}

/// What is to be done about a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It was rolled out for these versions.
    Done,
    /// It was rolled out a short time ago; so long it is too early.
    Wait(Duration),
    /// It is to be rolled out, with this annotation.
    RollOut(String),
}

impl Mark {
    /// Reads an annotation. What does not belong there does not count.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let text = text.filter(|text| text.len() <= MOST_TEXT).unwrap_or_default();
        let mut words = text.split(' ');
        let at = words.next().and_then(|word| word.parse().ok());
        Self { at, digests: words.filter_map(Digest::read).take(KEPT).collect() }
    }

    /// What to do at `now` so that the workload is rolled out for the versions `wanted`, at most once in `every`.
    pub(crate) fn judge(&self, wanted: &BTreeSet<Digest>, now: Timestamp, every: Duration) -> Judgement {
        let missing: Vec<&Digest> = wanted.iter().filter(|digest| !self.digests.contains(digest)).collect();
        if missing.is_empty() {
            return Judgement::Done;
        }
        if let Some(wait) = self.wait(now, every) {
            return Judgement::Wait(wait);
        }
        let digests = missing.into_iter().chain(&self.digests).take(KEPT);
        // A second is exact enough, and short.
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        Judgement::RollOut(digests.fold(second.to_string(), |text, digest| format!("{text} {digest}")))
    }

    /// How long it is too early for another rollout. A time that lies further ahead than clocks of nodes differ was
    /// written by nobody of ours, and holds nothing up.
    fn wait(&self, now: Timestamp, every: Duration) -> Option<Duration> {
        let passed = now.duration_since(self.at?);
        match Duration::try_from(passed) {
            Ok(passed) => every.checked_sub(passed).filter(|wait| !wait.is_zero()),
            Err(_) => (passed.unsigned_abs() <= every).then_some(every),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(300);

    fn digest(version: &str) -> Digest {
        let origin = Origin {
            address: "https://vault:8200".to_owned(),
            scope: Scope::Whole,
            path: "secret/data/db".to_owned(),
            key: Some("user".to_owned()),
        };
        Digest::of("vault", &origin, version)
    }

    fn set(versions: &[&str]) -> BTreeSet<Digest> {
        versions.iter().map(|version| digest(version)).collect()
    }

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// The annotation after `versions` were wanted at `second` and nothing was too early.
    fn written(before: Option<&str>, versions: &[&str], second: i64) -> String {
        match Mark::read(before).judge(&set(versions), moment(second), EVERY) {
            Judgement::RollOut(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_version_that_the_annotation_names_is_rolled_out_for_no_more_also_if_a_newer_one_is_there() {
        let first = written(None, &["1"], 0);
        let second = written(Some(&first), &["2"], 300);
        let mark = Mark::read(Some(&second));

        for versions in [&["2"][..], &["1"], &["1", "2"]] {
            assert_eq!(mark.judge(&set(versions), moment(9999), EVERY), Judgement::Done, "{versions:?}");
        }
        assert!(matches!(mark.judge(&set(&["2", "3"]), moment(9999), EVERY), Judgement::RollOut(_)));
        assert_eq!(second.split(' ').count(), 3, "{second}");
        assert!(second.starts_with("2027-01-15T08:05:00Z "), "{second}");
    }

    #[test]
    fn a_workload_is_rolled_out_at_most_once_in_a_while_whatever_is_new() {
        let mark = Mark::read(Some(&written(None, &["1"], 0)));
        let judged = |second| mark.judge(&set(&["2"]), moment(second), EVERY);

        assert_eq!(judged(0), Judgement::Wait(EVERY));
        assert_eq!(judged(299), Judgement::Wait(Duration::from_secs(1)));
        assert!(matches!(judged(300), Judgement::RollOut(_)));
        // The clock of the node that wrote it is ahead.
        assert_eq!(judged(-60), Judgement::Wait(EVERY));
        assert!(matches!(judged(-301), Judgement::RollOut(_)), "nobody's clock is so far ahead");
    }

    #[test]
    fn what_somebody_else_wrote_there_counts_for_nothing() {
        let long = format!("2027-01-15T08:05:00Z {}", digest("1").to_string().repeat(1000));
        for text in ["", "x", "restart please", &long, "2027-01-15T08:05:00Z ABCDEF0123456789 0 ../../etc"] {
            let mark = Mark::read(Some(text));
            assert_eq!(mark.digests, [], "{text}");
        }
    }

    #[test]
    fn an_annotation_has_a_bound_and_names_the_newest() {
        let versions: Vec<String> = (0..300).map(|version| version.to_string()).collect();
        let mut text = None;
        for (second, version) in versions.iter().enumerate() {
            text = Some(written(text.as_deref(), &[version], 300 * i64::try_from(second).unwrap()));
        }
        let mark = Mark::read(text.as_deref());

        assert_eq!(mark.digests.len(), KEPT);
        assert_eq!(mark.digests[0], digest("299"));
        assert!(text.unwrap().len() < MOST_TEXT);
    }

    #[test]
    fn many_versions_at_once_are_one_digest_which_is_the_same_everywhere() {
        let many = |count: usize| (0..count).map(|version| digest(&version.to_string())).collect();

        assert_eq!(bounded(many(64)).len(), 64);
        assert_eq!((bounded(many(65)).len(), bounded(many(65))), (1, bounded(many(65))));
        assert_ne!(bounded(many(65)), bounded(many(66)));
    }

    #[test]
    fn two_keys_of_one_secret_have_one_version_and_two_stores_have_two() {
        let origin = |address: &str, key: &str| Origin {
            address: address.to_owned(),
            scope: Scope::Whole,
            path: "db".to_owned(),
            key: Some(key.to_owned()),
        };
        let of = |address, key| Digest::of("vault", &origin(address, key), "4");

        assert_eq!(of("https://a", "user"), of("https://a", "password"));
        assert_ne!(of("https://a", "user"), of("https://b", "user"));
    }
}
