//! `secretfs mount`: serves a volume without Kubernetes, in the foreground.

mod on_change;
mod rootless;
mod signals;
mod standing;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use class::{ClassName, Classes as _, WatchedClasses};
use engine::mode::Appearance;
use engine::subject::Subject;
use engine::volume::report::Happening;
use engine::volume::{self, Credentials, Publish, Published, RefreshOutcome, VolumeId};
use program::hygiene;
use program::systemd;
use provider::{Doubling, ErrorKind, Identity, Providers, SecretBytes};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::signals::Signals;
use self::standing::Standing;
use super::credentials;
use crate::admin::socket;
use crate::directories;
use crate::exit::{Failure, Outcome};
use crate::host::{self, MadeDirectories, Owner};
use crate::process::{Process, ProcessArgs};

/// How long the first reading may take, if the class does not set it.
const FIRST_READING: Duration = Duration::from_secs(120);
/// Pauses before a store that was away is asked again. They are the same as for a volume that is mounted.
const PAUSES: Doubling =
    Doubling { first: Duration::from_secs(1), longest: Duration::from_secs(30), spread: [0.5, 1.0] };
/// The longest `--wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest file of a credential, in bytes.
const MAX_CREDENTIAL: u64 = 1 << 20;

/// Mount a class on this host and keep it fresh until SIGINT, SIGTERM or SIGHUP
///
/// Reads a SecretProviderClass from a file, as Kubernetes has it. Fetches its objects and shows them as
/// files below TARGET. Follows every change of the secrets and of the class. Unmounts at the end.
/// Only you can read the files (0400 in 0700), unless --user, --group or the class say otherwise.
///
/// If something else is mounted at TARGET, the command refuses and leaves it as it is. If a
/// `secretfs mount` was killed, this command serves again what that one mounted.
///
/// If you are not root, it works without: fusermount3 (package fuse3) mounts, and this process answers
/// each read. Nobody else can read the files then, not even root. It cannot do --once, a provider that
/// writes files itself, or go on after a crash: reads fail until the same command runs again.
///
///   secretfs mount app.yaml /run/app/secrets
///   secretfs mount app.yaml /run/app/secrets --user app --wait 5m
///   secretfs mount app.yaml /run/app/secrets --on-change systemctl reload app
///   secretfs mount app.yaml /run/app/secrets --once
///   secretfs mount app.yaml ~/secrets
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct MountArgs {
    /// File with the class
    #[arg(value_name = "CLASS.yaml")]
    file: PathBuf,

    /// Directory to mount on; it is made if it is missing, with those above it
    target: PathBuf,

    /// The class to mount, if the file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    class: Option<String>,

    /// Mount the secrets as they are now, and exit; nobody refreshes them
    #[arg(long)]
    once: bool,

    /// With --once: mount objects with a lease too, though nobody renews the lease
    #[arg(long, requires = "once")]
    leave_leases: bool,

    /// Run this program after each change of files, without a shell; must be the last option
    #[arg(long, value_name = "PROGRAM [ARG]…", num_args = 1.., allow_hyphen_values = true, conflicts_with = "once")]
    on_change: Vec<String>,

    /// Service account to read as, if the store needs one
    #[arg(long, default_value = "default", value_name = "NAME")]
    service_account: String,

    /// A credential for the store, from a file that only its owner can read. KEY is `role-id`, `secret-id`,
    /// `token`, `tls.crt` or `tls.key`
    #[arg(long = "credential", value_name = "KEY=FILE", value_parser = key_and_file)]
    credentials: Vec<(String, PathBuf)>,

    /// A service account token (JWT) for a store, by its audience
    #[arg(long = "service-account-token", value_name = "AUDIENCE=FILE", value_parser = key_and_file)]
    tokens: Vec<(String, PathBuf)>,

    /// Read as this host, by its AWS instance role, its Azure managed identity or its Google service account, where
    /// the class says so or no other credential is there; each store's page tells which
    #[arg(long, value_enum, value_name = "WHO")]
    identity: Option<ReadAs>,

    /// User who owns the files and can read them, by name or number; by default you
    #[arg(long, value_name = "USER", value_parser = host::user_id)]
    user: Option<u32>,

    /// Group that can read the files too, by name or number
    #[arg(long, value_name = "GROUP", value_parser = host::group_id)]
    group: Option<u32>,

    /// Wait this long for a store that is away (90s, 5m), for example at boot. Without it, the first
    /// failure ends the command
    #[arg(long, value_name = "DURATION", value_parser = wait_of, overrides_with = "wait")]
    wait: Option<Duration>,

    /// Mount without root, by fusermount3; chosen by itself if you are not root
    #[arg(long, conflicts_with = "once")]
    rootless: bool,

    /// Mount even if the kernel (before 6.4) cannot keep the files out of swap
    #[arg(long)]
    allow_swap: bool,

    #[command(flatten)]
    process: ProcessArgs,
}

