use class::ClassName;
use engine::revocation::Target;
use engine::subject::Subject;
use provider::Identity;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::fake_api::{FakeApi, Say, until};

/// A node's orders, kept current from a scripted API server. The file of the record stays for the next node.
struct Node {
    in_force: Arc<InForce>,
    orders: Arc<Orders>,
    directory: Arc<tempfile::TempDir>,
    stop: CancellationToken,
    recorded: JoinHandle<()>,
}

impl Node {
    fn start(api: &FakeApi, directory: Arc<tempfile::TempDir>) -> Self {
        let (in_force, stop) = (Arc::<InForce>::default(), CancellationToken::new());
        let record = Record::at(directory.path().join("revocations.json"));
        let orders = Orders::recorded(record, Arc::clone(&in_force)).unwrap();
        for kind in [Kind::InNamespace, Kind::InCluster] {
            drop(tokio::spawn(Arc::clone(&orders).follow(api.client(), kind, stop.clone())));
        }
        let recorded = tokio::spawn(Arc::clone(&orders).keep_recorded(stop.clone()));
        Self { in_force, orders, directory, stop, recorded }
    }

    /// Which of these classes of namespace `shop` an order covers.
    fn covered(&self, classes: &[&str]) -> Vec<bool> {
        let subject = Subject { identity: Identity::named("shop", "till"), pod: None };
        let class = |name: &&str| ClassName { namespace: "shop".to_owned(), name: (*name).to_owned() };
        classes.iter().map(|name| !self.in_force.on(&subject, &class(name)).is_empty()).collect()
    }

    async fn end(self) -> Arc<tempfile::TempDir> {
        self.stop.cancel();
        self.recorded.await.unwrap();
        self.directory
    }
}

fn list(kind: &str, items: &[Value]) -> Say {
    let version = json!({"resourceVersion": "1"});
    let all = json!({"apiVersion": "secretfs.dev/v1alpha1", "kind": format!("{kind}List"), "metadata": version, "items": items});
    Say::Json(200, all)
}

fn order(kind: &str, name: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": name, "resourceVersion": "1", "uid": name});
    if kind == "Revocation" {
        metadata["namespace"] = json!("shop");
    }
    json!({"apiVersion": "secretfs.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// An API server with these orders, that says nothing more.
fn having(namespaced: Vec<Value>, of_cluster: Vec<Value>) -> FakeApi {
    FakeApi::new(move |asked| {
        match (asked.path.contains("watch=true"), asked.path.contains("/clusterrevocations")) {
            (true, _) => Say::Hang,
            (_, false) => list("Revocation", &namespaced),
            (_, true) => list("ClusterRevocation", &of_cluster),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn orders_of_both_kinds_hold_and_what_names_nothing_is_none() {
    let of_class = order("Revocation", "a", &json!({"class": "db", "reason": "it leaked"}));
    let empty = order("Revocation", "b", &json!({"container": "of a later version"}));
    let of_cluster = order("ClusterRevocation", "a", &json!({"namespace": "shop", "class": "tls"}));
    let api = having(vec![of_class, empty], vec![of_cluster]);
    let node = Node::start(&api, Arc::new(tempfile::tempdir().unwrap()));

    node.orders.asked(Duration::from_secs(60)).await;

    assert_eq!(node.covered(&["db", "tls", "other"]), [true, true, false]);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_does_not_answer_the_orders_recorded_last_hold() {
    let api = having(vec![order("Revocation", "a", &json!({"class": "db"}))], Vec::new());
    let node = Node::start(&api, Arc::new(tempfile::tempdir().unwrap()));
    node.orders.asked(Duration::from_secs(60)).await;
    let directory = node.end().await;

    for say in
        [Say::Break, Say::Hang, crate::fake_api::refusal(404, "NotFound", "the server could not find it")]
    {
        let node = Node::start(&FakeApi::new(move |_| say.clone()), Arc::clone(&directory));
        assert_eq!(node.covered(&["db", "tls"]), [true, false]);
        node.orders.asked(Duration::from_secs(2)).await;
        assert_eq!(node.covered(&["db", "tls"]), [true, false]);
        node.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_taken_away_while_the_node_was_down_holds_no_more() {
    let api = having(vec![order("Revocation", "a", &json!({"class": "db"}))], Vec::new());
    let node = Node::start(&api, Arc::new(tempfile::tempdir().unwrap()));
    node.orders.asked(Duration::from_secs(60)).await;
    let directory = node.end().await;

    let node = Node::start(&having(Vec::new(), Vec::new()), directory);
    node.orders.asked(Duration::from_secs(60)).await;

    assert_eq!(node.covered(&["db"]), [false]);
    node.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_given_and_taken_away_later_is_followed() {
    let given = order("ClusterRevocation", "all", &json!({"everything": true}));
    let event = |kind: &str| json!({"type": kind, "object": given.clone()});
    let mut said = [Say::Events(vec![event("ADDED")]), Say::Events(vec![event("DELETED")])].into_iter();
    let api = FakeApi::new(move |asked| {
        match (asked.path.contains("watch=true"), asked.path.contains("/clusterrevocations")) {
            (true, true) => said.next().unwrap_or(Say::Hang),
            (true, false) => Say::Hang,
            (_, false) => list("Revocation", &[]),
            (_, true) => list("ClusterRevocation", &[]),
        }
    });
    let node = Node::start(&api, Arc::new(tempfile::tempdir().unwrap()));
    let changes = node.in_force.changes();

    // One for the order, one for its end.
    until("the order and its end", || *changes.borrow() == 2).await;

    assert_eq!(node.covered(&["db"]), [false]);
    node.end().await;
}

#[test]
fn an_object_is_what_the_command_writes() {
    let target = Target { class: Some("db".to_owned()), ..Target::default() };
    let wish = Wish { target: target.clone(), everything: false, reason: Some("it leaked".to_owned()) };
    let spec = serde_json::to_value(&wish).unwrap();
    assert_eq!(spec, json!({"class": "db", "reason": "it leaked"}));

    let written = serde_json::from_value(order("Revocation", "a", &spec)).unwrap();
    let read = object::read(Kind::InNamespace, &written).unwrap();

    assert_eq!((read.target, read.given), (target, Given::InNamespace("shop".to_owned())));
}
