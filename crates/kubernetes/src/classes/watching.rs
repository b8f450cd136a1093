//! The watch that keeps the classes current.

use std::sync::Arc;

use kube::api::DynamicObject;
use kube::{Api, Client};
use metrics::Metrics;
use program::readiness::Latch;
use tokio_util::sync::CancellationToken;

use super::{ApiClasses, ByName, object};
use crate::noticing::{Asked, Noticer};
use crate::watching::{Known, Watching};

/// Keeps [`ApiClasses`] current while it runs.
#[derive(Debug)]
pub struct Watch(Watching<Kept>);

#[derive(Debug)]
struct Kept {
    classes: Arc<ApiClasses>,
    /// The classes of an incomplete list.
    listing: ByName,
    filled: Latch,
    metrics: Metrics,
    noticer: Noticer,
}

impl Watch {
    /// Fills `classes` through `client`. Sets `filled` once the first list is complete, reports to `metrics`, and shows
    /// each class to `noticer`.
    pub(crate) fn new(
        classes: Arc<ApiClasses>,
        client: Client,
        filled: Latch,
        metrics: Metrics,
        noticer: Noticer,
    ) -> Self {
        let api = Api::all_with(client, &object::resource());
        Self(Watching::new(api, Kept { classes, listing: ByName::new(), filled, metrics, noticer }))
    }

    /// Follows the cluster's classes until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        self.0.run(shutdown).await;
    }
}

impl Known for Kept {
    const WISH: &'static str = "list and watch secretproviderclasses";

    fn begin(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: &DynamicObject) {
        let (name, known) = object::read(object);
        self.noticer.look(&Asked::Class(name.clone()), object);
        self.listing.insert(name, known);
    }

    fn complete(&mut self) {
        let listed = &self.listing;
        self.noticer.keep(|asked| matches!(asked, Asked::Class(name) if listed.contains_key(name)));
        self.classes.fill(std::mem::take(&mut self.listing));
        self.filled.set(true);
    }

    fn put(&mut self, object: &DynamicObject) {
        let (name, known) = object::read(object);
        self.noticer.look(&Asked::Class(name.clone()), object);
        self.classes.put(name, known);
    }

    fn remove(&mut self, object: &DynamicObject) {
        let name = object::name_of(object);
        self.noticer.forget(&Asked::Class(name.clone()));
        self.classes.remove(&name);
    }

    /// Counts each failure. Logs the first one after a success.
    fn failed(&mut self, reason: &str, again: bool) {
        self.metrics.class_watch_failed();
        self.metrics.set_class_watch(false);
        if !again {
            tracing::warn!(
                reason,
                "the API server cannot be asked for SecretProviderClasses; those known stay in use"
            );
        }
        self.classes.doubt(format!("the API server cannot be asked: {reason}"));
    }

    fn works(&mut self, again: bool) {
        let (whole, broken) = self.classes.count();
        self.metrics.set_classes(whole, broken);
        self.metrics.set_class_watch(true);
        if again {
            tracing::info!("SecretProviderClasses are watched again");
        }
        self.classes.trust();
    }
}
