use std::time::Duration;

use provider::Span;
use tonic::metadata::MetadataMap;

/// How long kubelet waits for a call, if it does not state a deadline.
const DEFAULT: Duration = Duration::from_secs(120);
/// How much earlier than the caller's deadline we give up, so that the caller gets the reason instead of its own
/// timeout.
const RESERVE: Duration = Duration::from_secs(5);

/// How long a request with `metadata` may take: the caller's deadline, minus [`RESERVE`].
pub(crate) fn patience(metadata: &MetadataMap) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    let given = asked.unwrap_or(DEFAULT);
    given.saturating_sub(RESERVE.min(Span::from(given).times(0.5).get()))
}

/// Parses a `grpc-timeout`: up to eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(timeout: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().unwrap());
        metadata
    }

    #[test]
    fn five_seconds_of_a_long_deadline_are_kept_back_and_half_of_a_short_one() {
        assert_eq!(patience(&metadata("119999m")), Duration::from_millis(114_999));
        assert_eq!(patience(&metadata("2M")), Duration::from_secs(115));
        assert_eq!(patience(&metadata("4S")), Duration::from_secs(2));
        assert_eq!(patience(&metadata("0n")), Duration::ZERO);
    }

    #[test]
    fn a_caller_that_says_nothing_or_nonsense_waits_as_kubelet_does() {
        assert_eq!(patience(&MetadataMap::new()), Duration::from_secs(115));
        for nonsense in ["S", "+1S", "1", "1d", "999999999S", "-1S", "1.5S"] {
            assert_eq!(patience(&metadata(nonsense)), Duration::from_secs(115), "{nonsense}");
        }
    }
}
