//! Durations as Go writes them: `1h30m`, `1.5s`, `300ms`.

use std::time::Duration;

/// Nanoseconds of each unit, the longer names first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1h30m`, `1.5s`, `300ms`, `0`. Go's negative durations are refused.
///
/// # Errors
/// If it is none, or longer than Go's longest, about 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| format!("{text:?} is no duration: {why}; give one such as 300ms, 1.5s or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(wrong("it is negative"));
    }
    if rest.is_empty() {
        return Err(wrong("it is empty"));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| wrong("a unit is missing"))?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| wrong(&format!("{unit:?} is none of ns, us, ms, s, m and h")))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(wrong(&format!("{number:?} is no number")));
        }
        let whole: u128 = match whole {
            "" => 0,
            _ => whole.parse().map_err(|_| wrong("it is too long"))?,
        };
        // More digits than these are less than a nanosecond of an hour.
        let digits = &fraction[..fraction.len().min(18)];
        let fraction: u128 = digits.parse().unwrap_or_default();
        let scale = u128::from(*scale);
        let nanoseconds = whole.saturating_mul(scale) + fraction * scale / 10u128.pow(digits.len() as u32);
        total = total.saturating_add(nanoseconds);
        rest = after;
    }
    if total > i64::MAX as u128 {
        return Err(wrong("it is too long"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is no more than i64::MAX")]
    Ok(Duration::from_nanos(total as u64))
}

/// Writes `1h30m0s`, `1.5s`, `300ms`, `0s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let fraction = format!("{:0width$}", nanoseconds % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let point = if unit == 1 || fraction.is_empty() { "" } else { "." };
        format!("{}{point}{}{name}", nanoseconds / unit, if unit == 1 { "" } else { fraction })
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => decimal(1, "ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => decimal(1_000_000_000, "s"),
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = duration - Duration::from_secs(minutes * 60);
            // Under a second Go still says seconds here.
            let below = format!("{:09}", seconds.subsec_nanos());
            let below = below.trim_end_matches('0');
            let point = if below.is_empty() { "" } else { "." };
            let seconds = format!("{}{point}{below}s", seconds.as_secs());
            match (minutes / 60, minutes % 60) {
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("2m3.5s", 123_500_000_000),
            (".5us", 500),
            ("1µs", 1_000),
            ("+1ns", 1),
            ("1.0000000009s", 1_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for wrong in ["", "1", "-1s", "s", "1.2.3s", ".s", "1x", "300 ms", "99999999999h", "1s5"] {
            let error = parse_duration(wrong).expect_err(wrong);
            assert!(error.contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for text in ["0s", "1ns", "1.5µs", "999.999µs", "19.541ms", "1.003s", "59.999999999s", "1m0s", "1h0m0.5s"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
    }
}
