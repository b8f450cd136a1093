//! The parts that all long-running commands share, besides their listeners: volumes, and the tasks that serve them.

mod admin;
mod host_orders;

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use aws_lc_rs::hmac;
use class::Classes;
use engine::audit::{Audit, ChainArgs, Destination};
use engine::mode::{self, Due, Front, Modes, Serving};
use engine::revocation::InForce;
use engine::snapshot::FingerprintKey;
use engine::unfinished::Unfinished;
use engine::volume::Volumes;
use engine::volume::access::Everyone;
use engine::volume::boundary::{NoPods, Pods};
use engine::volume::parts::{Defaults, Limits, Parts, Targets};
use engine::volume::record::Records;
use engine::volume::report::Reporter;
use engine::volume::revocations::Revocations;
use engine::volume::room::Rooms;
use engine::volume::stores::Stores;
use metrics::Metrics;
use mounter::Mounter;
use program::hygiene;
use provider::Providers;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::admin::Administered;
use self::host_orders::HostOrders;
use crate::admin::http::Pulse;
use crate::admin::socket::AdminSocket;
use crate::directories;
use crate::exit::Outcome;
use crate::providers::{self, ProviderArgs};
use crate::telemetry;

/// How often gauges are updated and the pulse beats.
const TICK: Duration = Duration::from_secs(5);
/// How often the heap is trimmed. Allocations wait meanwhile, so it is not done at each tick.
const TRIM: Duration = Duration::from_secs(30);
/// How long to try to end logins before the process ends without that.
const LAST_REVOCATIONS: Duration = Duration::from_secs(10);
/// How long running calls may take at the end of the process. It is less than a pod's grace period.
const LAST_CALLS: Duration = Duration::from_secs(25);
/// How long the last audit records may take to be written.
const LAST_RECORDS: Duration = Duration::from_secs(2);
/// How soon the first open of a file by a container is in the audit trail.
const OPENS: Duration = Duration::from_millis(100);
/// After so many times [`OPENS`] it is looked for opens that were repeated.
const REPEATED: u32 = 50;
/// The size of the key of this boot, in bytes.
const KEY_BYTES: usize = 32;

/// Settings of every command that serves volumes.
#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// Directory on a tmpfs for data that survives a restart of this process, but no reboot: which
    /// volumes there are, and never a secret
    #[arg(long, env = "SECRETFS_STATE_DIR", default_value_os_t = directories::state(), value_name = "DIR")]
    pub state_dir: PathBuf,

    /// Directory of admin sockets, which `secretfs status`, `why` and `refresh` talk to
    #[arg(long, env = "SECRETFS_ADMIN_SOCKET", default_value_os_t = directories::admin(), value_name = "DIR")]
    pub admin_dir: PathBuf,

    /// Append an audit record for each publish, rotation, withdrawal, denial and unpublish to this
    /// file, or to standard output (`-`); may be given twice. In mode fuse also for who opens files
    #[arg(long = "audit-log", env = "SECRETFS_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Vec<Destination>,

    /// Directory that `secretfs audit init` made for the chain of the audit trail; by default FILE.chain beside the
    /// first audit file, if it is there
    #[arg(long, env = "SECRETFS_AUDIT_CHAIN", value_name = "DIR", requires = "audit_log")]
    pub audit_chain: Option<PathBuf>,

    /// Append checkpoints of the chain to this file, or to standard output (`-`): a place that nobody can change who can
    /// change the trail
    #[arg(long, env = "SECRETFS_AUDIT_CHECKPOINTS", value_name = "FILE", requires = "audit_log")]
    pub audit_checkpoints: Option<Destination>,

    /// Shortest refresh interval in seconds, whatever a class says
    #[arg(long, env = "SECRETFS_MIN_REFRESH", default_value_t = 1, value_name = "SECONDS")]
    pub min_refresh: u64,

    /// A pod may start on what another pod of the same identity read this recently, such as 60s or 5m. 0s asks the
    /// store for each pod. With `start: cached` a pod may start on older values while the store is away
    #[arg(long, env = "SECRETFS_MAX_SHARED_AGE", default_value = "60s", value_name = "DURATION", value_parser = age)]
    pub max_shared_age: Duration,

    /// Largest size of a volume in bytes
    #[arg(long, env = "SECRETFS_MAX_VOLUME_BYTES", default_value_t = mode::DEFAULT_MAX_BYTES, value_name = "BYTES")]
    pub max_volume_bytes: u64,

    /// What the administrator sets for each kind of store.
    #[command(flatten)]
    pub providers: ProviderArgs,

    /// File of the orders to revoke that were given on this host by `secretfs revoke --here`
    #[arg(long, env = "SECRETFS_REVOCATIONS", default_value_os_t = directories::revocations(), value_name = "FILE")]
    pub revocations: PathBuf,

    /// The name of this node in audit records; without it, the machine's own name.
    #[arg(skip)]
    pub node: Option<String>,
}

