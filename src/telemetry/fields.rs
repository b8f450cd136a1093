use std::fmt;
use std::io;

use program::visible::{visible, visible_json};
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

/// The field that tells what happened.
const MESSAGE: &str = "message";

/// Fields as text: `what happened name=value`, with nothing in a value that would not stay in its place.
pub(super) struct Escaped;

impl<'writer> FormatFields<'writer> for Escaped {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = Line { writer, outcome: Ok(()), is_empty: true };
        fields.record(&mut line);
        line.outcome
    }
}

struct Line<'writer> {
    writer: Writer<'writer>,
    outcome: fmt::Result,
    is_empty: bool,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &str) {
        // What libraries that log by the older `log` add of themselves.
        if self.outcome.is_err() || field.name().starts_with("log.") {
            return;
        }
        let space = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        self.outcome = match field.name() {
            MESSAGE => write!(self.writer, "{space}{}", visible(value)),
            name => write!(self.writer, "{space}{name}={}", visible(value)),
        };
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.write(field, value),
            _ => self.write(field, &format!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }
}

/// A writer of JSON that escapes what JSON itself need not.
pub(super) struct Visible<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Visible<M> {
    type Writer = VisibleWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        VisibleWriter(self.0.make_writer())
    }
}

/// Is given whole lines, as the formatter writes them.
pub(super) struct VisibleWriter<W>(W);

impl<W: io::Write> io::Write for VisibleWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.0.write_all(visible_json(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
