//! What an answer of a store says beside its contents.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use provider::Span;

/// The most characters of a store's own words that a message repeats.
const MAX_WORDS: usize = 300;

/// The wait in a `Retry-After` header, in seconds or as a date (RFC 9110, 10.2.3). A date in the past gives zero.
/// `None` if the text is neither.
pub fn retry_after(raw: &str, now: Timestamp) -> Option<Span> {
    let raw = raw.trim();
    if let Ok(seconds) = raw.parse() {
        return Some(Span::from_secs(seconds));
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(raw).ok()?;
    Some(Duration::try_from(at.duration_since(now)).map_or(Span::ZERO, Span::capped))
}

/// Whether `status` means an outage, and says nothing about the requested object: the store sheds load or is down, or
/// it redirects (redirects are never followed).
pub fn is_outage(status: u16) -> bool {
    matches!(status, 300..=399 | 408 | 425 | 429 | 500..)
}

/// What a message says after the status of an answer: the store's own words, or else the target of the redirect.
pub fn reason(words: Option<String>, redirected_to: Option<&str>) -> String {
    match (words, redirected_to) {
        (Some(words), _) => format!(" ({words})"),
        (None, Some(host)) => format!(" (go to {host})"),
        (None, None) => String::new(),
    }
}

/// A store's own words on one line, at most 300 characters, without any of the `secrets` that were sent to it. `None`
/// if nothing is left.
pub fn words(said: &str, secrets: &[&str]) -> Option<String> {
    let mut words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // Removed first: a control character inside a secret would hide the secret from the search, and its later removal
    // would show it.
    words.retain(|c| !c.is_control());
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        words = words.replace(*secret, "…");
    }
    let short: String = words.chars().take(MAX_WORDS).collect();
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_says_how_long_to_wait_in_seconds_or_as_a_date() {
        let wait = |raw| retry_after(raw, Timestamp::UNIX_EPOCH);

        assert_eq!(wait(" 7 "), Some(Span::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:02:00 GMT"), Some(Span::from_secs(120)));
        assert_eq!(wait("Wed, 31 Dec 1969 00:00:00 GMT"), Some(Span::ZERO));
        assert_eq!(wait("18446744073709551615"), Some(Span::LONGEST));
        assert_eq!((wait("soon"), wait("-1"), wait("")), (None, None, None));
    }

    #[test]
    fn a_redirect_and_a_store_that_is_out_or_sheds_load_are_outages() {
        for (outage, word) in
            [(300, 299), (399, 400), (408, 409), (425, 424), (429, 428), (500, 499), (u16::MAX, 404)]
        {
            assert!(is_outage(outage) && !is_outage(word), "{outage} {word}");
        }
    }

    #[test]
    fn a_store_that_says_nothing_is_told_by_where_it_sends_on_to() {
        let said = || Some("no".to_owned());

        assert_eq!(reason(said(), Some("https://other")), " (no)");
        assert_eq!(reason(None, Some("https://other")), " (go to https://other)");
        assert_eq!(reason(None, None), "");
    }

    #[test]
    fn words_are_on_one_line_and_short_and_hold_no_secret() {
        assert_eq!(words("bad\n\ttoken s.TO\u{1}KEN", &["s.TOKEN"]).unwrap(), "bad token …");
        assert_eq!(words(&"x".repeat(1000), &[""]).unwrap().len(), MAX_WORDS);
        assert_eq!(words(" \n", &[]), None);
    }
}
