//! Which files go, and why.

use std::collections::{BTreeMap, BTreeSet};

use metrics::Withdrawal;
use provider::ObjectPath;

use super::Content;
use crate::snapshot::{File, Snapshot};
use crate::volume::freshness::{Condition, Freshness};

impl Content {
    /// The reason of the withdrawals, if there were any.
    pub fn withdrawal(&self) -> Withdrawal {
        let withdrawn = self.objects.iter().find(|state| state.is_withdrawn());
        match withdrawn.map(Freshness::condition) {
            Some(Condition::Denied) => Withdrawal::Denied,
            Some(Condition::Stale) => Withdrawal::Stale,
            Some(Condition::Revoked | Condition::Fresh | Condition::Missing) | None => Withdrawal::Revoked,
        }
    }

    /// The files that disappear now because a store took them back, and not because the class no longer asks for them.
    pub(super) fn withdrawn(
        &self,
        shown: &Snapshot,
        files: &BTreeMap<ObjectPath, File>,
    ) -> BTreeSet<ObjectPath> {
        if !self.objects.iter().any(Freshness::is_withdrawn) {
            return BTreeSet::new();
        }
        shown.iter().map(|(path, _)| path).filter(|path| !files.contains_key(path)).cloned().collect()
    }
}
