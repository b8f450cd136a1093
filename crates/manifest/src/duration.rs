use std::time::Duration;

use provider::Span;

/// A duration as classes write it: a whole number and one of `ms`, `s`, `m`, `h`, `d`; `0` needs no unit.
pub fn parse(text: &str) -> Option<Duration> {
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
    Span::exactly(Duration::from_millis(count.checked_mul(unit_ms)?)).map(Span::get)
}

/// A duration as Go writes it, and the upstream driver's flags: `1h30m`, `1.5s`, `2m`. No sign.
pub fn go(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() || text.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, after) = rest.split_at_checked(number)?;
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        seconds += count.parse::<f64>().ok()? * go_unit(unit)?;
        rest = after;
    }
    Span::exactly(Duration::try_from_secs_f64(seconds).ok()?).map(Span::get)
}

fn go_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

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
    fn upstreams_flags_are_read_as_go_reads_them() {
        let ms = |text| go(text).map(|duration| duration.as_millis());
        assert_eq!(ms("2m"), Some(120_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("1.5s"), Some(1_500));
        assert_eq!(ms("0"), Some(0));
        for text in ["", "30", "s", "-2m", "2m ", "2 m", "1d", ".s", "1..5s", "2m30"] {
            assert_eq!(go(text), None, "{text}");
        }
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
