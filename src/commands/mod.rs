//! The commands of the binary. Each has a module with its arguments and a `run`.

pub mod audit;
pub mod check;
pub mod completions;
mod credentials;
pub mod doctor;
pub mod explain;
pub mod forecast;
pub mod give_files;
pub mod healthz;
#[cfg(feature = "kms")]
pub mod kms;
mod kubectl;
#[cfg(any(feature = "kms", feature = "sealed"))]
mod login;
pub mod man;
pub mod migrate;
mod mistyped;
pub mod mount;
pub mod mounter;
pub mod node;
pub mod output;
mod places;
#[cfg(feature = "external")]
pub mod provider;
pub mod refresh;
pub mod revoke;
pub mod running;
#[cfg(feature = "sealed")]
pub mod seal;
pub mod status;
#[cfg(feature = "store")]
pub mod store;
pub mod umount;
pub mod why;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use program::{hygiene, outlet};

use crate::exit::{Failure, Outcome, exit};
use crate::telemetry::{self, LogArgs};

/// The threads for system calls that block. So many volumes can be mounted at the same time.
const MOST_BLOCKING_THREADS: usize = 16;

/// How long system calls for which nobody waits any more may take at the end.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// Secrets as files: mounted, kept fresh, and withdrawn when they are revoked.
#[derive(Debug, clap::Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a process makes one")]
enum Command {
    Mount(mount::MountArgs),
    Node(node::NodeArgs),
    Mounter(mounter::MounterArgs),
    #[cfg(feature = "external")]
    Provider(provider::ProviderCommand),
    #[cfg(feature = "store")]
    Store(store::StoreArgs),
    Audit(audit::AuditArgs),
    #[cfg(feature = "kms")]
    Kms(kms::KmsArgs),
    #[cfg(feature = "sealed")]
    Seal(seal::SealArgs),
    #[cfg(feature = "sealed")]
    Reseal(seal::reseal::ResealArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Forecast(forecast::ForecastArgs),
    Doctor(doctor::DoctorArgs),
    Healthz(healthz::HealthzArgs),
    Migrate(migrate::MigrateArgs),
    Status(status::StatusArgs),
    Why(why::WhyArgs),
    Refresh(refresh::RefreshArgs),
    Revoke(revoke::RevokeArgs),
    Unrevoke(revoke::UnrevokeArgs),
    Umount(umount::UmountArgs),
    #[command(hide = true)]
    GiveFiles(give_files::GiveFilesArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Cli {
    /// Parses the command line of this process and runs the command. [`exit`](crate::exit) explains the exit code.
    ///
    /// Under the name `kubectl-secretfs` the program is a plugin of kubectl, with arguments of its own.
    pub fn run_typed() -> ExitCode {
        let _last = LastWords;
        if kubectl::is_called_so(std::env::args_os().next().as_deref()) {
            return run_plugin();
        }
        match Self::try_parse() {
            Ok(cli) => exit(cli.outcome()),
            Err(error) => mistyped::tell(&error),
        }
    }

    /// The arguments of `secretfs node`, if that is the command.
    fn node(self) -> Option<node::NodeArgs> {
        match self.command {
            Command::Node(args) => Some(args),
            _ => None,
        }
    }

    fn outcome(self) -> Outcome {
        if matches!(self.command, Command::Mount(_) | Command::Node(_)) {
            hygiene::reserve_descriptors();
        }
        // Before a second thread starts, because it would keep the rights that this one gives up.
        let begun = match &self.command {
            Command::Mounter(args) => Some(args.begin()?),
            _ => None,
        };
        if let Command::Node(args) = &self.command {
            args.leave_others_alone()?;
        }
        telemetry::start(&self.log).map_err(Failure::usage)?;
        match self.command {
            Command::Mount(args) => on_many_threads(mount::run(args)),
            Command::Node(args) => on_many_threads(node::run(args)),
            Command::Mounter(args) => mounter::run(args, begun),
            #[cfg(feature = "external")]
            Command::Provider(args) => on_many_threads(provider::run(args)),
            #[cfg(feature = "store")]
            Command::Store(args) => store::run(&args),
            Command::Audit(args) => audit::run(&args),
            #[cfg(feature = "kms")]
            Command::Kms(args) => on_one_thread(kms::run(args)),
            #[cfg(feature = "sealed")]
            Command::Seal(args) => on_one_thread(seal::run(args)),
            #[cfg(feature = "sealed")]
            Command::Reseal(args) => on_one_thread(seal::reseal::run(args)),
            Command::Check(args) => check::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::Forecast(args) => forecast::run(&args),
            Command::Doctor(args) => on_one_thread(doctor::run(args)),
            Command::Healthz(args) => on_one_thread(healthz::run(args)),
            Command::Migrate(args) => on_one_thread(migrate::run(args)),
            Command::Status(args) => on_one_thread(status::run(args)),
            Command::Why(args) => on_one_thread(why::run(args)),
            Command::Refresh(args) => on_one_thread(refresh::run(args)),
            Command::Revoke(args) => on_one_thread(revoke::revoke(args)),
            Command::Unrevoke(args) => on_one_thread(revoke::unrevoke(args)),
            Command::Umount(args) => on_one_thread(umount::run(args)),
            Command::GiveFiles(args) => give_files::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

/// Writes queued output before the process ends, even if a panic ends it.
struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        outlet::flush(outlet::LAST_WORDS);
    }
}

fn run_plugin() -> ExitCode {
    match kubectl::KubectlCli::try_parse() {
        Ok(plugin) => exit(on_one_thread(plugin.run())),
        Err(error) => mistyped::tell(&error),
    }
}

/// Runs a command that serves volumes.
fn on_many_threads(command: impl Future<Output = Outcome>) -> Outcome {
    hygiene::share_heap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().max_blocking_threads(MOST_BLOCKING_THREADS).build()?;
    let outcome = runtime.block_on(command);
    // If a system call hangs, for example on a lost disk, the process ends without it.
    runtime.shutdown_timeout(LAST_CALLS);
    outcome
}

/// Runs a command that only asks and waits.
fn on_one_thread(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
