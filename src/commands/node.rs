//! `secretfs node`: the CSI node plugin.

mod origin;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use engine::mode::Serving;
use engine::revocation::InForce;
use engine::unfinished::Unfinished;
use engine::volume::parts::{Defaults, Rotation, Targets};
use engine::volume::revocations::Revocations;
use kubernetes::startup_taint::StartupTaint;
use manifest::OnRevoked;
use metrics::Metrics;
use mounter::{BOOT_ID, DRIVER, LocalMounter, Mounter, RemoteMounter, Roots};
use program::hygiene;
use program::readiness::{Latch, Readiness};
use program::systemd;
use provider::Providers;
use rustix::fs::FlockOperation;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use self::origin::Origin;
use crate::admin::socket::AdminSocket;
use crate::admin::{http, probe};
use crate::commands::places::Places;
use crate::confinement;
use crate::csi::{self, Health, Identity, Node, Patience, Registration, Requests, State};
use crate::exit::Outcome;
use crate::process::{Conduct, Process, ProcessArgs, drain, first_end};

/// The driver that this one can replace.
const UPSTREAM: &str = "secrets-store.csi.k8s.io";
/// How often the node checks that the mounter is alive.
const MOUNTER_CHECK: Duration = Duration::from_secs(5);

/// Serve a kubelet: the CSI node plugin
///
/// Listens on the CSI socket, registers with kubelet, mounts the volumes of pods and keeps them fresh.
/// Takes over the volumes of an earlier process. SIGTERM leaves every mount in place.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// Name of the CSIDriver object
    #[arg(long, alias = "drivername", env = "DRIVER_NAME", default_value = DRIVER, value_name = "NAME")]
    driver_name: String,

    /// Name of this node in Kubernetes
    #[arg(long, alias = "nodeid", env = "KUBE_NODE_NAME", value_name = "NAME")]
    node_name: String,

    /// CSI socket to listen at, as this process sees it
    #[arg(long, alias = "endpoint", env = "CSI_ENDPOINT", default_value = "/csi/csi.sock", value_name = "PATH", value_parser = mounter::endpoint)]
    csi_endpoint: PathBuf,

    /// The same socket as kubelet sees it; by default KUBELET_ROOT/plugins/DRIVER/csi.sock
    #[arg(long, env = "KUBELET_CSI_ENDPOINT", value_name = "PATH")]
    kubelet_csi_endpoint: Option<PathBuf>,

    /// Kubelet's root directory
    #[arg(long, env = "KUBELET_ROOT", default_value = "/var/lib/kubelet", value_name = "DIR")]
    kubelet_root: PathBuf,

    /// Kubelet's directory of registration sockets; by default KUBELET_ROOT/plugins_registry
    #[arg(long, env = "KUBELET_REGISTRATION_DIR", value_name = "DIR")]
    registration_dir: Option<PathBuf>,

    /// Do not register with kubelet: something else does
    #[arg(long)]
    no_registration: bool,

    /// Read SecretProviderClasses from this directory, and watch it; for a node without an API server
    #[arg(long, env = "SECRETFS_CLASSES", value_name = "DIR")]
    classes: Option<PathBuf>,

    /// Kubeconfig of the API server that has the SecretProviderClasses; by default that of the cluster in
    /// which this process is a pod
    #[arg(long, env = "SECRETFS_KUBECONFIG", value_name = "FILE", conflicts_with = "classes")]
    kubeconfig: Option<PathBuf>,

    /// Make Kubernetes Secrets from mounted files, as the secretObjects of classes say. The API server then keeps
    /// the values, and this process writes Secrets: see SECURITY.md
    #[arg(long, env = "SECRETFS_SYNC_SECRETS", conflicts_with = "classes")]
    sync_secrets: bool,

    /// Make Secrets only in this namespace; may be given several times
    #[arg(long, value_name = "NAMESPACE", requires = "sync_secrets")]
    sync_secrets_namespace: Vec<String>,

    /// Remove taints with this key from this node after kubelet has registered the driver
    #[arg(long, env = "SECRETFS_STARTUP_TAINT", value_name = "KEY", conflicts_with_all = ["classes", "no_registration"])]
    startup_taint: Option<String>,

    /// Namespaces of whose service accounts the API server is asked, where a class leaves it to an annotation there
    /// whom its pods read as (eks.amazonaws.com/role-arn, iam.gke.io/gcp-service-account); separated by commas, * is
    /// each. It takes the right to get service accounts
    #[arg(
        long,
        env = "SECRETFS_SERVICE_ACCOUNT_ANNOTATIONS",
        value_delimiter = ',',
        value_name = "NAMESPACES",
        conflicts_with = "classes"
    )]
    service_account_annotations: Vec<String>,

    /// Follow requests to refresh on pods too (the annotation secretfs.dev/refresh-requested), not only on classes. It
    /// takes the right to list and watch pods
    #[arg(long, env = "SECRETFS_REFRESH_REQUESTS_ON_PODS", conflicts_with = "classes")]
    refresh_requests_on_pods: bool,

    /// Namespaces whose workloads may be rolled out after a rotation, for classes with secretfs.dev/on-rotate:
    /// restart-workload; separated by commas. It takes the right to patch workloads there
    #[arg(
        long,
        env = "SECRETFS_RESTART_WORKLOADS",
        value_delimiter = ',',
        value_name = "NAMESPACES",
        conflicts_with = "classes"
    )]
    restart_workloads: Vec<String>,

    /// Shortest time between two such rollouts of one workload, such as 5m or 1h30m
    #[arg(long, env = "SECRETFS_RESTART_WORKLOADS_EVERY", default_value = "5m", value_name = "DURATION", value_parser = interval_of)]
    restart_workloads_every: Duration,

    /// Socket of `secretfs-mounter`. Without it this process mounts by itself, and after a crash leased logins
    /// end only when their time is over
    #[arg(long, env = "SECRETFS_MOUNTER", value_name = "PATH")]
    mounter: Option<PathBuf>,

    /// Mount even if the kernel (before 6.4) cannot keep volumes out of swap; the mounter has a flag of its own
    #[arg(long, conflicts_with = "mounter")]
    allow_swap: bool,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, alias = "metrics-addr", env = "SECRETFS_HTTP", default_value = "127.0.0.1:8095", value_name = "ADDRESS", value_parser = address)]
    http: SocketAddr,

    /// Let a pod's volume attributes override its class, as the upstream driver does. Everybody who may
    /// create a pod then chooses what the pod reads, and from where
    #[arg(long, env = "SECRETFS_LEGACY_ATTRIBUTE_OVERRIDES")]
    legacy_attribute_overrides: bool,

    /// Refresh volumes whose class has no `refresh`. With `false` such a volume keeps the values of its mount until
    /// somebody runs `secretfs refresh`; leases are still renewed
    #[arg(
        long,
        env = "SECRETFS_ENABLE_SECRET_ROTATION",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    enable_secret_rotation: bool,

    /// How old a value may grow if its class has no `refresh`, such as 2m or 1m30s; by default each store has its own
    #[arg(long, env = "SECRETFS_ROTATION_POLL_INTERVAL", value_name = "DURATION", value_parser = interval_of)]
    rotation_poll_interval: Option<Duration>,

    /// Open what was sealed to a key of age (kms: age) with --node-key. No store is asked then: who may create a pod in
    /// the namespace of such a class reads it
    #[arg(long, env = "SECRETFS_ALLOW_NODE_KEY")]
    allow_node_key: bool,

    #[command(flatten)]
    process: ProcessArgs,
}

