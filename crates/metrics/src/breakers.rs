use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Stores that are named at one time; more are counted together.
const MOST_NAMED: usize = 20;
/// Longest name that is told, in bytes.
const MOST_BYTES: usize = 200;
/// Stands for the stores that are not named.
const OTHERS: &str = "others";

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct Labels {
    state: &'static str,
    store: String,
    namespace: String,
}

/// Stores by the state of their circuit breaker. Those that are left alone are named.
#[derive(Debug, Clone, Default)]
pub(super) struct Breakers {
    family: Family<Labels, Gauge>,
    shown: Arc<Mutex<BTreeMap<Labels, i64>>>,
}

impl Breakers {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "breaker_state",
            "Stores by the state of their circuit breaker; open ones by name, with their namespace if only one reads from them",
            self.family.clone(),
        );
    }

    pub(super) fn set(&self, closed: usize, open: &[(String, Option<String>)]) {
        let now = labels(closed, open);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (labels, count) in &now {
            self.family.get_or_create(labels).set(*count);
        }
        for gone in shown.keys().filter(|labels| !now.contains_key(labels)) {
            self.family.remove(gone);
        }
        *shown = now;
    }
}

fn labels(closed: usize, open: &[(String, Option<String>)]) -> BTreeMap<Labels, i64> {
    let none = String::new;
    let mut all = BTreeMap::from([
        (Labels { state: "closed", store: none(), namespace: none() }, super::labels::gauge(closed)),
        (Labels { state: "open", store: none(), namespace: none() }, 0),
    ]);
    for (index, (store, namespace)) in open.iter().enumerate() {
        let named = index < MOST_NAMED;
        let store = if named { cut(store) } else { OTHERS.to_owned() };
        let namespace = namespace.clone().filter(|_| named).unwrap_or_default();
        *all.entry(Labels { state: "open", store, namespace }).or_default() += 1;
    }
    all
}

/// The beginning of a name, which a class may have made as long as it likes.
fn cut(name: &str) -> String {
    name.get(..name.floor_char_boundary(MOST_BYTES)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stores_are_named_and_the_others_counted_whatever_classes_call_them() {
        let open: Vec<_> =
            (0..1000).map(|n| (format!("{}{n}", "x".repeat(500)), Some("evil".to_owned()))).collect();
        let breakers = Breakers::default();
        for _ in 0..3 {
            breakers.set(1, &open);
            breakers.set(1, &[]);
        }
        breakers.set(1, &open);

        let shown = breakers.shown.lock().unwrap();
        assert!(shown.len() <= MOST_NAMED + 3, "{}", shown.len());
        assert!(shown.keys().all(|labels| labels.store.len() <= MOST_BYTES));
        assert_eq!(shown.values().sum::<i64>(), 1001);
    }
}
