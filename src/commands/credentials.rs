//! Reads credentials from files, and checks their names. A credential that no provider reads is a mistake, and is
//! refused before a store is asked.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use provider::{Provider, SecretBytes};

use crate::exit::{Failure, Outcome};

/// The longest file of a credential, in bytes.
const MAX_CREDENTIAL: u64 = 1 << 20;

/// Parses `KEY=FILE`.
pub(super) fn key_and_file(text: &str) -> Result<(String, PathBuf), String> {
    let (key, file) = text.split_once('=').ok_or("write KEY=FILE; a value itself is never taken")?;
    Ok((key.to_owned(), file.into()))
}

/// Reads each file under its key.
pub(super) fn read_all(files: &[(String, PathBuf)]) -> anyhow::Result<BTreeMap<String, SecretBytes>> {
    let read = |(key, file): &(String, PathBuf)| Ok((key.clone(), read_private(file)?));
    files.iter().map(read).collect()
}

/// Reads a credential, without the line end that editors append.
fn read_private(file: &Path) -> anyhow::Result<SecretBytes> {
    let name = file.display();
    let metadata = std::fs::metadata(file).with_context(|| format!("credential file {name}"))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        bail!(
            "credential file {name} can be read by others (mode {:04o}); chmod 600 {name}",
            metadata.mode() & 0o7777
        );
    }
    if metadata.len() > MAX_CREDENTIAL {
        bail!("credential file {name} is larger than {MAX_CREDENTIAL} bytes");
    }
    let mut bytes = std::fs::read(file).with_context(|| format!("credential file {name}"))?;
    let end = bytes.trim_ascii_end().len();
    bytes.truncate(end);
    Ok(bytes.into())
}

/// Refuses a key of `--credential` that `provider` never reads. The message does not repeat the key.
///
/// # Errors
///
/// `Usage`: there is such a key. The message names the most similar key that the provider reads.
pub(super) fn check<'a>(keys: impl Iterator<Item = &'a str>, provider: &dyn Provider) -> Outcome {
    let Some(known) = provider.credential_keys() else { return Ok(()) };
    let mut needless = keys.filter(|key| !known.contains(key));
    let Some(key) = needless.next() else { return Ok(()) };
    let name = provider.names().first().copied().unwrap_or_default();
    let near = nearest(key, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Failure::usage(format!(
        "--credential: provider {name} takes no credential of that name{near}; it takes {takes}"
    )))
}

/// The known key that differs from `typed` only in case, dashes, dots and at most one letter.
fn nearest(typed: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let typed = letters(typed);
    known.iter().copied().find(|known| is_near(&typed, &letters(known)))
}

fn letters(key: &str) -> Vec<char> {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether two words differ by at most one missing, additional or different letter.
fn is_near(one: &[char], other: &[char]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let (short, long) = (short.get(same..).unwrap_or_default(), long.get(same..).unwrap_or_default());
    match long.len() - short.len() {
        0 => short.get(1..).unwrap_or_default() == long.get(1..).unwrap_or_default(),
        1 => Some(short) == long.get(1..),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["role-id", "secret-id", "token", "tls.crt", "tls.key"];

    #[test]
    fn a_key_that_is_nearly_right_is_recognised() {
        for (typed, meant) in [
            ("roleid", Some("role-id")),
            ("ROLE_ID", Some("role-id")),
            ("role-is", Some("role-id")),
            ("secretid", Some("secret-id")),
            ("tlscrt", Some("tls.crt")),
            ("tokens", Some("token")),
            ("oken", Some("token")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, KNOWN), meant, "{typed}");
        }
    }
}