/// Whom a store takes this command for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReadAs {
    /// This host.
    Host,
}

fn key_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (key, file) = text.split_once('=').ok_or("write KEY=FILE; a value itself is never taken")?;
    Ok((key.to_owned(), file.into()))
}

fn wait_of(text: &str) -> Result<Duration, String> {
    let wait = manifest::go_duration(text).ok_or("write a duration such as 90s, 5m or 1h30m")?;
    if wait > LONGEST_WAIT { Err("that is longer than a week (168h)".to_owned()) } else { Ok(wait) }
}

/// Runs `secretfs mount`.
///
/// # Errors
///
/// The class cannot be used, a store does not give a secret, or the kernel refuses.
pub async fn run(args: MountArgs) -> Outcome {
    let signals = Signals::listen()?;
    tokio::select! {
        outcome = mount(args, &signals) => outcome,
        () = signals.again() => Err(Failure::Failed(anyhow!(
            "ended at once; if something is still mounted, `secretfs mount` serves it on and `secretfs umount` \
             takes it away"
        ))),
    }
}

async fn mount(mut args: MountArgs, signals: &Signals) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    args.rootless |= !host::is_root();
    rootless::refuse_what_needs_root(&args)?;
    let (classes, watch) = WatchedClasses::file(&args.file)
        .with_context(|| format!("the class file {}", args.file.display()))?;
    let class = choose(&classes, &args)?;
    let target =
        host::resolve(&args.target).with_context(|| format!("the target {}", args.target.display()))?;
    if args.identity == Some(ReadAs::Host) {
        tracing::info!("reading as this host where the class brings no other credential (--identity host)");
        args.process.providers.act_as_host();
    }
    let providers = args.process.providers.build()?;
    refuse_needless_credentials(&args, &classes, &class, &providers).await?;
    refuse_to_leave_unserved(&args, &classes, &class).await?;
    let wish = (publish(&args, class, &target), brought(&args)?);
    refuse_to_hide(&target, [&args.process.state_dir, &args.process.admin_dir])?;
    directories::make(&args.process.state_dir).context("the state directory")?;
    directories::make(&args.process.admin_dir).context("the directory of admin sockets")?;
    let state = host::state_of(&args.process.state_dir, &target);
    let _owner = Owner::become_of(&state).with_context(|| target.display().to_string())?;
    let standing = Standing::at(&target, &state)?;
    let above = MadeDirectories::above(&target).context("the directories above the target")?;
    args.process.state_dir = state;
    let admin = format!("{}{}", socket::MOUNT, host::name_of(&target));
    let (mounter, conduct) = rootless::by_whom(&args);
    let started = Process::start(&args.process, providers, classes, mounter, &admin, conduct);
    let mut process = match started {
        Ok(process) => process,
        Err(error) => {
            above.remove();
            return Err(error.into());
        }
    };
    process.keep("the class file", watch.run(process.stop.clone()));
    let outcome = serve(&args, process, wish, standing, signals.stop()).await;
    if outcome.is_err() {
        above.remove();
    }
    outcome
}

