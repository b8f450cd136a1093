//! How many Events one pod may have.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Events that a pod may have at once.
const BURST: f64 = 25.0;
/// Until it may have one more. Both as kubelet's.
const REFILL: Duration = Duration::from_secs(300);
/// Pods that are remembered.
const PODS: usize = 4096;

/// What is left to each pod.
#[derive(Debug, Default)]
pub(super) struct Allowance(HashMap<String, (f64, Instant)>);

impl Allowance {
    /// Takes one Event of the pod `uid`, if it has one left.
    pub(super) fn take(&mut self, uid: &str, now: Instant) -> bool {
        if self.0.len() >= PODS {
            self.0.retain(|_, left| grown(*left, now) < BURST);
        }
        let left = self.0.get(uid).map_or(BURST, |left| grown(*left, now));
        if left < 1.0 || (self.0.len() >= PODS && !self.0.contains_key(uid)) {
            return false;
        }
        self.0.insert(uid.to_owned(), (left - 1.0, now));
        true
    }

    /// The pod is gone.
    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}

fn grown((left, since): (f64, Instant), now: Instant) -> f64 {
    let grown = now.saturating_duration_since(since).as_secs_f64() / REFILL.as_secs_f64();
    (left + grown).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pod_has_25_events_and_then_one_each_five_minutes_and_others_have_their_own() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        let taken = (0..40).filter(|_| allowance.take("a", now)).count();

        assert_eq!(taken, 25);
        assert!(allowance.take("b", now));
        assert!(!allowance.take("a", now + REFILL / 2));
        assert!(allowance.take("a", now + REFILL));
        allowance.forget("a");
        assert!(allowance.take("a", now + REFILL));
    }
}
