//! Why requested volumes are not mounted: the last failure of each, for people who ask why a pod does not start.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::volume::{ClassName, Publish, VolumeId};

/// Most refusals that are kept.
const MOST: usize = 1024;
/// Most refusals of one namespace: many broken pods of one namespace must not hide those of others.
const MOST_OF_NAMESPACE: usize = 64;
/// How long a refusal is kept. kubelet tries again within two or three minutes; it does not tell when it gives up.
const KEPT: Duration = Duration::from_secs(600);
/// Longest reason, in bytes. The rest is cut off.
const LONGEST: usize = 2048;

/// A volume that was requested and is not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The volume's id.
    pub id: VolumeId,
    /// The class whose objects it would show.
    pub class: ClassName,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the workload.
    pub service_account: String,
    /// Name of the pod, if there is one.
    pub pod: Option<String>,
    /// How often the request failed.
    pub times: u64,
    /// When it failed first.
    pub first: Instant,
    /// When it failed last.
    pub last: Instant,
    /// Why it failed last; never a value or a token.
    pub reason: String,
}

/// The refusals of this process. Their number is bounded for each namespace and in total.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<VolumeId, Refusal>);

impl Refusals {
    /// The volume of `publish` could not be mounted.
    pub(super) fn note(&mut self, publish: &Publish, reason: &str, now: Instant) {
        self.forget_old(now);
        let before = self.0.remove(&publish.id);
        self.make_room(publish.subject.namespace());
        let refusal = Refusal {
            id: publish.id.clone(),
            class: publish.class.clone(),
            namespace: publish.subject.namespace().to_owned(),
            service_account: publish.subject.service_account().to_owned(),
            pod: publish.subject.pod.as_ref().map(|pod| pod.name.clone()),
            times: before.as_ref().map_or(0, |before| before.times).saturating_add(1),
            first: before.map_or(now, |before| before.first),
            last: now,
            reason: reason.get(..reason.floor_char_boundary(LONGEST)).unwrap_or(reason).to_owned(),
        };
        self.0.insert(publish.id.clone(), refusal);
    }

    /// Forgets a volume, because it is mounted or nobody wants it any more.
    pub(super) fn forget(&mut self, id: &VolumeId) {
        self.0.remove(id);
    }

    /// The refusals that are not too old, ordered by volume id.
    pub(super) fn list(&mut self, now: Instant) -> Vec<Refusal> {
        self.forget_old(now);
        self.0.values().cloned().collect()
    }

    fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, refusal| now.saturating_duration_since(refusal.last) < KEPT);
    }

    /// Makes room for one refusal of `namespace`. If the namespace has its share, drops its oldest one. Otherwise, if
    /// all places are taken, drops the oldest one of the namespace that has most.
    fn make_room(&mut self, namespace: &str) {
        let counts = self.counts();
        if counts.get(namespace).is_some_and(|count| *count >= MOST_OF_NAMESPACE) {
            self.drop_oldest_of(namespace);
        } else if self.0.len() >= MOST {
            let greatest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name);
            self.drop_oldest_of(&greatest.unwrap_or_default());
        }
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for refusal in self.0.values() {
            *counts.entry(refusal.namespace.clone()).or_insert(0) += 1;
        }
        counts
    }

    fn drop_oldest_of(&mut self, namespace: &str) {
        let of_it = self.0.values().filter(|refusal| refusal.namespace == namespace);
        if let Some(oldest) = of_it.min_by_key(|refusal| refusal.last).map(|refusal| refusal.id.clone()) {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Appearance;
    use crate::subject::Subject;

    fn publish_of(namespace: &str, id: &str) -> Publish {
        Publish {
            id: VolumeId(id.to_owned()),
            target: format!("/pods/{id}/mount").into(),
            class: ClassName { namespace: namespace.to_owned(), name: "db".to_owned() },
            subject: Subject { identity: provider::Identity::named(namespace, "web"), pod: None },
            attributes: BTreeMap::new(),
            appearance: Appearance::default(),
            timeout: Duration::from_secs(1),
        }
    }

    fn noted(refusals: &mut Refusals, namespace: &str, id: &str, now: Instant) {
        refusals.note(&publish_of(namespace, id), "the store is away", now);
    }

    fn ids(refusals: &mut Refusals, now: Instant) -> Vec<String> {
        refusals.list(now).into_iter().map(|refusal| refusal.id.0).collect()
    }

    #[test]
    fn the_last_refusal_of_a_volume_stands_and_says_how_often_and_since_when() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        let later = begun + Duration::from_secs(90);

        noted(&mut refusals, "shop", "a", begun);
        refusals.note(&publish_of("shop", "a"), "permission denied", later);

        let [refusal] = refusals.list(later).try_into().unwrap();
        assert_eq!((refusal.times, refusal.first, refusal.last), (2, begun, later));
        assert_eq!(refusal.reason, "permission denied");
    }

    #[test]
    fn it_goes_when_the_volume_is_mounted_and_after_a_time() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        noted(&mut refusals, "shop", "a", begun);
        noted(&mut refusals, "shop", "b", begun);

        refusals.forget(&VolumeId("a".to_owned()));

        assert_eq!(ids(&mut refusals, begun), ["b"]);
        assert!(ids(&mut refusals, begun + KEPT).is_empty());
    }

    #[test]
    fn a_namespace_with_many_hides_nobody_elses() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        noted(&mut refusals, "shop", "mine", begun);

        for number in 0..10 * MOST {
            noted(&mut refusals, "evil", &format!("evil-{number}"), begun + Duration::from_millis(1));
        }

        let kept = ids(&mut refusals, begun);
        assert_eq!(kept.len(), MOST_OF_NAMESPACE + 1);
        assert!(kept.contains(&"mine".to_owned()));
    }

    #[test]
    fn many_namespaces_together_are_bounded_and_who_has_most_gives_way() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        noted(&mut refusals, "shop", "mine", begun);

        for number in 0..3 * MOST {
            noted(&mut refusals, &format!("evil-{}", number / 60), &format!("evil-{number}"), begun);
        }

        let kept = ids(&mut refusals, begun);
        assert_eq!(kept.len(), MOST);
        assert!(kept.contains(&"mine".to_owned()));
    }

    #[test]
    fn a_reason_without_end_is_cut() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());

        refusals.note(&publish_of("shop", "a"), &"ä".repeat(1 << 20), begun);

        assert!(refusals.list(begun).iter().all(|refusal| refusal.reason.len() <= LONGEST));
    }
}
