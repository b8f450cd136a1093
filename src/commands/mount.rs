//! `secretfs mount`: the engine without Kubernetes, in the foreground.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use provider::{Identity, SecretBytes, Workload};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::credentials;
use crate::class::{Classes as _, WatchedClasses};
use crate::exit::{Failure, Outcome};
use crate::hygiene;
use crate::mode::Appearance;
use crate::mounter::{LocalMounter, Roots};
use crate::process::{Conduct, Process, ProcessArgs};
use crate::providers::Providers;
use crate::systemd;
use crate::volume::report::{Happening, What};
use crate::volume::{ClassName, Publish, VolumeId};

/// How long the command of `--on-change` may take.
const ON_CHANGE: Duration = Duration::from_secs(60);
/// How long the first reading may take where the class does not say.
const FIRST_READING: Duration = Duration::from_secs(120);
/// Most bytes of a credential file.
const MAX_CREDENTIAL: u64 = 1 << 20;

/// Mount a class on this host and keep it fresh until SIGINT or SIGTERM
///
/// Reads a SecretProviderClass, as Kubernetes has it, from a file; fetches its objects, shows them as
/// files below TARGET, follows every change of the secrets and of the class, and unmounts at the end.
///
///   secretfs mount app.yaml /run/app/secrets
///   secretfs mount app.yaml /run/app/secrets --on-change systemctl reload app
///   secretfs mount app.yaml /run/app/secrets --once
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct MountArgs {
    /// File with the class
    #[arg(value_name = "CLASS.yaml")]
    file: PathBuf,

    /// Directory to mount on; made if it is missing
    target: PathBuf,

    /// The class to mount, where the file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    class: Option<String>,

    /// Show the secrets as they are now, leave the mount and exit
    #[arg(long)]
    once: bool,

    /// With --once: mount objects that hang on a lease too, which nobody renews then
    #[arg(long, requires = "once")]
    leave_leases: bool,

    /// Run this program, without a shell, whenever files changed; give it last
    #[arg(long, value_name = "PROGRAM [ARG]…", num_args = 1.., allow_hyphen_values = true, conflicts_with = "once")]
    on_change: Vec<String>,

    /// Service account to read as, where a store asks for one
    #[arg(long, default_value = "default", value_name = "NAME")]
    service_account: String,

    /// A credential for the store, from a file that only its owner can read: `role-id`, `secret-id`,
    /// `token`, `tls.crt`, `tls.key`
    #[arg(long = "credential", value_name = "KEY=FILE", value_parser = key_and_file)]
    credentials: Vec<(String, PathBuf)>,

    /// A service account token (JWT) for a store, by its audience
    #[arg(long = "service-account-token", value_name = "AUDIENCE=FILE", value_parser = key_and_file)]
    tokens: Vec<(String, PathBuf)>,

    /// Group that may read the files
    #[arg(long, value_name = "GID")]
    group: Option<u32>,

    /// Mount even if the kernel (before 6.4) cannot keep the files out of swap
    #[arg(long)]
    allow_swap: bool,

    #[command(flatten)]
    process: ProcessArgs,
}

fn key_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (key, file) = text.split_once('=').ok_or("write KEY=FILE; a value itself is never taken")?;
    Ok((key.to_owned(), file.into()))
}

/// Runs it.
///
/// # Errors
///
/// The class cannot be used, a store does not give a secret, or the kernel refuses.
pub async fn run(mut args: MountArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let (classes, watch) = WatchedClasses::file(&args.file)
        .with_context(|| format!("the class file {}", args.file.display()))?;
    let class = choose(&classes, &args)?;
    let providers = args.process.providers.build()?;
    refuse_needless_credentials(&args, &classes, &class, &providers).await?;
    let target = std::path::absolute(&args.target).context("the target path")?;
    let publish = publish(&args, class, &target)?;
    let name = name_of(&target);
    args.process.state_dir = args.process.state_dir.join("mounts").join(&name);
    let admin = format!("mount-{name}");
    let mounter = Arc::new(LocalMounter::new(Roots::default()).allow_swap(args.allow_swap));
    let mut process = Process::start(&args.process, providers, classes, mounter, &admin, Conduct::default())?;
    let happenings = process.volumes.listen();
    process.keep("the class file", watch.run(process.stop.clone()));

    let outcome = mount(&args, &process, publish.clone(), happenings).await;
    let leave = args.once && outcome.is_ok();
    let unmounted =
        if leave { Ok(()) } else { process.volumes.unpublish(&publish.id, &publish.target).await };
    process.stop().await;
    outcome?;
    Ok(unmounted.with_context(|| format!("unmount {}", target.display()))?)
}

async fn mount(
    args: &MountArgs,
    process: &Process,
    publish: Publish,
    happenings: broadcast::Receiver<Happening>,
) -> Outcome {
    let (id, target) = (publish.id.clone(), publish.target.clone());
    let stopped = stopped()?;
    tokio::select! {
        published = process.volumes.publish(publish) => drop(published?),
        signal = stopped.cancelled() => return Ok(signal),
    }
    if args.once {
        return leave(args, process, &id);
    }
    tracing::info!(mounted_at = %target.display(), "mounted; SIGINT or SIGTERM unmounts");
    systemd::ready();
    follow(args, happenings, &stopped).await;
    Ok(())
}

/// Cancelled at the first SIGINT or SIGTERM.
fn stopped() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    // Ends with the runtime at the latest.
    drop(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }));
    Ok(token)
}

