use std::time::Duration;

/// A duration as classes write it: a whole number and one of `ms`, `s`, `m`, `h`, `d`; `0` needs no unit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at_checked(digits)?;
    let count: u64 = count.parse().ok()?;
    let unit_ms: u64 = match unit {
        "" if count == 0 => 0,
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let duration = Duration::from_millis(count.checked_mul(unit_ms)?);
    (duration <= LONGEST).then_some(duration)
}

/// A hundred years: what is added to a clock without overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("30s"), Some(30));
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("24h"), Some(86_400));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(parse("150ms"), Some(Duration::from_millis(150)));
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "30", "s", "-5s", "1.5h", "5 m", "1h30m", "5M", "5с", "99999999999999999999s", "9999999999d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
