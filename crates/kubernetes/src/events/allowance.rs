//! How many Events one pod may have.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How many Events a pod may have at once. The same number as kubelet's.
const BURST: f64 = 25.0;
/// How long it takes until a pod may have one more Event. The same time as kubelet's.
const REFILL: Duration = Duration::from_secs(300);
/// Most pods that are remembered.
const PODS: usize = 4096;

/// How many Events each pod, by uid, may still have, and when that was counted.
#[derive(Debug, Default)]
pub(super) struct Allowance(HashMap<String, (f64, Instant)>);

impl Allowance {
    /// Takes one Event of the pod `uid`. `false` if it has none left.
    pub(super) fn take(&mut self, uid: &str, now: Instant) -> bool {
        if self.0.len() >= PODS {
            self.make_room(now);
        }
        let left = self.0.get(uid).map_or(BURST, |left| grown(*left, now));
        if left < 1.0 {
            return false;
        }
        self.0.insert(uid.to_owned(), (left - 1.0, now));
        true
    }

    /// Forgets pods that have all their Events again. If that frees no place, forgets the pod whose last Event is
    /// longest ago. So a new pod has its Events even after thousands of other pods.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, left| grown(*left, now) < BURST);
        if self.0.len() >= PODS {
            let longest_ago = self.0.iter().min_by_key(|(_, (_, since))| *since).map(|(uid, _)| uid.clone());
            longest_ago.and_then(|uid| self.0.remove(&uid));
        }
    }

    /// Forgets a pod that no longer exists.
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

    #[tokio::test]
    async fn a_new_pod_has_its_events_after_thousands_of_others() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        (0..PODS).for_each(|pod| assert!(allowance.take(&pod.to_string(), now)));

        assert!(allowance.take("new", now + Duration::from_secs(1)));
        assert!(allowance.take("newer", now + Duration::from_secs(1)) && allowance.0.contains_key("new"));
        assert_eq!(allowance.0.len(), PODS);
    }
}