fn age(text: &str) -> Result<Duration, String> {
    manifest::go_duration(text).ok_or_else(|| "write a duration such as 60s, 5m or 0s".to_owned())
}

/// How volumes of pods differ from those of a plain host. A plain host uses the default.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// Whether volume attributes may override the class, as the upstream driver lets them.
    pub legacy_overrides: bool,
    /// Whether to take over what another driver mounted at a volume's target.
    pub takes_over: bool,
    /// Whether volumes may be served over FUSE, and by whom.
    pub fuse: Serving,
    /// How a process without privileges shows every volume, whatever mode its class names.
    pub unprivileged: Option<Arc<dyn Front>>,
    /// Values for what a class does not set.
    pub defaults: Defaults,
    /// Which target paths are allowed.
    pub targets: Targets,
    /// What only an API server knows of pods, if there is one.
    pub pods: Option<Arc<dyn Pods>>,
    /// The orders to take secrets back, for whoever brings more of them than this host has.
    pub in_force: Arc<InForce>,
}

/// The volumes of this process, and its tasks.
#[derive(Debug)]
pub struct Process {
    /// The volumes that this process serves.
    pub volumes: Arc<Volumes>,
    /// The metrics of everything in this process.
    pub metrics: Metrics,
    /// Beats while the process runs.
    pub pulse: Pulse,
    /// Ends every task of the process.
    pub stop: CancellationToken,
    tasks: JoinSet<()>,
    early: CancellationToken,
    revocations: Arc<Revocations>,
}

impl Process {
    /// Makes the parts and starts the tasks. `admin` is the name of the admin socket. It does not take over the volumes
    /// of an earlier process; see [`Volumes::restore`].
    ///
    /// # Errors
    ///
    /// A directory, a file or a socket cannot be made. The message names it.
    pub fn start(
        args: &ProcessArgs,
        providers: Providers,
        classes: Arc<dyn Classes>,
        mounter: Arc<dyn Mounter>,
        admin: &str,
        conduct: Conduct,
    ) -> anyhow::Result<Self> {
        hygiene::raise_open_files();
        let metrics = Metrics::of(providers::DECLARATIONS);
        telemetry::count_lost(metrics.log_dropped());
        let state = &args.state_dir;
        make_private(state).with_context(|| format!("the state directory {}", state.display()))?;
        let keys = Keys::of_this_boot(&state.join("lease.key"))?;
        let revocations =
            Arc::new(Revocations::new(Arc::clone(&mounter), providers.clone(), metrics.clone(), &keys.seal)?);
        let audit = audit(args, &metrics).context("the audit log")?;
        let tells_opens = audit.is_on();
        let limits = Limits {
            min_refresh: Duration::from_secs(args.min_refresh),
            max_shared_age: args.max_shared_age,
            volume_bytes: args.max_volume_bytes,
            legacy_overrides: conduct.legacy_overrides,
            defaults: conduct.defaults,
            targets: conduct.targets,
            ..Limits::default()
        };
        let bounds = mode::Bounds {
            max_bytes: args.max_volume_bytes,
            takes_over: conduct.takes_over,
            fuse: conduct.fuse,
            tells_opens,
        };
        let in_force = conduct.in_force;
        let host = HostOrders::load(&args.revocations, &in_force)?;
        let volumes = Volumes::new(Parts {
            providers,
            classes,
            modes: match conduct.unprivileged {
                Some(front) => Modes::without_privileges(front, bounds),
                None => Modes::all(&mounter, bounds),
            },
            mounter,
            records: Records::open(state).with_context(|| format!("records below {}", state.display()))?,
            revocations: Arc::clone(&revocations),
            reporter: Reporter::new(audit, metrics.clone()),
            stores: Arc::new(Stores::new(metrics.clone())),
            access: Arc::new(Everyone),
            pods: conduct.pods.unwrap_or_else(|| Arc::new(NoPods)),
            in_force: Arc::clone(&in_force),
            rooms: Rooms::default(),
            key: Arc::new(FingerprintKey::new(&keys.fingerprint)),
            limits,
        });
        let mut process = Self {
            volumes,
            metrics,
            pulse: Pulse::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            early: CancellationToken::new(),
            revocations,
        };
        let admin = args.admin_dir.join(admin).with_extension("sock");
        let socket =
            AdminSocket::bind(&admin).with_context(|| format!("the admin socket {}", admin.display()))?;
        process.spawn_tasks(socket, host);
        if tells_opens {
            let (volumes, stop) = (Arc::clone(&process.volumes), process.stop.clone());
            process.keep("the audit of opens", audit_opens(volumes, stop));
        }
        Ok(process)
    }

