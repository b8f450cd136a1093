//! The setup of all end-to-end tests: a cluster, a store that checks its pods, and the driver installed by its chart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::{Cluster, OpenBao, Scope, ShownBy, free_port};

use super::clouds::Clouds;

/// The program under test.
pub(crate) const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
/// How long a simple step may take on a machine that does much else.
pub(crate) const SOON: Duration = Duration::from_secs(180);
/// Where the driver's own objects are.
pub(crate) const SYSTEM: &str = "secretfs-system";
/// The driver's name. It is upstream's, so upstream's manifests work unchanged.
pub(crate) const DRIVER: &str = "secrets-store.csi.k8s.io";

/// The name of the namespace whose workloads the driver may roll out. It is there before the driver, and stays.
pub(crate) const ROLLED_OUT: &str = "rolled-out";

/// A cluster with the driver.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    bao: Mutex<OpenBao>,
    pub(crate) clouds: Clouds,
    /// The port of the driver's HTTP server.
    port: u16,
    /// A test that stops parts of the cluster takes this lock alone. All others share it.
    peace: RwLock<()>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::start);

/// The world, shared with other tests.
pub(crate) fn shared() -> (&'static World, RwLockReadGuard<'static, ()>) {
    let world = &*WORLD;
    (world, world.peace.read().unwrap_or_else(PoisonError::into_inner))
}

/// The world, for a test that stops parts of it.
pub(crate) fn alone() -> (&'static World, RwLockWriteGuard<'static, ()>) {
    let world = &*WORLD;
    (world, world.peace.write().unwrap_or_else(PoisonError::into_inner))
}

