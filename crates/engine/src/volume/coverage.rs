//! Which version of each object the containers of a volume opened last; plain state.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::mode::Opening;
use crate::snapshot::{Made, Snapshot};

/// How many pairs of container and object of one volume are remembered.
const PAIRS_MAX: usize = 4096;

/// What one container opened last of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Name of the container; `None` where there is none or it is not known.
    pub container: Option<String>,
    /// The object's `objectName`.
    pub object: String,
    /// The store's name for the version, or else its fingerprint.
    pub version: String,
    /// When it was opened last.
    pub last: Timestamp,
    /// How often, in all versions.
    pub count: u64,
}

/// What the containers of one volume opened since this process serves it.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<(Option<String>, String), Opened>);

impl Coverage {
    /// Takes note of an opening. `shown` is what the volume shows now.
    pub(super) fn note(&mut self, opening: &Opening, shown: &Snapshot) {
        if !opening.is_allowed {
            return;
        }
        let path = opening.path.as_deref().unwrap_or_default();
        let shows = |made: &&Made| made.asked.paths().any(|own| own.as_str() == path);
        let made = if opening.made.is_empty() && opening.is_newest { shown.objects() } else { &opening.made };
        made.iter().filter(shows).for_each(|made| self.opened(opening, made));
    }

    fn opened(&mut self, opening: &Opening, made: &Made) {
        let key = (opening.caller.container.clone(), made.asked.name.clone());
        let version = made.version.clone().unwrap_or_else(|| made.fingerprint.to_string());
        if let Some(known) = self.0.get_mut(&key) {
            known.count = known.count.saturating_add(opening.count);
            if known.last <= opening.last {
                (known.version, known.last) = (version, opening.last);
            }
        } else if self.0.len() < PAIRS_MAX {
            let (container, object) = key.clone();
            let opened = Opened { container, object, version, last: opening.last, count: opening.count };
            self.0.insert(key, opened);
        }
    }

    pub(super) fn list(&self) -> Vec<Opened> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use provider::{Origin, Scope};

    use super::*;
    use crate::mode::Caller;
    use crate::snapshot::{Asked, FingerprintKey};

    fn made(version: &str) -> Made {
        let path = provider::ObjectPath::try_from("pw").unwrap();
        let origin = Origin { address: "a".into(), scope: Scope::Whole, path: "db".to_owned(), key: None };
        let fingerprint = FingerprintKey::new(&[0; 32]).fingerprint(&path, b"");
        let asked = Asked { name: "password".to_owned(), origin, file: Some(path), composed: Vec::new() };
        Made { asked, version: Some(version.to_owned()), fingerprint }
    }

    fn opening(container: &str, version: &str, second: i64) -> Opening {
        let time = Timestamp::from_second(second).unwrap();
        Opening {
            unopened: None,
            path: Some("pw".to_owned()),
            caller: Caller { container: Some(container.to_owned()), ..Caller::default() },
            program: None,
            name: None,
            is_allowed: true,
            count: 2,
            first: time,
            last: time,
            made: vec![made(version)],
            is_newest: false,
        }
    }

    fn told(coverage: &Coverage) -> Vec<(String, String, u64)> {
        let told = |opened: Opened| (opened.container.unwrap(), opened.version, opened.count);
        coverage.list().into_iter().map(told).collect()
    }

    #[test]
    fn the_version_that_was_opened_last_counts_in_whatever_order_it_is_told() {
        let (mut coverage, shown) = (Coverage::default(), Snapshot::default());
        for opening in [opening("web", "2", 20), opening("web", "1", 10), opening("side", "1", 5)] {
            coverage.note(&opening, &shown);
        }
        coverage.note(&Opening { is_allowed: false, ..opening("evil", "2", 30) }, &shown);

        let [side, web] = [("side", "1", 2), ("web", "2", 4)]
            .map(|(container, version, count)| (container.to_owned(), version.to_owned(), count));
        assert_eq!(told(&coverage), [side, web]);
    }

    #[test]
    fn where_nothing_is_known_of_a_version_what_is_shown_now_tells_if_it_is_that_one() {
        let (mut coverage, shown) = (Coverage::default(), Snapshot::default().made_of(vec![made("7")]));
        let unknown = Opening { made: Vec::new(), ..opening("web", "", 1) };
        coverage.note(&unknown, &shown);
        assert!(coverage.list().is_empty());

        coverage.note(&Opening { is_newest: true, ..unknown }, &shown);

        assert_eq!(coverage.list()[0].version, "7");
    }
}
