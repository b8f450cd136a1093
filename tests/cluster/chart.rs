//! The Helm chart: an API server accepts everything that it renders, and the driver gets no more rights than
//! documented.

mod admission;
mod render;
mod restarts;
mod rights;
mod startup_taint;
mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use testing::{Cluster, Scope};

/// The sets of values with which the chart is rendered.
const SETS: [&str; 9] = [
    "",
    "drop-in",
    "sync-namespaces",
    "sync-cluster-wide",
    "monitoring",
    "startup-taint",
    "clouds",
    "container-access",
    "restart-workloads",
];

/// An API server with our custom resources, those for the chart's monitoring, and the namespaces of [`SETS`].
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let cluster = Cluster::start(Scope::ApiServer);
    cluster.apply(&stand_ins());
    cluster.define(&repository().join("deploy/crds"));
    for namespace in ["secretfs-system", "shop", "billing"] {
        cluster.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"));
    }
    cluster
});

/// Custom resources that accept anything, in place of the Prometheus operator's. So the tests do not show that the real
/// ones accept what the chart renders.
fn stand_ins() -> String {
    let stand_in = |kind: &str, plural: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{name: {plural}.monitoring.coreos.com}}\n\
             spec:\n  group: monitoring.coreos.com\n  scope: Namespaced\n\
             \x20 names: {{kind: {kind}, plural: {plural}}}\n\
             \x20 versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: \
             {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]\n"
        )
    };
    [stand_in("ServiceMonitor", "servicemonitors"), stand_in("PrometheusRule", "prometheusrules")]
        .join("---\n")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart() -> PathBuf {
    repository().join("deploy/charts/secretfs")
}

fn chart_file(path: &str) -> String {
    fs::read_to_string(chart().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The output of `helm`, or its error message.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let helm = Command::new("helm").args(arguments).env("KUBECONFIG", CLUSTER.kubeconfig()).output();
    let output = helm.expect("helm; run eval \"$(hack/tools helm)\"");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(words(&output.stdout)) } else { Err(words(&output.stderr)) }
}

/// The arguments that choose one of [`SETS`].
fn set(name: &str) -> Vec<String> {
    let file = repository().join("tests/cluster/values").join(name).with_extension("yaml");
    if name.is_empty() { Vec::new() } else { vec!["--values".to_owned(), file.display().to_string()] }
}

/// The output of the chart for a cluster of this version.
fn render_for(version: &str, values: &str, more: &[&str]) -> Result<String, String> {
    let (chart, set) = (chart().display().to_string(), set(values));
    let mut arguments = vec!["template", "secretfs", &chart, "--namespace", "secretfs-system"];
    arguments.extend(["--kube-version", version]);
    arguments.extend(set.iter().map(String::as_str));
    arguments.extend(more);
    helm(&arguments)
}

/// The output of the chart for the cluster of these tests.
fn render(values: &str, more: &[&str]) -> String {
    render_for("1.35.4", values, more).unwrap_or_else(|complaint| panic!("{values}: {complaint}"))
}

/// The objects in a text of several YAML documents.
fn objects(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_yaml::from_multiple(yaml).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The rights of the driver and what limits them, as the chart makes them with `values` in namespace `secretfs-system`.
pub(super) fn rights_with(values: &str) -> Value {
    let version = ["--kube-version", "1.35.4", "--set", values];
    let chart = chart().display().to_string();
    let arguments =
        [&["template", "secretfs", &chart, "--namespace", "secretfs-system"], &version[..]].concat();
    let output =
        Command::new("helm").args(arguments).output().expect("helm; run eval \"$(hack/tools helm)\"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = objects(&String::from_utf8(output.stdout).unwrap());
    let items = rights::KINDS.map(|kind| of_kind(&rendered, kind)).concat();
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// The objects of one kind.
fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The strings in an array.
fn strings(array: &Value) -> Vec<&str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
