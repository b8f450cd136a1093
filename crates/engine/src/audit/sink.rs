//! Files and streams that take audit lines.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use program::outlet::{self, Outlet};

use super::line::line;
use super::{Actor, Operation, Record};

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, to which lines are appended. It is made with mode 0600, and made again if it was renamed or removed.
    File(PathBuf),
    /// Standard output, through a queue, so that no work waits for its reader.
    Stdout,
}

impl Destination {
    /// The directory in which the key of this trail's chain is, if one was begun: beside the file, with its name and
    /// `.chain`. A stream has none of its own.
    pub fn chain(&self) -> Option<PathBuf> {
        let Self::File(path) = self else { return None };
        let mut name = path.as_os_str().to_owned();
        name.push(".chain");
        Some(PathBuf::from(name))
    }
}

impl FromStr for Destination {
    type Err = Infallible;

    /// `-` is standard output, anything else a file.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(PathBuf::from(text)) })
    }
}

/// An open destination.
#[derive(Debug)]
pub(super) enum Sink {
    File { path: PathBuf, file: File, torn: bool },
    Stdout(Outlet),
}

/// What happened to a line.
pub(super) enum Written {
    /// It is in the file, or in the queue of a stream whose reader reads.
    Taken,
    /// It was dropped, or is in the queue of a stream that took nothing the last time.
    Unread,
}

impl Sink {
    pub(super) fn open(destination: Destination) -> io::Result<Self> {
        match destination {
            Destination::File(path) => Ok(Self::File { file: open(&path)?, path, torn: false }),
            Destination::Stdout => Ok(Self::Stdout(outlet::stdout(gap)?)),
        }
    }

    /// Appends several lines at once, all of them or none. When it returns, a file has them on its disk.
    ///
    /// A stream may still lose them: it counts lost lines itself.
    ///
    /// # Errors
    ///
    /// The file takes none of them now.
    pub(super) fn append_all(&mut self, lines: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Self::File { path, file, torn } => {
                follow(path, file, torn)?;
                append_whole(file, torn, &lines.concat())
            }
            Self::Stdout(outlet) => {
                for line in lines {
                    // The outlet counts what it loses.
                    let _ = outlet.line(line);
                }
                Ok(())
            }
        }
    }

    /// Appends one line.
    ///
    /// # Errors
    ///
    /// The file does not take it, or not all of it.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<Written> {
        match self {
            Self::File { path, file, torn } => {
                follow(path, file, torn)?;
                append(file, torn, line).map(|()| Written::Taken)
            }
            Self::Stdout(outlet) => Ok(if outlet.line(line) { Written::Taken } else { Written::Unread }),
        }
    }
}

/// The record that replaces missing records.
fn gap(lines: u64) -> Vec<u8> {
    let reason =
        format!("{lines} audit records are missing here: standard output took none, or nobody read it");
    let record = Record::new(Operation::Lose, Actor::person()).failed(reason);
    line(&record).unwrap_or_default()
}

fn open(path: &Path) -> io::Result<File> {
    let append = || {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options
    };
    // Read only to see how it ends, which some may not.
    let opened = append().read(true).open(path).or_else(|_| append().open(path));
    opened.map_err(|error| io::Error::new(error.kind(), format!("audit file {}: {error}", path.display())))
}

/// Opens the file anew if a program that rotates logs has moved it.
fn follow(path: &Path, file: &mut File, torn: &mut bool) -> io::Result<()> {
    if moved_away(path, file) {
        (*file, *torn) = (open(path)?, false);
    }
    Ok(())
}

/// Whether a program that rotates logs has moved `file`.
fn moved_away(path: &Path, file: &File) -> bool {
    let here = std::fs::metadata(path).ok().map(|here| (here.dev(), here.ino()));
    let held = file.metadata().ok().map(|held| (held.dev(), held.ino()));
    here != held
}

/// One `write` for each line, so that lines of several processes do not mix. If a full disk cut a line short, a line end
/// comes first, so that one line is lost and not two.
fn append(file: &mut File, torn: &mut bool, line: &[u8]) -> io::Result<()> {
    if *torn {
        file.write_all(b"\n")?;
        *torn = false;
    }
    match file.write(line)? {
        whole if whole == line.len() => Ok(()),
        part => {
            *torn = part > 0;
            Err(io::Error::new(io::ErrorKind::WriteZero, "the line was cut short"))
        }
    }
}

/// Appends `lines` and waits until the disk has them. If not all of them find room, none stays.
fn append_whole(file: &mut File, torn: &mut bool, lines: &[u8]) -> io::Result<()> {
    let about = file.metadata()?;
    if about.is_file() && (*torn || !ends_a_line(file, about.len())) {
        file.write_all(b"\n")?;
        *torn = false;
    }
    let before = file.metadata()?.len();
    let written = file.write(lines)?;
    if written < lines.len() {
        let is_ours = file.metadata()?.len() == before.saturating_add(written as u64);
        *torn = !(about.is_file() && is_ours && file.set_len(before).is_ok());
        return Err(io::Error::new(io::ErrorKind::WriteZero, "there was no room for all lines"));
    }
    if about.is_file() { file.sync_data() } else { Ok(()) }
}

/// Whether the file of this length is empty or ends with a line end, as far as that can be seen. What a crash left does
/// not.
fn ends_a_line(file: &File, length: u64) -> bool {
    let Some(last) = length.checked_sub(1) else { return true };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last).is_err() || byte == *b"\n"
}
