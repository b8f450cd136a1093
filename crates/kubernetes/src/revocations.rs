//! The orders of a cluster to take secrets back: Revocations and ClusterRevocations.
//!
//! Needs `list` and `watch` on both. While the API server does not answer, the orders that were recorded last hold, also
//! in a process that starts then.

pub mod giving;
mod object;
#[cfg(test)]
mod tests;

pub use object::{GROUP, VERSION, Wish, resource};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::revocation::{Given, InForce, Record, Revocation};
use kube::api::DynamicObject;
use kube::{Api, Client};
use provider::Moment as _;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::watching::{Known, Watching};

/// Shortest time between two writings of the record.
const PAUSE: Duration = Duration::from_millis(100);

/// The orders by where they were given, and their names there.
type ByName = BTreeMap<(Given, String), Revocation>;

/// The orders of a cluster, as this node knows them.
#[derive(Debug)]
pub struct Orders {
    in_force: Arc<InForce>,
    record: Record,
    known: Mutex<ByName>,
    changed: Notify,
    /// Whether the API server has listed each kind, or has been asked for it in vain.
    asked: watch::Sender<[bool; 2]>,
}

/// The kinds of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `Revocation`, in a namespace.
    InNamespace,
    /// `ClusterRevocation`.
    InCluster,
}

impl Orders {
    /// Follows the orders that are in `record`, until the API server tells others.
    ///
    /// # Errors
    ///
    /// The record cannot be read or trusted. Then nobody knows what holds.
    pub fn recorded(record: Record, in_force: Arc<InForce>) -> std::io::Result<Arc<Self>> {
        let orders = record.load()?;
        let named = |order: Revocation| ((order.given.clone(), order.name.clone()), order);
        in_force.set_of_cluster(orders.clone());
        let known = Mutex::new(orders.into_iter().map(named).collect());
        let asked = watch::Sender::new([false; 2]);
        Ok(Arc::new(Self { in_force, record, known, changed: Notify::new(), asked }))
    }

    /// Follows the orders of one kind until `shutdown`.
    pub async fn follow(self: Arc<Self>, client: Client, kind: Kind, shutdown: CancellationToken) {
        let api = Api::all_with(client, &resource(kind));
        Watching::new(api, Kept { orders: self, kind, listing: ByName::new() }).run(shutdown).await;
    }

    /// Waits until the API server has listed both kinds or cannot be asked, for `patience` at most.
    pub async fn asked(&self, patience: Duration) {
        let mut asked = self.asked.subscribe();
        let deadline = Instant::now().later(patience);
        if timeout_at(deadline, asked.wait_for(|asked| *asked == [true; 2])).await.is_err() {
            tracing::warn!(
                "the API server does not tell which revocations there are; those recorded last hold"
            );
        }
    }

    /// Records the orders that are followed whenever they changed, until `shutdown`, and once more then. Whoever may give
    /// orders in one namespace cannot make the node write more often than ten times a second.
    pub async fn keep_recorded(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.changed.notified() => self.save().await,
            }
            sleep(PAUSE).await;
        }
        self.save().await;
    }

    async fn save(self: &Arc<Self>) {
        let orders = Arc::clone(self);
        let saved = spawn_blocking(move || orders.record.save(orders.in_force.of_cluster())).await;
        let error = match saved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(ended) => ended.to_string(),
        };
        tracing::error!(
            error,
            "revocations are followed but not recorded: a restart without the API server forgets them"
        );
    }

    fn change(&self, change: impl FnOnce(&mut ByName)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        // Under the lock, so that what was known last holds.
        self.in_force.set_of_cluster(known.values().cloned().collect());
        self.changed.notify_one();
    }

    fn note_asked(&self, kind: Kind) {
        self.asked.send_modify(|asked| asked[usize::from(kind == Kind::InCluster)] = true);
    }
}

/// What is known of one kind.
#[derive(Debug)]
struct Kept {
    orders: Arc<Orders>,
    kind: Kind,
    listing: ByName,
}

impl Kept {
    fn read(&self, object: &DynamicObject) -> Option<((Given, String), Revocation)> {
        match object::read(self.kind, object) {
            Ok(order) => Some(((order.given.clone(), order.name.clone()), order)),
            Err(why) => {
                tracing::error!(
                    name = object.metadata.name,
                    namespace = object.metadata.namespace,
                    why,
                    "an order to revoke cannot be followed"
                );
                None
            }
        }
    }
}

impl Known for Kept {
    const WISH: &'static str = "list and watch revocations and clusterrevocations";

    fn begin(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: &DynamicObject) {
        let read = self.read(object);
        self.listing.extend(read);
    }

    fn complete(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        self.orders.change(|known| {
            known.retain(|(given, _), _| Kind::of(given) != Some(self.kind));
            known.extend(listed);
        });
        self.orders.note_asked(self.kind);
    }

    fn put(&mut self, object: &DynamicObject) {
        let read = self.read(object);
        tracing::info!(order = read.as_ref().map(|(_, order)| order.to_string()), "an order to revoke");
        self.orders.change(|known| known.extend(read));
    }

    fn remove(&mut self, object: &DynamicObject) {
        let name = object::name_of(self.kind, object);
        tracing::info!(given = ?name.0, name = name.1, "an order to revoke was taken away");
        self.orders.change(|known| drop(known.remove(&name)));
    }

    fn failed(&mut self, reason: &str, again: bool) {
        if !again {
            tracing::warn!(reason, kind = ?self.kind, "the API server cannot be asked for revocations; those known hold");
        }
        self.orders.note_asked(self.kind);
    }

    fn works(&mut self, again: bool) {
        if again {
            tracing::info!(kind = ?self.kind, "revocations are watched again");
        }
    }
}

impl Kind {
    /// The kind of orders that are given there; none for a host.
    fn of(given: &Given) -> Option<Self> {
        match given {
            Given::InNamespace(_) => Some(Self::InNamespace),
            Given::InCluster => Some(Self::InCluster),
            Given::OnHost => None,
        }
    }
}
