//! The command line. What was typed is never told again: a value that was pasted there by mistake is often a secret.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use mounter::Settings;
use tracing::level_filters::LevelFilter;

use crate::log::Format;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Mounts for a `secretfs node` in another process, and keeps its sockets and sealed notes over its restarts.

It takes `node`, which speaks to stores and strangers, for hostile. So it acts on targets and sockets of one
CSI driver alone, whatever it is asked for, and gives up by itself what it does not need: every capability but
CAP_SYS_ADMIN, CAP_DAC_OVERRIDE and CAP_FOWNER, and all system calls that mounting does not take. It never
sees a secret. It needs root, ends at SIGTERM or SIGINT, and leaves every mount in place.

Usage: secretfs-mounter [OPTIONS]

Options:
      --socket <PATH>
          Where to listen; `secretfs node` is told the same by --mounter [default: /run/secretfs/mounter.sock]
      --pods <DIR>
          Mount below this directory only: kubelet's `pods` [default: /var/lib/kubelet/pods]
      --driver-name <NAME>
          Serve this CSI driver alone: the name that `secretfs node` goes by. It mounts where kubelet says
          that the volume is this driver's, in the file vol_data.json beside it, and takes away nothing else
          [default: csi.secretfs.dev]
      --csi-endpoint <PATH>
          CSI socket to make, and no other; by default KUBELET_ROOT/plugins/DRIVER/csi.sock, beside the
          directory of --pods
      --registration-dir <DIR>
          Kubelet's directory of registration sockets, to make the driver's in; by default
          KUBELET_ROOT/plugins_registry
      --sockets <DIR>
          As earlier versions had it: make the same sockets also below this directory; may be given again
      --allow-uid <UID>
          Serve processes of this user as well as root's; may be given again
      --allow-swap
          Mount even where the kernel (before 6.4) cannot keep secrets out of swap and swap is on
      --log-format <FORMAT>
          How log lines look: text, json [env: SECRETFS_LOG_FORMAT] [default: text]
      --log <FILTER>
          What is logged: off, error, warn, info, debug or trace; or a list like `info,mounter=debug`, as other
          commands take it [env: SECRETFS_LOG] [default: info]
  -h, --help
          Print help
  -V, --version
          Print version

Examples:
  secretfs-mounter &
  secretfs node --mounter /run/secretfs/mounter.sock …

  # Where kubelet has another root, for a `secretfs node` that runs as the user 1000:
  secretfs-mounter --pods /data/kubelet/pods --allow-uid 1000

Exit codes: 0 when told to end, 1 when it cannot serve, 2 when the command line is wrong.
";