    fn spawn_tasks(&mut self, socket: AdminSocket, host: HostOrders) {
        let host = Arc::new(host);
        self.keep("revocations of this host", Arc::clone(&host).follow(self.stop.clone()));
        let (revocations, stop) = (Arc::clone(&self.revocations), self.stop.clone());
        self.keep("revocations", async move { revocations.run(stop).await });
        let asked = Arc::new(Administered { volumes: Arc::clone(&self.volumes), host });
        self.keep("the admin socket", socket.serve(asked, self.stop.clone()));
        let gauges = Gauges {
            volumes: Arc::clone(&self.volumes),
            metrics: self.metrics.clone(),
            pulse: self.pulse.clone(),
        };
        self.keep("gauges", gauges.keep(self.stop.clone()));
        self.keep("the heap", trim_heap(self.stop.clone()));
    }

    /// Adds a task that runs until [`stop`](Self::stop) is cancelled. If it ends earlier, for example by a panic, the
    /// log names it, and [`ended_early`](Self::ended_early) is cancelled.
    pub fn keep(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let end = End { name, stop: self.stop.clone(), early: self.early.clone() };
        self.tasks.spawn(async move {
            let _end = end;
            task.await;
        });
    }

    /// Cancelled when a task has ended that should still run.
    pub fn ended_early(&self) -> CancellationToken {
        self.early.clone()
    }

    /// Lets running calls finish, stops every task, and ends the logins that must be ended. Mounts stay.
    pub async fn stop(mut self) {
        self.volumes.drain().await;
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if timeout(LAST_REVOCATIONS, self.revocations.flush()).await.is_err()
            || self.revocations.waiting() > 0
        {
            tracing::warn!(
                logins = self.revocations.waiting(),
                "some logins could not be ended; the mounter keeps them"
            );
        }
        let audit = self.volumes.parts().reporter.audit().clone();
        let flushed = tokio::task::spawn_blocking(move || audit.flush(LAST_RECORDS)).await;
        if !matches!(flushed, Ok(true)) {
            tracing::error!("the last audit records are not written");
        }
    }
}

/// Notices the end of a task, whatever ended it.
struct End {
    name: &'static str,
    stop: CancellationToken,
    early: CancellationToken,
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!(
                task = self.name,
                "a task of the process ended by itself, which is a fault of secretfs"
            );
            self.early.cancel();
        }
    }
}

/// Updates gauges.
struct Gauges {
    volumes: Arc<Volumes>,
    metrics: Metrics,
    pulse: Pulse,
}

impl Gauges {
    async fn keep(self, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.set(),
            }
        }
    }

    fn set(&self) {
        self.pulse.beat();
        let states = self.volumes.states();
        let bytes = states.values().map(|state| state.bytes).sum();
        self.metrics.set_volumes(states.len(), bytes);
        self.metrics.set_tasks(Handle::current().metrics().num_alive_tasks());
        let now = Instant::now();
        let confirmed =
            states.values().filter(|state| state.is_kept_fresh).filter_map(|state| state.confirmed).min();
        self.metrics.set_staleness(confirmed.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)));
        self.metrics.set_fuse_stuck(self.volumes.parts().modes.stuck());
        let breakers = self.volumes.parts().stores.breakers();
        self.metrics.set_breakers(breakers.closed, &breakers.open);
        for (provider, restarts) in self.volumes.parts().providers.watch_restarts() {
            self.metrics.set_watch_restarts(self.metrics.provider(provider), restarts);
        }
    }
}

