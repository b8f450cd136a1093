//! The message for a command line that cannot be understood. It says what to type instead, and never repeats what was typed.
//!
//! A value that somebody pasted into a command line by mistake is often a secret. The history of the shell has it already.
//! Logs of units and of CI must not get another copy.

use std::error::Error as _;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use program::outlet;

/// Prints what is wrong with the command line, or the help that was asked for.
pub(super) fn tell(error: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    if is_answer(error.kind()) {
        // Nobody may be reading. The exit code says enough.
        let _ = error.print();
    } else {
        outlet::complain(&format!("error: {}\n{}", words(error), whither(error)));
    }
    code
}

/// Whether the "error" is a request for help or for the version. These contain nothing that was typed.
fn is_answer(kind: ErrorKind) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(kind, DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

/// The error in words of secretfs only: names of commands and arguments, and allowed values.
fn words(error: &clap::Error) -> String {
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let unknown = "an argument that this command does not have";
            format!("{unknown}{}{}", meant(error, ContextKind::SuggestedArg), SECRET)
        }
        ErrorKind::InvalidSubcommand => {
            let unknown = "there is no such command";
            format!("{unknown}{}{}", meant(error, ContextKind::SuggestedSubcommand), SECRET)
        }
        ErrorKind::InvalidValue if text(error, ContextKind::InvalidValue).is_none_or(str::is_empty) => {
            format!("{} needs a value{}", argument(error), allowed(error))
        }
        ErrorKind::InvalidValue => format!(
            "{} does not take that value{}{}",
            argument(error),
            meant(error, ContextKind::SuggestedValue),
            allowed(error)
        ),
        ErrorKind::ValueValidation => {
            format!("{} does not take that value{}", argument(error), reason(error))
        }
        ErrorKind::TooManyValues => format!("{} does not take so many values", argument(error)),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("{} takes another number of values", argument(error))
        }
        ErrorKind::ArgumentConflict => conflict(error),
        ErrorKind::MissingRequiredArgument => {
            format!("these arguments are missing: {}", list(error, ContextKind::InvalidArg).join(" "))
        }
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is no text (UTF-8)".to_owned(),
        kind => kind.as_str().unwrap_or("it cannot be understood").to_owned(),
    }
}

const SECRET: &str = "; a secret value is never given on the command line";

fn conflict(error: &clap::Error) -> String {
    let others = match error.get(ContextKind::PriorArg) {
        Some(ContextValue::Strings(others)) => others.join(", "),
        Some(ContextValue::String(other)) => other.clone(),
        _ => "another argument".to_owned(),
    };
    match text(error, ContextKind::InvalidArg) {
        Some(argument) if argument == others => format!("{argument} may be given once only"),
        Some(argument) => format!("{argument} cannot be used together with {others}"),
        None => format!("a command cannot be used together with {others}"),
    }
}

/// Why the value is not valid, in the words of its parser, unless they quote the value.
fn reason(error: &clap::Error) -> String {
    let typed = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let quoted = !typed.is_empty() && reason.contains(typed);
    if quoted || reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn allowed(error: &clap::Error) -> String {
    let values = list(error, ContextKind::ValidValue);
    if values.is_empty() { String::new() } else { format!("; it may be {}", values.join(", ")) }
}

/// Existing names that were probably meant.
fn meant(error: &clap::Error, kind: ContextKind) -> String {
    let names = list(error, kind);
    if names.is_empty() { String::new() } else { format!(" (did you mean {}?)", names.join(" or ")) }
}

fn argument(error: &clap::Error) -> &str {
    text(error, ContextKind::InvalidArg).unwrap_or("an argument")
}

fn whither(error: &clap::Error) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => format!("\n{usage}\n"),
        _ => String::new(),
    };
    format!("{usage}\nFor more information, try '--help'.\n")
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

fn list(error: &clap::Error, kind: ContextKind) -> Vec<&str> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
        Some(ContextValue::String(text)) => vec![text],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::commands::Cli;

    /// A text that somebody pasted by mistake. No help text contains it.
    const PASTED: &str = "hunter2Zq7";

    fn told(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(["secretfs"].iter().chain(arguments)).unwrap_err();
        assert!(!is_answer(error.kind()), "{arguments:?}");
        format!("{}\n{}", words(&error), whither(&error))
    }

    /// Every command and subcommand, as typed.
    fn commands() -> Vec<Vec<String>> {
        fn below(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
            for command in command.get_subcommands() {
                let path = [path, &[command.get_name().to_owned()]].concat();
                below(command, &path, found);
                found.push(path);
            }
        }
        let mut found = vec![Vec::new()];
        below(&Cli::command(), &[], &mut found);
        found
    }

    #[test]
    fn no_command_echoes_an_argument_that_it_does_not_know() {
        let unknown = [PASTED, "--hunter2Zq7", "--hunter2Zq7=x", "-ZhunterZq7"];
        let commands = commands();
        assert!(commands.len() > 20, "{commands:?}");
        for command in commands {
            for unknown in unknown {
                // More arguments than any command takes.
                let arguments: Vec<&str> = command.iter().map(String::as_str).chain([unknown; 4]).collect();
                let Err(error) = Cli::try_parse_from(["secretfs"].iter().chain(&arguments)) else { continue };
                if is_answer(error.kind()) {
                    continue;
                }
                let told = format!("{}{}", words(&error), whither(&error));
                assert!(!told.contains("Zq7"), "{arguments:?}: {told}");
            }
        }
    }

    #[test]
    fn no_option_echoes_a_value_that_it_does_not_take() {
        for arguments in [
            &["status", "--output", PASTED][..],
            &["status", "--output=hunter2Zq7"],
            &["refresh", "--all=hunter2Zq7"],
            &["refresh", "--class", PASTED],
            &["node", "--http", PASTED],
            &["node", "--csi-endpoint", PASTED],
            &["node", "--rotation-poll-interval", PASTED],
            &["node", "--min-refresh", PASTED],
            &["mount", "a.yaml", "/t", "--credential", PASTED],
            &["completions", PASTED],
            &["--log-format", PASTED, "status"],
        ] {
            let told = told(arguments);
            assert!(!told.contains("Zq7"), "{arguments:?}: {told}");
        }
    }

    #[cfg(feature = "store")]
    #[test]
    fn a_name_that_is_none_is_not_echoed_either() {
        let told = told(&["store", "put", "hunter2Zq7!"]);

        assert!(!told.contains("Zq7") && told.contains("<NAME>"), "{told}");
    }

    #[test]
    fn the_remedy_stays() {
        assert!(told(&["status", "--ouput", "json"]).contains("did you mean --output?"));
        assert!(told(&["statsu"]).contains("did you mean status?"));
        assert!(told(&["status", "-o", "jsn"]).contains("it may be"));
        assert!(told(&["mount", "a.yaml", "/t", "--credential", PASTED]).contains("write KEY=FILE"));
        assert!(told(&["refresh", "x", "--all"]).contains("cannot be used together with"));
        assert!(told(&["umount"]).contains("Usage: secretfs umount"));
    }
}
