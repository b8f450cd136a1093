//! The orders that hold now, by namespace.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use class::ClassName;
use provider::Source;
use tokio::sync::watch;

use super::{Given, MOST, Named, Revocation};
use crate::subject::Subject;

/// The orders by the namespace that they name; `None` has those that name no namespace.
type ByNamespace = BTreeMap<Option<String>, Vec<Arc<Revocation>>>;

/// The orders that hold now.
#[derive(Debug)]
pub struct InForce {
    orders: RwLock<ByNamespace>,
    /// Counts up with each change.
    changes: watch::Sender<u64>,
}

impl Default for InForce {
    fn default() -> Self {
        Self { orders: RwLock::default(), changes: watch::Sender::new(0) }
    }
}

impl InForce {
    /// Replaces the orders that were given on this host. Those of a cluster stay.
    pub fn set_of_host(&self, orders: Vec<Revocation>) {
        self.set(orders, |given| *given == Given::OnHost);
    }

    /// Replaces the orders that were given in a cluster. Those of this host stay.
    pub fn set_of_cluster(&self, orders: Vec<Revocation>) {
        self.set(orders, |given| *given != Given::OnHost);
    }

    fn set(&self, orders: Vec<Revocation>, is_replaced: impl Fn(&Given) -> bool) {
        let mut place = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        let kept = place.values().flatten().filter(|order| !is_replaced(&order.given)).cloned();
        let given = bounded(orders.into_iter().filter(|order| is_replaced(&order.given)));
        let mut next = ByNamespace::new();
        for order in kept.chain(given) {
            next.entry(namespace_of(&order)).or_default().push(order);
        }
        next.values_mut()
            .for_each(|orders| orders.sort_by(|a, b| (&a.given, &a.name).cmp(&(&b.given, &b.name))));
        if *place == next {
            return;
        }
        *place = next;
        drop(place);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The orders that concern the volumes of `subject` that follow `class`.
    pub fn on(&self, subject: &Subject, class: &ClassName) -> On {
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner);
        let of = |namespace: Option<String>| orders.get(&namespace).into_iter().flatten();
        let named = of(Some(subject.namespace().to_owned()));
        let concerning = of(None).chain(named).filter(|order| order.concerns(subject, class));
        On(concerning.cloned().collect())
    }

    /// The orders that were given in a cluster, as far as they are followed.
    pub fn of_cluster(&self) -> Vec<Revocation> {
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner);
        let given = orders.values().flatten().filter(|order| order.given != Given::OnHost);
        given.map(|order| Revocation::clone(order)).collect()
    }

    /// Counts up with each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Leaves out orders beyond [`MOST`] of one giver, and says so.
fn bounded(orders: impl Iterator<Item = Revocation>) -> Vec<Arc<Revocation>> {
    let (mut counts, mut kept) = (BTreeMap::<Given, usize>::new(), Vec::new());
    for order in orders {
        let count = counts.entry(order.given.clone()).or_default();
        *count = count.saturating_add(1);
        if *count <= MOST {
            kept.push(Arc::new(order));
        }
    }
    for (given, count) in counts.iter().filter(|(_, count)| **count > MOST) {
        tracing::error!(
            ?given,
            count,
            most = MOST,
            "too many orders to revoke: some are not followed; delete those that are done with"
        );
    }
    kept
}

fn namespace_of(order: &Revocation) -> Option<String> {
    match &order.given {
        Given::InNamespace(namespace) => Some(namespace.clone()),
        Given::InCluster | Given::OnHost => order.target.namespace.clone(),
    }
}

/// The orders that concern one volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct On(Vec<Arc<Revocation>>);

impl On {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The order that covers `object`, if one does.
    pub fn of(&self, object: Named<'_>) -> Option<&Revocation> {
        self.0.iter().map(|order| &**order).find(|order| order.covers(object))
    }

    /// The order that covers the object `index` that `source` lists, if one does.
    pub fn of_listed(&self, source: &dyn Source, index: usize) -> Option<&Revocation> {
        let object = source.objects().get(index)?;
        let origin = source.origin(index).path;
        self.of(Named { name: &object.name, path: object.path.as_str(), origin: Some(&origin) })
    }

    /// One of them, if there are any.
    pub fn first(&self) -> Option<&Revocation> {
        self.0.first().map(|order| &**order)
    }

    /// The order that covers every object, if one does.
    pub fn whole(&self) -> Option<&Revocation> {
        self.0.iter().map(|order| &**order).find(|order| order.target.object.is_none())
    }
}

#[cfg(test)]
mod tests {
    use provider::Identity;

    use super::*;
    use crate::revocation::tests::{order, target};

    fn on(orders: &InForce, namespace: &str) -> usize {
        let subject = Subject { identity: Identity::named(namespace, "sa"), pod: None };
        let class = ClassName { namespace: namespace.to_owned(), name: "db".to_owned() };
        orders.on(&subject, &class).0.len()
    }

    #[test]
    fn orders_of_a_cluster_and_of_the_host_are_replaced_apart() {
        let orders = InForce::default();
        orders.set_of_host(vec![order(Given::OnHost, target(["", "", "db", ""]))]);
        orders.set_of_cluster(vec![order(Given::InCluster, target(["shop", "", "", ""]))]);
        assert_eq!((on(&orders, "shop"), on(&orders, "billing")), (2, 1));

        orders.set_of_cluster(Vec::new());
        assert_eq!(on(&orders, "shop"), 1);
    }

    #[test]
    fn nobody_is_told_of_orders_that_are_the_same() {
        let orders = InForce::default();
        let given = || vec![order(Given::InCluster, target(["shop", "", "", ""]))];
        let mut changes = orders.changes();
        orders.set_of_cluster(given());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();

        orders.set_of_cluster(given());
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn a_namespace_with_many_orders_costs_no_other_namespace_an_order() {
        let orders = InForce::default();
        let many = (0..MOST + 5).map(|n| Revocation {
            name: n.to_string(),
            ..order(Given::InNamespace("loud".to_owned()), target(["", "", "db", ""]))
        });
        let other = order(Given::InNamespace("shop".to_owned()), target(["", "", "db", ""]));
        orders.set_of_cluster(many.chain([other]).collect());

        assert_eq!((on(&orders, "loud"), on(&orders, "shop")), (MOST, 1));
        assert_eq!(orders.of_cluster().len(), MOST + 1, "nor does a node record more than it follows");
    }
}