impl NodeArgs {
    /// Gives up what a process beside its mounter does not need of other processes: to be called while there is one thread.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it has no reason to.
    pub(super) fn leave_others_alone(&self) -> std::io::Result<()> {
        self.mounter.as_ref().map_or(Ok(()), |_| confinement::leave_others_alone())
    }

    /// Gives up the system calls that such a process never makes. A kubeconfig may name a program that gives credentials.
    fn filter_calls(&self) -> anyhow::Result<()> {
        match self.mounter {
            Some(_) => confinement::filter_calls(self.kubeconfig.is_some()).context("limit the system calls"),
            None => Ok(()),
        }
    }

    /// The paths that `secretfs doctor` checks.
    pub(super) fn places(self) -> Places {
        Places {
            told_to: None,
            chain: chain(&self.process),
            registration_dir: registration_dir(&self),
            driver: self.driver_name,
            kubelet_root: self.kubelet_root,
            csi: self.csi_endpoint,
            mounter: self.mounter,
            state_dir: self.process.state_dir,
            admin_dir: self.process.admin_dir,
            provider_dirs: self.process.providers.external_dirs(),
            sync: self.sync_secrets.then_some(self.sync_secrets_namespace),
            annotations: self.service_account_annotations,
            restarts: self.restart_workloads,
            kubeconfig: self.kubeconfig,
        }
    }
}

