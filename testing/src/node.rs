//! A real `secretfs node`, with or without a real `secretfs-mounter`, and a client that calls it as kubelet would: with
//! the same ids, paths and attributes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use csi_proto::csi::identity_client::IdentityClient;
use csi_proto::csi::node_client::NodeClient;
use csi_proto::csi::volume_capability::access_mode::Mode;
use csi_proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_proto::csi::{NodePublishVolumeRequest, NodeUnpublishVolumeRequest, ProbeRequest, VolumeCapability};
use csi_proto::registration::registration_client::RegistrationClient;
use csi_proto::registration::{InfoRequest, RegistrationStatus};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tower::service_fn;

use crate::http_client;
use crate::issuer::Claims;
use crate::mode::ShownBy;
use crate::program::mounter;

/// How long a process may take to start.
const READY: Duration = Duration::from_secs(60);

/// The file system of a node and the processes on it. Dropping it removes its mounts.
#[derive(Debug)]
pub struct RunningNode {
    /// The directory of everything that belongs to the node.
    pub root: tempfile::TempDir,
    binary: PathBuf,
    mounter: Option<Child>,
    node: Option<Child>,
    flags: Vec<String>,
    /// Environment of the node.
    variables: Vec<(String, String)>,
    /// Names the API server to read classes from, instead of the directory.
    kubeconfig: Option<PathBuf>,
    registers: bool,
    failpoint: Option<String>,
    log: String,
    /// Whether the next node writes into pipes instead of the log.
    into_pipes: bool,
    /// Whether it writes an audit trail.
    is_audited: bool,
    /// The user that the node runs as, if that is not root.
    user: Option<u32>,
    mounter_flags: Vec<String>,
    name: String,
    mode: ShownBy,
}

/// A pod with one volume of our driver.
#[derive(Debug, Clone)]
pub struct PodVolume {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
    /// `secretProviderClass`.
    pub class: String,
    /// Its `fsGroup`.
    pub fs_group: Option<u32>,
    /// Other volume attributes that its author wrote.
    pub attributes: BTreeMap<String, String>,
    /// Service account tokens by audience.
    pub tokens: BTreeMap<String, String>,
    /// `nodePublishSecretRef`.
    pub secrets: BTreeMap<String, String>,
}

impl PodVolume {
    /// A pod in namespace `shop` under service account `shop`.
    pub fn new(pod: &str, class: &str) -> Self {
        Self {
            namespace: "shop".to_owned(),
            service_account: "shop".to_owned(),
            pod: pod.to_owned(),
            uid: format!("uid-{pod}"),
            class: class.to_owned(),
            fs_group: None,
            attributes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// The claims of the token that kubelet sends for this volume.
    pub fn claims(&self) -> Claims {
        let claims = Claims::of(&self.namespace, &self.service_account);
        Claims { pod: Some((self.pod.clone(), self.uid.clone())), ..claims }
    }

    /// Adds a token for `audience` with the claims of kubelet's token. Nobody has signed it.
    pub fn unsigned_token(self, audience: &str) -> Self {
        let account_uid = format!("uid-of-{}", self.service_account);
        self.unsigned_token_of(audience, &account_uid)
    }

    /// The same, for a service account with this uid.
    pub fn unsigned_token_of(self, audience: &str, account_uid: &str) -> Self {
        let claims = serde_json::json!({
            "exp": 4_070_908_800_u64,
            "kubernetes.io": {
                "namespace": self.namespace,
                "serviceaccount": {"name": self.service_account, "uid": account_uid},
                "pod": {"name": self.pod, "uid": self.uid},
            },
        });
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        self.token(audience, token)
    }

    /// Adds a service account token for `audience`.
    pub fn token(mut self, audience: &str, token: String) -> Self {
        self.tokens.insert(audience.to_owned(), token);
        self
    }

    /// `csi-` and the hash of the pod's uid and the volume's name, as kubelet makes it.
    pub fn id(&self) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(self.uid.as_bytes());
        context.update(VOLUME.as_bytes());
        let hex: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("csi-{hex}")
    }

    fn context(&self) -> BTreeMap<String, String> {
        let kubelet = |key: &str, value: &str| (format!("csi.storage.k8s.io/{key}"), value.to_owned());
        let mut context = self.attributes.clone();
        context.insert("secretProviderClass".to_owned(), self.class.clone());
        context.extend([
            kubelet("pod.name", &self.pod),
            kubelet("pod.namespace", &self.namespace),
            kubelet("pod.uid", &self.uid),
            kubelet("serviceAccount.name", &self.service_account),
            kubelet("ephemeral", "true"),
        ]);
        context
    }

    fn secrets(&self) -> BTreeMap<String, String> {
        let mut secrets = self.secrets.clone();
        if !self.tokens.is_empty() {
            let expires = "2099-01-01T00:00:00Z";
            let tokens: serde_json::Map<_, _> = self
                .tokens
                .iter()
                .map(|(audience, token)| {
                    (audience.clone(), serde_json::json!({"token": token, "expirationTimestamp": expires}))
                })
                .collect();
            let tokens = serde_json::Value::Object(tokens).to_string();
            secrets.insert("csi.storage.k8s.io/serviceAccount.tokens".to_owned(), tokens);
        }
        secrets
    }
}

/// The volume's name in the pod.
const VOLUME: &str = "secrets";

/// The default name of the driver.
pub const DRIVER: &str = "csi.secretfs.dev";

/// The file that kubelet writes beside each CSI target.
pub const VOLUME_DATA: &str = "vol_data.json";

/// Makes the directory of `target`, and writes into it what kubelet writes before it calls `driver`.
pub fn prepare_target(target: &Path, driver: &str) {
    let directory = target.parent().unwrap();
    fs::create_dir_all(directory).unwrap();
    let data = serde_json::json!({
        "attachmentID": "csi-0", "driverName": driver, "nodeName": "test-node", "seLinuxMountContext": "",
        "specVolID": VOLUME, "volumeHandle": "csi-0", "volumeLifecycleMode": "Ephemeral",
    });
    fs::write(directory.join(VOLUME_DATA), data.to_string()).unwrap();
}

impl RunningNode {
    /// A node whose `secretfs node` mounts by itself. `flags` are added to its own.
    pub async fn start(binary: &str, flags: &[&str]) -> Self {
        let mut node = Self::prepare(binary, flags);
        node.start_node().await;
        node
    }

