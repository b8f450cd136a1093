use std::time::Duration;

use metrics::Metrics;
use program::readiness::Readiness;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fake_api::{FakeApi, Say, refusal, status, until};

/// Classes that a watch keeps current from a scripted API server.
struct Watched {
    classes: Arc<ApiClasses>,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn start(api: &FakeApi) -> Self {
        let (readiness, metrics, stop) = (Readiness::default(), Metrics::default(), CancellationToken::new());
        let classes = Arc::new(ApiClasses::default());
        let filled = readiness.latch("classes");
        let ([noticer, _], _) = crate::noticing::requests();
        let watch = Watch::new(Arc::clone(&classes), api.client(), filled, metrics.clone(), noticer);
        let task = tokio::spawn(watch.run(stop.clone()));
        Self { classes, readiness, metrics, stop, task }
    }

    async fn get(&self, name: &str) -> Result<Arc<Class>, Error> {
        self.classes.get(&named(name)).await
    }

    async fn filled(&self) {
        until("the first list", || self.readiness.missing().is_empty()).await;
    }

    /// Waits until the `refresh` of class `a` is `wanted`.
    async fn refresh_becomes(&self, wanted: Option<u64>) {
        let refresh = || {
            let state = self.classes.state.read().unwrap();
            let class = state.by_name.get(&named("a"))?.as_ref().ok()?;
            class.settings.refresh.map(|refresh| refresh.as_secs())
        };
        until("the refresh interval", || refresh() == wanted).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn named(name: &str) -> ClassName {
    ClassName { namespace: "ns".to_owned(), name: name.to_owned() }
}

fn class(name: &str, version: u32, refresh: &str) -> Value {
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"namespace": "ns", "name": name, "resourceVersion": version.to_string()},
        "spec": {"provider": "vault", "parameters": {"objects": "- a: \"\tä\"\n", "secretfs.dev/refresh": refresh}},
    })
}

fn list(items: &[Value]) -> Say {
    Say::Json(
        200,
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClassList",
            "metadata": {"resourceVersion": "1"},
            "items": items,
        }),
    )
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

#[tokio::test(start_paused = true)]
async fn classes_come_change_and_go_with_the_cluster() {
    let changes = [event("MODIFIED", &class("a", 2, "9s")), event("DELETED", &class("b", 3, "5s"))];
    let api =
        FakeApi::saying([list(&[class("a", 1, "5s"), class("b", 1, "5s")]), Say::Events(changes.to_vec())]);
    let watched = Watched::start(&api);

    watched.refresh_becomes(Some(9)).await;
    until("the deletion", || watched.classes.count() == (1, 0)).await;

    assert_eq!(watched.get("a").await.unwrap().parameters["objects"], "- a: \"\tä\"\n");
    assert_eq!(watched.get("b").await, Err(Error::NotFound(named("b"))));
    assert!(watched.metrics.exposition().unwrap().contains("secretfs_class_watch_up{} 1\n"));
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_woken_for_what_is_as_it_was() {
    let same = Say::Events(vec![event("MODIFIED", &class("a", 2, "5s"))]);
    let api = FakeApi::saying([list(&[class("a", 1, "5s")]), same, Say::Hang]);
    let watched = Watched::start(&api);
    watched.filled().await;
    let mut changes = watched.classes.changes();
    changes.borrow_and_update();

    until("the next watch", || api.asked().len() == 3).await;

    assert!(!changes.has_changed().unwrap());
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn before_the_first_list_nothing_is_known_and_the_reason_is_told() {
    let api =
        FakeApi::new(|_| refusal(403, "Forbidden", "x is forbidden: User \"u\" cannot list resource \"x\""));
    let watched = Watched::start(&api);
    until("a second try", || api.asked().len() == 2).await;

    let Err(Error::NotYet(reason)) = watched.get("a").await else { panic!("known") };
    assert!(reason.contains("secretproviderclass ns/a"), "{reason}");
    assert!(reason.contains("forbids") && reason.contains("ClusterRole"), "{reason}");
    assert_eq!(watched.readiness.missing(), ["classes"]);
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_what_was_known_is_known_and_the_rest_is_in_doubt() {
    let api = FakeApi::saying([list(&[class("a", 1, "5s")]), Say::Break, Say::Break]);
    let watched = Watched::start(&api);
    until("two failures", || api.asked().len() == 4).await;
    watched.filled().await;

    assert!(watched.get("a").await.is_ok());
    assert!(matches!(watched.get("b").await, Err(Error::NotYet(_))));
    // Until the watch that started last counts as working.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(watched.get("b").await, Err(Error::NotFound(named("b"))));
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_class_that_could_never_work_is_told_to_new_pods_with_its_remedy() {
    let api = FakeApi::saying([list(&[class("a", 1, "soon")])]);
    let watched = Watched::start(&api);
    watched.filled().await;

    let Err(Error::Invalid(fault)) = watched.get("a").await else { panic!("valid") };
    assert!(fault.starts_with("SecretProviderClass ns/a: secretfs.dev/refresh: "), "{fault}");
    assert!(watched.metrics.exposition().unwrap().contains("secretfs_classes{state=\"broken\"} 1\n"));
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_api_server_forgot_leads_to_a_new_list() {
    for gone in [
        Say::Events(vec![event("ERROR", &status(410, "Expired", "too old"))]),
        refusal(410, "Expired", "too old"),
    ] {
        let api = FakeApi::saying([list(&[class("a", 1, "5s")]), gone, list(&[class("a", 9, "7s")])]);
        let watched = Watched::start(&api);
        watched.refresh_becomes(Some(7)).await;
        watched.stop().await;
    }
}

/// An API server whose classes change after the list and before the watch: `a` is edited and `b` is deleted. If it
/// `remembers`, it tells these changes to a watch from version 1 on.
fn changed_before_the_watch(remembers: bool) -> FakeApi {
    let mut lists = 0;
    FakeApi::new(move |asked| match asked.path.contains("watch=true") {
        false => {
            lists += 1;
            if lists == 1 {
                list(&[class("a", 1, "5s"), class("b", 1, "5s")])
            } else {
                list(&[class("a", 2, "9s")])
            }
        }
        true if lists > 1 => Say::Hang,
        true if !asked.path.contains("resourceVersion=1") => Say::Hang,
        true if remembers => {
            Say::Events(vec![event("MODIFIED", &class("a", 2, "9s")), event("DELETED", &class("b", 3, "5s"))])
        }
        true => refusal(410, "Expired", "too old"),
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_edited_and_deleted_between_the_list_and_the_watch_is_known() {
    for remembers in [true, false] {
        let watched = Watched::start(&changed_before_the_watch(remembers));

        watched.refresh_becomes(Some(9)).await;
        until("the deletion", || watched.classes.count() == (1, 0)).await;

        assert_eq!(watched.get("b").await, Err(Error::NotFound(named("b"))), "remembers: {remembers}");
        watched.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_is_asked_for_again() {
    let api = FakeApi::saying([Say::Hang, list(&[class("a", 1, "5s")])]);
    let watched = Watched::start(&api);

    watched.filled().await;

    assert!(watched.get("a").await.is_ok());
    watched.stop().await;
}
