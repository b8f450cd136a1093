//! The chart's values, compared with their schema.

use serde_json::{Map, Value};

use super::{CLUSTER, chart, chart_file, helm, render, render_for};

fn schema() -> Value {
    serde_json::from_str(&chart_file("values.schema.json")).unwrap()
}

/// The properties that `schema` allows in an object.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// Calls `visit` with the path of every value in `values` for which the schema has properties, and with that schema.
fn each<'v>(
    path: &str,
    values: &'v Value,
    schema: &'v Value,
    visit: &mut dyn FnMut(&str, Option<&'v Value>),
) {
    let (Some(values), Some(properties)) = (values.as_object(), properties(schema)) else { return };
    for (name, value) in values {
        let path = format!("{path}.{name}");
        let schema = properties.get(name);
        visit(&path, schema);
        each(&path, value, schema.unwrap_or(&Value::Null), visit);
    }
}

#[test]
fn every_value_is_in_the_schema_and_described_there() {
    let (values, schema) = (serde_yaml::from_str(&chart_file("values.yaml")).unwrap(), schema());
    let mut seen = 0;

    each("", &values, &schema, &mut |path, schema| {
        let schema = schema.unwrap_or_else(|| panic!("{path} is not in the schema"));
        assert!(schema["description"].is_string(), "{path} is not described");
        seen += 1;
    });

    assert!(seen > 100, "{seen}");
}

/// Calls `visit` with every schema inside `schema` that lists properties.
fn closed<'s>(schema: &'s Value, visit: &mut dyn FnMut(&'s Value)) {
    if properties(schema).is_some() {
        visit(schema);
    }
    match schema {
        Value::Object(inner) => inner.values().for_each(|value| closed(value, visit)),
        Value::Array(inner) => inner.iter().for_each(|value| closed(value, visit)),
        _ => {}
    }
}

#[test]
fn a_value_that_nobody_knows_is_refused_wherever_it_stands() {
    let schema = schema();
    closed(&schema, &mut |object| assert_eq!(object["additionalProperties"], false, "{object}"));

    for value in
        ["linux.drivers=x", "csidriver.names=x", "syncSecrets.enabled=true", "metrics.serviceMonitor.on=true"]
    {
        let refused = render_for("1.35.4", "", &["--set", value]).unwrap_err();
        assert!(refused.contains("additional properties"), "{value}: {refused}");
    }
}

#[test]
fn a_value_that_cannot_be_is_refused() {
    for value in [
        "linux.metricsAddr=8095",
        "linux.kubeletRootDir=kubelet",
        "linux.image.digest=latest",
        "linux.image.pullPolicy=Sometimes",
        "linux.updateStrategy.rollingUpdate.maxSurge=1",
        "csidriver.name=Secrets_Store",
        "admissionPolicy.action=Refuse",
        "tokenRequests[0].audience=x,tokenRequests[0].expirationSeconds=60",
        "syncSecret.namespaces[0]=*",
        "vault.address=vault:8200",
        "allowInsecureStores=perhaps",
        "aws.roleArn=shop",
        "azure.vaultURL=vault.example.com",
        "serviceAccountAnnotations.namespaces[0]=*",
        "allowNodeIdentity[0]=a/b",
        "tls.clients[0].namespace=../shop,tls.clients[0].secret=x",
        "tls.clients[0].namespace=shop",
    ] {
        let refused = render_for("1.35.4", "", &["--set", value]).unwrap_err();
        assert!(refused.contains("specifications of the schema"), "{value}: {refused}");
    }
}

#[test]
fn an_image_of_the_upstream_driver_is_refused() {
    for image in ["registry.k8s.io/csi-secrets-store/driver", "example.com/oss/v2/secrets-store/driver"] {
        let set = format!("linux.image.repository={image},linux.image.tag=v1.6.0");
        let refused = render_for("1.35.4", "", &["--set", &set]).unwrap_err();
        assert!(refused.contains("the upstream driver"), "{refused}");
    }
}

#[test]
fn the_placeholder_image_is_refused_where_there_is_a_cluster_and_can_be_rendered_without_one() {
    let chart = chart().display().to_string();
    let install = ["install", "placeholder", &chart, "--namespace", "secretfs-system"];

    for more in [&[][..], &["--dry-run=server"]] {
        let refused = helm(&[&install, more].concat()).unwrap_err();
        assert!(refused.contains("hack/image") && refused.contains("linux.image.repository"), "{refused}");
    }

    assert!(render("", &[]).contains("image: localhost/secretfs:"));
    let made = CLUSTER.kubectl(&["get", "daemonsets", "-n", "secretfs-system", "-o", "name"]);
    assert!(!made.contains("placeholder"), "{made}");
}

#[test]
fn two_sources_of_certificates_are_refused() {
    let refused = render_for("1.35.4", "", &["--set", "tls.configMap=a,tls.secret=b"]).unwrap_err();

    assert!(refused.contains("not both"), "{refused}");
}

#[test]
fn the_schema_lets_a_parent_chart_share_its_values() {
    assert!(render("", &["--set", "global.registry=example.com"]).contains("kind: DaemonSet"));
}
