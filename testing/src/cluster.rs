use std::fmt::{self, Display};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which parts of Kubernetes a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// etcd and kube-apiserver: objects, tokens, reviews, watches. Ready in about four seconds.
    ApiServer,
    /// Also controllers, scheduler, containerd and kubelet: pods. Ready in about ten seconds.
    Whole,
}

/// A process of a [`Cluster`]. A test can stop it and start it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The database of the API server.
    Etcd,
    /// The server that `kubectl` talks to.
    ApiServer,
    /// Makes service accounts, and removes taints from nodes.
    ControllerManager,
    /// Places pods on the node.
    Scheduler,
    /// Runs containers.
    Containerd,
    /// Starts pods and publishes their volumes.
    Kubelet,
}

/// A real Kubernetes of one node, as `hack/cluster` starts it. Several can run at the same time.
///
/// The first start on a machine builds Kubernetes, which takes minutes. Needs root. The cluster ends when this value is
/// dropped. It also ends with the test process, if that is killed or keeps the value in a `static`.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
}

impl Cluster {
    /// The name of the only node.
    pub const NODE: &str = "localhost";

    /// Starts a cluster and waits until it is ready. With [`Scope::Whole`], its node accepts pods.
    pub fn start(scope: Scope) -> Self {
        let name = unused_name();
        let script = r#"exports=$("$@") && eval "$exports" &&
            printf '%s\n' "$SECRETFS_CLUSTER" "$KUBECONFIG" "$(command -v kubectl)""#;
        let mut up = Command::new("bash");
        up.args(["-c", script, "-"]).arg(program()).args(["up", "--name", &name]);
        up.args(["--until-exit", &std::process::id().to_string()]).args(scope.option());
        let told = text(&up.stderr(Stdio::inherit()).output().expect("bash, to run hack/cluster"));
        let mut paths = told.lines().map(PathBuf::from);
        let mut path = || paths.next().expect("what `hack/cluster up` tells");
        Self { folder: path(), kubeconfig: path(), kubectl: path(), name }
    }

    /// The directory of the cluster. It is removed with the cluster, and its path is short enough for sockets.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `https://127.0.0.1:<port>`. Pods with hostNetwork reach it too.
    pub fn api_url(&self) -> String {
        let port = fs::read_to_string(self.folder.join("port")).expect("the port of a cluster that is up");
        format!("https://127.0.0.1:{}", port.trim())
    }

    /// The certificate (PEM) of the authority that signed the API server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// Kubelet's `--root-dir`, with `plugins/`, `plugins_registry/` and `pods/`.
    pub fn kubelet_root(&self) -> PathBuf {
        self.folder.join("kubelet")
    }

    /// The socket of containerd, for `ctr --address`.
    pub fn containerd_address(&self) -> PathBuf {
        self.folder.join("containerd/containerd.sock")
    }

    /// The log of a component so far.
    pub fn log(&self, component: Component) -> String {
        fs::read_to_string(self.folder.join(format!("log/{component}.log"))).unwrap_or_default()
    }

    /// The output of `kubectl` with these arguments. Panics with its error message if it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|complaint| panic!("kubectl {arguments:?}: {complaint}"))
    }

    /// The output of `kubectl` with these arguments.
    ///
    /// # Errors
    ///
    /// Its standard error, if it fails.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        outcome(&self.kubectl_command(arguments).output().expect("kubectl of hack/tools"))
    }

    /// Applies objects in YAML.
    pub fn apply(&self, yaml: &str) {
        let mut child = self
            .kubectl_command(&["apply", "--server-side", "--force-conflicts", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl of hack/tools");
        child.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("kubectl to read");
        let output = child.wait_with_output().expect("to wait for kubectl");
        outcome(&output).unwrap_or_else(|complaint| panic!("{complaint} in\n{yaml}"));
    }

    /// Creates the custom resource definitions in a directory, and waits until the API server serves them.
    pub fn define(&self, definitions: &Path) {
        for file in fs::read_dir(definitions).expect("a directory of definitions") {
            let file = file.expect("a definition").path();
            self.apply(&fs::read_to_string(file).expect("a definition"));
        }
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=120s", "crd", "--all"]);
    }

    /// A field of an object (`pod/web`, with `-n`, `NAMESPACE` before it), by its JSONPath. `None` if the object or the
    /// field does not exist.
    pub fn field(&self, object: &[&str], path: &str) -> Option<String> {
        let path = format!("jsonpath={{{path}}}");
        let found = self.try_kubectl(&[&["get", "-o", &path], object].concat()).ok()?;
        (!found.is_empty()).then_some(found)
    }

    /// Waits at most three minutes for `condition` (`condition=Ready`, `delete`, `jsonpath=…`). Panics with Kubernetes'
    /// description of the object.
    pub fn wait_for(&self, condition: &str, object: &[&str]) {
        let condition = format!("--for={condition}");
        let waited = self.try_kubectl(&[&["wait", "--timeout=180s", &condition], object].concat());
        waited.unwrap_or_else(|complaint| {
            let described = self.try_kubectl(&[&["describe"], object].concat());
            panic!("{complaint}\n{}", described.unwrap_or_default())
        });
    }

    /// The output of a command in a pod of the namespace. Panics if the command fails.
    pub fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> String {
        self.kubectl(&[&["exec", "-n", namespace, pod, "--"], command].concat())
    }

    /// Imports the images of an archive, in Docker's or OCI's form. Pods use them by the names in it.
    pub fn import_image(&self, archive: &Path) {
        let mut import = Command::new("ctr");
        import.arg("--address").arg(self.containerd_address());
        import.args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
        text(&import.output().expect("ctr of the Debian package containerd"));
    }

    /// Makes kubelet look at a pod now, and so publish its volumes again. Otherwise it would do so later.
    pub fn sync(&self, namespace: &str, pod: &str) {
        let moment = format!("secretfs.dev/test-sync={}", fastrand::u64(..));
        self.kubectl(&["annotate", "--overwrite", "-n", namespace, "pod", pod, &moment]);
    }

    /// Stops a component, and waits until it is gone.
    pub fn stop(&self, component: Component) {
        self.script(&["stop", &component.to_string()]);
    }

    /// Kills a component, which gets no time to write or say anything.
    pub fn kill(&self, component: Component) {
        self.script(&["stop", &component.to_string(), "--now"]);
    }

    /// Starts a stopped component with its old state, and waits until it answers. Kubelet gets its pods from the API
    /// server a moment later.
    pub fn start_again(&self, component: Component) {
        self.script(&["start", &component.to_string()]);
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments);
        command
    }

    fn script(&self, arguments: &[&str]) {
        let mut command = Command::new(program());
        command.args(arguments).args(["--name", &self.name]);
        text(&command.output().expect("hack/cluster"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = Command::new(program()).args(["down", "--name", &self.name]).output();
        let failure = outcome(&down.expect("hack/cluster")).err();
        if let Some(complaint) = failure.filter(|_| !std::thread::panicking()) {
            panic!("{complaint}");
        }
    }
}

impl Scope {
    fn option(self) -> Option<&'static str> {
        (self == Self::ApiServer).then_some("--api-only")
    }
}

impl Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
        })
    }
}

/// A name with this process's id. It is short, because paths of sockets contain it.
fn unused_name() -> String {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster")
}

fn text(output: &Output) -> String {
    outcome(output).unwrap_or_else(|complaint| panic!("{complaint}"))
}

fn outcome(output: &Output) -> Result<String, String> {
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(words(&output.stdout))
    } else {
        Err(format!("{}: {}", output.status, words(&output.stderr)))
    }
}
