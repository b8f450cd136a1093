//! Stores other than OpenBao, read for real pods: native Secrets, and an external provider.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::world::{Namespace, World, alone, pod, shared, until};

#[test]
fn a_native_secret_is_read_with_the_pods_own_rights_and_pushed() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "stores-native");
    let secret = |value: &str| {
        shop.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}, "stringData": {"key": value},
        }));
    };
    secret("first");
    shop.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "web"},
        "rules": [{
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["web"], "verbs": ["get", "watch"],
        }],
    }));
    shop.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "web"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": shop.name}],
    }));
    shop.apply(&class(
        "native",
        "kubernetes",
        &json!({
            "objects": "- {objectName: key, secret: web, key: key}\n", "secretfs.dev/refresh": "1h",
        }),
    ));
    shop.apply(&pod("web", "native"));
    shop.until_ready("web");
    assert_eq!(shop.read("web", "key"), "first");

    secret("second");
    let changed = Instant::now();
    shop.until_reads("web", "key", "second");
    println!(
        "a native Secret was rotated {} ms after its change, at a refresh of an hour",
        changed.elapsed().as_millis()
    );

    let mut stranger = pod("stranger", "native");
    stranger["spec"]["serviceAccountName"] = json!("stranger");
    shop.apply(&stranger);
    let told = shop.until_event("stranger", &format!("system:serviceaccount:{}:stranger", shop.name));
    assert!(told.starts_with("FailedMount"), "{told}");
}

fn class(name: &str, provider: &str, parameters: &Value) -> Value {
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": name}, "spec": {"provider": provider, "parameters": parameters},
    })
}

/// The provider of `tests/provider`, written in Go, on the node.
struct Foreign {
    program: PathBuf,
    directory: PathBuf,
    process: Option<Child>,
}

impl Foreign {
    fn start(directory: &Path) -> Self {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign-provider");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provider");
        let mut build = Command::new("go");
        super::world::run(build.args(["build", "-o"]).arg(&program).arg(".").current_dir(source), "");
        let mut foreign = Self { program, directory: directory.to_owned(), process: None };
        foreign.gives("first");
        foreign.start_again();
        foreign
    }

    /// Sets the contents of its file `token` from the next call on.
    fn gives(&self, contents: &str) {
        let control = json!({"files": {"token": {"contents": contents, "mode": 0o644}}});
        let staged = self.directory.join("control.new");
        fs::write(&staged, control.to_string()).unwrap();
        fs::rename(staged, self.directory.join("control")).unwrap();
    }

    /// Replaces its process by another one.
    fn start_again(&mut self) {
        self.kill();
        let socket = self.directory.join("foreign.sock");
        let _ = fs::remove_file(&socket);
        let paths = [&socket, &self.directory.join("control"), &self.directory.join("log")];
        let mut command = Command::new(&self.program);
        self.process = Some(command.arg("serve").args(paths).stdin(Stdio::null()).spawn().unwrap());
        until("the provider serves", || socket.exists(), String::new);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.kill();
    }
}

fn restart_node(world: &World) {
    let old = world.kill_node();
    world.until_restarted(old);
}

#[test]
fn a_provider_in_another_language_serves_pods_and_outlives_its_own_death_and_ours() {
    let (world, _alone) = alone();
    let mut foreign = Foreign::start(&world.providers());
    let shop = Namespace::new(world, "stores-foreign");
    shop.apply(&class("foreign", "foreign", &json!({"anything": "at all", "secretfs.dev/refresh": "1s"})));
    shop.apply(&pod("web", "foreign"));
    shop.until_ready("web");
    assert_eq!(shop.read("web", "token"), "first");

    foreign.kill();
    assert_eq!(shop.read("web", "token"), "first", "what a pod has stays while the provider is away");
    foreign.gives("second");
    foreign.start_again();
    shop.until_reads("web", "token", "second");

    restart_node(world);
    foreign.gives("third");
    world.cluster.sync(&shop.name, "web");
    shop.until_reads("web", "token", "third");
    assert_eq!(shop.field("pod/web", "{.status.containerStatuses[0].restartCount}"), "0");
}

crate::modes::again_in_mode_fuse! {
    a_native_secret_is_read_with_the_pods_own_rights_and_pushed,
    a_provider_in_another_language_serves_pods_and_outlives_its_own_death_and_ours,
}
