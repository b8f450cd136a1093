//! The cases of the upstream driver's end-to-end suite, under its driver name and with its manifests.

use serde_json::{Value, json};

use super::world::{Namespace, pod, shared, until};

#[test]
fn upstreams_resources_and_roles_are_there_under_their_names() {
    let (world, _peace) = shared();
    for resource in ["secretproviderclasses", "secretproviderclasspodstatuses"] {
        let name = format!("crd/{resource}.secrets-store.csi.x-k8s.io");
        world.cluster.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=120s"]);
    }
    for role in [
        "secretproviderclasses-role",
        "secretproviderclasses-admin-role",
        "secretproviderclasses-viewer-role",
        "secretproviderclasspodstatuses-viewer-role",
        "secretprovidersyncing-role",
    ] {
        world.cluster.kubectl(&["get", "clusterrole", role]);
    }
    for binding in ["secretproviderclasses-rolebinding", "secretprovidersyncing-rolebinding"] {
        world.cluster.kubectl(&["get", "clusterrolebinding", binding]);
    }
}

#[test]
fn classes_of_both_versions_are_served() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-versions");
    shop.secret("foo", "secret");
    for version in ["v1", "v1alpha1"] {
        let mut class = shop.vault_manifest(&format!("class-{version}"), &["foo"], &[]);
        class["apiVersion"] = json!(format!("secrets-store.csi.x-k8s.io/{version}"));
        shop.apply(&class);
        shop.apply(&pod(&format!("pod-{version}"), &format!("class-{version}")));
    }
    for version in ["v1", "v1alpha1"] {
        shop.until_ready(&format!("pod-{version}"));
        assert_eq!(shop.read(&format!("pod-{version}"), "foo"), "secret");
    }
}

#[test]
fn a_class_that_is_missing_is_told_in_the_words_that_upstreams_users_look_for() {
    let (world, _peace) = shared();
    let negative = Namespace::new(world, "upstream-negative");
    negative.apply(&pod("web", "nowhere"));

    let told =
        negative.until_event("web", &format!("failed to get secretproviderclass {}/nowhere", negative.name));
    assert!(told.starts_with("FailedMount") && told.contains("not found"), "{told}");
}

/// `class`, with its object `key` also synced to the Secret `name`.
pub(super) fn synced(mut class: Value, name: &str, object: &str) -> Value {
    class["spec"]["secretObjects"] = json!([{
        "secretName": name, "type": "Opaque", "labels": {"environment": "test"},
        "data": [{"objectName": object, "key": "username"}],
    }]);
    class
}

/// A deployment whose pods need the Secret to start.
fn deployment(name: &str, class: &str, secret: &str) -> Value {
    let mut template = pod("unused", class);
    let mut spec = template["spec"].take();
    spec["containers"][0]["env"] = json!([{
        "name": "SECRET_USERNAME", "valueFrom": {"secretKeyRef": {"name": secret, "key": "username"}},
    }]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    })
}

fn owners(shop: &Namespace<'_>, secret: &str) -> usize {
    shop.field(&format!("secret/{secret}"), "{.metadata.ownerReferences[*].uid}").split_whitespace().count()
}

#[test]
fn a_synced_secret_has_exactly_the_owners_it_has_and_goes_with_the_last() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-sync");
    shop.secret("user", "admin");
    shop.apply(&synced(shop.vault_manifest("app", &["user"], &[]), "foosecret", "user"));
    shop.apply(&deployment("one", "app", "foosecret"));
    shop.apply(&deployment("two", "app", "foosecret"));

    for name in ["one", "two"] {
        let complaint = || shop.try_kubectl(&["get", "pods,secrets,events"]);
        let ready = || shop.field(&format!("deployment/{name}"), "{.status.readyReplicas}") == "2";
        until(&format!("deployment {name} is ready"), ready, complaint);
    }
    assert_eq!(shop.field("secret/foosecret", "{.data.username}"), "YWRtaW4=");
    assert_eq!(shop.field("secret/foosecret", "{.metadata.labels.environment}"), "test");
    let managed = "{.metadata.labels.secrets-store\\.csi\\.k8s\\.io/managed}";
    assert_eq!(shop.field("secret/foosecret", managed), "true");
    let env = shop.kubectl(&["exec", "deployment/one", "--", "sh", "-c", "echo $SECRET_USERNAME"]);
    assert_eq!(env.trim(), "admin");
    until("two owners", || owners(&shop, "foosecret") == 2, || format!("{}", owners(&shop, "foosecret")));

    shop.kubectl(&["delete", "deployment", "one"]);
    until("one owner", || owners(&shop, "foosecret") == 1, || format!("{}", owners(&shop, "foosecret")));
    shop.kubectl(&["delete", "deployment", "two"]);
    let gone = || shop.try_kubectl(&["get", "secret", "foosecret", "--ignore-not-found"]).is_empty();
    until("the Secret is gone", gone, || shop.try_kubectl(&["get", "secret", "foosecret", "-o", "yaml"]));
}

