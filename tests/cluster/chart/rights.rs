//! The rights of the driver in the API: exactly those that RBAC.md lists.

use std::collections::BTreeSet;

use serde_json::json;
use testing::until;

use super::{CLUSTER, SETS, chart_file, objects, of_kind, render, render_for};

/// The kinds of objects that grant or limit rights.
pub(super) const KINDS: [&str; 5] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// A right as `kubectl auth can-i --list` shows it.
pub(super) type Right = (String, String, BTreeSet<String>);

/// One row of the table in RBAC.md.
struct Row {
    /// `always`, or the value that turns the right on.
    when: String,
    right: Right,
}

/// The driver's name in the renders of this module.
const DRIVER: &str = "csi.secretfs.dev";

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn table() -> Vec<Row> {
    let text = chart_file("RBAC.md");
    let rights = [
        "| always",
        "| syncSecret",
        "| startupTaint",
        "| serviceAccountAnnotations",
        "| containerAccess",
        "| refreshRequests",
        "| restartWorkloads",
    ];
    let rows = text.lines().filter(|line| rights.iter().any(|begin| line.starts_with(begin)));
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rights, group, resource, names, verbs, _, reason] = cells[..] else { panic!("{line}") };
        assert!(!reason.is_empty(), "{line} has no reason");
        let resource = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let name = if names.is_empty() { String::new() } else { DRIVER.to_owned() };
        Row { when: rights.to_owned(), right: (resource, name, words(verbs)) }
    });
    rows.collect()
}

/// The rights in the table that always apply, and those that `values` turn on.
pub(super) fn expected(values: &[&str]) -> BTreeSet<Right> {
    let held = |row: &Row| row.when == "always" || values.contains(&row.when.as_str());
    table().into_iter().filter(held).map(|row| row.right).collect()
}

/// The text in brackets at the start of `text`, and the text after them.
fn bracketed(text: &str) -> (&str, &str) {
    text.trim_start().strip_prefix('[').and_then(|text| text.split_once(']')).unwrap_or(("", ""))
}

/// Every right on objects that `account` has in `namespace`.
fn rights(account: &str, namespace: &str) -> BTreeSet<Right> {
    let listed = CLUSTER.kubectl(&["auth", "can-i", "--list", "--as", account, "--namespace", namespace]);
    let lines = listed.lines().skip(1).filter(|line| !line.starts_with(' '));
    let rights = lines.map(|line| {
        let (resource, rest) = line.split_once(' ').unwrap();
        let (_, rest) = bracketed(rest);
        let (name, rest) = bracketed(rest);
        (resource.to_owned(), name.to_owned(), words(bracketed(rest).0))
    });
    rights.collect()
}

/// The driver's rights, installed under names that no other test uses.
pub(super) struct Installed {
    namespace: &'static str,
}

impl Installed {
    /// Installs the rights that the chart grants with `values`, in this namespace.
    pub(super) fn with(namespace: &'static str, values: &str) -> Self {
        let values = format!("admissionPolicy.create=false,rbac.namePrefix={namespace}-,{values}");
        let rendered = objects(&render("", &["--namespace", namespace, "--set", &values]));
        let kinds = KINDS.map(|kind| of_kind(&rendered, kind));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds.concat()});
        CLUSTER.apply(&list.to_string());
        Self { namespace }
    }

    /// The driver's rights in `namespace`, without those that every account has.
    pub(super) fn rights(&self, namespace: &str) -> BTreeSet<Right> {
        let everybody = rights(&self.account("secretfs-mounter"), namespace);
        rights(&self.account("secretfs"), namespace).difference(&everybody).cloned().collect()
    }

    pub(super) fn may(&self, verb: &str, resource: &str) -> bool {
        let account = self.account("secretfs");
        let asked = CLUSTER.try_kubectl(&["auth", "can-i", verb, resource, "--as", &account, "-n", "shop"]);
        asked.is_ok_and(|answer| answer.trim() == "yes")
    }

    pub(super) fn account(&self, name: &str) -> String {
        format!("system:serviceaccount:{}:{name}", self.namespace)
    }
}

#[test]
fn without_sync_the_driver_has_the_rights_of_the_table_and_no_more() {
    let driver = Installed::with("without", "syncSecret.enabled=false");

    assert_eq!(driver.rights("shop"), expected(&[]));
    assert!(!driver.may("get", "secrets") && !driver.may("create", "serviceaccounts/token"));
}

#[test]
fn with_sync_it_has_more_in_the_namespaces_that_are_named_and_nowhere_else() {
    let driver = Installed::with("named", "syncSecret.enabled=true,syncSecret.namespaces={shop}");

    assert_eq!(driver.rights("shop"), expected(&["syncSecret.enabled"]));
    assert_eq!(driver.rights("billing"), expected(&[]));
    assert!(driver.may("patch", "secrets") && !driver.may("list", "secrets"));
}

#[test]
fn with_sync_everywhere_it_has_the_same_everywhere() {
    let driver = Installed::with("everywhere", "syncSecret.enabled=true,syncSecret.clusterWide=true");

    assert_eq!(driver.rights("shop"), expected(&["syncSecret.enabled"]));
    assert_eq!(driver.rights("kube-system"), expected(&["syncSecret.enabled"]));
    assert!(!driver.may("watch", "secrets") && !driver.may("create", "serviceaccounts/token"));
}

