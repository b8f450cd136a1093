//! What commands print: text for people, JSON for scripts.

use std::io::{self, Write as _};

use serde::Serialize;

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON value.
    Json,
}

/// The option that every command with an answer has.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OutputArgs {
    /// How the answer looks
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

impl OutputArgs {
    /// Prints `value`, as JSON or as the text that `text` makes of it.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written. A reader that has gone away is no error.
    pub fn print<T: Serialize + ?Sized>(self, value: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        print(&match self.output {
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
            Format::Text => text(value),
        })
    }
}

/// Prints `text` as it is.
///
/// # Errors
///
/// Standard output cannot be written. A reader that has gone away is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A time in the one unit that people would use for it.
pub(super) fn time(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / MINUTE),
        7_200..172_800 => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// `count` of a thing, in words that agree.
pub(super) fn count(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Rows as columns that line up, two spaces between them.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
    cells.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_one_unit() {
        let told = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(time);

        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        let rows = [["A", "LONG", "C"], ["ключ", "b", ""]].map(|row| row.map(str::to_owned).to_vec());

        assert_eq!(table(&rows), "A     LONG  C\nключ  b\n");
    }
}
