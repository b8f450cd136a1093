//! What the chart renders, without an API server.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{
    CLUSTER, SETS, chart, chart_file, helm, objects, of_kind, render, render_for, repository, set, strings,
};

/// The containers of every DaemonSet in `objects`, each with the spec of its pod.
fn containers(objects: &[Value]) -> impl Iterator<Item = (&Value, &Value)> {
    of_kind(objects, "DaemonSet").into_iter().flat_map(|daemon_set| {
        let pod = &daemon_set["spec"]["template"]["spec"];
        pod["containers"].as_array().unwrap().iter().map(move |container| (pod, container))
    })
}

#[test]
fn helm_finds_nothing_to_say_about_any_set_of_values() {
    for name in SETS {
        let (chart, set) = (chart().display().to_string(), set(name));
        let mut arguments = vec!["lint", "--strict", &chart];
        arguments.extend(set.iter().map(String::as_str));
        helm(&arguments).unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
    }
}

#[test]
fn the_api_server_takes_every_object_of_every_set_of_values() {
    for name in SETS {
        let rendered = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(rendered.path(), render(name, &[])).unwrap();
        let file = rendered.path().display().to_string();

        let strictly = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
        let taken = CLUSTER.try_kubectl(&[&["apply"], &strictly[..], &["-f", &file]].concat());

        taken.unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
    }
}

