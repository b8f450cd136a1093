//! The command line. What was typed is never told again: a value that was pasted there by mistake is often a secret.

use std::ffi::OsString;

use lexopt::{Arg, Error, Parser};
use program::log::Format;
use secretfs_mounter::Settings;
use tracing::level_filters::LevelFilter;

/// What `--help` prints.
pub(crate) const HELP: &str = include_str!("help.txt");

/// What somebody wants of the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Help,
    Version,
    /// How it serves, and how it logs.
    Serve(Box<Settings>, Format, LevelFilter),
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistyped(pub(crate) String);

impl From<&str> for Mistyped {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<Error> for Mistyped {
    fn from(error: Error) -> Self {
        match error {
            // Of an option that this program has: it was read as one.
            Error::MissingValue { option: Some(option) } => Self(format!("{option} needs a value")),
            _ => "--allow-swap, --help and --version take no value".into(),
        }
    }
}

impl Asked {
    /// Reads a command line, and the environment where that says nothing.
    pub(crate) fn read(
        mut parser: Parser,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Mistyped> {
        let mut settings = Settings::default();
        let (mut format, mut log) = (environment("SECRETFS_LOG_FORMAT"), environment("SECRETFS_LOG"));
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Self::Version),
                Arg::Long("socket") => settings.socket = parser.value()?.into(),
                Arg::Long("pods") => settings.pods = parser.value()?.into(),
                Arg::Long("driver-name") => settings.driver_name = text(parser.value()?, "--driver-name")?,
                Arg::Long("csi-endpoint") => {
                    let path = mounter_protocol::endpoint(&text(parser.value()?, "--csi-endpoint")?);
                    settings.csi_endpoint =
                        Some(path.map_err(|remedy| Mistyped(format!("--csi-endpoint: {remedy}")))?);
                }
                Arg::Long("registration-dir") => settings.registry = Some(parser.value()?.into()),
                Arg::Long("sockets") => settings.sockets.push(parser.value()?.into()),
                Arg::Long("providers-dir") => settings.providers.push(parser.value()?.into()),
                Arg::Long("allow-uid") => {
                    let uid = text(parser.value()?, "--allow-uid")?.parse();
                    settings.uids.push(uid.map_err(|_| "--allow-uid takes the number of a user")?);
                }
                Arg::Long("allow-swap") => settings.allow_swap = true,
                Arg::Long("log-format") => format = Some(parser.value()?),
                Arg::Long("log") => log = Some(parser.value()?),
                _ => {
                    return Err(
                        "an argument that this program does not have; a secret value is never given on the \
                                command line"
                            .into(),
                    );
                }
            }
        }
        let format = format.as_ref().map_or(Ok(Format::Text), format_of)?;
        Ok(Self::Serve(Box::new(settings), format, log.map_or(Ok(LevelFilter::INFO), most)?))
    }
}

fn text(value: OsString, flag: &str) -> Result<String, Mistyped> {
    value.into_string().map_err(|_| Mistyped(format!("{flag} takes a text (UTF-8)")))
}

fn format_of(value: &OsString) -> Result<Format, Mistyped> {
    match value.to_str() {
        Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        _ => Err("--log-format may be text or json".into()),
    }
}

/// The most that is logged by a list as other commands take it: parts of theirs are not parts of this program.
fn most(value: OsString) -> Result<LevelFilter, Mistyped> {
    let no_level = "--log takes a level (off, error, warn, info, debug, trace) or a list of them by module, as in \
                    info,mounter=debug";
    text(value, "--log")?.split(',').try_fold(LevelFilter::OFF, |most, directive| {
        let (module, level) = directive.rsplit_once('=').unwrap_or(("mounter", directive));
        // To the library no level is one.
        let level = Some(level.trim()).filter(|level| !level.is_empty()).ok_or(no_level)?;
        let level: LevelFilter = level.parse().map_err(|_| no_level)?;
        let part = module.split("::").next().unwrap_or(module).trim();
        let is_ours = ["mounter", "secretfs_mounter", "program"].contains(&part);
        Ok(if is_ours { most.max(level) } else { most })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Asked, Mistyped> {
        Asked::read(Parser::from_args(arguments), |_| None)
    }

    fn arguments(arguments: &[&str]) -> (Settings, Format, LevelFilter) {
        match read(arguments) {
            Ok(Asked::Serve(settings, format, most)) => (*settings, format, most),
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
            "--providers-dir=/providers",
            "--allow-uid=1000",
            "--allow-uid",
            "1001",
            "--allow-swap",
        ]);

        assert_eq!(
            told,
            (
                Settings {
                    socket: "/run/a.sock".into(),
                    pods: "/k/pods".into(),
                    driver_name: "a.driver".to_owned(),
                    csi_endpoint: Some("/csi/csi.sock".into()),
                    registry: Some("/k/registry".into()),
                    sockets: vec!["/one".into(), "/two".into()],
                    providers: vec!["/providers".into()],
                    uids: vec![1000, 1001],
                    allow_swap: true,
                },
                Format::Json,
                LevelFilter::DEBUG,
            )
        );
    }

    #[test]
    fn the_help_tells_the_defaults_that_hold() {
        assert_eq!(arguments(&[]), (Settings::default(), Format::Text, LevelFilter::INFO));
        for default in [mounter_protocol::SOCKET, mounter_protocol::PODS, mounter_protocol::DRIVER] {
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
            assert!(!mistyped.0.contains("hunter2"), "{wrong:?}: {mistyped:?}");
        }
        let said = |arguments: &[&str]| read(arguments).unwrap_err().0;
        assert!(said(&["mounter"]).contains("does not have"));
        assert!(said(&["--allow-swap=yes"]).contains("take no value"));
        assert_eq!(said(&["--socket"]), "--socket needs a value");
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
            ("error,secretfs_mounter=debug", LevelFilter::DEBUG),
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
            Ok(Asked::Serve(_, format, most)) => (most, format),
            other => panic!("{other:?}"),
        };

        assert_eq!(read(&[]), (LevelFilter::WARN, Format::Json));
        assert_eq!(read(&["--log=error", "--log-format=text"]), (LevelFilter::ERROR, Format::Text));
    }
}
