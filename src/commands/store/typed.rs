//! Reads values: from a file, from standard input, or typed at a terminal without being shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use provider::SecretBytes;
use provider_store::{Name, Values};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The longest line that a terminal returns in one piece, in bytes.
const MAX_LINE: usize = 4094;
/// The byte that a terminal sends for Ctrl-C.
const INTERRUPT: u8 = 3;

/// The contents of `path`; `-` is standard input.
pub(super) fn from_file(path: &Path) -> anyhow::Result<SecretBytes> {
    if path == Path::new("-") {
        return from_stdin();
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    bounded(file, Values::MAX_BYTES).with_context(|| path.display().to_string())
}

/// The piped input, or a typed line if standard input is a terminal.
pub(super) fn from_stdin() -> anyhow::Result<SecretBytes> {
    let stdin = io::stdin();
    let value = if stdin.is_terminal() {
        typed_twice(&stdin)?
    } else {
        bounded(stdin.lock(), Values::MAX_BYTES).context("standard input")?
    };
    if value.is_empty() {
        bail!("the value is empty; if it should be, put it with --file /dev/null");
    }
    Ok(value)
}

/// The strings of the JSON object in `path`, by key.
pub(super) fn from_json(path: &Path) -> anyhow::Result<BTreeMap<Name, SecretBytes>> {
    let text = from_file(path)?;
    // The parser's message is not repeated, because it may quote a value.
    let Strings { values, twice } = serde_json::from_slice(text.expose()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        anyhow!(
            "{} is not a JSON object of names and strings (line {line}, column {column}); write {{\"user\": \"…\", \"pass\": \"…\"}}",
            path.display()
        )
    })?;
    match twice {
        Some(key) => bail!("{} has the key {key} twice; nothing was put", path.display()),
        None => Ok(values),
    }
}

/// A JSON object of strings, and the first key that occurs twice.
struct Strings {
    values: BTreeMap<Name, SecretBytes>,
    twice: Option<Name>,
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StringsVisitor)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
        let mut strings = Strings { values: BTreeMap::new(), twice: None };
        while let Some((key, value)) = map.next_entry::<Name, String>()? {
            if strings.values.insert(key.clone(), SecretBytes::from(value)).is_some() {
                strings.twice.get_or_insert(key);
            }
        }
        Ok(strings)
    }
}

fn bounded(from: impl Read, most: usize) -> anyhow::Result<SecretBytes> {
    // Allocated at its full size: a buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 64));
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        bail!(
            "it is longer than {} KiB, which is the most that a version of an item holds in all its keys together; \
             put a part of it, or keep it elsewhere",
            most / 1024
        );
    }
    Ok(SecretBytes::new(bytes.as_slice().to_vec()))
}

fn typed_twice(terminal: &io::Stdin) -> anyhow::Result<SecretBytes> {
    let value = typed(terminal, "Value (not shown): ")?;
    let again = typed(terminal, "The same again: ")?;
    if value.expose() != again.expose() {
        bail!("the two differ; nothing was put");
    }
    Ok(value)
}

fn typed(terminal: &io::Stdin, prompt: &str) -> anyhow::Result<SecretBytes> {
    let _silence = Silence::of(terminal)?;
    io::stderr().write_all(prompt.as_bytes())?;
    let line = line(terminal.lock());
    io::stderr().write_all(b"\n")?;
    let line = line?;
    if line.len() >= MAX_LINE {
        bail!("a terminal takes no more than {MAX_LINE} bytes; put it with --file");
    }
    Ok(line)
}

/// Reads one line byte by byte. What follows belongs to the next prompt, so it must not stay in a buffer.
fn line(mut terminal: impl Read) -> anyhow::Result<SecretBytes> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE + 1));
    let mut byte = [0];
    while line.len() < MAX_LINE && terminal.read(&mut byte)? == 1 {
        match byte {
            [b'\n'] => break,
            [INTERRUPT] => bail!("interrupted; nothing was put"),
            [typed] => line.push(typed),
        }
    }
    Ok(SecretBytes::new(line.as_slice().to_vec()))
}

/// Stops a terminal from showing what is typed, until dropped.
struct Silence<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn of(terminal: &'a io::Stdin) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal.as_fd()).context("the terminal")?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // Ctrl-C ends the line and not this process. Otherwise the terminal would stay without echo.
        quiet.local_modes.remove(LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal.as_fd(), OptionalActions::Flush, &quiet).context("the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before) {
            tracing::warn!(%error, "the terminal stays silent; type `stty sane`");
        }
    }
}
