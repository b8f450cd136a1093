//! Every right of the driver is needed: without it, the feature that uses it fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clouds::{annotate, aws_class, role};
use super::upstream::synced;
use super::world::{Namespace, SYSTEM, World, alone, pod, until};

/// How long to wait for something that must not happen.
const IN_VAIN: Duration = Duration::from_secs(8);

/// Removes the rule for one resource from a cluster role of the driver, until this is dropped.
struct Taken<'a> {
    world: &'a World,
    whole: Value,
}

impl<'a> Taken<'a> {
    fn from(world: &'a World, role: &str, resource: &str) -> Self {
        let text = world.cluster.kubectl(&["get", "clusterrole", role, "-o", "json"]);
        let mut whole: Value = serde_json::from_str(&text).unwrap();
        whole["metadata"] = json!({"name": role, "labels": whole["metadata"]["labels"]});
        let mut less = whole.clone();
        let rules = less["rules"].as_array_mut().unwrap();
        let before = rules.len();
        rules.retain(|rule| rule["resources"] != json!([resource]));
        assert_eq!(rules.len() + 1, before, "{role} has one rule for {resource}");
        world.cluster.apply(&less.to_string());
        Self { world, whole }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.world.cluster.apply(&self.whole.to_string());
    }
}

const CLASSES: &str = "secretproviderclasses-role";
const ACCOUNTS: &str = "serviceaccountannotations-role";
const SYNC: &str = "secretprovidersyncing-role";

/// Checks that `there` stays false.
fn never(what: &str, there: impl Fn() -> bool) {
    let started = Instant::now();
    while started.elapsed() < IN_VAIN {
        assert!(!there(), "{what}, though the right was taken away");
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Starts a pod with a class that is also synced to the Secret `copy`.
fn start<'a>(world: &'a World, namespace: &str) -> Namespace<'a> {
    let shop = Namespace::new(world, namespace);
    shop.secret("db", "value");
    shop.apply(&synced(shop.vault_manifest("app", &["db"], &[]), "copy", "db"));
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    shop
}

fn events(shop: &Namespace<'_>) -> String {
    shop.field("events", "{.items[*].reason}")
}

fn statuses(shop: &Namespace<'_>) -> String {
    shop.try_kubectl(&["get", "secretproviderclasspodstatuses", "-o", "name"])
}

fn secret(shop: &Namespace<'_>) -> String {
    shop.try_kubectl(&["get", "secret", "copy", "--ignore-not-found", "-o", "name"])
}

#[test]
fn without_the_right_to_classes_no_class_is_found() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, CLASSES, "secretproviderclasses");
    // The running watch was allowed when it began, so a new process has to ask again.
    let old = world.node_pid();
    world.cluster.kubectl(&[
        "-n",
        SYSTEM,
        "delete",
        "pod",
        "-l",
        "app.kubernetes.io/component=node",
        "--wait=false",
    ]);
    until(
        "another process serves",
        || world.pid_of("node").is_some_and(|pid| pid != old),
        || world.node_log(),
    );
    let shop = Namespace::new(world, "rights-classes");
    shop.secret("db", "value");
    shop.vault_class("app", &["db"], &[]);
    shop.apply(&pod("web", "app"));
    never("a pod started", || shop.field("pod/web", "{.status.phase}") == "Running");
    println!("{}", shop.until_event("web", "FailedMount"));
    drop(taken);
    shop.until_ready("web");
}

#[test]
fn without_the_right_to_revocations_none_is_followed() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "rights-revocations");
    shop.secret("db", "value");
    shop.vault_class("app", &["db"], &[("secretfs.dev/on-revoked", "remove")]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    let orders = ["revocations", "clusterrevocations"];
    let taken: Vec<_> = orders.iter().map(|resource| Taken::from(world, CLASSES, resource)).collect();
    // The running watches were allowed when they began, so a new process has to ask again.
    world.renew_node();
    shop.apply(&json!({
        "apiVersion": "secretfs.dev/v1alpha1", "kind": "Revocation", "metadata": {"name": "all"},
        "spec": {"everything": true},
    }));
    let shows = || shop.try_kubectl(&["exec", "web", "--", "cat", "/secrets/db"]) == "value";
    never("the order was followed", || !shows());
    // The other way round: what was taken last has less.
    taken.into_iter().rev().for_each(drop);
    until("the order is followed", || !shows(), || world.node_log());
}

#[test]
fn without_the_right_to_statuses_none_is_written() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, CLASSES, "secretproviderclasspodstatuses");
    let shop = start(world, "rights-statuses");
    never("a status was written", || !statuses(&shop).is_empty());
    drop(taken);
    until("the status is written", || !statuses(&shop).is_empty(), || world.node_log());
}

#[test]
fn without_the_right_to_events_none_is_told() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, CLASSES, "events");
    let shop = start(world, "rights-events");
    never("an event was told", || events(&shop).contains("Mounted"));
    drop(taken);
    shop.apply(&pod("next", "app"));
    shop.until_event("next", "Mounted");
}

#[test]
fn without_the_right_to_its_csidriver_the_driver_cannot_look_at_it() {
    let (world, _alone) = alone();
    let looked = |told: &str| {
        let mut lines = told.lines();
        lines.any(|line| line.starts_with("ok ") && line.contains(" csidriver "))
    };
    let (sound, told) = world.doctor();
    assert!(sound && looked(&told), "{told}");
    let taken = Taken::from(world, CLASSES, "csidrivers");
    let (sound, told) = world.doctor();
    assert!(!sound && !looked(&told), "{told}");
    drop(taken);
}

#[test]
fn without_the_right_to_secrets_none_is_made_and_the_pod_is_told() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, SYNC, "secrets");
    let shop = start(world, "rights-secrets");
    never("a Secret was made", || !secret(&shop).is_empty());
    let told = shop.until_event("web", "syncSecret");
    println!("{told}");
    drop(taken);
    until("the Secret is made", || !secret(&shop).is_empty(), || world.node_log());
}

#[test]
fn without_the_right_to_pods_no_secret_is_made_for_its_owner_is_not_known() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, SYNC, "pods");
    let shop = start(world, "rights-pods");
    never("a Secret was made", || !secret(&shop).is_empty());
    drop(taken);
    until("the Secret is made", || !secret(&shop).is_empty(), || world.node_log());
}

#[test]
fn without_the_right_to_service_accounts_a_pod_whose_class_leaves_its_role_to_them_is_told() {
    let (world, _alone) = alone();
    let taken = Taken::from(world, ACCOUNTS, "serviceaccounts");
    let shop = Namespace::new(world, "rights-accounts");
    annotate(&shop, "app", &format!("eks.amazonaws.com/role-arn={}", role("app")));
    aws_class(&shop);
    shop.apply(&pod("web", "aws"));
    let told = shop.until_event("web", "it forbids us to get serviceaccounts");
    println!("{told}");
    assert!(told.contains("serviceAccountAnnotations in the chart"), "{told}");
    assert!(world.clouds.aws_logins(&shop.name).is_empty());
    drop(taken);
    shop.until_ready("web");
}