#[test]
fn the_plain_yaml_is_what_the_chart_renders() {
    let checked = Command::new(repository().join("hack/render")).arg("--check").output().unwrap();

    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn the_programs_understand_every_argument_that_the_chart_gives_them() {
    for name in SETS {
        let objects = objects(&render(name, &[]));
        for (_, container) in containers(&objects) {
            let arguments = strings(&container["args"]);
            // Arguments are parsed in order. If none is wrong, `--help` ends the program successfully.
            let help = program(container).args(&arguments).arg("--help").output();

            let told = help.unwrap();
            let complaint = String::from_utf8_lossy(&told.stderr).into_owned();
            assert!(told.status.success(), "{name}: {arguments:?}: {complaint}");
        }
    }
}

/// The program that a container runs: the image's entry point, or a program of the image by its name.
fn program(container: &Value) -> Command {
    let secretfs = Path::new(env!("CARGO_BIN_EXE_secretfs"));
    match container.get("command") {
        Some(command) => {
            assert_eq!(strings(command), ["secretfs-mounter"]);
            testing::mounter(secretfs)
        }
        None => Command::new(secretfs),
    }
}

#[test]
fn only_the_mounter_is_privileged_and_it_has_no_token() {
    for name in SETS {
        let objects = objects(&render(name, &[]));
        for (pod, container) in containers(&objects) {
            let mounts = container["name"] == "mounter";
            let security = &container["securityContext"];
            assert_eq!(security["privileged"], mounts, "{name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(pod["automountServiceAccountToken"], !mounts, "{name}");
            // It has to see which container a caller is in.
            assert_eq!(pod.get("hostPID").is_some(), mounts, "{name}");
            assert!(pod.get("hostIPC").is_none(), "{name}");
            if !mounts {
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"], "{name}");
            }
        }
    }
}

#[test]
fn with_a_user_of_its_own_the_driver_has_no_capability_and_the_mounter_serves_that_user() {
    let objects = objects(&render("", &["--set", "linux.driver.runAsUser=4711"]));
    let containers: Vec<_> = containers(&objects).collect();
    let find = |name: &str| containers.iter().find(|(_, container)| container["name"] == name).unwrap();

    let (pod, node) = find("node");
    let security = &node["securityContext"];
    assert_eq!((&security["runAsUser"], &security["runAsGroup"]), (&4711.into(), &4711.into()));
    assert!(security["runAsNonRoot"] == true && security["capabilities"].get("add").is_none(), "{security}");
    assert_eq!(pod["securityContext"]["fsGroup"], 4711);
    assert!(strings(&pod["initContainers"][0]["args"]).contains(&"--to=4711"));
    assert!(strings(&find("mounter").1["args"]).contains(&"--allow-uid=4711"));
}

#[test]
fn a_new_installation_runs_as_a_user_of_its_own_and_an_upgrade_as_what_it_was() {
    let users = |more: &[&str]| {
        let chart = chart().display().to_string();
        let arguments =
            ["template", "secretfs", &chart, "--namespace", "billing", "--kube-version", "1.35.4"];
        let live = ["--dry-run=server", "--set", "linux.image.tag=test"];
        let rendered = helm(&[&arguments[..], &live, more].concat());
        let objects = objects(&rendered.unwrap_or_else(|complaint| panic!("{complaint}")));
        let containers: Vec<_> = containers(&objects).map(|(_, container)| container.clone()).collect();
        let find = |name: &str| containers.iter().find(|container| container["name"] == name).unwrap();
        let allowed =
            strings(&find("mounter")["args"]).into_iter().find(|argument| argument.contains("-uid"));
        (find("node")["securityContext"]["runAsUser"].as_u64(), allowed.unwrap().to_owned())
    };
    let own = "--allow-uid=47512".to_owned();
    assert_eq!(users(&[]), (Some(47_512), own.clone()));

    let mut earlier = objects(&render("", &["--set", "linux.driver.runAsUser=0"]));
    let node = earlier.iter_mut().find(|object| object["metadata"]["name"] == "secretfs-node").unwrap();
    node["metadata"]["namespace"] = "billing".into();
    CLUSTER.apply(&node.to_string());

    assert_eq!(users(&[]), (Some(0), own.clone()));
    assert_eq!(users(&["--set", "linux.driver.runAsUser=47512"]), (Some(47_512), own));
    assert_eq!(users(&["--set", "linux.driver.runAsUser=4711"]), (Some(4711), "--allow-uid=4711".to_owned()));
}

#[test]
fn an_upgrade_restarts_one_half_and_never_the_mounter() {
    let objects = objects(&render("", &[]));
    let strategies: Vec<_> = of_kind(&objects, "DaemonSet")
        .into_iter()
        .map(|set| {
            (
                set["metadata"]["name"].as_str().unwrap(),
                set["spec"]["updateStrategy"]["type"].as_str().unwrap(),
            )
        })
        .collect();

    assert_eq!(strategies, [("secretfs-mounter", "OnDelete"), ("secretfs-node", "RollingUpdate")]);
}

#[test]
fn tokens_come_among_the_secrets_where_the_api_server_knows_the_field_and_there_are_tokens() {
    let in_secrets = |version: &str, values: &str| {
        let objects = objects(&render_for(version, values, &[]).unwrap());
        of_kind(&objects, "CSIDriver")[0]["spec"].get("serviceAccountTokenInSecrets").cloned()
    };

    assert_eq!(in_secrets("1.34.9", "drop-in"), None);
    assert_eq!(in_secrets("1.35.0", "drop-in"), Some(Value::Bool(true)));
    assert_eq!(in_secrets("1.37.2-eks-1", "drop-in"), Some(Value::Bool(true)));
    assert_eq!(in_secrets("1.35.0", ""), None);
}

#[test]
fn a_cluster_that_is_too_old_is_refused() {
    let refused = render_for("1.32.9", "", &[]).unwrap_err();

    assert!(refused.contains("1.33"), "{refused}");
}

#[test]
fn every_volume_gets_pod_info_and_new_tokens_whatever_the_values_say() {
    for name in SETS {
        let objects = objects(&render(name, &[]));
        for driver in of_kind(&objects, "CSIDriver") {
            let spec = &driver["spec"];
            assert!(spec["podInfoOnMount"] == true && spec["requiresRepublish"] == true, "{name}: {spec}");
            assert_eq!(spec["volumeLifecycleModes"], serde_json::json!(["Ephemeral"]), "{name}");
            assert_eq!(driver["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{name}");
        }
    }
}

#[test]
fn a_client_certificate_is_shown_below_its_namespaces_name() {
    let values =
        "tls.configMap=authorities,tls.clients[0].namespace=shop,tls.clients[0].secret=vault-of-shop";
    let objects = objects(&render("", &["--set", values]));
    let (pod, node) = containers(&objects).last().unwrap();

    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "tls").unwrap();
    let sources = &volume["projected"]["sources"];
    assert_eq!(sources[0]["configMap"]["name"], "authorities");
    assert_eq!(sources[1]["secret"]["name"], "vault-of-shop");
    let paths: Vec<_> =
        sources[1]["secret"]["items"].as_array().unwrap().iter().map(|item| item["path"].clone()).collect();
    assert_eq!(paths, ["shop/tls.crt", "shop/tls.key"]);
    assert!(strings(&node["args"]).contains(&"--tls-dir=/etc/secretfs/tls"));
}

#[test]
fn insecure_stores_are_left_to_the_driver_unless_the_values_decide() {
    let given = |set: &str| {
        let objects = objects(&render("", &["--set", set]));
        let (_, node) = containers(&objects).last().unwrap();
        let arguments = strings(&node["args"]).into_iter().map(str::to_owned);
        arguments
            .filter(|argument| argument.contains("insecure") || argument.contains("tls13"))
            .collect::<Vec<_>>()
    };

    assert!(given("tls.only13=false").is_empty());
    assert_eq!(given("allowInsecureStores=false"), ["--allow-insecure-stores=false"]);
    assert_eq!(
        given("allowInsecureStores=true,tls.only13=true"),
        ["--tls13-only", "--allow-insecure-stores=true"]
    );
}

#[test]
fn a_cloud_that_is_enabled_brings_the_audiences_of_its_tokens_each_once() {
    let audiences = |values: &str, set: &str| -> Vec<String> {
        let rendered = objects(&render(values, &["--set", set]));
        let requests = of_kind(&rendered, "CSIDriver")[0]["spec"]["tokenRequests"].clone();
        let requests = requests.as_array().into_iter().flatten();
        requests.map(|request| request["audience"].as_str().unwrap().to_owned()).collect()
    };
    let google =
        |provider: &str| audiences("", &format!("gcp.enabled=true,gcp.workloadIdentityProvider={provider}"));
    let federation = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/s";

    assert_eq!(
        audiences("clouds", "global.x=y"),
        [
            "sts.amazonaws.com",
            "vault",
            "pods.eks.amazonaws.com",
            "api://AzureADTokenExchange",
            "shop-prod.svc.id.goog"
        ]
    );
    assert_eq!(google(federation), [federation]);
    assert_eq!(google(&format!("https:{federation}")), [federation]);
    assert!(audiences("", "aws.region=eu-west-1").is_empty(), "it is not enabled");
    let refused = render_for("1.35.4", "", &["--set", "gcp.enabled=true"]).unwrap_err();
    assert!(refused.contains("gcp.workloadIdentityProvider"), "{refused}");
}

#[test]
fn service_accounts_are_looked_at_where_a_store_needs_it_or_the_values_say_so() {
    let given = |set: &str| {
        let objects = objects(&render("", &["--set", set]));
        let (_, node) = containers(&objects).last().unwrap();
        let arguments = strings(&node["args"]).into_iter().map(str::to_owned);
        arguments.filter(|argument| argument.contains("annotations")).collect::<Vec<_>>()
    };

    assert!(given("azure.enabled=true").is_empty());
    assert!(given("aws.enabled=true,serviceAccountAnnotations.enabled=false").is_empty());
    assert_eq!(given("aws.enabled=true"), ["--service-account-annotations=*"]);
    assert_eq!(
        given("serviceAccountAnnotations.enabled=true,serviceAccountAnnotations.namespaces={shop,billing}"),
        ["--service-account-annotations=shop,billing"]
    );
}

#[test]
fn what_something_else_owns_is_left_out() {
    let count = |more: &[&str], kind: &str| of_kind(&objects(&render("", more)), kind).len();

    assert_eq!((count(&[], "CSIDriver"), count(&[], "CustomResourceDefinition")), (1, 4));
    assert_eq!(count(&["--set", "csidriver.create=false"], "CSIDriver"), 0);
    assert_eq!(count(&["--set", "crds.create=false"], "CustomResourceDefinition"), 0);
    assert_eq!(count(&["--set", "linux.crds.enabled=false"], "CustomResourceDefinition"), 0);
    assert_eq!(count(&["--set", "linux.enabled=false"], "DaemonSet"), 0);
}

#[test]
fn custom_resources_stay_when_the_chart_goes() {
    let objects = objects(&render("", &[]));

    for resource in of_kind(&objects, "CustomResourceDefinition") {
        assert_eq!(resource["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

#[test]
fn probes_run_the_program_and_ask_no_port_that_a_pod_can_reach() {
    for name in SETS {
        let objects = objects(&render(name, &[]));
        let node = containers(&objects).map(|(_, container)| container).find(|it| it["name"] == "node");
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = &node.unwrap()[probe];
            assert!(
                ["httpGet", "tcpSocket", "grpc"].iter().all(|way| probe.get(way).is_none()),
                "{name}: {probe}"
            );
            let command = strings(&probe["exec"]["command"]);
            let (program, arguments) = command.split_first().unwrap();
            assert_eq!(*program, "secretfs", "{name}");
            let help = Command::new(env!("CARGO_BIN_EXE_secretfs")).args(arguments).arg("--help").output();
            assert!(help.unwrap().status.success(), "{name}: {arguments:?}");
        }
    }
}

#[test]
fn metrics_may_be_at_an_address_that_kubelet_does_not_reach() {
    let objects = objects(&render("", &["--set", "linux.metricsAddr=127.0.0.1:8095"]));
    let (_, node) = containers(&objects).last().unwrap();

    assert!(strings(&node["args"]).contains(&"--http=127.0.0.1:8095"), "{node}");
}

/// Names of metrics in `text`, without the suffixes that Prometheus adds for histograms and counters.
fn metrics_in(text: &str) -> Vec<String> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !name(c)).filter(|word| word.starts_with("secretfs_"));
    words.map(|word| word.trim_end_matches("_bucket").trim_end_matches("_total").to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_speak_of_metrics_that_exist() {
    let golden = std::fs::read_to_string(repository().join("tests/golden/metrics.txt")).unwrap();
    let exist: Vec<_> =
        golden.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard = chart_file("files/dashboard.json");
    let alerts = chart_file("templates/prometheusrule.yaml");

    let used = [metrics_in(&dashboard), metrics_in(&alerts)].concat();

    assert!(used.len() > 20, "{used:?}");
    for metric in used {
        let metric = metric.trim_end_matches("_info");
        assert!(exist.contains(&metric), "there is no metric {metric}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let objects = objects(&render("monitoring", &[]));
    let map = of_kind(&objects, "ConfigMap")[0];
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");

    let dashboard: Value = serde_json::from_str(map["data"]["secretfs.json"].as_str().unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();

    assert!(panels.iter().all(|panel| panel["targets"][0]["expr"].is_string()));
    assert_eq!(dashboard["uid"], "secretfs");
}

#[test]
fn the_chart_has_the_programs_version() {
    let chart: Value = serde_yaml::from_str(&chart_file("Chart.yaml")).unwrap();

    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn values_that_do_nothing_are_named_after_an_installation() {
    let (chart, set) = (chart().display().to_string(), set("drop-in"));
    let mut arguments =
        vec!["install", "secretfs", &chart, "--namespace", "secretfs-system", "--dry-run=server"];
    arguments.extend(set.iter().map(String::as_str));
    // Helm did not create those of this cluster, so it must not create them again.
    arguments.extend(["--set", "crds.create=false,admissionPolicy.create=false"]);

    let told = helm(&arguments).unwrap();

    let (_, notes) = told.split_once("NOTES:").unwrap();
    for ignored in [
        "linux.registrar:",
        "linux.registrarImage:",
        "linux.livenessProbeImage:",
        "linux.livenessProbe:",
        "livenessProbe:",
        "filteredWatchSecret:",
        "minimumProviderVersions:",
        "csidriver.preventPodSchedulingIfMissing:",
    ] {
        assert!(notes.contains(ignored), "{ignored} in {notes}");
    }
    assert!(notes.contains("providerHealthCheck:") && notes.contains("linux.crds.image:"), "{notes}");
    assert!(!notes.contains("windows:") && !notes.contains("tokenRequests is empty"), "{notes}");
}
