//! Logs: to standard error, as text for people or JSON for machines.
//!
//! One event is one line, whatever strangers wrote into it. A line of text begins with its time and one of JSON with
//! `{"timestamp":`, which no audit record does.

mod fields;

use std::io::{self, IsTerminal as _};

use jiff::Timestamp;
use program::outlet;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::util::TryInitError;

/// How a process logs.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", env = "SECRETFS_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// What is logged: a level, or a list like `info,engine=debug`
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "SECRETFS_LOG")]
    pub log: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// Why a process cannot log as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one. It is not told, for it may be anything that was typed in its place.
    #[error(
        "--log takes a level (off, error, warn, info, debug, trace) or a list of them by module, \
         as in `info,engine=debug`"
    )]
    Filter,
    /// Logging was started before.
    #[error("logging: {0}")]
    Started(#[from] TryInitError),
    /// There is no thread or no descriptor for what writes the log.
    #[error("logging: {0}")]
    Outlet(#[from] io::Error),
}

/// Starts logging, once in a process.
///
/// # Errors
///
/// The filter is not one, or logging was started already.
pub fn start(args: &LogArgs) -> Result<(), Error> {
    let ansi = io::stderr().is_terminal();
    let filter = filter(&args.log)?;
    let stderr = outlet::stderr(match args.log_format {
        LogFormat::Json => json_gap,
        LogFormat::Text => text_gap,
    })?;
    let writer = move || stderr.clone();
    match args.log_format {
        LogFormat::Json => json(filter, writer).try_init()?,
        LogFormat::Text => text(filter, writer, ansi).try_init()?,
    }
    Ok(())
}

/// Counts in `counter` the lines of the log that nobody took, from the beginning of the process on.
pub fn count_lost(counter: Counter) {
    if let Some(stderr) = outlet::stderr_of_process() {
        stderr.count_in(Box::new(move |lines| {
            counter.inc_by(lines);
        }));
    }
}

/// What the log says where lines of it are missing.
const MISSING: &str = "log lines are missing here: nobody read the log, or it could not be written";

#[derive(Serialize)]
struct GapLine {
    timestamp: Timestamp,
    level: &'static str,
    message: &'static str,
    lines: u64,
    target: &'static str,
}

fn json_gap(lines: u64) -> Vec<u8> {
    let (timestamp, target) = (Timestamp::now(), module_path!());
    let line = GapLine { timestamp, level: "WARN", message: MISSING, lines, target };
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

fn text_gap(lines: u64) -> Vec<u8> {
    let (time, target) = (Timestamp::now(), module_path!());
    format!("{time:.6}  WARN {target}: {MISSING} lines={lines}\n").into_bytes()
}

/// A word alone would be taken for the name of a module, of which everything is logged: it has to be a level.
fn filter(text: &str) -> Result<EnvFilter, Error> {
    let is_meant = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        level.trim().parse::<LevelFilter>().is_ok() && !level.trim().is_empty()
    };
    if !text.split(',').all(is_meant) {
        return Err(Error::Filter);
    }
    EnvFilter::try_new(text).map_err(|_| Error::Filter)
}

// In both forms the library is kept from telling of a line that cannot be written: it would write to standard error
// again, and panic. The outlet counts it. Who reads our log may go away; what is mounted must not.

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .log_internal_errors(false)
        .with_writer(fields::Visible(writer))
        .with_filter(filter_fn(is_ours_or_plain));
    tracing_subscriber::registry().with(filter).with(lines)
}

fn text<W>(filter: EnvFilter, writer: W, ansi: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .fmt_fields(fields::Escaped)
        .log_internal_errors(false)
        .with_writer(writer)
        .with_filter(filter_fn(is_ours_or_plain));
    tracing_subscriber::registry().with(filter).with(lines)
}

/// The crates of this workspace that log.
const OURS: [&str; 13] = [
    "secretfs",
    "secretfs_mounter",
    "class",
    "engine",
    "fuse_fuser",
    "kubernetes",
    "program",
    "provider_aws",
    "provider_azure",
    "provider_external",
    "provider_kubernetes",
    "provider_store",
    "provider_vault",
];

/// Parts of libraries that log each call which failed. Who made the call tells of it, once.
const REPEATED: [&str; 2] = ["kube_client::client::builder", "kube_runtime::watcher"];