/// Refuses `--once` for a class whose files only a process can show.
async fn refuse_to_leave_unserved(args: &MountArgs, classes: &WatchedClasses, class: &ClassName) -> Outcome {
    if args.once && classes.get(class).await.is_ok_and(|class| class.settings.mode == manifest::Mode::Fuse) {
        return Err(Failure::usage(
            "--once leaves nobody who serves the files of mode fuse; leave it out, or write secretfs.dev/mode: tmpfs",
        ));
    }
    Ok(())
}

/// Refuses a target above directories that this command needs: a volume there would hide them, from `umount` too.
fn refuse_to_hide(target: &Path, kept: [&PathBuf; 2]) -> Result<(), Failure> {
    let hidden = kept.into_iter().find(|kept| host::resolve(kept).is_ok_and(|kept| kept.starts_with(target)));
    hidden.map_or(Ok(()), |kept| {
        Err(Failure::usage(format!(
            "a volume at {} would hide {}, which secretfs needs; choose another directory",
            target.display(),
            kept.display()
        )))
    })
}

/// Serves the volume until the process is told to stop, and removes what it made.
async fn serve(
    args: &MountArgs,
    process: Process,
    (mut publish, credentials): (Publish, Credentials),
    standing: Standing,
    stop: &CancellationToken,
) -> Outcome {
    let (id, target) = (publish.id.clone(), publish.target.clone());
    let happenings = process.volumes.listen();
    let adopted = standing.adopt(&process, &mut publish).await;
    let (outcome, was_there) = match adopted {
        Ok(was_there) => (show(args, &process, (publish, credentials), happenings, stop).await, was_there),
        Err(error) => (Err(error.into()), true),
    };
    // A mount that existed before is not removed when this process fails.
    let stays = if outcome.is_ok() { args.once && !stop.is_cancelled() } else { was_there };
    let unmounted = if stays { Ok(()) } else { process.volumes.unpublish(&id, &target).await };
    process.stop().await;
    outcome?;
    Ok(unmounted.with_context(|| format!("unmount {}", target.display()))?)
}

async fn show(
    args: &MountArgs,
    process: &Process,
    (publish, credentials): (Publish, Credentials),
    happenings: broadcast::Receiver<Happening>,
    stop: &CancellationToken,
) -> Outcome {
    let (id, target) = (publish.id.clone(), publish.target.clone());
    let published = match publish_patiently(args, process, (publish, credentials), stop).await {
        Err(_) if stop.is_cancelled() => return interrupted(args),
        Err(error @ volume::Error::Published { .. }) => {
            return Err(Failure::Failed(anyhow!(
                "{error}; it stays until you run `secretfs umount {}`",
                target.display()
            )));
        }
        published => published?,
    };
    if args.once {
        if published == Published::Already {
            read_again(process, &id).await?;
        }
        return leave(args, process, &id);
    }
    tracing::info!(mounted_at = %target.display(), "mounted; SIGINT, SIGTERM or SIGHUP unmounts");
    systemd::ready();
    hygiene::settle();
    on_change::follow(args, happenings, stop).await;
    Ok(())
}

fn interrupted(args: &MountArgs) -> Outcome {
    if args.once { Err(Failure::Failed(anyhow!("stopped before anything was mounted"))) } else { Ok(()) }
}