impl World {
    fn start() -> Self {
        let cluster = Cluster::start(Scope::Whole);
        let (bao, clouds) = (OpenBao::durable(), Clouds::start(&cluster));
        let port = free_port();
        let world = Self { cluster, bao: Mutex::new(bao), clouds, port, peace: RwLock::default() };
        std::fs::create_dir(world.state()).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "state"]).arg(world.state()), "");
        world.introduce();
        world.make_store();
        world.install();
        world
    }

    /// OpenBao. Other tests may be stopping it.
    pub(crate) fn bao(&self) -> MutexGuard<'_, OpenBao> {
        self.bao.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets OpenBao check the pods of this cluster: by token reviews, and by the cluster's keys alone.
    fn introduce(&self) {
        self.cluster.apply(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reviewer, namespace: default}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: reviewer}\n\
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'system:auth-delegator'}\n\
             subjects: [{kind: ServiceAccount, name: reviewer, namespace: default}]\n",
        );
        let reviewer = self.cluster.kubectl(&["create", "token", "reviewer", "--duration=24h"]);
        let bao = self.bao();
        bao.mount_kv2("secret");
        bao.write("sys/auth/kubernetes", &json!({"type": "kubernetes"}));
        bao.write(
            "auth/kubernetes/config",
            &json!({
                "kubernetes_host": self.cluster.api_url(),
                "kubernetes_ca_cert": read(&self.cluster.authority()),
                "token_reviewer_jwt": reviewer.trim(),
                "disable_local_ca_jwt": true,
            }),
        );
        bao.write("sys/auth/jwt", &json!({"type": "jwt"}));
        let keys = read(&self.cluster.folder().join("pki/service-accounts.pub"));
        bao.write("auth/jwt/config", &json!({"jwt_validation_pubkeys": [keys]}));
        bao.policy("app", &[("secret/data/*", &["read"])]);
    }

    /// Creates a role at both login methods for the service account `app` of `namespace`.
    pub(crate) fn admit(&self, namespace: &str) {
        let bao = self.bao();
        let role = json!({
            "bound_service_account_names": "app", "bound_service_account_namespaces": namespace,
            "audience": "vault", "token_policies": "app", "token_ttl": "1h",
        });
        bao.write(&format!("auth/kubernetes/role/{namespace}"), &role);
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": "app",
            "bound_subject": format!("system:serviceaccount:{namespace}:app"), "token_ttl": "1h",
        });
        bao.write(&format!("auth/jwt/role/{namespace}"), &role);
    }

    /// The node's directory of the driver's embedded store.
    pub(crate) fn store(&self) -> PathBuf {
        self.cluster.folder().join("store")
    }

    fn make_store(&self) {
        self.secretfs(&["store", "init"], "");
    }

    /// Runs the program on the node, with the embedded store.
    pub(crate) fn secretfs(&self, arguments: &[&str], input: &str) -> String {
        let mut command = Command::new(SECRETFS);
        command.args(arguments).env("SECRETFS_STORE", self.store());
        run(&mut command, input)
    }

    /// Puts a value into the embedded store.
    pub(crate) fn put(&self, namespace: &str, item: &str, value: &str) {
        self.secretfs(&["store", "put", "--namespace", namespace, item], value);
    }

    fn install(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut image = Command::new(root.join("hack/image"));
        image
            .args(["--binary", SECRETFS, "--name", "localhost/secretfs:test", "--mounter"])
            .arg(testing::mounter(SECRETFS.as_ref()).get_program())
            .arg("--import")
            .arg(self.cluster.containerd_address());
        run(&mut image, "");
        self.cluster.kubectl(&["create", "namespace", SYSTEM]);
        self.cluster.kubectl(&["create", "namespace", &in_mode(ROLLED_OUT)]);
        self.helm(&[]);
        self.until_ready();
    }

    /// Installs or upgrades the chart with the tests' values and `more`.
    pub(crate) fn helm(&self, more: &[&str]) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let values = self.cluster.folder().join("values.yaml");
        std::fs::write(&values, self.values()).unwrap();
        let mut helm = Command::new("helm");
        helm.args(["upgrade", "--install", "secretfs", "--namespace", SYSTEM, "--values"])
            .arg(values)
            .args(more)
            .arg(root.join("deploy/charts/secretfs"))
            .env("KUBECONFIG", self.cluster.kubeconfig());
        run(&mut helm, "");
    }

    /// This cluster routes no service addresses. So the driver uses the node's network, and the values name the API
    /// server.
    fn values(&self) -> String {
        let api = self.cluster.api_url().replace("https://", "");
        let (host, port) = api.split_once(':').unwrap();
        let store = self.store();
        let mut values = json!({
            "csidriver": {"name": DRIVER},
            "logVerbosity": 4,
            "store": {"hostPath": store},
            "vault": {"address": self.bao().address()},
            "syncSecret": {"enabled": true, "clusterWide": true},
            "restartWorkloads": {"namespaces": [in_mode(ROLLED_OUT)], "every": "1s"},
            "tokenRequests": [{"audience": "vault"}, {"audience": ""}],
            "linux": {
                "image": {"repository": "localhost/secretfs", "tag": "test", "pullPolicy": "Never"},
                "hostNetwork": true,
                "kubeletRootDir": self.cluster.kubelet_root(),
                "stateDir": self.state(),
                "providersDir": self.providers(),
                "metricsAddr": format!("127.0.0.1:{}", self.port),
                "env": [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": host},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": port},
                ],
            },
        });
        values.as_object_mut().unwrap().extend(self.clouds.values());
        values.to_string()
    }

    /// The driver's state directory on the node. It is on a tmpfs, as required, and disappears with the cluster.
    pub(crate) fn state(&self) -> PathBuf {
        self.cluster.folder().join("state")
    }

    /// The directory of external providers' sockets.
    pub(crate) fn providers(&self) -> PathBuf {
        self.cluster.folder().join("providers")
    }

    /// Waits until kubelet knows the driver.
    pub(crate) fn until_ready(&self) {
        let registered = || self.try_kubectl(&["get", "csinode", "-o", "yaml"]).contains(DRIVER);
        until("the driver is registered", registered, || self.node_log());
        self.cluster.kubectl(&[
            "-n",
            SYSTEM,
            "rollout",
            "status",
            "daemonset/secretfs-node",
            "--timeout=120s",
        ]);
    }

    /// Pid of `secretfs node` on this machine.
    pub(crate) fn node_pid(&self) -> u32 {
        self.pid_of("node").expect("a running node")
    }

    /// Pid of the process in this cluster's pods that runs `secretfs COMMAND` or `secretfs-COMMAND`.
    pub(crate) fn pid_of(&self, command: &str) -> Option<u32> {
        let root = self.cluster.kubelet_root().display().to_string();
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split('\0');
            let program = words.next().unwrap_or_default();
            let is_command = program.ends_with("secretfs") && words.any(|word| word == command);
            line.contains(&root) && (is_command || program.ends_with(&format!("secretfs-{command}")))
        })
    }

    /// Kills `secretfs node` with SIGKILL. Kubelet starts its container again.
    pub(crate) fn kill_node(&self) -> u32 {
        let pid = self.node_pid();
        kill(pid);
        pid
    }

    /// Kills `secretfs-mounter` and `secretfs node` with SIGKILL, so that nobody has what they kept. Returns the pid of `node`.
    pub(crate) fn kill_both(&self) -> u32 {
        let (mounter, node) = (self.pid_of("mounter").expect("a running mounter"), self.node_pid());
        kill(mounter);
        kill(node);
        node
    }

    /// Waits until a `secretfs node` other than process `old` is registered.
    pub(crate) fn until_restarted(&self, old: u32) -> Duration {
        let started = Instant::now();
        let is_new = || self.pid_of("node").is_some_and(|pid| pid != old) && self.has_recovered();
        until("node is back", is_new, || self.node_log());
        started.elapsed()
    }

    /// Has Kubernetes make the driver's pod anew. With each death of a pod's container kubelet waits longer before it starts
    /// it again; for a new pod it begins with the shortest pause.
    pub(crate) fn renew_node(&self) {
        let old = self.node_pid();
        self.cluster.kubectl(&["-n", SYSTEM, "rollout", "restart", "daemonset/secretfs-node"]);
        self.until_restarted(old);
        self.until_ready();
    }

    /// Whether the driver serves what it took over. It may do so before it is ready for new pods.
    fn has_recovered(&self) -> bool {
        let missing = self.answer("/readyz").map(|(_, body)| body);
        missing.is_some_and(|missing| !missing.contains("recovered") && !missing.contains("registered"))
    }

    /// The driver's HTTP answer for a path, if the status is good.
    pub(crate) fn http(&self, path: &str) -> Option<String> {
        self.answer(path).and_then(|(well, body)| well.then_some(body))
    }

    /// The driver's HTTP answer for a path, with any status.
    fn answer(&self, path: &str) -> Option<(bool, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.lines().next()?.contains(" 200 "), body.to_owned()))
    }

    /// The report of `secretfs doctor` in the driver's own container, and whether it found no error.
    pub(crate) fn doctor(&self) -> (bool, String) {
        // The command in docs/cluster.md. The directories and the driver of this cluster have unusual names.
        let documented = "kubectl exec -n secretfs-system ds/secretfs-node -c node -- secretfs doctor";
        let mut words = documented.split(' ');
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command.args(["--driver-name", DRIVER, "--kubelet-root"]).arg(self.cluster.kubelet_root());
        let output = command.env("KUBECONFIG", self.cluster.kubeconfig()).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    }

    /// The last lines of the log of `secretfs node`.
    pub(crate) fn node_log(&self) -> String {
        self.try_kubectl(&["-n", SYSTEM, "logs", "daemonset/secretfs-node", "--tail=60"])
    }

    /// Runs kubectl. Its failure is ignored.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.try_kubectl(arguments).unwrap_or_default()
    }
}