/// Libraries show what they send and receive at `debug` and `trace`. That may hold a token
/// or a value, so nobody is shown it, whatever the filter says.
fn is_ours_or_plain(event: &Metadata<'_>) -> bool {
    let root = event.target().split("::").next().unwrap_or_default();
    let plain = *event.level() <= Level::INFO && !REPEATED.contains(&event.target());
    plain || OURS.contains(&root)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_json_line_has_the_events_fields_beside_its_message_and_its_span() {
        let written = Written::default();
        let writer = written.clone();

        tracing::subscriber::with_default(json(filter("info").unwrap(), move || writer.clone()), || {
            let _span = tracing::info_span!("publish", volume = "csi-1").entered();
            tracing::info!(files = 2, "mounted");
        });

        let line: serde_json::Value = serde_json::from_str(&written.text()).unwrap();
        assert_eq!(line["message"], "mounted");
        assert_eq!(line["files"], 2);
        assert_eq!(line["span"]["volume"], "csi-1");
    }

    #[test]
    fn what_a_library_says_in_debug_is_not_shown_even_when_asked_for() {
        let written = Written::default();
        let writer = written.clone();

        let subscriber = text(filter("trace").unwrap(), move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "h2::codec", "canary");
            tracing::debug!(target: "providers_of_others", "canary");
            tracing::warn!(target: "h2::codec", "closed");
            tracing::debug!(target: "engine::volume", "due");
        });

        let text = written.text();
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("closed") && text.contains("due"), "{text}");
    }

    /// What a class's author, a pod's or a store may write where a name or an error is told.
    const HOSTILE: &str = "no\nrole\r\u{1b}[2J\u{85}\u{9b}31m\u{2028}\u{202e}\t{\"class_uid\":6003}";

    fn tell_hostile_things() {
        let _span = tracing::info_span!("publish", pod = HOSTILE, class = %HOSTILE).entered();
        tracing::warn!(reason = HOSTILE, error = %HOSTILE, names = ?[HOSTILE], "{HOSTILE}");
    }

    #[test]
    fn what_strangers_wrote_stays_within_its_line_in_both_forms() {
        for form in ["text", "json"] {
            let written = Written::default();
            let writer = written.clone();
            let writer = move || writer.clone();

            if form == "text" {
                let subscriber = text(filter("info").unwrap(), writer, false);
                tracing::subscriber::with_default(subscriber, tell_hostile_things);
            } else {
                let subscriber = json(filter("info").unwrap(), writer);
                tracing::subscriber::with_default(subscriber, tell_hostile_things);
            }

            let told = written.text();
            let line = told.strip_suffix('\n').unwrap();
            let odd = line.chars().find(|c| c.is_control() || ['\u{2028}', '\u{202e}'].contains(c));
            assert_eq!(odd, None, "{form}: {told}");
            assert!(!told.starts_with("{\"time\":"), "{form}: {told}");
            if form == "json" {
                let read: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(read["error"], HOSTILE);
                assert_eq!(read.get("class_uid"), None);
            }
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_any_more_stops_nothing() {
        tracing::subscriber::with_default(json(filter("info").unwrap(), || Gone), || tracing::info!("x"));
        tracing::subscriber::with_default(text(filter("info").unwrap(), || Gone, false), || {
            tracing::info!("x")
        });
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_an_example_and_not_echoed() {
        for none in ["secretfs=loud", "nonsense", "info,secretfs::nonsense", "", "hunter2=", "a=b=c"] {
            let error = filter(none).unwrap_err().to_string();

            assert!(error.contains("info,engine=debug"), "{none:?}: {error}");
            assert!(none.is_empty() || !error.contains(none), "{none:?}: {error}");
        }
    }

    #[test]
    fn a_level_or_a_list_of_levels_is_a_filter() {
        for one in ["info", "off", "WARN", "info,engine=debug", "engine::volume=trace,provider_vault=info"] {
            assert!(filter(one).is_ok(), "{one:?}");
        }
    }

    #[test]
    fn every_crate_of_the_product_that_logs_is_known_here() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut logging = vec!["secretfs".to_owned()];
        for folder in ["crates", "providers"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let manifest = std::fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
                let name = manifest.split("name = \"").nth(1).unwrap().split('"').next().unwrap();
                // The contract is a crate of tests.
                if manifest.contains("\ntracing") && name != "provider-contract" {
                    logging.push(name.replace('-', "_"));
                }
            }
        }
        logging.sort_unstable();
        let mut known = OURS.map(str::to_owned).to_vec();
        known.sort_unstable();

        assert_eq!(known, logging);
    }
}
