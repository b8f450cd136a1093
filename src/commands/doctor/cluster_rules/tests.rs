use super::*;
use crate::commands::doctor::finding::Level;
use crate::commands::doctor::host::{Kubelet, Socket, State};

const DRIVER: &str = "csi.secretfs.dev";
const VAULT: &str = r#"
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: app, namespace: shop}
spec:
  provider: vault
  parameters:
    roleName: app
    audience: vault
    objects: |
      - {objectName: key, secretPath: secret/data/app, secretKey: key}
"#;

fn class(text: &str) -> Arc<Class> {
    Arc::new(Class::read(text).unwrap().remove(0))
}

fn sound() -> Survey {
    Survey {
        version: Ok(Version { number: (1, 35), text: "v1.35.4".to_owned() }),
        driver: Ok(Some(Driver {
            pod_info: true,
            ephemeral: true,
            republish: true,
            attach: false,
            fs_group_policy: "None".to_owned(),
            audiences: ["vault".to_owned()].into(),
            tokens_in_secrets: true,
        })),
        resources: Ok([
            "v1/secretproviderclasses",
            "v1/secretproviderclasspodstatuses",
            "v1alpha1/secretproviderclasses",
        ]
        .map(str::to_owned)
        .into()),
        classes: Ok(vec![Ok(class(VAULT))]),
        rights: Ok(Judged { user: "driver".to_owned(), missing: Vec::new(), needless: Vec::new() }),
    }
}

fn node() -> Host {
    Host {
        kernel: "6.18.0".to_owned(),
        swap: false,
        fuse: true,
        kubelet: Kubelet { root: "/k".into(), registry: true, running: Vec::new() },
        state: ("/run".into(), Some(true)),
        chain: None,
        sockets: vec![Socket {
            purpose: Purpose::Provider,
            path: "/providers/acme.sock".into(),
            state: State::Answers { owner: 0, mode: 0o600 },
        }],
    }
}

/// The findings for a cluster with one fault, without those that are `Ok`.
fn found(fault: impl FnOnce(&mut Survey)) -> Vec<(Level, &'static str)> {
    let mut survey = sound();
    fault(&mut survey);
    let findings = findings(&survey, DRIVER, &crate::providers::offline(), &node());
    assert!(
        findings.iter().all(|finding| finding.remedy.is_empty() == (finding.level < Level::Warning)),
        "{findings:#?}"
    );
    let amiss = findings.iter().filter(|finding| finding.level != Level::Ok);
    amiss.map(|finding| (finding.level, finding.check)).collect()
}

fn driver(fault: impl FnOnce(&mut Driver)) -> Vec<(Level, &'static str)> {
    found(|survey| fault(survey.driver.as_mut().unwrap().as_mut().unwrap()))
}

fn error(check: &'static str) -> Vec<(Level, &'static str)> {
    vec![(Level::Error, check)]
}

fn warning(check: &'static str) -> Vec<(Level, &'static str)> {
    vec![(Level::Warning, check)]
}

#[test]
fn a_sound_cluster_has_no_findings() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn each_fault_of_the_driver_object_is_named() {
    assert_eq!(found(|survey| survey.driver = Ok(None)), error("csidriver"));
    assert_eq!(driver(|object| object.pod_info = false), error("pod-info"));
    assert_eq!(driver(|object| object.ephemeral = false), error("ephemeral"));
    assert_eq!(driver(|object| object.republish = false), error("republish"));
    assert_eq!(driver(|object| object.attach = true), warning("attach"));
    assert_eq!(driver(|object| object.fs_group_policy = "File".to_owned()), warning("fs-group-policy"));
    assert_eq!(driver(|object| object.tokens_in_secrets = false), warning("tokens-in-secrets"));
    assert_eq!(driver(|object| object.audiences.clear()), error("audiences"));
}

#[test]
fn an_older_kubernetes_is_not_asked_for_what_it_does_not_know() {
    let old = found(|survey| {
        survey.version = Ok(Version { number: (1, 30), text: "v1.30.1".to_owned() });
        survey.driver.as_mut().unwrap().as_mut().unwrap().tokens_in_secrets = false;
    });
    assert_eq!(old, []);
}