fn chain(args: &ProcessArgs) -> Option<PathBuf> {
    let beside = || args.audit_log.iter().find_map(engine::audit::Destination::chain);
    args.audit_chain.clone().or_else(beside)
}

/// Parses `127.0.0.1:8095`, or `:8095` for every address.
fn address(text: &str) -> Result<SocketAddr, String> {
    let everywhere = text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}"));
    everywhere
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "write ADDRESS:PORT, as in 127.0.0.1:8095".to_owned())
}

fn interval_of(text: &str) -> Result<Duration, String> {
    match manifest::go_duration(text) {
        Some(interval) if !interval.is_zero() => Ok(interval),
        _ => Err("write a duration such as 2m, 30s or 1h30m".to_owned()),
    }
}

/// The behaviour that the flags ask for, and that the upstream driver had if this one replaces it.
fn conduct(args: &NodeArgs) -> Conduct {
    let on_revoked = if args.driver_name == UPSTREAM { OnRevoked::Keep } else { OnRevoked::default() };
    let rotation = match args.rotation_poll_interval {
        _ if !args.enable_secret_rotation => Rotation::Off,
        Some(interval) => Rotation::Every(interval),
        None => Rotation::ByProvider,
    };
    Conduct {
        legacy_overrides: args.legacy_attribute_overrides,
        takes_over: true,
        fuse: Serving::InTurn,
        defaults: Defaults { on_revoked, rotation },
        targets: Targets::Driver,
        ..Conduct::default()
    }
}

/// Runs `secretfs node`.
///
/// # Errors
///
/// A socket or a directory cannot be used; the message names it.
pub async fn run(mut args: NodeArgs) -> Outcome {
    args.process.node = Some(args.node_name.clone());
    hygiene::seal().context("keep this process's memory to itself")?;
    args.filter_calls()?;
    let _lock = lock(&args.process.state_dir)?;
    let mounter = mounter(&args);
    let listener = mounter.listen(&args.csi_endpoint)?;
    let http = TcpListener::bind(args.http).await.with_context(|| format!("listen at {}", args.http))?;
    tracing::info!(address = %http.local_addr()?, "/livez, /readyz and /metrics");
    let origin = Origin::open(&args).await?;
    let (providers, in_force) = (providers(&args, &origin, &mounter)?, Arc::<InForce>::default());
    let mut process = Process::start(
        &args.process,
        providers,
        origin.classes(),
        Arc::clone(&mounter),
        "node",
        Conduct { pods: origin.pods(), in_force: Arc::clone(&in_force), ..conduct(&args) },
    )?;
    let sub_paths = Arc::clone(&process.volumes).watch_sub_paths(process.stop.clone());
    process.keep("subPath mounts", sub_paths);
    let readiness = Readiness::default();
    let taint = origin.startup_taint(&args);
    origin.follow_revocations(&args, &in_force, &mut process).await?;
    origin.attach(&mut process, &args.node_name, &readiness);
    let outcome = serve(&args, &process, mounter, listener, http, readiness, taint).await;
    process.stop().await;
    outcome
}

