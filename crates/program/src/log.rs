//! The log of a small program, on standard error: one event is one line, of text for people or of JSON for machines, as
//! `secretfs` writes them with more code.

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::outlet::{self, Gap, Outlet};
use crate::visible::{json_text, visible};

/// What the log says where lines of it are missing.
const MISSING: &str = "log lines are missing here, for nobody read the log or it could not be written";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The line that tells how many are missing.
    fn gap(self) -> Gap {
        fn line(format: Format, lines: u64) -> Vec<u8> {
            let mut line = Line::new(format, Level::WARN, module_path!());
            line.add_text("message", MISSING, MISSING);
            line.add("lines", &lines.to_string(), &lines.to_string());
            line.end(module_path!())
        }
        match self {
            Self::Text => |lines| line(Self::Text, lines),
            Self::Json => |lines| line(Self::Json, lines),
        }
    }
}

/// Logs what is no finer than `most`, once in a process.
///
/// # Errors
///
/// There is no thread for it, or it was called before.
pub fn start(format: Format, most: LevelFilter) -> io::Result<()> {
    let outlet = outlet::stderr(format.gap())?;
    set_global_default(Log { format, most, outlet }).map_err(io::Error::other)
}

struct Log {
    format: Format,
    most: LevelFilter,
    outlet: Outlet,
}

impl Subscriber for Log {
    fn enabled(&self, event: &Metadata<'_>) -> bool {
        *event.level() <= self.most
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(self.format, *event.metadata().level(), event.metadata().target());
        event.record(&mut line);
        // What is dropped is counted, and told when the log flows again.
        self.outlet.line(&line.end(event.metadata().target()));
    }

    // Nothing here is told as part of something longer.

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A line that is being written.
struct Line {
    format: Format,
    text: String,
}

impl Line {
    fn new(format: Format, level: Level, target: &str) -> Self {
        let now = now();
        let text = match format {
            Format::Text => format!("{now} {level:>5} {target}:"),
            Format::Json => format!(r#"{{"timestamp":"{now}","level":"{level}""#),
        };
        Self { format, text }
    }

    /// Adds a field: its value in `json`, for machines, or what is `shown` to people.
    fn add(&mut self, name: &str, json: &str, shown: &str) {
        // Writing to memory does not fail.
        let _ = match (self.format, name) {
            (Format::Json, _) => write!(self.text, r#","{name}":{}"#, json),
            (Format::Text, "message") => write!(self.text, " {}", visible(shown)),
            (Format::Text, _) => write!(self.text, " {name}={}", visible(shown)),
        };
    }

    fn add_text(&mut self, name: &str, text: &str, shown: &str) {
        self.add(name, &json_text(text), shown);
    }

    fn end(mut self, target: &str) -> Vec<u8> {
        if self.format == Format::Json {
            self.add_text("target", target, target);
            self.text.push('}');
        }
        self.text.push('\n');
        self.text.into_bytes()
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        self.add_text(field.name(), &value, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field.name(), value, &format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value.to_string(), &value.to_string());
    }
}

/// Now, in UTC, to the microsecond.
#[allow(clippy::disallowed_types, reason = "people read it, and `jiff` would be a tenth of the program")]
fn now() -> String {
    humantime::format_rfc3339_micros(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use super::*;

    /// What a log of `most` says while `tell` is running.
    fn told(format: Format, most: LevelFilter, tell: impl FnOnce()) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let outlet = Outlet::to(File::from(OwnedFd::from(writer)), Format::Text.gap()).unwrap();
        tracing::subscriber::with_default(Log { format, most, outlet: outlet.clone() }, tell);
        assert!(outlet.flush(Duration::from_secs(60)));
        let mut text = vec![0; 16 << 10];
        let length = reader.read(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    fn tell_some() {
        let path = std::path::Path::new("/run/a");
        tracing::info!(socket = %path.display(), driver = "a.driver", files = 2_u64, "the mounter serves");
    }

    #[test]
    fn a_line_of_text_has_time_level_part_message_and_fields() {
        let line = told(Format::Text, LevelFilter::INFO, tell_some);

        let (time, rest) = line.split_once(' ').unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok() && time.len() == "2026-11-27T05:10:33.123456Z".len(),
            "{time}"
        );
        let target = module_path!();
        assert_eq!(
            rest,
            format!(" INFO {target}: the mounter serves socket=/run/a driver=\"a.driver\" files=2\n")
        );
    }

    #[test]
    fn a_time_is_written_as_every_log_of_secretfs_has_it() {
        let (before, now, after) = (jiff::Timestamp::now(), now(), jiff::Timestamp::now());

        let read: jiff::Timestamp = now.parse().unwrap();
        assert_eq!(now, format!("{read:.6}"));
        assert!(read.as_microsecond() >= before.as_microsecond() && read <= after, "{before} {read} {after}");
    }

    #[test]
    fn a_line_of_json_begins_with_its_time_and_has_the_fields_beside_the_message() {
        let line = told(Format::Json, LevelFilter::INFO, tell_some);

        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line.starts_with(r#"{"timestamp":""#) && line.ends_with("}\n"), "{line}");
        assert_eq!(read["level"], "INFO");
        assert_eq!(read["message"], "the mounter serves");
        assert_eq!(read["socket"], "/run/a");
        assert_eq!(read["driver"], "a.driver");
        assert_eq!(read["files"], 2);
        assert_eq!(read["target"], module_path!());
    }

    #[test]
    fn what_is_finer_than_was_asked_for_is_not_told() {
        let tell = || {
            tracing::debug!("fine");
            tracing::warn!("coarse");
        };

        let text = told(Format::Text, LevelFilter::WARN, tell);

        assert!(text.contains("coarse") && !text.contains("fine"), "{text}");
    }

    #[test]
    fn what_strangers_wrote_stays_within_its_line_in_both_forms() {
        const HOSTILE: &str = "no\nrole\r\u{1b}[2J\u{85}\u{9b}31m\u{2028}\u{202e}\t{\"class_uid\":6003}";
        for format in [Format::Text, Format::Json] {
            let line = told(format, LevelFilter::INFO, || {
                tracing::warn!(reason = HOSTILE, error = %HOSTILE, names = ?[HOSTILE], "{HOSTILE}");
            });

            let line = line.strip_suffix('\n').unwrap();
            let odd = line.chars().find(|c| c.is_control() || ['\u{2028}', '\u{202e}'].contains(c));
            assert_eq!(odd, None, "{line}");
            if format == Format::Json {
                let read: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(read["error"], HOSTILE);
                assert_eq!(read.get("class_uid"), None);
            }
        }
    }

    #[test]
    fn a_gap_is_told_as_a_line_of_the_log() {
        let text = String::from_utf8(Format::Text.gap()(7)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&Format::Json.gap()(7)).unwrap();

        assert!(text.contains(" WARN ") && text.ends_with("lines=7\n"), "{text}");
        assert_eq!((&json["level"], &json["lines"]), (&"WARN".into(), &7.into()));
    }
}