#[test]
fn missing_resources_rights_and_broken_classes_are_named() {
    let resources = |keep: fn(&str) -> bool| {
        found(|survey| survey.resources.as_mut().unwrap().retain(|resource| keep(resource)))
    };
    assert_eq!(resources(|_| false), error("crds"));
    assert_eq!(resources(|resource| !resource.ends_with("podstatuses")), error("crds"));
    assert_eq!(resources(|resource| resource.starts_with("v1/")), warning("crds"));
    let rights = |missing, needless| {
        found(|survey| survey.rights = Ok(Judged { user: "driver".to_owned(), missing, needless }))
    };
    assert_eq!(rights(needed(DRIVER, None, &[], &[])[..1].to_vec(), Vec::new()), error("rights"));
    assert_eq!(rights(Vec::new(), needless()[..1].to_vec()), warning("needless-rights"));
    assert_eq!(found(|survey| survey.classes = Ok(vec![Err("it is none".to_owned())])), warning("class"));
    let wrong = VAULT.replace("secretPath", "secretPaht");
    assert_eq!(found(|survey| survey.classes = Ok(vec![Ok(class(&wrong))])), warning("class"));
}

#[test]
fn where_classes_read_the_embedded_store_it_is_told_what_the_name_of_a_service_account_means_there() {
    let said = |class_text: &str| {
        let survey = Survey { classes: Ok(vec![Ok(class(class_text))]), ..sound() };
        let all = findings(&survey, DRIVER, &crate::providers::offline(), &node());
        let identity = all.into_iter().find(|finding| finding.check == "identity");
        identity.map(|finding| (finding.level == Level::Ok, finding.found))
    };
    let embedded = "apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: app, namespace: shop}
spec:
  provider: secretfs
  parameters:
    objects: |
      - {objectName: key, item: app}
";

    let (is_well, told) = said(embedded).unwrap();

    assert!(is_well, "it is how the store works, and no fault: {told}");
    for part in [
        "1 read the embedded store",
        "made again",
        "with its namespace",
        "reads what was put for the old",
        "--service-account NAME=UID",
        "tokenRequests",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert_eq!(said(VAULT), None);
}

#[test]
fn a_provider_from_outside_needs_a_socket_on_the_node() {
    let of = |provider: &str| class(&VAULT.replace("provider: vault", &format!("provider: {provider}")));

    assert_eq!(found(|survey| survey.classes = Ok(vec![Ok(of("acme"))])), []);
    assert_eq!(found(|survey| survey.classes = Ok(vec![Ok(of("umbrella"))])), warning("provider"));
}

#[test]
fn without_a_cluster_it_says_what_it_did_not_look_at() {
    let all = findings(&Survey::none("no API server"), DRIVER, &crate::providers::offline(), &node());

    assert!(
        all.iter().all(|finding| finding.level == Level::NotLookedAt && finding.found == "no API server")
    );
    let checks: Vec<_> = all.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["api-server", "crds", "csidriver", "classes", "rights"]);
}

#[test]
fn the_rights_are_those_of_the_charts_table() {
    let text = include_str!("../../../../deploy/charts/secretfs/RBAC.md");
    // The doctor does not know whether there is a startup taint, so it does not check that right.
    let known = ["| always", "| syncSecret", "| serviceAccountAnnotations", "| restartWorkloads"];
    let rows = text.lines().filter(|line| known.iter().any(|begin| line.starts_with(begin)));
    let mut table = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        for verb in cells[4].split(' ') {
            table.insert(format!("{verb} {}.{} {}", cells[2], cells[1], !cells[3].is_empty()));
        }
    }

    let shop = ["shop".to_owned()];
    let needed = needed(DRIVER, Some(&shop), &shop, &shop);
    let ours: BTreeSet<_> = needed
        .iter()
        .map(|right| format!("{} {}.{} {}", right.verb, right.resource, right.group, right.name.is_some()))
        .collect();
    assert_eq!(ours, table);
}
