//! The metrics of the Secrets Store CSI driver under its own names, so that its dashboards and alerts still work.
//!
//! They mean what their names say: `rotated` tells whether something changed, a refresh that found nothing new is not
//! an error, and synced Secrets are counted. The `otel_scope_*` labels are missing, because they would name another
//! library. A query that does not ask for them finds the series.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Provider, Refresh};

/// Bounds of upstream's histograms, in seconds.
const BUCKETS: [f64; 11] = [0.1, 0.1349, 0.1821, 0.2456, 0.3314, 0.4472, 0.6034, 0.8142, 1.0986, 1.4823, 2.0];
/// There is one kind of node.
const OS: &str = "linux";

/// Why a publish failed, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// There is no such class.
    SecretProviderClassNotFound,
    /// The store, or the way to it.
    GrpcProviderError,
    /// The files could not be written.
    FileWriteError,
    /// A request that breaks a rule, and everything else.
    FailedToMount,
}

impl ErrorType {
    fn label(self) -> &'static str {
        match self {
            Self::SecretProviderClassNotFound => "SecretProviderClassNotFound",
            Self::GrpcProviderError => "GRPCProviderError",
            Self::FileWriteError => "FileWriteError",
            Self::FailedToMount => "FailedToMount",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOs {
    os_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProvider {
    provider: &'static str,
    os_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByError {
    provider: &'static str,
    error_type: &'static str,
    os_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRotation {
    provider: &'static str,
    os_type: &'static str,
    rotated: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRotationError {
    provider: &'static str,
    error_type: &'static str,
    os_type: &'static str,
    rotated: &'static str,
}

type Timings = Family<ByOs, Histogram, fn() -> Histogram>;

#[derive(Clone)]
pub(super) struct Upstream {
    publishes: Family<ByProvider, Counter>,
    publish_errors: Family<ByError, Counter>,
    unpublishes: Family<ByOs, Counter>,
    unpublish_errors: Family<ByOs, Counter>,
    rotations: Family<ByRotation, Counter>,
    rotation_errors: Family<ByRotationError, Counter>,
    rotation_time: Timings,
    syncs: Family<ByProvider, Counter>,
    sync_time: Timings,
}

fn timing() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            publishes: Family::default(),
            publish_errors: Family::default(),
            unpublishes: Family::default(),
            unpublish_errors: Family::default(),
            rotations: Family::default(),
            rotation_errors: Family::default(),
            rotation_time: Family::new_with_constructor(timing),
            syncs: Family::default(),
            sync_time: Family::new_with_constructor(timing),
        }
    }
}

impl Upstream {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("node_publish", "Volumes published or published again", self.publishes.clone());
        let help = "Publishes that failed";
        registry.register("node_publish_error", help, self.publish_errors.clone());
        registry.register("node_unpublish", "Volumes unpublished", self.unpublishes.clone());
        let help = "Unpublishes that failed";
        registry.register("node_unpublish_error", help, self.unpublish_errors.clone());
        let help = "Refreshes of mounted volumes, by whether something changed";
        registry.register("rotation_reconcile", help, self.rotations.clone());
        let help = "Refreshes of mounted volumes that failed";
        registry.register("rotation_reconcile_error", help, self.rotation_errors.clone());
        let help = "Seconds that a refresh took";
        registry.register("rotation_reconcile_duration_sec", help, self.rotation_time.clone());
        let help = "Kubernetes Secrets made or changed from mounted files";
        registry.register("sync_k8s_secret", help, self.syncs.clone());
        let help = "Seconds that it took to make or change a Kubernetes Secret";
        registry.register("k8s_secret_duration_sec", help, self.sync_time.clone());
    }

    pub(super) fn publish(&self, provider: Provider, failure: Option<ErrorType>) {
        let provider = provider.label();
        match failure {
            None => self.publishes.get_or_create(&ByProvider { provider, os_type: OS }).inc(),
            Some(error) => {
                let error_type = error.label();
                self.publish_errors.get_or_create(&ByError { provider, error_type, os_type: OS }).inc()
            }
        };
    }

    pub(super) fn unpublish(&self, failed: bool) {
        let family = if failed { &self.unpublish_errors } else { &self.unpublishes };
        family.get_or_create(&ByOs { os_type: OS }).inc();
    }

    pub(super) fn refresh(&self, provider: Provider, outcome: Refresh) {
        let provider = provider.label();
        let (rotated, error) = match outcome {
            Refresh::Unchanged => ("false", None),
            Refresh::Rotated => ("true", None),
            Refresh::Failed(_) => ("false", Some(ErrorType::GrpcProviderError)),
            Refresh::NotShown => ("false", Some(ErrorType::FileWriteError)),
        };
        match error.map(ErrorType::label) {
            None => self.rotations.get_or_create(&ByRotation { provider, os_type: OS, rotated }).inc(),
            Some(error_type) => {
                let labels = ByRotationError { provider, error_type, os_type: OS, rotated };
                self.rotation_errors.get_or_create(&labels).inc()
            }
        };
    }

    pub(super) fn refresh_took(&self, took: Duration) {
        self.rotation_time.get_or_create(&ByOs { os_type: OS }).observe(took.as_secs_f64());
    }

    pub(super) fn synced(&self, provider: Provider, took: Duration) {
        self.syncs.get_or_create(&ByProvider { provider: provider.label(), os_type: OS }).inc();
        self.sync_time.get_or_create(&ByOs { os_type: OS }).observe(took.as_secs_f64());
    }
}