/// A namespace of one test. Dropping it removes the namespace.
pub(crate) struct Namespace<'a> {
    pub(crate) world: &'a World,
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    /// A namespace with a service account `app`. OpenBao accepts it as the role with the namespace's name. A test that
    /// runs in another mode has another namespace.
    pub(crate) fn new(world: &'a World, name: &str) -> Self {
        let name = in_mode(name);
        world.cluster.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n\
             apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: app, namespace: {name}}}\n---\n\
             apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: stranger, namespace: {name}}}\n"
        ));
        world.admit(&name);
        Self { world, name }
    }

    /// kubectl in this namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.world.cluster.kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// The same. Its failure is ignored.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> String {
        self.world.try_kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// One field of an object; empty if it does not exist.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        self.try_kubectl(&["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// Puts a secret into OpenBao that this namespace's classes read.
    pub(crate) fn secret(&self, name: &str, value: &str) {
        self.world.bao().put("secret", &format!("{}/{name}", self.name), &json!({"value": value}));
    }

    /// Applies manifests to this namespace. A class chooses the mode of the test.
    pub(crate) fn apply(&self, manifest: &Value) {
        let mut manifest = manifest.clone();
        if manifest["kind"] == "SecretProviderClass" && ShownBy::chosen() == ShownBy::Fuse {
            let parameters = manifest["spec"]["parameters"].as_object_mut().unwrap();
            parameters.entry("secretfs.dev/mode").or_insert_with(|| json!("fuse"));
        }
        manifest["metadata"]["namespace"] = json!(self.name);
        self.world.cluster.apply(&manifest.to_string());
    }

    /// Applies a class that reads `objects` from OpenBao. Each is a file with the secret of the same name.
    pub(crate) fn vault_class(&self, name: &str, objects: &[&str], more: &[(&str, &str)]) {
        self.apply(&self.vault_manifest(name, objects, more));
    }

    /// The same as a manifest.
    pub(crate) fn vault_manifest(&self, name: &str, objects: &[&str], more: &[(&str, &str)]) -> Value {
        let object = |object: &&str| {
            format!(
                "- {{objectName: {object}, secretPath: secret/data/{}/{object}, secretKey: value}}\n",
                self.name
            )
        };
        let mut parameters = json!({
            "roleName": self.name,
            "vaultAddress": self.world.bao().address(),
            "objects": objects.iter().map(object).collect::<String>(),
            "secretfs.dev/refresh": "1s",
        });
        for (key, value) in more {
            parameters[*key] = json!(value);
        }
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
            "metadata": {"name": name}, "spec": {"provider": "vault", "parameters": parameters},
        })
    }

    /// Applies a class of the embedded store.
    pub(crate) fn store_class(&self, name: &str, items: &[&str]) {
        let object = |item: &&str| format!("- {{objectName: {item}, item: {item}}}\n");
        self.apply(&json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
            "metadata": {"name": name},
            "spec": {
                "provider": "secretfs",
                "parameters": {"objects": items.iter().map(object).collect::<String>()},
            },
        }));
    }

    /// Waits until a pod is Ready.
    pub(crate) fn until_ready(&self, pod: &str) {
        let ready = || self.field(&format!("pod/{pod}"), READY) == "True";
        until(&format!("pod {pod} is ready"), ready, || {
            format!("{}\n{}", self.try_kubectl(&["describe", "pod", pod]), self.world.node_log())
        });
        if ShownBy::chosen() == ShownBy::Fuse {
            ShownBy::Fuse.shows(&self.target(pod));
        }
    }

    /// Waits for an event of a pod that contains `wanted`, and returns its text.
    pub(crate) fn until_event(&self, pod: &str, wanted: &str) -> String {
        let selector = format!("involvedObject.name={pod}");
        let arguments = ["get", "events", "--field-selector", &selector, "-o", EVENTS];
        let said = || self.try_kubectl(&arguments);
        until(
            &format!("an event of {pod} says {wanted:?}"),
            || said().contains(wanted),
            || format!("{}\n{}", said(), self.world.node_log()),
        );
        said().lines().find(|line| line.contains(wanted)).unwrap_or_default().to_owned()
    }

    /// A file as the pod's container sees it.
    pub(crate) fn read(&self, pod: &str, file: &str) -> String {
        self.try_kubectl(&["exec", pod, "--", "cat", &format!("/secrets/{file}")])
    }

    /// Waits until a pod's container sees `wanted` in a file.
    pub(crate) fn until_reads(&self, pod: &str, file: &str, wanted: &str) {
        until(
            &format!("{pod} reads {wanted:?}"),
            || self.read(pod, file) == wanted,
            || format!("it reads {:?}\n{}", self.read(pod, file), self.world.node_log()),
        );
    }

    /// The target path of a pod's volume on the node.
    pub(crate) fn target(&self, pod: &str) -> PathBuf {
        let uid = self.field(&format!("pod/{pod}"), "{.metadata.uid}");
        assert!(!uid.is_empty(), "pod {pod} has no uid");
        let volumes = self.world.cluster.kubelet_root().join("pods").join(uid).join("volumes");
        volumes.join("kubernetes.io~csi/secrets/mount")
    }

    /// Deletes a pod and waits until it is gone.
    pub(crate) fn delete(&self, pod: &str) {
        self.kubectl(&["delete", "pod", pod, "--wait", "--timeout=180s"]);
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // Pods first, because the namespace waits for them. The next test need not wait for the namespace.
        self.try_kubectl(&[
            "delete",
            "deployments,pods",
            "--all",
            "--wait=true",
            "--timeout=180s",
            "--grace-period=1",
        ]);
        if self.name != in_mode(ROLLED_OUT) {
            self.world.try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        }
    }
}

/// The name of a namespace in the mode of the test.
fn in_mode(name: &str) -> String {
    match ShownBy::chosen() {
        ShownBy::Tmpfs => name.to_owned(),
        ShownBy::Fuse => format!("{name}-in-fuse"),
    }
}

const READY: &str = "{.status.conditions[?(@.type==\"Ready\")].status}";
const EVENTS: &str = "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}";

/// A pod with one container, which mounts a volume of `class` at `/secrets`.
pub(crate) fn pod(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "serviceAccountName": "app",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "Never",
                "command": ["sleep", "100000"],
                "volumeMounts": [{"name": "secrets", "mountPath": "/secrets", "readOnly": true}],
            }],
            "volumes": [{
                "name": "secrets",
                "csi": {"driver": DRIVER, "readOnly": true, "volumeAttributes": {"secretProviderClass": class}},
            }],
        },
    })
}

fn kill(pid: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
}

/// Waits for `what`, or fails with the text of `why`.
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool, why: impl Fn() -> String) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}\n{}", why());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The output of a command, which must succeed.
pub(crate) fn run(command: &mut Command, input: &str) -> String {
    use std::process::Stdio;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{out}\n{err}");
    out.into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