/// The stores. If this driver replaces the upstream driver, insecure stores are allowed unless a setting forbids them.
/// Otherwise running pods would lose them by the move.
fn providers(args: &NodeArgs, origin: &Origin, mounter: &Arc<dyn Mounter>) -> provider::Result<Providers> {
    let mut providers = args.process.providers.clone();
    if !mounter.makes_files_of_root() {
        let mounter = Arc::clone(mounter);
        providers.connect_by(move |socket| mounter.connect(socket).map_err(std::io::Error::other));
    }
    if !args.allow_node_key {
        providers.forbid_node_key();
    }
    if let Some(accounts) = origin.accounts(args) {
        providers.ask_of_accounts(accounts);
    }
    if providers.allow_insecure_stores_by_default(args.driver_name == UPSTREAM) {
        tracing::warn!(
            "insecure stores are allowed: classes may ask for http:// and for TLS that is not verified; \
             --allow-insecure-stores=false refuses them"
        );
    }
    providers.build_for_node()
}

/// Fails when a task of the process has ended that should still run. The next process takes the mounts over, and has
/// all tasks.
async fn until_one_ends(early: CancellationToken, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = early.cancelled() => bail!("a task of the process ended by itself; the log names it"),
    }
}

/// Serves until a signal arrives, or until a task ends that should not end.
async fn serve(
    args: &NodeArgs,
    process: &Process,
    mounter: Arc<dyn Mounter>,
    listener: std::os::unix::net::UnixListener,
    http: TcpListener,
    readiness: Readiness,
    taint: Option<StartupTaint>,
) -> Outcome {
    let stop = process.stop.child_token();
    let health = watch::Sender::new(Health::Starting);
    let (recovered, registered) = (readiness.latch("recovered"), readiness.latch("registered"));
    let mounts = readiness.latch("mounter");
    let shown = http::Health { metrics: process.metrics.clone(), readiness, pulse: process.pulse.clone() };
    let identity = Identity { driver: args.driver_name.clone(), health: health.subscribe() };
    let requests = Requests { pods: args.kubelet_root.join("pods") };
    let node = Node {
        id: args.node_name.clone(),
        requests,
        volumes: Arc::clone(&process.volumes),
        metrics: process.metrics.clone(),
    };

    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (web, csi) = (stop.clone(), stop.clone());
    let probes = AdminSocket::bind(&args.process.state_dir.join(probe::NAME)).context("the health socket")?;
    tasks.spawn(well(probe::serve(probes, shown.clone(), stop.clone())));
    tasks.spawn(well(http::serve(http, shown, web)));
    tasks.spawn(async move { csi::serve(listener, identity, node, csi).await.context("serve CSI") });
    let taken = process.volumes.restore().await?;
    tracing::info!(volumes = taken, version = env!("CARGO_PKG_VERSION"), "serving");
    recovered.set(true);
    health.send_replace(Health::Serving);
    systemd::ready();
    hygiene::settle();
    let revocations = Arc::clone(&process.volumes.parts().revocations);
    tasks.spawn(until_one_ends(process.ended_early(), stop.clone()));
    tasks.spawn(check_mounter(revocations, health, (mounts, process.metrics.clone()), stop.clone()));
    let registration = register(args, mounter, &stop)?;
    match &registration {
        Some(registration) => {
            tasks.spawn(follow(registration.state(), registered, process.metrics.clone(), stop.clone()));
            if let Some(taint) = taint {
                tasks.spawn(untaint(taint, registration.state(), stop.clone()));
            }
        }
        None => registered.set(true),
    }
    let outcome = first_end(&mut tasks, "; mounts stay").await;
    stop.cancel();
    drain(tasks, "kubelet repeats them").await;
    if let Some(registration) = registration {
        // The thread ends with the token. Waiting for it takes no longer than the call that it answers now.
        tokio::task::spawn_blocking(move || registration.join()).await.map_err(Unfinished::from)?;
    }
    outcome
}