/// Checks that what is left behind needs nobody, or says until when it is good.
fn leave(args: &MountArgs, process: &Process, id: &VolumeId) -> Outcome {
    let states = process.volumes.states();
    let leases = states.get(id).map(|state| state.leases.clone()).unwrap_or_default();
    if !leases.is_empty() && !args.leave_leases {
        let names: Vec<_> = leases.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Failure::Failed(anyhow!(
            "{} hang on leases, which end when nobody renews them; run without --once, or add --leave-leases",
            names.join(", ")
        )));
    }
    for (name, ends) in leases {
        let left = ends.saturating_duration_since(Instant::now());
        println!("{name}: its lease ends in {} s", left.as_secs());
    }
    Ok(())
}

/// Runs the command of `--on-change` after each change, until told to stop.
async fn follow(args: &MountArgs, mut happenings: broadcast::Receiver<Happening>, stop: &CancellationToken) {
    loop {
        let happening = tokio::select! {
            () = stop.cancelled() => return,
            happening = happenings.recv() => happening,
        };
        let changed = match happening {
            Ok(Happening { what: What::Rotated(files), .. }) => files,
            Ok(Happening { what: What::Withdrawn(withdrawn), .. }) => withdrawn.files,
            Ok(_) => continue,
            // Some were missed: something changed for sure.
            Err(broadcast::error::RecvError::Lagged(_)) => Vec::new(),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let names: Vec<_> = changed.iter().map(ToString::to_string).collect();
        if let Err(error) = run_on_change(args, &names, stop).await {
            tracing::warn!(error = format!("{error:#}"), "--on-change");
        }
    }
}

async fn run_on_change(args: &MountArgs, files: &[String], stop: &CancellationToken) -> anyhow::Result<()> {
    let Some((program, words)) = args.on_change.split_first() else { return Ok(()) };
    let mut child = tokio::process::Command::new(program)
        .args(words)
        .env("SECRETFS_TARGET", &args.target)
        .env("SECRETFS_CHANGED", files.join("\n"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}"))?;
    let status = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        status = timeout(ON_CHANGE, child.wait()) => status,
    };
    let status = status.map_err(|_| anyhow!("{program} did not end within {} s", ON_CHANGE.as_secs()))??;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

fn choose(classes: &WatchedClasses, args: &MountArgs) -> Result<ClassName, Failure> {
    let names = classes.names();
    if let Some(problem) = classes.problems().into_iter().next() {
        return Err(Failure::Failed(anyhow!("{}: {}", problem.file.display(), problem.reason)));
    }
    let matches = |name: &&ClassName| match &args.class {
        Some(wanted) => name.name == *wanted || name.to_string() == *wanted,
        None => true,
    };
    let mut chosen: Vec<_> = names.iter().filter(matches).cloned().collect();
    match (chosen.pop(), chosen.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Failure::usage(none_chosen(&args.file, &names))),
        (Some(_), false) => {
            let all: Vec<_> = names.iter().map(ToString::to_string).collect();
            Err(Failure::usage(format!(
                "the file has several classes: {}; choose one with --class",
                all.join(", ")
            )))
        }
    }
}

/// Why a file in which nothing is wrong gives no class.
fn none_chosen(file: &Path, names: &[ClassName]) -> String {
    let all: Vec<_> = names.iter().map(ToString::to_string).collect();
    let file = file.display();
    match all.as_slice() {
        [] => format!(
            "{file} holds no SecretProviderClass; write one (`apiVersion: secrets-store.csi.x-k8s.io/v1`, \
             `kind: SecretProviderClass`), or name the file that has it"
        ),
        all => format!("{file} has no class that --class names; it has {}", all.join(", ")),
    }
}

async fn refuse_needless_credentials(
    args: &MountArgs,
    classes: &WatchedClasses,
    class: &ClassName,
    providers: &Providers,
) -> Outcome {
    // A class or provider that is not there is told by the mount itself.
    let Ok(class) = classes.get(class).await else { return Ok(()) };
    let Some(provider) = providers.get(&class.provider) else { return Ok(()) };
    credentials::check(args.credentials.iter().map(|(key, _)| key.as_str()), &*provider)
}

fn publish(args: &MountArgs, class: ClassName, target: &Path) -> anyhow::Result<Publish> {
    let id = VolumeId(format!("mount:{}", target.display()));
    let workload = Workload {
        identity: Identity::named(class.namespace.clone(), args.service_account.clone()),
        pod: None,
        volume: id.0.clone(),
        tokens: read_all(&args.tokens)?,
        credentials: read_all(&args.credentials)?,
    };
    Ok(Publish {
        id,
        target: target.to_owned(),
        class,
        workload,
        attributes: BTreeMap::new(),
        appearance: Appearance { fs_group: args.group, selinux_context: None },
        timeout: FIRST_READING,
    })
}

fn read_all(files: &[(String, PathBuf)]) -> anyhow::Result<BTreeMap<String, SecretBytes>> {
    let read = |(key, file): &(String, PathBuf)| Ok((key.clone(), read_private(file)?));
    files.iter().map(read).collect()
}

/// A credential without the newline that editors put at the end of a line.
fn read_private(file: &Path) -> anyhow::Result<SecretBytes> {
    let name = file.display();
    let metadata = std::fs::metadata(file).with_context(|| format!("credential file {name}"))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!(
            "credential file {name} can be read by others (mode {:04o}); chmod 600 {name}",
            metadata.mode() & 0o7777
        );
    }
    if metadata.len() > MAX_CREDENTIAL {
        bail!("credential file {name} is larger than {MAX_CREDENTIAL} bytes");
    }
    let mut bytes = std::fs::read(file).with_context(|| format!("credential file {name}"))?;
    let end = bytes.trim_ascii_end().len();
    bytes.truncate(end);
    Ok(bytes.into())
}

/// A name for files that belong to the mount at `target`.
pub(super) fn name_of(target: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, target.as_os_str().as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