    /// A node with `secretfs-mounter` and `secretfs node`.
    pub async fn with_mounter(binary: &str, flags: &[&str]) -> Self {
        let mut node = Self::prepare(binary, flags);
        node.use_mounter();
        node.start_node().await;
        node
    }

    /// Makes the directories, and starts no process.
    pub fn prepare(binary: &str, flags: &[&str]) -> Self {
        let root = tempfile::Builder::new().prefix("secretfs-node").tempdir().unwrap();
        for directory in ["kubelet/pods", "kubelet/plugins_registry", "classes", "state", "admin"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (mounter, node, failpoint, kubeconfig) = (None, None, None, None);
        let (log, registers, into_pipes) = ("debug".to_owned(), false, false);
        let (binary, name, variables) = (binary.into(), "test-node".to_owned(), Vec::new());
        Self {
            root,
            binary,
            mounter,
            node,
            flags,
            variables,
            kubeconfig,
            failpoint,
            log,
            registers,
            into_pipes,
            is_audited: true,
            user: None,
            mounter_flags: Vec::new(),
            name,
            mode: ShownBy::chosen(),
        }
    }

    /// Runs the node as a user without capabilities, from the next start on. Directories of kubelet are closed to him. To be
    /// called before the mounter starts, which serves him then.
    pub fn run_as(&mut self, user: u32) {
        self.user = Some(user);
        if self.mounter.is_none() {
            self.mounter_flag("--allow-uid", &user.to_string());
        }
        let open = |path: PathBuf, mode| {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        for directory in ["kubelet/pods", "kubelet/plugins_registry"] {
            open(self.path(directory), 0o750);
        }
        open(self.root.path().to_owned(), 0o755);
        fs::File::options().create(true).append(true).open(self.path("audit.log")).unwrap();
        self.give_files_to(user);
    }

    /// Runs the node as root from the next start on.
    pub fn run_as_root(&mut self) {
        self.user = None;
        self.give_files_to(0);
    }

    /// Gives what belongs to the node to `user`.
    pub fn give_files_to(&self, user: u32) {
        for path in ["state", "admin", "audit.log"] {
            give(&self.path(path), user);
        }
    }

    /// Adds a flag for the next start of the mounter.
    pub fn mounter_flag(&mut self, flag: &str, value: &str) {
        self.mounter_flags.extend([flag.to_owned(), value.to_owned()]);
    }

    /// Starts a mounter. The node uses it from its next start on.
    pub fn use_mounter(&mut self) {
        self.start_mounter();
        let socket = self.path("mounter.sock");
        self.flag("--mounter", &socket.display().to_string());
    }

    /// Logs at `level` instead of `debug` from the next start on.
    pub fn log_level(&mut self, level: &str) {
        level.clone_into(&mut self.log);
    }

    /// Makes the next process write into pipes instead of the log; see [`take_pipes`](Self::take_pipes).
    pub fn write_into_pipes(&mut self) {
        self.into_pipes = true;
    }

    /// The pipes of standard output and standard error. If nobody reads them, they fill up.
    pub fn take_pipes(&mut self) -> (ChildStdout, ChildStderr) {
        let node = self.node.as_mut().unwrap();
        (node.stdout.take().unwrap(), node.stderr.take().unwrap())
    }

    /// Writes no audit trail from the next start on.
    pub fn keep_no_trail(&mut self) {
        self.is_audited = false;
    }

    /// Uses `name` as the node's name in Kubernetes from the next start on.
    pub fn call(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// A path below the node's root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Adds a flag for the next start.
    pub fn flag(&mut self, flag: &str, value: &str) {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
    }

    /// Sets a variable of the node's environment from the next start on.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a flag without a value for the next start.
    pub fn switch(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// Removes a flag without a value for the next start.
    pub fn drop_flag(&mut self, flag: &str) {
        self.flags.retain(|own| own != flag);
    }

    /// Makes the next process register in `kubelet/plugins_registry`.
    pub fn register(&mut self) {
        let endpoint = self.path("csi.sock").display().to_string();
        self.flag("--kubelet-csi-endpoint", &endpoint);
        self.registers = true;
    }

    /// Makes the next process read classes from the API server of `kubeconfig`, instead of the directory.
    pub fn ask(&mut self, kubeconfig: &Path) {
        self.kubeconfig = Some(kubeconfig.to_owned());
    }

    /// Makes the next process die at a failpoint.
    pub fn die_at(&mut self, failpoint: &str) {
        self.failpoint = Some(failpoint.to_owned());
    }

    /// Writes a manifest with one class, which chooses the mode of the test.
    pub fn class(&self, name: &str, manifest: &str) {
        let staged = self.path("classes").join(format!(".{name}"));
        fs::write(&staged, self.mode.class(manifest)).unwrap();
        fs::rename(staged, self.path("classes").join(format!("{name}.yaml"))).unwrap();
    }

    /// Starts the mounter and waits for its socket.
    pub fn start_mounter(&mut self) {
        let socket = self.path("mounter.sock");
        let mut command = self.logging(mounter(&self.binary));
        command.arg("--socket").arg(&socket).arg("--pods").arg(self.path("kubelet/pods"));
        command.arg("--sockets").arg(self.root.path());
        command.arg("--sockets").arg(self.path("kubelet/plugins_registry"));
        // The mounter of an earlier version does not know the flag, and serves every driver.
        if self.driver() != DRIVER {
            command.args(["--driver-name", self.driver()]);
        }
        let child = command.args(&self.mounter_flags).spawn().unwrap();
        self.mounter = Some(child);
        wait_for("the mounter's socket", || socket.exists());
    }

    /// Starts `secretfs node` and waits until a probe says that it is ready.
    pub async fn start_node(&mut self) {
        self.spawn_node();
        let started = Instant::now();
        loop {
            // The mounter's socket takes connections also when no node answers.
            let asked = async { self.identity().await.ok()?.probe(ProbeRequest {}).await.ok() };
            if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(1), asked).await
                && answer.into_inner().ready == Some(true)
            {
                return;
            }
            let died = self.node.as_mut().unwrap().try_wait().unwrap();
            assert!(died.is_none() && started.elapsed() < READY, "secretfs node: {died:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts `secretfs node` without waiting for it.
    pub fn spawn_node(&mut self) {
        if self.mode == ShownBy::Fuse && !self.flags.iter().any(|flag| flag == "--mounter") {
            // What it serves over FUSE is kept by a mounter, for the next one.
            self.use_mounter();
        }
        let mut command = Command::new(&self.binary);
        command.arg("node");
        let mut command = self.logging(command);
        command
            .args(["--node-name", &self.name, "--http", "127.0.0.1:0"])
            .args((!self.registers).then_some("--no-registration"))
            .arg("--csi-endpoint")
            .arg(self.path("csi.sock"))
            .arg("--kubelet-root")
            .arg(self.path("kubelet"))
            .args(match &self.kubeconfig {
                Some(file) => ["--kubeconfig".into(), file.clone()],
                None => ["--classes".into(), self.path("classes")],
            })
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--admin-dir")
            .arg(self.path("admin"))
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(user) = self.user {
            // Without other groups, and without capabilities: those of root end with root.
            command.uid(user).gid(user).env("HOME", self.root.path());
        }
        if self.is_audited {
            command.arg("--audit-log").arg(self.path("audit.log"));
        }
        if let Some(failpoint) = self.failpoint.take() {
            command.env("SECRETFS_FAILPOINT", failpoint);
        }
        if std::mem::take(&mut self.into_pipes) {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        self.node = Some(command.spawn().unwrap());
    }

    /// Makes `command` write into the node's log.
    fn logging(&self, mut command: Command) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        command.args(["--log", &self.log]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// The log of all processes.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The process's HTTP address, `127.0.0.1:PORT`.
    pub fn http_address(&self) -> String {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains("/metrics"));
        let address = line.and_then(|line| line.split("address=").nth(1)).unwrap();
        address.split_whitespace().next().unwrap().to_owned()
    }

    /// The answer for a path of the process's HTTP address.
    pub async fn http(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.http_address());
        http_client().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// The audit trail.
    pub fn audit(&self) -> String {
        fs::read_to_string(self.path("audit.log")).unwrap_or_default()
    }

    /// Pid of `secretfs node`.
    pub fn node_pid(&self) -> u32 {
        self.node.as_ref().unwrap().id()
    }

    /// Pids of all running processes.
    pub fn pids(&self) -> Vec<u32> {
        self.node.iter().chain(&self.mounter).map(Child::id).collect()
    }

    /// Pid of the mounter.
    pub fn mounter_pid(&self) -> u32 {
        self.mounter.as_ref().unwrap().id()
    }

    /// Kills the mounter with SIGKILL.
    pub fn kill_mounter(&mut self) {
        let mut mounter = self.mounter.take().unwrap();
        mounter.kill().unwrap();
        mounter.wait().unwrap();
    }

    /// Starts processes from `binary` from now on.
    pub fn use_binary(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Kills `secretfs node` with SIGKILL.
    pub fn kill_node(&mut self) {
        let mut node = self.node.take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }

    /// Kills `secretfs node` with SIGKILL and starts it again.
    pub async fn restart_node(&mut self) {
        self.kill_node();
        self.start_node().await;
    }

    /// Starts another `secretfs node` beside the one that runs, and waits until it has ended by itself.
    pub fn start_beside(&mut self) -> ExitStatus {
        let serving = self.node.take();
        self.spawn_node();
        let mut beside = std::mem::replace(&mut self.node, serving).unwrap();
        let started = Instant::now();
        loop {
            if let Some(ended) = beside.try_wait().unwrap() {
                return ended;
            }
            if started.elapsed() > READY {
                beside.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until `secretfs node` has died by itself.
    pub fn wait_until_dead(&mut self) {
        let mut node = self.node.take().unwrap();
        let started = Instant::now();
        while node.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < READY, "secretfs node did not die\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends SIGTERM and waits. Returns how the process ended, if there was one.
    pub fn stop_node(&mut self) -> Option<ExitStatus> {
        self.node.take().map(|mut node| terminate(&mut node))
    }

    async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        channel(self.path("csi.sock")).await
    }

    /// Registers the driver, as a kubelet that sees its socket.
    pub async fn take_registration(&self) {
        let directory = self.path("kubelet/plugins_registry");
        let socket = || fs::read_dir(&directory).ok()?.flatten().map(|entry| entry.path()).next();
        wait_for("the registration's socket", || socket().is_some());
        let mut client = RegistrationClient::new(channel(socket().unwrap()).await.unwrap());
        client.get_info(InfoRequest {}).await.unwrap();
        let taken = RegistrationStatus { plugin_registered: true, error: String::new() };
        client.notify_registration_status(taken).await.unwrap();
    }

    /// A client of the Identity service.
    pub async fn identity(&self) -> Result<IdentityClient<Channel>, tonic::transport::Error> {
        Ok(IdentityClient::new(self.channel().await?))
    }

    /// A client of the Node service.
    pub async fn client(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel().await.unwrap())
    }

    /// The target path that kubelet chooses for the volume of `pod`.
    pub fn target(&self, pod: &PodVolume) -> PathBuf {
        self.path("kubelet/pods").join(&pod.uid).join("volumes/kubernetes.io~csi").join(VOLUME).join("mount")
    }

    /// The publish request that kubelet would send for `pod`.
    pub fn request(&self, pod: &PodVolume) -> NodePublishVolumeRequest {
        let mount = MountVolume {
            volume_mount_group: pod.fs_group.map(|gid| gid.to_string()).unwrap_or_default(),
            ..MountVolume::default()
        };
        let capability = VolumeCapability {
            access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
            access_type: Some(AccessType::Mount(mount)),
        };
        NodePublishVolumeRequest {
            volume_id: pod.id(),
            target_path: self.target(pod).display().to_string(),
            volume_capability: Some(capability),
            readonly: true,
            secrets: pod.secrets(),
            volume_context: pod.context(),
            ..NodePublishVolumeRequest::default()
        }
    }

    /// Publishes as kubelet does: makes the parent directory first, and writes beside the target which driver it
    /// belongs to.
    pub async fn publish(&self, pod: &PodVolume) -> Result<(), Status> {
        prepare_target(&self.target(pod), self.driver());
        let mut client = self.client().await;
        client.node_publish_volume(self.request(pod)).await?;
        if self.mode == ShownBy::Fuse {
            self.mode.shows(&self.target(pod));
        }
        Ok(())
    }

    /// Repeats the publish as long as the error code makes kubelet repeat it.
    pub async fn publish_until_done(&self, pod: &PodVolume) {
        let started = Instant::now();
        while let Err(status) = self.publish(pod).await {
            let again = matches!(status.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded);
            assert!(again && started.elapsed() < Duration::from_secs(60), "{status}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Repeats the unpublish, as kubelet does after any error.
    pub async fn unpublish_until_done(&self, pod: &PodVolume) {
        let started = Instant::now();
        while let Err(status) = self.unpublish(pod).await {
            assert!(started.elapsed() < Duration::from_secs(60), "{status}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Unpublishes as kubelet does.
    pub async fn unpublish(&self, pod: &PodVolume) -> Result<(), Status> {
        let request = NodeUnpublishVolumeRequest {
            volume_id: pod.id(),
            target_path: self.target(pod).display().to_string(),
        };
        self.client().await.node_unpublish_volume(request).await.map(drop)
    }

    /// The contents of a file in the volume of `pod`.
    pub fn read(&self, pod: &PodVolume, file: &str) -> Option<Vec<u8>> {
        fs::read(self.target(pod).join(file)).ok()
    }

    /// The text of a file in the volume of `pod`.
    pub fn text(&self, pod: &PodVolume, file: &str) -> Option<String> {
        self.read(pod, file).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Waits until a file of the volume contains `wanted`, or does not exist if `wanted` is `None`.
    pub async fn text_becomes(&self, pod: &PodVolume, file: &str, wanted: Option<&str>, within: Duration) {
        let started = Instant::now();
        while self.text(pod, file).as_deref() != wanted {
            assert!(started.elapsed() < within, "{file} is not {wanted:?} after {within:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Mount points below this node's directories.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let root = self.root.path().to_str().unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        points.filter(|point| point.starts_with(root)).map(PathBuf::from).collect()
    }

    /// Everything left of `pod` in kubelet's directory, except the file that kubelet removes itself.
    pub fn left_behind(&self, pod: &PodVolume) -> Vec<PathBuf> {
        let parent = self.target(pod).parent().unwrap().to_owned();
        let entries = fs::read_dir(parent).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| !path.ends_with(VOLUME_DATA)).collect()
    }

    /// The name of its driver.
    fn driver(&self) -> &str {
        let mut flags = self.flags.iter().skip_while(|flag| *flag != "--driver-name");
        flags.nth(1).map_or(DRIVER, String::as_str)
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.stop_node();
        if let Some(mut mounter) = self.mounter.take() {
            terminate(&mut mounter);
        }
        for point in self.mounts().into_iter().rev() {
            let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Gives `path` to `user`, with what is in it.
pub fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

fn terminate(child: &mut Child) -> ExitStatus {
    let pid = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let started = Instant::now();
    loop {
        if let Some(ended) = child.try_wait().unwrap() {
            return ended;
        }
        if started.elapsed() > Duration::from_secs(40) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_for(what: &str, there: impl Fn() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < READY, "{what} is not there after {READY:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn channel(socket: PathBuf) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
}
