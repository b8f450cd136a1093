//! Output of commands: text for people, JSON for scripts.

use std::io::{self, Write as _};

use program::visible::{visible, visible_json};
use serde::Serialize;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
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
            Format::Json => json(value)?,
            Format::Text => text(value),
        })
    }
}

/// The format of an answer that may have more columns than fit into a line of 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For people: a line of at most 100 columns for each volume.
    Text,
    /// For people: everything in one line, however long.
    Wide,
    /// For scripts: one JSON value.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Form {
    /// `value` in this format. `text` and `wide` make the formats for people.
    ///
    /// # Errors
    ///
    /// The value cannot be written in that format.
    pub(super) fn told<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
        wide: impl FnOnce() -> String,
    ) -> anyhow::Result<String> {
        Ok(match self {
            Self::Text => text(),
            Self::Wide => wide(),
            Self::Json => json(value)?,
            Self::Yaml => serde_yaml::to_string(value)?,
        })
    }
}

/// One JSON value and a line end, without characters that a terminal would interpret.
fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    Ok(visible_json(&serde_json::to_string_pretty(value)?).into_owned() + "\n")
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

/// A time span in the one unit that people would use.
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

/// `count` and `thing`, in the plural if needed.
pub(super) fn count(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// `text` in at most `width` columns. It cuts the middle, because names of pods differ at the end, and paths at both ends.
pub(super) fn fitting(text: &str, width: usize) -> String {
    // An escaped character takes more columns than the character itself.
    let text = plain(text);
    let length = text.chars().count();
    if length <= width {
        return text;
    }
    let kept = width.saturating_sub(1);
    let (begin, end) = (kept / 2, kept - kept / 2);
    let head: String = text.chars().take(begin).collect();
    let tail: String = text.chars().skip(length - end).collect();
    format!("{head}…{tail}")
}

/// Rows as aligned columns, with two spaces between them.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let widths = widths(&rows);
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

/// `text` with invisible characters escaped, so that the words of a store or of a class's author cannot move the
/// cursor.
pub(super) fn plain(text: &str) -> String {
    visible(text).into_owned()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
    cells.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_loses_its_middle() {
        assert_eq!(fitting("shop/web-1", 10), "shop/web-1");
        assert_eq!(fitting("shop/web-5d8f6bcb9c-x2x7v", 11), "shop/…x2x7v");
        assert_eq!(fitting("ääääää", 3), "ä…ä");
        assert_eq!(fitting("long", 0), "…");
    }

    #[test]
    fn what_a_stranger_says_does_not_move_the_cursor() {
        let told = table(&[vec!["a\u{1b}[2Jb\nc".to_owned(), "é".to_owned()]]);

        assert_eq!(told, "a\\u{1b}[2Jb\\nc  é\n");
    }

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
