//! Checks the names of credentials. A credential that no provider reads is a mistake, and is refused before a store is
//! asked.

use provider::Provider;

use crate::exit::{Failure, Outcome};

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