#[test]
fn with_a_cloud_it_may_get_service_accounts_where_the_values_say_and_do_no_more_with_them() {
    let cloud = Installed::with("clouded", "aws.enabled=true");
    let confined =
        Installed::with("confined", "aws.enabled=true,serviceAccountAnnotations.namespaces={shop}");
    let without = Installed::with("unasked", "aws.enabled=true,serviceAccountAnnotations.enabled=false");
    let all = expected(&["serviceAccountAnnotations.enabled"]);

    assert_eq!((cloud.rights("shop"), cloud.rights("billing")), (all.clone(), all.clone()));
    assert_eq!((confined.rights("shop"), confined.rights("billing")), (all, expected(&[])));
    assert_eq!(without.rights("shop"), expected(&[]));
    assert!(!cloud.may("list", "serviceaccounts") && !cloud.may("create", "serviceaccounts/token"));
}

#[test]
fn with_access_rules_it_may_get_pods_and_no_more() {
    let driver = Installed::with("accessible", "containerAccess.enabled=true");

    assert_eq!(driver.rights("shop"), expected(&["containerAccess.enabled"]));
    assert!(!driver.may("list", "pods") && !driver.may("create", "pods/exec"));
}

#[test]
fn with_requests_on_pods_it_may_watch_pods_and_no_more() {
    let driver = Installed::with("asked", "refreshRequests.onPods=true");

    assert_eq!(driver.rights("shop"), expected(&["refreshRequests.onPods"]));
    assert!(!driver.may("get", "pods") && !driver.may("patch", "pods"));
}

/// A Secret in namespace `billing`, for the driver to create.
fn secret(name: &str, managed: bool, kind: &str) -> String {
    let mut secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "billing"},
        "type": kind,
    });
    if managed {
        secret["metadata"]["labels"] = json!({"secrets-store.csi.k8s.io/managed": "true"});
    }
    if kind == "kubernetes.io/service-account-token" {
        secret["metadata"]["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
    }
    secret.to_string()
}

#[test]
fn with_sync_it_writes_managed_secrets_and_no_tokens_and_leaves_those_of_others_alone() {
    let driver = Installed::with("held", "syncSecret.enabled=true,syncSecret.namespaces={billing}");
    let account = driver.account("secretfs");
    let act =
        |arguments: &[&str]| CLUSTER.try_kubectl(&[&["--as", &account, "-n", "billing"], arguments].concat());
    let apply = |manifest: String| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        act(&["apply", "--server-side", "-f", &file.path().display().to_string()])
    };
    // A policy takes effect a moment after its creation.
    let probe = || apply(secret("probe", false, "Opaque")).is_err_and(|told| told.contains("labelled"));
    until(probe, || "the policy holds nobody".to_owned());
    CLUSTER.apply(&secret("theirs", false, "Opaque"));
    let label = r#"{"metadata":{"labels":{"secrets-store.csi.k8s.io/managed":"true"}}}"#;

    apply(secret("ours", true, "Opaque")).unwrap();
    act(&["patch", "secret", "ours", "--type=merge", "-p", r#"{"stringData":{"a":"b"}}"#]).unwrap();
    act(&["delete", "secret", "ours"]).unwrap();
    let refused = [
        apply(secret("token", true, "kubernetes.io/service-account-token")),
        apply(secret("join", true, "bootstrap.kubernetes.io/token")),
        act(&["patch", "secret", "theirs", "--type=merge", "-p", label]),
        act(&["delete", "secret", "theirs"]),
    ];

    for outcome in refused {
        let told = outcome.unwrap_err();
        assert!(told.contains("ValidatingAdmissionPolicy 'held-secretprovidersyncing"), "{told}");
    }
    CLUSTER.kubectl(&["-n", "billing", "delete", "secret", "theirs"]);
}

#[test]
fn sync_without_saying_where_is_refused() {
    let refused = render_for("1.35.4", "", &["--set", "syncSecret.enabled=true"]).unwrap_err();

    assert!(
        refused.contains("syncSecret.namespaces") && refused.contains("syncSecret.clusterWide"),
        "{refused}"
    );
}

#[test]
fn roles_have_the_names_of_upstreams() {
    let rendered = objects(&render("sync-namespaces", &[]));
    let names = |kind: &str| -> BTreeSet<String> {
        let names = of_kind(&rendered, kind).into_iter().map(|object| &object["metadata"]["name"]);
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };

    let roles = "secretproviderclasses-role secretprovidersyncing-role secretproviderclasses-admin-role \
                 secretproviderclasses-viewer-role secretproviderclasspodstatuses-viewer-role \
                 revocations-operator-role revocations-viewer-role clusterrevocations-operator-role \
                 clusterrevocations-viewer-role";
    assert_eq!(names("ClusterRole"), words(roles));
    assert_eq!(names("ClusterRoleBinding"), words("secretproviderclasses-rolebinding"));
    assert_eq!(names("RoleBinding"), words("secretprovidersyncing-rolebinding"));
}

#[test]
fn no_role_has_a_wildcard() {
    for name in SETS {
        let rendered = objects(&render(name, &[]));
        for role in of_kind(&rendered, "ClusterRole") {
            assert!(!role["rules"].to_string().contains('*'), "{name}: {role}");
        }
    }
}

#[test]
fn each_rule_has_its_reason_above_it() {
    for file in [
        "templates/rbac.yaml",
        "templates/rbac-sync.yaml",
        "templates/rbac-accounts.yaml",
        "templates/rbac-access.yaml",
        "templates/rbac-refresh.yaml",
        "templates/rbac-restarts.yaml",
        "templates/startup-taint.yaml",
    ] {
        let text = chart_file(file);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("- apiGroups")) {
            // The reason for a role with a single rule is above the role.
            let above = lines[..index].iter().rev().take_while(|line| **line != "---");
            let above: Vec<_> = above.take_while(|line| !line.starts_with("- apiGroups")).collect();
            assert!(above.iter().any(|line| line.starts_with('#')), "{file}: {line} has no reason");
        }
    }
}
