//! An API server that all tests share, with a namespace for each test. Scripted servers do what a real one cannot be
//! made to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use provider::{
    Changes, Error, Identity, Object, Parameters, Pod, Provider, Session, Source, Tenure, Workload,
};
use provider_kubernetes::{Kubernetes, KubernetesConfig};
use tempfile::TempDir;
use testing::{Answer, Authority, Cluster, FaultServer, Scope, Seen};

/// Much longer than any change takes, so that a test fails only if a change is lost.
pub(crate) const SOON: Duration = Duration::from_secs(20);

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(Scope::ApiServer));

/// A namespace for one test, with the Secret `web`, which service account `till` may get and watch.
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) cluster: &'static Cluster,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        Self::on(&CLUSTER, name, "get, watch")
    }

    pub(crate) fn with_verbs(name: &str, verbs: &str) -> Self {
        Self::on(&CLUSTER, name, verbs)
    }

    pub(crate) fn on(cluster: &'static Cluster, name: &str, verbs: &str) -> Self {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"));
        cluster.apply(&format!(
            "apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: till, namespace: {name}}}}}
- {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: stranger, namespace: {name}}}}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: Role
  metadata: {{name: till, namespace: {name}}}
  rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [web, absent], verbs: [{verbs}]}}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {{name: till, namespace: {name}}}
  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: till}}
  subjects: [{{kind: ServiceAccount, name: till, namespace: {name}}}]
"
        ));
        let namespace = Self { name: name.to_owned(), cluster };
        namespace.put("web", "one");
        namespace
    }

    /// Puts `value` under the keys `k` and `other` of the Secret `secret`.
    pub(crate) fn put(&self, secret: &str, value: &str) {
        let name = &self.name;
        self.cluster.apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {secret}, namespace: {name}}}, stringData: {{k: {value}, other: x}}}}"
        ));
    }

    pub(crate) fn delete(&self, secret: &str) {
        self.cluster.kubectl(&["-n", &self.name, "delete", "secret", secret]);
    }

    pub(crate) fn token(&self, account: &str, options: &[&str]) -> String {
        let arguments = [&["-n", &self.name, "create", "token", account], options].concat();
        self.cluster.kubectl(&arguments).trim().to_owned()
    }

    /// A pod of `account` in this namespace.
    pub(crate) fn pod_of(&self, account: &str) -> Workload {
        pod(&self.name, account, &self.token(account, &[]))
    }

    pub(crate) fn provider(&self) -> Kubernetes {
        let config = KubernetesConfig {
            api_server: Some(self.cluster.api_url()),
            ca: Some(self.cluster.authority()),
            ..KubernetesConfig::default()
        };
        Kubernetes::new(&config).unwrap()
    }

    pub(crate) fn source(&self, secret: &str, key: &str) -> Arc<dyn Source> {
        source(&self.provider(), secret, key)
    }
}

pub(crate) fn pod(namespace: &str, account: &str, token: &str) -> Workload {
    Workload {
        identity: Identity::named(namespace, account),
        pod: Some(Pod { name: "p".to_owned(), uid: "u".to_owned() }),
        volume: "v".to_owned(),
        tokens: BTreeMap::from([(String::new(), token.to_owned().into())]),
        credentials: BTreeMap::new(),
    }
}

pub(crate) fn source(provider: &Kubernetes, secret: &str, key: &str) -> Arc<dyn Source> {
    let objects = format!("- {{objectName: file, secret: {secret}, key: {key}}}");
    provider.source("shop", &Parameters::from([("objects".to_owned(), objects)])).unwrap()
}

pub(crate) async fn session(source: &dyn Source, workload: &Workload) -> Arc<dyn Session> {
    source.session(workload, Tenure::Shared).await.unwrap()
}

pub(crate) fn changes(source: &dyn Source, session: &dyn Session) -> Box<dyn Changes> {
    session.changes(&[source.objects()[0].request.clone()]).unwrap()
}

/// What the class's only object shows to `session` now.
pub(crate) async fn read(source: &dyn Source, session: &dyn Session) -> Result<Object, Error> {
    let reading = session.read(&source.objects()[0].request).await?;
    source.objects()[0].decoded(source.extract(0, &reading)?)
}

/// The text that it shows to `workload`, read once.
pub(crate) async fn fetch(source: &dyn Source, workload: &Workload) -> Result<String, Error> {
    let session = source.session(workload, Tenure::Shared).await?;
    let object = read(source, &*session).await?;
    Ok(object.contents.expose_str().unwrap().to_owned())
}

pub(crate) async fn announced(changes: &mut dyn Changes) {
    tokio::time::timeout(SOON, changes.changed()).await.expect("an announcement");
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

/// An API server that answers as a test decides.
pub(crate) struct Scripted {
    pub(crate) server: FaultServer,
    pub(crate) config: KubernetesConfig,
    _folder: TempDir,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let server = FaultServer::https(&authority.server(&["localhost"]), script);
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let config =
            KubernetesConfig { api_server: Some(server.url()), ca: Some(ca), ..KubernetesConfig::default() };
        Self { server, config, _folder: folder }
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        source(&Kubernetes::new(&self.config).unwrap(), "web", "k")
    }

    /// The requests for watches so far.
    pub(crate) fn watches(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(is_watch).collect()
    }
}

pub(crate) fn is_watch(seen: &Seen) -> bool {
    seen.target.contains("watch=true")
}

/// The Secret of the scripted servers.
pub(crate) fn secret(version: &str) -> Answer {
    Answer::json(
        200,
        &serde_json::json!({
            "kind": "Secret",
            "metadata": {"name": "web", "resourceVersion": version},
            "data": {"k": "b25l"},
        }),
    )
}

/// One line of a watch's stream.
pub(crate) fn event(kind: &str, version: &str) -> String {
    let object =
        serde_json::json!({"kind": "PartialObjectMetadata", "metadata": {"resourceVersion": version}});
    serde_json::json!({"type": kind, "object": object}).to_string() + "\n"
}

/// A stream with these lines, which then ends.
pub(crate) fn stream(lines: &[String]) -> Answer {
    Answer::text(200, "application/json", &lines.concat())
}

/// A log that panics at its first line, and so ends the task that writes it.
#[derive(Default)]
pub(crate) struct PanicsOnce(AtomicBool);

impl tracing::Subscriber for PanicsOnce {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("provider_kubernetes")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        assert!(self.0.swap(true, Ordering::SeqCst), "a fault");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