/// What somebody wants of the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Version,
    Serve(Box<Arguments>),
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) settings: Settings,
    pub(crate) log_format: Format,
    pub(crate) log: LevelFilter,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mistyped {
    #[error("an argument that this program does not have; a secret value is never given on the command line")]
    Unknown,
    #[error("{0} needs a value")]
    Missing(&'static str),
    #[error("--allow-swap, --help and --version take no value")]
    Superfluous,
    #[error("{0} does not take that value: {1}")]
    Wrong(&'static str, &'static str),
}

const NO_LEVEL: &str = "it takes a level (off, error, warn, info, debug, trace) or a list of them by module, as in info,mounter=debug";

impl Asked {
    /// Reads this process's command line, and its environment.
    pub(crate) fn of_this_process() -> Result<Self, Mistyped> {
        Self::read(Parser::from_env(), |name| std::env::var_os(name))
    }

    fn read(mut parser: Parser, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Mistyped> {
        let mut settings = Settings::default();
        let (mut log_format, mut log) = (environment("SECRETFS_LOG_FORMAT"), environment("SECRETFS_LOG"));
        while let Some(argument) = parser.next().map_err(|_| Mistyped::Superfluous)? {
            match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Self::Version),
                Arg::Long("socket") => settings.socket = value(&mut parser, "--socket")?.into(),
                Arg::Long("pods") => settings.pods = value(&mut parser, "--pods")?.into(),
                Arg::Long("driver-name") => {
                    settings.driver_name = text(value(&mut parser, "--driver-name")?, "--driver-name")?;
                }
                Arg::Long("csi-endpoint") => {
                    settings.csi_endpoint = Some(endpoint(value(&mut parser, "--csi-endpoint")?)?);
                }
                Arg::Long("registration-dir") => {
                    settings.registration_dir = Some(value(&mut parser, "--registration-dir")?.into());
                }
                Arg::Long("sockets") => settings.sockets.push(value(&mut parser, "--sockets")?.into()),
                Arg::Long("allow-uid") => settings.uids.push(uid(value(&mut parser, "--allow-uid")?)?),
                Arg::Long("allow-swap") => settings.allow_swap = true,
                Arg::Long("log-format") => log_format = Some(value(&mut parser, "--log-format")?),
                Arg::Long("log") => log = Some(value(&mut parser, "--log")?),
                _ => return Err(Mistyped::Unknown),
            }
        }
        let log_format = log_format.map_or(Ok(Format::Text), format)?;
        let log = log.map_or(Ok(LevelFilter::INFO), most)?;
        Ok(Self::Serve(Box::new(Arguments { settings, log_format, log })))
    }
}

fn value(parser: &mut Parser, flag: &'static str) -> Result<OsString, Mistyped> {
    parser.value().map_err(|_| Mistyped::Missing(flag))
}

fn text(value: OsString, flag: &'static str) -> Result<String, Mistyped> {
    value.into_string().map_err(|_| Mistyped::Wrong(flag, "it is no text (UTF-8)"))
}

fn endpoint(value: OsString) -> Result<PathBuf, Mistyped> {
    mounter::endpoint(&text(value, "--csi-endpoint")?)
        .map_err(|remedy| Mistyped::Wrong("--csi-endpoint", remedy))
}

fn uid(value: OsString) -> Result<u32, Mistyped> {
    let number = text(value, "--allow-uid")?.parse();
    number.map_err(|_| Mistyped::Wrong("--allow-uid", "write the user's number"))
}

fn format(value: OsString) -> Result<Format, Mistyped> {
    match value.into_string().as_deref() {
        Ok("text") => Ok(Format::Text),
        Ok("json") => Ok(Format::Json),
        _ => Err(Mistyped::Wrong("--log-format", "it may be text or json")),
    }
}