/// Publishes the volume. While the store is away, tries again for as long as `--wait` says.
async fn publish_patiently(
    args: &MountArgs,
    process: &Process,
    (publish, credentials): (Publish, Credentials),
    stop: &CancellationToken,
) -> Result<Published, volume::Error> {
    let start = Instant::now();
    let wait = args.wait.unwrap_or_default();
    let mut failures = 0u32;
    loop {
        // Another mount may have removed the directories above, which both need.
        if let Err(error) = MadeDirectories::above(&publish.target) {
            tracing::debug!(%error, "the directories above the target");
        }
        let wish = (publish.clone(), credentials.clone());
        let error = match publish_once(process, wish, stop).await {
            Err(error) if may_pass(&error) && start.elapsed() < wait && !stop.is_cancelled() => error,
            done => return done,
        };
        let left = wait.saturating_sub(start.elapsed());
        let next = PAUSES.pause(failures, fastrand::f64()).get().min(left);
        tracing::info!(
            error = %error, next_try_in_seconds = next.as_secs_f32(), gives_up_in_seconds = left.as_secs(),
            "the store is away; trying again"
        );
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            () = sleep(next) => failures = failures.saturating_add(1),
        }
    }
}

async fn publish_once(
    process: &Process,
    (publish, credentials): (Publish, Credentials),
    stop: &CancellationToken,
) -> Result<Published, volume::Error> {
    let published = process.volumes.publish(publish, credentials);
    tokio::pin!(published);
    tokio::select! {
        published = &mut published => published,
        () = stop.cancelled() => {
            process.volumes.give_up();
            published.await
        }
    }
}

/// Whether the error may disappear when the store comes up.
fn may_pass(error: &volume::Error) -> bool {
    matches!(error, volume::Error::Deadline { .. }) || error.provider_kind() == Some(ErrorKind::Unavailable)
}

/// Makes a volume that existed before show the present values of its store.
async fn read_again(process: &Process, id: &VolumeId) -> Outcome {
    match process.volumes.refresh(id, Instant::now()).await {
        Some(RefreshOutcome::Failed(error)) => {
            Err(Failure::Failed(anyhow!("{error}; what was mounted stays as it is")))
        }
        Some(RefreshOutcome::Refreshed(_)) | None => Ok(()),
    }
}

/// Checks that the mount left behind needs no renewal, or prints how long it is valid.
fn leave(args: &MountArgs, process: &Process, id: &VolumeId) -> Outcome {
    let states = process.volumes.states();
    let leases = states.get(id).map(|state| state.leases.clone()).unwrap_or_default();
    if !leases.is_empty() && !args.leave_leases {
        let names: Vec<_> = leases.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Failure::Failed(anyhow!(
            "the leases of {} end if nobody renews them; run without --once, or add --leave-leases",
            names.join(", ")
        )));
    }
    for (name, ends) in leases {
        let left = ends.saturating_duration_since(Instant::now());
        println!("{name}: its lease ends in {} s", left.as_secs());
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

/// Why a file without errors yields no class.
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
    // If the class or provider does not exist, the mount itself reports it.
    let Ok(class) = classes.get(class).await else { return Ok(()) };
    let Some(provider) = providers.get(&class.provider) else { return Ok(()) };
    credentials::check(args.credentials.iter().map(|(key, _)| key.as_str()), &*provider)
}

fn publish(args: &MountArgs, class: ClassName, target: &Path) -> Publish {
    Publish {
        id: VolumeId(format!("mount:{}", target.display())),
        target: target.to_owned(),
        subject: Subject {
            identity: Identity::named(class.namespace.clone(), args.service_account.clone()),
            pod: None,
        },
        class,
        attributes: BTreeMap::new(),
        appearance: Appearance {
            fs_group: args.group,
            owner: Some(args.user.unwrap_or_else(|| rustix::process::geteuid().as_raw())),
            ..Appearance::default()
        },
        timeout: FIRST_READING,
    }
}

/// The credentials in the files that the command line names.
fn brought(args: &MountArgs) -> anyhow::Result<Credentials> {
    Ok(Credentials { tokens: read_all(&args.tokens)?, named: read_all(&args.credentials)? })
}

fn read_all(files: &[(String, PathBuf)]) -> anyhow::Result<BTreeMap<String, SecretBytes>> {
    let read = |(key, file): &(String, PathBuf)| Ok((key.clone(), read_private(file)?));
    files.iter().map(read).collect()
}

/// Reads a credential, without the line end that editors append.
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