fn audit(args: &ProcessArgs, metrics: &Metrics) -> io::Result<Audit> {
    let chain =
        ChainArgs { directory: args.audit_chain.clone(), checkpoints: args.audit_checkpoints.clone() };
    let audit = Audit::chained_to(args.audit_log.iter().cloned(), chain)?;
    let audit = audit.on(args.node.clone()).counting(metrics.audit_dropped()).for_long()?;
    if audit.is_on() && !audit.is_chained() {
        tracing::info!(
            "audit records are no chain, so nobody sees a change of them; see `secretfs audit init`"
        );
    }
    Ok(audit)
}

/// Writes who opened files, until `stop`. Nobody who opens a file waits for that.
async fn audit_opens(volumes: Arc<Volumes>, stop: CancellationToken) {
    let mut ticks = interval(OPENS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0u32;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        number = number.wrapping_add(1);
        volumes.audit_opens(if number.is_multiple_of(REPEATED) { Due::Repeated } else { Due::News });
    }
}

/// Trims the heap every [`TRIM`]. After a refresh of many volumes, or the end of some, the heap has free memory. Without
/// this the process would keep it for good.
async fn trim_heap(stop: CancellationToken) {
    let mut ticks = interval(TRIM);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let trimmed = tokio::task::spawn_blocking(hygiene::trim_heap);
        // Threads for such work may all wait for a disk that is away.
        if let Some(Err(error)) = stop.run_until_cancelled(trimmed).await {
            tracing::warn!(error = %Unfinished::from(error), "free memory stays with this process");
        }
    }
}

/// The uses of the one random key of this boot. Each has a key of its own, derived from it.
struct Keys {
    seal: Zeroizing<Vec<u8>>,
    fingerprint: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// The keys of this boot. The first process makes the random key, later processes read it.
    fn of_this_boot(path: &Path) -> anyhow::Result<Self> {
        let random = random_of_this_boot(path).with_context(|| format!("the key file {}", path.display()))?;
        let derive = |label: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &random);
            Zeroizing::new(hmac::sign(&key, label.as_bytes()).as_ref().to_vec())
        };
        Ok(Self { seal: derive("secretfs login seal"), fingerprint: derive("secretfs fingerprint") })
    }
}

fn random_of_this_boot(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() == KEY_BYTES => return Ok(Zeroizing::new(bytes)),
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    // The complete file is linked into place. So a process that dies here, or another that starts now, sees all of it
    // or nothing.
    let partial = path.with_extension(std::process::id().to_string());
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    io::Write::write_all(&mut file, &bytes)?;
    let linked = std::fs::hard_link(&partial, path);
    std::fs::remove_file(&partial)?;
    match linked {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => std::fs::read(path).map(Zeroizing::new),
        Err(error) => Err(error),
    }
}

/// Waits for SIGTERM or SIGINT, then logs `goodbye`, which says what keeps running.
///
/// # Errors
///
/// A task has ended by itself, which no task should do.
pub async fn first_end(tasks: &mut JoinSet<anyhow::Result<()>>, goodbye: &str) -> Outcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing the calls in flight{goodbye}"),
        _ = interrupt.recv() => tracing::info!("SIGINT: finishing the calls in flight{goodbye}"),
        Some(ended) = tasks.join_next() => {
            ended.map_err(Unfinished::from)??;
            return Err(anyhow!("a part of the process ended by itself").into());
        }
    }
    Ok(())
}

/// Waits for tasks that were told to end, within a pod's grace period. `otherwise` says what happens to calls that take
/// longer.
pub async fn drain(mut tasks: JoinSet<anyhow::Result<()>>, otherwise: &str) {
    let ended = timeout(LAST_CALLS, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("some calls did not finish; {otherwise}");
        tasks.shutdown().await;
    }
}

/// Makes a directory that nobody else can enter.
fn make_private(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests;