/// Turns a task that cannot fail into one that returns `Ok`.
async fn well(part: impl Future<Output = ()>) -> anyhow::Result<()> {
    part.await;
    Ok(())
}

/// Locks the state directory. Only one process may serve a node, because two would mount over each other.
fn lock(state: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(state).with_context(|| format!("the state directory {}", state.display()))?;
    let path = state.join("node.lock");
    let file = File::create(&path).with_context(|| format!("the lock file {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| anyhow!("another secretfs node serves {}; there can be one only", state.display()))?;
    Ok(file)
}

fn mounter(args: &NodeArgs) -> Arc<dyn Mounter> {
    if let Some(socket) = &args.mounter {
        return Arc::new(RemoteMounter::new(socket.clone()));
    }
    let sockets = [args.csi_endpoint.parent().map(Path::to_owned), Some(registration_dir(args))];
    let roots = Roots {
        pods: Some(args.kubelet_root.join("pods")),
        sockets: sockets.into_iter().flatten().collect(),
    };
    Arc::new(LocalMounter::new(roots).allow_swap(args.allow_swap))
}

fn registration_dir(args: &NodeArgs) -> PathBuf {
    args.registration_dir.clone().unwrap_or_else(|| args.kubelet_root.join("plugins_registry"))
}

fn register(
    args: &NodeArgs,
    mounter: Arc<dyn Mounter>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<csi::Running>> {
    if args.no_registration {
        return Ok(None);
    }
    let default = || args.kubelet_root.join("plugins").join(&args.driver_name).join("csi.sock");
    let endpoint = args.kubelet_csi_endpoint.clone().unwrap_or_else(default);
    let registration = Registration {
        driver: args.driver_name.clone(),
        endpoint: endpoint.display().to_string(),
        directory: registration_dir(args),
        boot_id: std::fs::read_to_string(BOOT_ID).context("the boot id")?,
        memory: args.process.state_dir.join("registered"),
        patience: Patience::default(),
    };
    Ok(Some(registration.start(mounter, stop.clone()).context("start the registration")?))
}

/// Reports the state of the registration to readiness and to the metric.
async fn follow(
    mut state: watch::Receiver<State>,
    latch: Latch,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let registered = *state.borrow_and_update() == State::Registered;
        latch.set(registered);
        metrics.set_registered(registered);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = state.changed() => changed.context("the registration's thread ended")?,
        }
    }
}

/// Removes the startup taint after each registration, because a node that is created again has the taint again.
async fn untaint(
    taint: StartupTaint,
    mut state: watch::Receiver<State>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let registered = *state.borrow_and_update() == State::Registered;
        let remove = async {
            if registered {
                taint.remove().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = state.changed() => changed.context("the registration's thread ended")?,
            () = remove => {}
        }
    }
}

/// Reports to probes and readiness whether the mounter is alive. Gives the notes again to a mounter that was restarted.
async fn check_mounter(
    revocations: Arc<Revocations>,
    health: watch::Sender<Health>,
    (latch, metrics): (Latch, Metrics),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = interval(MOUNTER_CHECK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let asked = Arc::clone(&revocations);
        let there = tokio::task::spawn_blocking(move || asked.keep_again().is_ok());
        let there = there.await.map_err(Unfinished::from)?;
        latch.set(there);
        metrics.set_mounter_up(there);
        health.send_replace(if there { Health::Serving } else { Health::MounterDead });
    }
}