#[test]
fn a_pod_with_two_classes_has_both_and_each_secret_one_owner() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-two");
    shop.secret("zero", "first class");
    shop.secret("one", "second class");
    shop.apply(&synced(shop.vault_manifest("class-0", &["zero"], &[]), "foosecret-0", "zero"));
    shop.apply(&synced(shop.vault_manifest("class-1", &["one"], &[]), "foosecret-1", "one"));
    let mut web = pod("web", "class-0");
    let mut second = web["spec"]["volumes"][0].clone();
    second["name"] = json!("more");
    second["csi"]["volumeAttributes"]["secretProviderClass"] = json!("class-1");
    web["spec"]["volumes"].as_array_mut().unwrap().push(second);
    let mount = json!({"name": "more", "mountPath": "/more", "readOnly": true});
    web["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    shop.apply(&web);

    shop.until_ready("web");
    assert_eq!(shop.read("web", "zero"), "first class");
    assert_eq!(shop.kubectl(&["exec", "web", "--", "cat", "/more/one"]), "second class");
    for secret in ["foosecret-0", "foosecret-1"] {
        until(
            &format!("{secret} has one owner"),
            || owners(&shop, secret) == 1,
            || shop.try_kubectl(&["get", "secret", secret, "-o", "yaml"]),
        );
        let kind = shop.field(&format!("secret/{secret}"), "{.metadata.ownerReferences[0].kind}");
        assert_eq!(kind, "Pod", "what nothing owns owns its Secrets itself");
    }
    shop.delete("web");
    let left = || shop.try_kubectl(&["get", "secrets,secretproviderclasspodstatuses", "-o", "name"]);
    until("nothing is left of the pod", || left().is_empty(), left);
}

#[test]
fn a_rotation_reaches_the_file_and_the_secret() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-rotation");
    shop.secret("foo", "before");
    shop.apply(&synced(shop.vault_manifest("app", &["foo"], &[]), "rotated", "foo"));
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    let data = || shop.field("secret/rotated", "{.data.username}");
    until("the Secret holds the first value", || data() == "YmVmb3Jl", data);

    shop.secret("foo", "rotated");

    shop.until_reads("web", "foo", "rotated");
    until("the Secret holds the second value", || data() == "cm90YXRlZA==", data);
    let versions = "{.items[0].status.objects[*].version}";
    let status = || shop.field("secretproviderclasspodstatuses", versions);
    until("the status tells the new version", || status().contains('2'), status);
}

#[test]
fn the_pods_status_is_written_as_upstream_writes_it() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-status");
    shop.secret("foo", "secret");
    shop.vault_class("app", &["foo"], &[]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");

    let name = &format!("secretproviderclasspodstatus/web-{}-app", shop.name);
    until(
        "the status is there",
        || shop.field(name, "{.status.mounted}") == "true",
        || shop.try_kubectl(&["get", "secretproviderclasspodstatuses", "-o", "yaml"]),
    );
    assert_eq!(shop.field(name, "{.status.podName}"), "web");
    assert_eq!(shop.field(name, "{.status.secretProviderClassName}"), "app");
    assert_eq!(shop.field(name, "{.status.targetPath}"), shop.target("web").display().to_string());
    assert_eq!(
        shop.field(name, "{.metadata.ownerReferences[0].uid}"),
        shop.field("pod/web", "{.metadata.uid}")
    );
    let node = "{.metadata.labels.internal\\.secrets-store\\.csi\\.k8s\\.io/node-name}";
    assert_eq!(shop.field(name, node), shop.field("pod/web", "{.spec.nodeName}"));
}

#[test]
fn the_metrics_have_upstreams_names() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-metrics");
    shop.secret("foo", "one");
    shop.vault_class("app", &["foo"], &[]);
    shop.apply(&pod("web", "app"));
    shop.until_ready("web");
    shop.secret("foo", "two");
    shop.until_reads("web", "foo", "two");
    shop.delete("web");

    let metrics = || world.http("/metrics").unwrap_or_default();
    for name in ["node_publish_total", "node_unpublish_total", "rotation_reconcile_total"] {
        until(
            &format!("{name} is counted"),
            || metrics().lines().any(|line| line.starts_with(name)),
            metrics,
        );
    }
}

#[test]
fn what_is_wrong_with_a_mount_is_told_in_the_pods_events() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "upstream-events");
    shop.vault_class("app", &["missing"], &[]);
    shop.apply(&pod("web", "app"));

    let told =
        shop.until_event("web", &format!("failed to mount secrets store objects for pod {}/web", shop.name));
    assert!(told.starts_with("FailedMount") && told.contains("object missing"), "{told}");
    shop.secret("missing", "found");
    shop.until_ready("web");
    shop.until_event("web", "Mounted");
}

crate::modes::again_in_mode_fuse! {
    classes_of_both_versions_are_served,
    a_synced_secret_has_exactly_the_owners_it_has_and_goes_with_the_last,
    a_pod_with_two_classes_has_both_and_each_secret_one_owner,
    a_rotation_reaches_the_file_and_the_secret,
    the_pods_status_is_written_as_upstream_writes_it,
    the_metrics_have_upstreams_names,
    what_is_wrong_with_a_mount_is_told_in_the_pods_events,
}