/// The most that is logged by a list as other commands take it: parts of theirs are not parts of this program.
fn most(value: OsString) -> Result<LevelFilter, Mistyped> {
    let list = value.into_string().map_err(|_| Mistyped::Wrong("--log", NO_LEVEL))?;
    list.split(',').try_fold(LevelFilter::OFF, |most, directive| {
        let (module, level) = directive.rsplit_once('=').unwrap_or(("mounter", directive));
        let level = match level.trim() {
            "" => None,
            level => level.parse::<LevelFilter>().ok(),
        };
        let level = level.ok_or(Mistyped::Wrong("--log", NO_LEVEL))?;
        let is_ours = ["mounter", "program"].contains(&module.split("::").next().unwrap_or(module).trim());
        Ok(if is_ours { most.max(level) } else { most })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Asked, Mistyped> {
        Asked::read(Parser::from_args(arguments), |_| None)
    }

    fn arguments(arguments: &[&str]) -> Arguments {
        match read(arguments) {
            Ok(Asked::Serve(arguments)) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option_that_the_help_tells_is_understood_in_both_forms() {
        let told = arguments(&[
            "--log-format=json",
            "--log",
            "debug",
            "--socket=/run/a.sock",
            "--pods",
            "/k/pods",
            "--driver-name=a.driver",
            "--csi-endpoint",
            "unix:///csi/csi.sock",
            "--registration-dir=/k/registry",
            "--sockets=/one",
            "--sockets=/two",
            "--allow-uid=1000",
            "--allow-uid",
            "1001",
            "--allow-swap",
        ]);

        assert_eq!(
            told,
            Arguments {
                settings: Settings {
                    socket: "/run/a.sock".into(),
                    pods: "/k/pods".into(),
                    driver_name: "a.driver".to_owned(),
                    csi_endpoint: Some("/csi/csi.sock".into()),
                    registration_dir: Some("/k/registry".into()),
                    sockets: vec!["/one".into(), "/two".into()],
                    uids: vec![1000, 1001],
                    allow_swap: true,
                },
                log_format: Format::Json,
                log: LevelFilter::DEBUG,
            }
        );
    }

    #[test]
    fn the_help_tells_the_defaults_that_hold() {
        let Arguments { settings, log_format, log } = arguments(&[]);

        assert_eq!((&settings, log_format, log), (&Settings::default(), Format::Text, LevelFilter::INFO));
        for default in [mounter::SOCKET, mounter::PODS, mounter::DRIVER] {
            assert!(HELP.contains(&format!("[default: {default}]")), "{default}");
        }
    }

    #[test]
    fn help_and_version_are_answered_before_what_comes_after_is_judged() {
        assert_eq!(read(&["--socket=/a", "--help", "--nonsense"]), Ok(Asked::Help));
        assert_eq!(read(&["-h"]), Ok(Asked::Help));
        assert_eq!(read(&["--version"]), Ok(Asked::Version));
        assert_eq!(read(&["-V"]), Ok(Asked::Version));
    }

    #[test]
    fn what_is_wrong_is_told_without_what_was_typed() {
        for wrong in [
            &["hunter2"][..],
            &["--hunter2"],
            &["--socket=/a", "-hunter2"],
            &["--allow-uid=hunter2"],
            &["--allow-swap=hunter2"],
            &["--csi-endpoint", "hunter2"],
            &["--log=hunter2"],
            &["--log=info,hunter2"],
            &["--log-format=hunter2"],
        ] {
            // `-hunter2` begins with -h.
            let Err(mistyped) = read(wrong) else { continue };
            assert!(!mistyped.to_string().contains("hunter2"), "{wrong:?}: {mistyped}");
        }
        assert_eq!(read(&["mounter"]), Err(Mistyped::Unknown));
        assert_eq!(read(&["--allow-swap=yes"]), Err(Mistyped::Superfluous));
        assert_eq!(read(&["--socket"]), Err(Mistyped::Missing("--socket")));
    }

    #[test]
    fn what_is_logged_is_a_level_or_a_list_as_other_commands_take_it() {
        let most = |list: &str| most(list.into());
        for (list, level) in [
            ("off", LevelFilter::OFF),
            ("WARN", LevelFilter::WARN),
            ("info,engine=debug", LevelFilter::INFO),
            ("info,mounter=debug", LevelFilter::DEBUG),
            ("secretfs=trace", LevelFilter::OFF),
            ("error,mounter::server=trace", LevelFilter::TRACE),
        ] {
            assert_eq!(most(list), Ok(level), "{list}");
        }
        for none in ["", "loud", "info,", "mounter=", "info,loud"] {
            assert!(most(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn the_environment_is_asked_where_the_command_line_says_nothing() {
        let environment = |name: &str| match name {
            "SECRETFS_LOG" => Some("warn".into()),
            "SECRETFS_LOG_FORMAT" => Some("json".into()),
            _ => None,
        };
        let read = |arguments: &[&str]| match Asked::read(Parser::from_args(arguments), environment) {
            Ok(Asked::Serve(arguments)) => (arguments.log, arguments.log_format),
            other => panic!("{other:?}"),
        };

        assert_eq!(read(&[]), (LevelFilter::WARN, Format::Json));
        assert_eq!(read(&["--log=error", "--log-format=text"]), (LevelFilter::ERROR, Format::Text));
    }
}
