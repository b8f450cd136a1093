//! What is read from a Kubernetes API server and told to it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{ByState, gauge};

/// What happened to a message for the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Telling {
    /// The API server accepted it.
    Told,
    /// It did not; that is tried again or given up, as the thing deserves.
    Failed,
    /// There was no room to keep it until it could be told.
    Dropped,
}

impl Telling {
    fn label(self) -> &'static str {
        match self {
            Self::Told => "ok",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// What happened to a Kubernetes Secret that a class wants from mounted files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syncing {
    /// It is as wanted.
    Synced,
    /// It is not, and somebody must do something: its pods' Events say what.
    Refused,
    /// The API server does not answer, or forbids it; that is tried again.
    Failed,
}

impl Syncing {
    fn label(self) -> &'static str {
        match self {
            Self::Synced => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Unlabelled {}

#[derive(Clone, Default)]
pub(super) struct Api {
    classes: Family<ByState, Gauge>,
    watch_failures: Counter,
    /// Absent where there is no API server to tell of.
    watch_up: Family<Unlabelled, Gauge>,
    pod_statuses: Family<ByOutcome, Counter>,
    events: Family<ByOutcome, Counter>,
    secrets: Family<ByOutcome, Counter>,
}

impl Api {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "classes",
            "SecretProviderClasses of the cluster, by whether they can be used",
            self.classes.clone(),
        );
        registry.register(
            "class_watch_up",
            "Whether the API server reports changes of SecretProviderClasses (1), or known ones are used unchanged (0)",
            self.watch_up.clone(),
        );
        registry.register(
            "class_watch_failures",
            "Times that the API server could not be asked for SecretProviderClasses",
            self.watch_failures.clone(),
        );
        registry.register(
            "pod_status",
            "Writes of SecretProviderClassPodStatuses, by outcome",
            self.pod_statuses.clone(),
        );
        registry.register("events", "Events on pods, by outcome", self.events.clone());
        registry.register(
            "secret_sync",
            "Checks of Kubernetes Secrets made from mounted files, by outcome",
            self.secrets.clone(),
        );
    }

    pub(super) fn set_classes(&self, whole: usize, broken: usize) {
        self.classes.get_or_create(&ByState { state: "whole" }).set(gauge(whole));
        self.classes.get_or_create(&ByState { state: "broken" }).set(gauge(broken));
    }

    pub(super) fn set_watch_up(&self, up: bool) {
        self.watch_up.get_or_create(&Unlabelled {}).set(i64::from(up));
    }

    pub(super) fn watch_failed(&self) {
        self.watch_failures.inc();
    }

    pub(super) fn pod_status(&self, telling: Telling) {
        self.pod_statuses.get_or_create(&ByOutcome { outcome: telling.label() }).inc();
    }

    pub(super) fn secret(&self, syncing: Syncing) {
        self.secrets.get_or_create(&ByOutcome { outcome: syncing.label() }).inc();
    }

    pub(super) fn event(&self, telling: Telling) {
        self.events.get_or_create(&ByOutcome { outcome: telling.label() }).inc();
    }
}
