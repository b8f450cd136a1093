//! Every metric: its name, its meaning, its unit and the closed sets of its labels.
//!
//! Names of pods, classes and objects are never labels. Their number has no limit, and people who read metrics need not
//! know them. They are fields of log lines. Only stores with an open breaker are named, a few at a time, so that people
//! find them.
//!
//! It does not know which stores are built in: whoever makes [`Metrics`] says so.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

mod api;
mod breakers;
mod labels;
mod upstream;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use provider::{Declaration, ErrorKind};

use self::api::{Api, Unlabelled};
pub use self::api::{Syncing, Telling};
use self::breakers::Breakers;
use self::labels::{ByState, gauge, kind_label};
pub use self::labels::{Code, Provider, Refresh, Withdrawal};
pub use self::upstream::ErrorType;
use self::upstream::Upstream;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProvider {
    provider: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCodeAndProvider {
    code: &'static str,
    provider: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProviderAndOutcome {
    provider: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

type Timings = Family<ByProvider, Histogram, fn() -> Histogram>;

/// The metrics of this process; clones count together. Made once, passed to who counts.
#[derive(Clone)]
pub struct Metrics {
    publishes: Family<ByCodeAndProvider, Counter>,
    publish_time: Timings,
    unpublishes: Family<ByCode, Counter>,
    refreshes: Family<ByProviderAndOutcome, Counter>,
    store_calls: Family<ByProviderAndOutcome, Counter>,
    store_call_time: Timings,
    retries: Family<ByProvider, Counter>,
    budget_exhausted: Family<ByProvider, Counter>,
    breakers: Breakers,
    withdrawals: Family<ByReason, Counter>,
    task_restarts: Counter,
    watch_restarts: Family<ByProvider, Counter>,
    lease_ends: Family<ByProviderAndOutcome, Counter>,
    insecure_stores: Family<ByState, Counter>,
    volumes: Gauge,
    tasks: Gauge,
    secret_bytes: Gauge,
    staleness: Gauge<f64, AtomicU64>,
    fuse_stuck: Gauge,
    registered: Gauge,
    /// Absent where nobody asks a mounter.
    mounter_up: Family<Unlabelled, Gauge>,
    audit_dropped: Counter,
    log_dropped: Counter,
    api: Api,
    upstream: Upstream,
    /// What the stores that are built in say of themselves, their labels among it.
    declarations: &'static [&'static Declaration],
    registry: Arc<Registry>,
}

/// 1 ms to 16 s: from a read in memory to what kubelet waits for without a word.
fn timing() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

impl Default for Metrics {
    fn default() -> Self {
        let unregistered = Self {
            publishes: Family::default(),
            publish_time: Family::new_with_constructor(timing),
            unpublishes: Family::default(),
            refreshes: Family::default(),
            store_calls: Family::default(),
            store_call_time: Family::new_with_constructor(timing),
            retries: Family::default(),
            budget_exhausted: Family::default(),
            breakers: Breakers::default(),
            withdrawals: Family::default(),
            task_restarts: Counter::default(),
            watch_restarts: Family::default(),
            lease_ends: Family::default(),
            insecure_stores: Family::default(),
            volumes: Gauge::default(),
            tasks: Gauge::default(),
            secret_bytes: Gauge::default(),
            staleness: Gauge::default(),
            fuse_stuck: Gauge::default(),
            registered: Gauge::default(),
            mounter_up: Family::default(),
            audit_dropped: Counter::default(),
            log_dropped: Counter::default(),
            api: Api::default(),
            upstream: Upstream::default(),
            declarations: &[],
            registry: Arc::default(),
        };
        let registry = unregistered.register().into();
        Self { registry, ..unregistered }
    }
}

impl Metrics {
    /// The metrics of a process that has the stores of `declarations` built in.
    pub fn of(declarations: &'static [&'static Declaration]) -> Self {
        Self { declarations, ..Self::default() }
    }

    /// The label of the provider that goes by `name` in classes: its first name, where it is built in.
    pub fn provider(&self, name: &str) -> Provider {
        Provider::of(name, self.declarations)
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("secretfs");
        self.register_volumes(own);
        self.register_stores(own);
        self.register_process(own);
        self.api.register(own);
        self.upstream.register(&mut registry);
        registry
    }

    fn register_volumes(&self, registry: &mut Registry) {
        registry.register("publish", "Calls to publish a volume, by their gRPC code", self.publishes.clone());
        registry.register_with_unit(
            "publish",
            "Time to publish a volume that was not mounted before, store calls included",
            Unit::Seconds,
            self.publish_time.clone(),
        );
        registry.register(
            "unpublish",
            "Calls to unpublish a volume, by their gRPC code",
            self.unpublishes.clone(),
        );
        registry.register("refresh", "Refreshes of mounted volumes, by outcome", self.refreshes.clone());
        registry.register(
            "withdrawn",
            "Files that were withdrawn from mounted volumes, by reason",
            self.withdrawals.clone(),
        );
        registry.register(
            "volume_task_restarts",
            "Tasks of volumes that ended because of a fault, and were started again",
            self.task_restarts.clone(),
        );
        registry.register(
            "watch_restarts",
            "Watches of stores that ended because of a fault, and were started again",
            self.watch_restarts.clone(),
        );
        registry.register("volumes", "Volumes that are mounted", self.volumes.clone());
        registry.register_with_unit(
            "secret",
            "Size of the contents of all mounted volumes",
            Unit::Bytes,
            self.secret_bytes.clone(),
        );
        registry.register_with_unit(
            "volume_staleness",
            "Time since the store last confirmed the oldest unconfirmed object of any mounted volume",
            Unit::Seconds,
            self.staleness.clone(),
        );
        registry.register(
            "fuse_stuck_volumes",
            "Volumes of mode fuse whose kernel is told of a change and has not taken it for more than a second",
            self.fuse_stuck.clone(),
        );
    }

    fn register_stores(&self, registry: &mut Registry) {
        registry.register("store_calls", "Calls to stores, by outcome", self.store_calls.clone());
        registry.register_with_unit(
            "store_call",
            "Time that a store took to answer",
            Unit::Seconds,
            self.store_call_time.clone(),
        );
        registry.register("retries", "Calls to stores that repeat a failed one", self.retries.clone());
        registry.register(
            "budget_exhausted",
            "Retries that were not made because the store's retry budget was spent",
            self.budget_exhausted.clone(),
        );
        self.breakers.register(registry);
        registry.register(
            "lease_ends",
            "Attempts to end the login and leases of an unpublished volume, by outcome",
            self.lease_ends.clone(),
        );
        registry.register(
            "insecure_stores",
            "Times that a volume used a class whose store is reached over HTTP or is not verified, by whether that is allowed",
            self.insecure_stores.clone(),
        );
    }

    fn register_process(&self, registry: &mut Registry) {
        registry.register(
            "tasks",
            "Tasks of this process; if they do not go down with the volumes, there is a leak",
            self.tasks.clone(),
        );
        registry.register(
            "registration_state",
            "Whether kubelet has accepted the registration of this driver (1) or not (0)",
            self.registered.clone(),
        );
        registry.register(
            "mounter_up",
            "Whether the mounter answers (1) or not (0)",
            self.mounter_up.clone(),
        );
        registry.register(
            "audit_dropped",
            "Audit records that could not be written",
            self.audit_dropped.clone(),
        );
        registry.register(
            "log_dropped",
            "Lines of the log that nobody read, or that could not be written",
            self.log_dropped.clone(),
        );
        registry.register(
            "build",
            "The version that runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
    }

    /// A volume was published, or was not, and why. `took` is given where it was mounted by this call.
    pub fn publish(
        &self,
        provider: Provider,
        code: Code,
        failure: Option<ErrorType>,
        took: Option<Duration>,
    ) {
        self.upstream.publish(provider, failure);
        let provider = provider.label();
        self.publishes.get_or_create(&ByCodeAndProvider { code: code.label(), provider }).inc();
        if let Some(took) = took {
            self.publish_time.get_or_create(&ByProvider { provider }).observe(took.as_secs_f64());
        }
    }

    /// A volume was unpublished, or was not.
    pub fn unpublish(&self, code: Code) {
        self.upstream.unpublish(code != Code::Ok);
        self.unpublishes.get_or_create(&ByCode { code: code.label() }).inc();
    }

    /// A mounted volume was refreshed, or could not be.
    pub fn refresh(&self, provider: Provider, outcome: Refresh) {
        self.upstream.refresh(provider, outcome);
        let labels = ByProviderAndOutcome { provider: provider.label(), outcome: outcome.label() };
        self.refreshes.get_or_create(&labels).inc();
    }

    /// The task of a volume ended because of a fault, and was started again.
    pub fn task_restarted(&self) {
        self.task_restarts.inc();
    }

    /// How many watches of a store ended because of a fault so far, and were started again.
    pub fn set_watch_restarts(&self, provider: Provider, restarts: u64) {
        let label = ByProvider { provider: provider.label() };
        self.watch_restarts.get_or_create(&label).inner().store(restarts, Ordering::Relaxed);
    }

    /// How long a refresh took, whatever came of it.
    pub fn refresh_took(&self, took: Duration) {
        self.upstream.refresh_took(took);
    }

    /// A Kubernetes Secret was made or changed from mounted files, in the time it `took`.
    pub fn secret_synced(&self, provider: Provider, took: Duration) {
        self.upstream.synced(provider, took);
    }

    /// A Kubernetes Secret that a class wants of mounted files was looked at.
    pub fn secret_sync(&self, syncing: Syncing) {
        self.api.secret(syncing);
    }

    /// How many classes of the cluster can be used, and how many cannot.
    pub fn set_classes(&self, whole: usize, broken: usize) {
        self.api.set_classes(whole, broken);
    }

    /// Whether the API server tells of classes now.
    pub fn set_class_watch(&self, up: bool) {
        self.api.set_watch_up(up);
    }

    /// The API server could not be asked for classes.
    pub fn class_watch_failed(&self) {
        self.api.watch_failed();
    }

    /// A SecretProviderClassPodStatus was written, or was not.
    pub fn pod_status(&self, telling: Telling) {
        self.api.pod_status(telling);
    }

    /// An Event was sent, or was not.
    pub fn event(&self, telling: Telling) {
        self.api.event(telling);
    }

    /// A store answered a call after `took`, or failed to.
    pub fn store_call(&self, provider: Provider, failure: Option<ErrorKind>, took: Duration) {
        let labels = outcome_of(provider, failure);
        self.store_calls.get_or_create(&labels).inc();
        let by_provider = ByProvider { provider: labels.provider };
        self.store_call_time.get_or_create(&by_provider).observe(took.as_secs_f64());
    }

    /// A failed call to a store is repeated.
    pub fn retry(&self, provider: Provider) {
        self.retries.get_or_create(&ByProvider { provider: provider.label() }).inc();
    }

    /// A failed call to a store is not repeated, for its retry budget is spent.
    pub fn budget_exhausted(&self, provider: Provider) {
        self.budget_exhausted.get_or_create(&ByProvider { provider: provider.label() }).inc();
    }

    /// How many stores have a closed breaker now, and which an open one: by name, with the namespace that alone
    /// reads from each, if one does.
    pub fn set_breakers(&self, closed: usize, open: &[(String, Option<String>)]) {
        self.breakers.set(closed, open);
    }

    /// `files` were withdrawn from a mounted volume.
    pub fn withdrawn(&self, reason: Withdrawal, files: usize) {
        let files = u64::try_from(files).unwrap_or(u64::MAX);
        self.withdrawals.get_or_create(&ByReason { reason: reason.label() }).inc_by(files);
    }

    /// One try to end a login that nobody needs any more, with the error if it failed.
    pub fn lease_end(&self, provider: Provider, failure: Option<ErrorKind>) {
        self.lease_ends.get_or_create(&outcome_of(provider, failure)).inc();
    }

    /// A volume took up a class that asks for an insecure way to its store.
    pub fn insecure_store(&self, is_allowed: bool) {
        let state = if is_allowed { "allowed" } else { "refused" };
        self.insecure_stores.get_or_create(&ByState { state }).inc();
    }

    /// How many volumes are mounted now, and how many bytes they show.
    pub fn set_volumes(&self, volumes: usize, bytes: u64) {
        self.volumes.set(gauge(volumes));
        self.secret_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How many tasks the process has now.
    pub fn set_tasks(&self, tasks: usize) {
        self.tasks.set(gauge(tasks));
    }

    /// How old the oldest unconfirmed object is now.
    pub fn set_staleness(&self, oldest: Duration) {
        self.staleness.set(oldest.as_secs_f64());
    }

    /// In how many volumes of mode fuse a word to the kernel is stuck now.
    pub fn set_fuse_stuck(&self, volumes: usize) {
        self.fuse_stuck.set(gauge(volumes));
    }

    /// Whether kubelet has taken the registration.
    pub fn set_registered(&self, registered: bool) {
        self.registered.set(i64::from(registered));
    }

    /// Whether the mounter answers.
    pub fn set_mounter_up(&self, up: bool) {
        self.mounter_up.get_or_create(&Unlabelled {}).set(i64::from(up));
    }

    /// Where the audit trail counts the records that could not be written.
    pub fn audit_dropped(&self) -> Counter {
        self.audit_dropped.clone()
    }

    /// Where the log counts the lines that were lost.
    pub fn log_dropped(&self) -> Counter {
        self.log_dropped.clone()
    }

    /// Everything, in the text format of OpenMetrics.
    ///
    /// # Errors
    ///
    /// Never in practice: writing to memory does not fail.
    pub fn exposition(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn outcome_of(provider: Provider, failure: Option<ErrorKind>) -> ByProviderAndOutcome {
    ByProviderAndOutcome { provider: provider.label(), outcome: failure.map_or("ok", kind_label) }
}

#[cfg(test)]
mod tests;
