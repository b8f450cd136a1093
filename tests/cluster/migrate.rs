//! `secretfs migrate plan` with a real API server.

use std::path::Path;
use std::process::Command;

use testing::{Cluster, Scope};

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: secrets-store.csi.k8s.io}
spec: {attachRequired: false, podInfoOnMount: true, volumeLifecycleModes: [Ephemeral]}
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: db, namespace: shop}
spec:
  provider: vault
  secretObjects:
    - {secretName: db, type: Opaque, data: [{objectName: password, key: password}]}
  parameters:
    vaultAddress: https://vault:8200
    roleName: shop
    audience: vault
    objects: |
      - {objectName: password, secretPath: secret/data/db, secretKey: password}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: shop}
stringData: {password: canary-of-the-secret}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  automountServiceAccountToken: false
  securityContext: {fsGroup: 2000}
  containers:
    - {name: web, image: none, volumeMounts: [{name: secrets, mountPath: /p, subPath: password}]}
  volumes:
    - name: secrets
      csi:
        driver: secrets-store.csi.k8s.io
        readOnly: true
        volumeAttributes: {secretProviderClass: db, roleName: admin}
"#;

fn plan(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let told = Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .args(["migrate", "plan", "--kubeconfig"])
        .arg(cluster.kubeconfig())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (told.status.code(), text(told.stdout) + &text(told.stderr))
}

#[test]
fn what_will_be_different_is_found_in_the_cluster_and_no_secret_is_read() {
    let cluster = Cluster::start(Scope::ApiServer);
    cluster.define(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds"));
    cluster.apply(OBJECTS);

    let (code, told) = plan(&cluster, &[]);

    assert_eq!(code, Some(1), "{told}");
    for words in [
        "Pod shop/web, volume secrets\n         volume attribute roleName:",
        "it needs a token for audience \"vault\"",
        "requiresRepublish is off",
        "files whose class says no mode were root:root 0644",
        "container web mounts single files of it by subPath",
        "changes  Secret shop/db",
        "1 class, 1 volume:",
    ] {
        assert!(told.contains(words), "no {words:?} in\n{told}");
    }
    assert!(!told.contains("canary"), "{told}");
    assert_eq!(plan(&cluster, &["--namespace", "default"]).1.matches("shop").count(), 0);
}

#[test]
fn a_cluster_without_the_custom_resources_is_told() {
    let cluster = Cluster::start(Scope::ApiServer);

    let (code, told) = plan(&cluster, &[]);

    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("the classes"), "{told}");
}
