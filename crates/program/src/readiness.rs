//! Whether a process is ready: conditions, each of which some part of the process meets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The conditions that must be true before the process is ready. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// One condition. The code that makes it true holds the latch.
#[derive(Debug)]
pub struct Latch {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Adds a condition that is not met yet. `name` says what it is: `registered`, `recovered`, `mounter`.
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch { name, readiness: self.clone() };
        latch.set(false);
        latch
    }

    /// The conditions that are not met, in alphabetical order.
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().filter(|(_, met)| !**met).map(|(name, _)| *name).collect()
    }
}

impl Latch {
    /// Sets whether the condition is met from now on.
    pub fn set(&self, met: bool) {
        let mut conditions = self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.insert(self.name, met);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_until_it_is_met_and_again_once_it_is_lost() {
        let readiness = Readiness::default();
        let (recovered, registered) = (readiness.latch("recovered"), readiness.latch("registered"));
        assert_eq!(readiness.missing(), ["recovered", "registered"]);

        recovered.set(true);
        registered.set(true);
        assert!(readiness.missing().is_empty());

        registered.set(false);
        assert_eq!(readiness.missing(), ["registered"]);
    }
}
