//! The annotation on a class, or on a pod, that makes every node which serves it read it now.
//!
//! Kubernetes decides who may write it: whoever may change the class or the pod. How often it is followed does not depend
//! on how often it is written. Requests on pods need `list` and `watch` on pods, so an administrator switches them on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use class::ClassName;
use engine::volume::requested::Requests;
use engine::volume::status::VolumeState;
use engine::volume::{RefreshOutcome, Volumes};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use provider::{Moment as _, Share, TenantShares};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::classes::object;
use crate::connection::ANSWER;
use crate::noticing::{ANNOTATION, Asked, Noticer};
use crate::watching::{Known, Watching};

/// How many classes are read at the same time because of requests. The namespaces share them, because a store that hangs
/// keeps its reading for as long as a deadline.
const AT_ONCE: usize = 64;
/// How long a namespace that got none of them waits at most before it is tried again.
const NO_PLACE: Duration = Duration::from_secs(1);

/// Follows requests.
#[derive(Debug)]
pub(crate) struct Follower(pub(crate) mpsc::Receiver<Asked>);

/// The pods of a node, as far as somebody asks something of them.
#[derive(Debug)]
pub(crate) struct Pods {
    noticer: Noticer,
    listing: BTreeSet<Asked>,
}

impl Pods {
    /// Follows the pods of `node` until `stop`.
    pub(crate) async fn follow(noticer: Noticer, client: Client, node: String, stop: CancellationToken) {
        let resource = ApiResource::erase::<Pod>(&());
        let pods = Self { noticer, listing: BTreeSet::new() };
        let watching = Watching::new(Api::all_with(client, &resource), pods);
        watching.only(format!("spec.nodeName={node}")).run(stop).await;
    }

    fn name_of(object: &DynamicObject) -> Asked {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Asked::Pod(text(&object.metadata.namespace), text(&object.metadata.name))
    }
}

impl Known for Pods {
    const WISH: &'static str = "list and watch pods";

    fn begin(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: &DynamicObject) {
        self.listing.insert(Self::name_of(object));
        self.put(object);
    }

    fn complete(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        self.noticer.keep(|name| listed.contains(name));
    }

    fn put(&mut self, object: &DynamicObject) {
        self.noticer.look(&Self::name_of(object), object);
    }

    fn remove(&mut self, object: &DynamicObject) {
        self.noticer.forget(&Self::name_of(object));
    }

    fn failed(&mut self, reason: &str, again: bool) {
        if !again {
            tracing::warn!(reason, "the API server cannot be asked for pods; requests on them wait");
        }
    }

    fn works(&mut self, _again: bool) {}
}

impl Follower {
    /// Has `volumes` follow the requests, until `stop`.
    pub(crate) async fn run(mut self, volumes: Arc<Volumes>, stop: CancellationToken) {
        let (mut requests, mut readings) = (Requests::default(), JoinSet::new());
        let places = TenantShares::new(AT_ONCE);
        let mut not_before = Instant::now();
        loop {
            let next = requests.next_due(Instant::now()).map(|at| at.max(not_before));
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                // A class that nobody here has mounted takes no place.
                Some(asked) = self.0.recv() => {
                    meant(&volumes, &asked).into_iter().for_each(|class| requests.note(class));
                    not_before = Instant::now();
                }
                Some(_) = readings.join_next() => not_before = Instant::now(),
                () = due => {
                    let now = Instant::now();
                    for (class, place) in requests.due(now, |namespace| places.take([&Arc::from(namespace)])) {
                        readings.spawn(read(Arc::clone(&volumes), class, place));
                    }
                    // What is still due got no place.
                    let waits = requests.next_due(now).is_some_and(|at| at <= now);
                    not_before = if waits { now.later(NO_PLACE) } else { now };
                }
            }
        }
        readings.shutdown().await;
    }
}

/// The classes that are asked for, of those that volumes of this node show.
fn meant(volumes: &Volumes, asked: &Asked) -> BTreeSet<ClassName> {
    let is_meant = |state: &VolumeState| match asked {
        Asked::Class(class) => state.class == *class,
        Asked::Pod(namespace, pod) => state.namespace == *namespace && state.pod.as_ref() == Some(pod),
    };
    volumes.states().into_values().filter(is_meant).map(|state| state.class).collect()
}

fn of_class(volumes: &Volumes, class: &ClassName) -> Vec<VolumeState> {
    volumes.states().into_values().filter(|state| state.class == *class).collect()
}

/// Reads all volumes of a class. They share what they read. The `_place` is taken until then.
async fn read(volumes: Arc<Volumes>, class: ClassName, _place: Share) {
    let (begun, found) = (Instant::now(), of_class(&volumes, &class));
    let outcomes = found.iter().map(|state| volumes.refresh(&state.id, begun));
    let outcomes = futures::future::join_all(outcomes).await;
    let failed = outcomes.iter().filter(|outcome| matches!(outcome, Some(RefreshOutcome::Failed(_)))).count();
    let took = begun.elapsed().as_millis();
    tracing::info!(%class, volumes = found.len(), failed, took_ms = took, "read again, because somebody asked");
}

/// Writes the annotation, with `moment` as the time of the request.
///
/// # Errors
///
/// There is no such class, the caller may not change it, or the API server cannot be asked.
pub async fn request(client: &Client, class: &ClassName, moment: &str) -> anyhow::Result<()> {
    annotate(client, &object::resource(), (&class.namespace, &class.name), moment).await
}

/// The same on a pod. Only nodes follow it that may watch their pods.
///
/// # Errors
///
/// As of [`request`].
pub async fn request_of_pod(client: &Client, namespace: &str, pod: &str, moment: &str) -> anyhow::Result<()> {
    annotate(client, &ApiResource::erase::<Pod>(&()), (namespace, pod), moment).await
}

async fn annotate(
    client: &Client,
    resource: &ApiResource,
    (namespace, name): (&str, &str),
    moment: &str,
) -> anyhow::Result<()> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let patch = json!({"metadata": {"annotations": {ANNOTATION: moment}}});
    let asked = timeout(ANSWER, api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await;
    let what = format!("{} {namespace}/{name}", resource.kind);
    let wish = format!("annotate {what}");
    let asked = asked.map_err(|_| anyhow::anyhow!("the API server does not answer"))?;
    asked.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 404 => {
            anyhow::anyhow!("there is no {what} ({})", status.message)
        }
        error => anyhow::anyhow!(crate::refusal::told(error, &wish)),
    })?;
    Ok(())
}
