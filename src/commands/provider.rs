//! `secretfs provider`: serves one of our providers to drivers with the upstream protocol.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use engine::audit::{Audit, Destination};
use engine::snapshot::FingerprintKey;
use engine::volume::once::Once;
use engine::volume::report::Reporter;
use engine::volume::revocations::Revocations;
use engine::volume::stores::Stores;
use metrics::Metrics;
use mounter::{HostMounter, Mounter};
use program::hygiene;
use program::readiness::Readiness;
use program::systemd;
use provider::Providers;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::admin::http::{self, Pulse};
use crate::exit::{Failure, Outcome};
use crate::listening::Listening;
use crate::process::{drain, first_end};
use crate::provider_socket::{self, Served};
use crate::providers::{self, ProviderArgs};
use crate::telemetry;

/// How long to try to end logins before the process ends without that.
const LAST_REVOCATIONS: Duration = Duration::from_secs(5);
/// How often the pulse beats.
const TICK: Duration = Duration::from_secs(5);
/// The size of a random key, in bytes.
const KEY_BYTES: usize = 32;

/// Serve a built-in provider to the Secrets Store CSI driver, or to another driver with its protocol
///
/// Listens where that driver looks for a provider, and answers each call with the files of the class. It reads
/// with the pod's own token, mounts nothing and keeps nothing. The name of the socket's file is the name that
/// classes give in `provider`. Only root on this node may call. The caller gets every value that the pods it names
/// may read. Objects with a lease are refused, because the protocol does not tell when a volume ends.
///
///   secretfs provider vault --endpoint /var/run/secrets-store-csi-providers/vault.sock
///   secretfs provider secretfs --endpoint unix:///provider/secretfs.sock --audit-log -
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ProviderCommand {
    /// Name of the provider, as a class gives it
    name: String,

    /// Socket to listen at; an existing one is replaced
    #[arg(long, value_name = "PATH", value_parser = mounter::endpoint)]
    endpoint: PathBuf,

    /// Serve /livez, /readyz and /metrics here; by default nowhere
    #[arg(long, env = "SECRETFS_HTTP", value_name = "ADDRESS")]
    http: Option<SocketAddr>,

    /// Append an audit record for each call to this file, or to standard output (`-`); may be given twice
    #[arg(long = "audit-log", env = "SECRETFS_AUDIT_LOG", value_name = "FILE")]
    audit_log: Vec<Destination>,

    #[command(flatten)]
    providers: ProviderArgs,
}

/// Runs `secretfs provider`.
///
/// # Errors
///
/// The provider is not built in, or a socket cannot be used; the message names it.
pub async fn run(args: ProviderCommand) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let providers = providers(&args)?;
    let metrics = Metrics::of(providers::DECLARATIONS);
    telemetry::count_lost(metrics.log_dropped());
    let (once, revocations) = once(&args, providers, &metrics)?;
    let stop = CancellationToken::new();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if let Some(address) = args.http {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "/livez, /readyz and /metrics");
        tell(&mut tasks, listener, metrics, &stop);
    }
    let listening = listen(&args.endpoint)?;
    tracing::info!(provider = args.name, socket = %args.endpoint.display(), "serving");
    systemd::ready();
    let (served, until) = (Served::new(&args.name, once), stop.clone());
    let (ending, ends) = (Arc::clone(&revocations), stop.clone());
    tasks.spawn(async move {
        ending.run(ends).await;
        Ok(())
    });
    tasks.spawn(async move {
        provider_socket::serve(&listening, served, until).await.context("serve the provider protocol")
    });
    let outcome = first_end(&mut tasks, "").await;
    stop.cancel();
    drain(tasks, "drivers repeat them").await;
    if timeout(LAST_REVOCATIONS, revocations.flush()).await.is_err() {
        tracing::warn!(logins = revocations.waiting(), "some logins last until their own end");
    }
    outcome
}

fn listen(endpoint: &Path) -> anyhow::Result<Listening> {
    Listening::at(endpoint).with_context(|| format!("listen at {}", endpoint.display()))
}

fn providers(args: &ProviderCommand) -> Result<Providers, Failure> {
    // It serves pods, as a node does.
    let mut providers = args.providers.clone();
    providers.forbid_node_key();
    let providers = providers.build_in()?;
    if !providers.names().any(|name| name == args.name) {
        let known: Vec<_> = providers.names().collect();
        let name = &args.name;
        return Err(Failure::usage(format!(
            "no provider {name:?} is built in; there are {}",
            known.join(", ")
        )));
    }
    Ok(providers)
}

/// The reader, with random keys that only this process has. Nothing survives this process.
fn once(
    args: &ProviderCommand,
    providers: Providers,
    metrics: &Metrics,
) -> anyhow::Result<(Once, Arc<Revocations>)> {
    let mounter: Arc<dyn Mounter> = Arc::new(HostMounter::default());
    let revocations =
        Arc::new(Revocations::new(Arc::clone(&mounter), providers.clone(), metrics.clone(), &random()?)?);
    let audit = Audit::to(args.audit_log.iter().cloned()).context("the audit log")?;
    let once = Once {
        providers,
        stores: Arc::new(Stores::new(metrics.clone())),
        revocations: Arc::clone(&revocations),
        mounter,
        reporter: Reporter::new(audit.counting(metrics.audit_dropped()), metrics.clone()),
        key: Arc::new(FingerprintKey::new(&random()?)),
    };
    Ok((once, revocations))
}

fn random() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("no random bytes"))?;
    Ok(bytes)
}

fn tell(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    listener: TcpListener,
    metrics: Metrics,
    stop: &CancellationToken,
) {
    let pulse = Pulse::default();
    let health = http::Health { metrics, readiness: Readiness::default(), pulse: pulse.clone() };
    let (web, beats) = (stop.clone(), stop.clone());
    tasks.spawn(async move {
        http::serve(listener, health, web).await;
        Ok(())
    });
    tasks.spawn(async move {
        let mut ticks = interval(TICK);
        while beats.run_until_cancelled(ticks.tick()).await.is_some() {
            pulse.beat();
        }
        Ok(())
    });
}
