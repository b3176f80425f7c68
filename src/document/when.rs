//! Instants and spans as documents write them: a closed grammar, resolved against one captured now.
//!
//! Accepted are `now`, `now-5m`, `now+1h`, `5 minutes ago`, a bare `5m` (which means *ago*), RFC 3339 with a zone, and
//! seconds since 1970. A span is one or more of number and unit: `90s`, `1h30m`, `1 hour 30 minutes`.

use std::time::Duration;

use crate::clock::Timestamp;

/// What is accepted, for whoever wrote something else.
const FORMS: &str = "write `now`, `now-5m`, `5 minutes ago`, `5m` (which means ago), a time like 2026-01-31T10:00:00Z, \
                     or seconds since 1970";

/// Fewer seconds since 1970 than this are taken for a number whose unit was forgotten: it is in 1973.
const LEAST_EPOCH: f64 = 1e8;

/// The units, by all their names, in milliseconds.
const UNITS: &[(&[&str], f64)] = &[
    (&["ms", "millisecond", "milliseconds"], 1.0),
    (&["s", "sec", "secs", "second", "seconds"], 1e3),
    (&["m", "min", "mins", "minute", "minutes"], 60e3),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600e3),
    (&["d", "day", "days"], 86_400e3),
    (&["w", "week", "weeks"], 604_800e3),
];

/// The instant that a text means where it is `now`.
///
/// # Errors
/// It is none of the accepted forms, or beyond the calendar; in words.
pub(crate) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let plain = text.trim().to_ascii_lowercase();
    let wrong = || format!("{text:?} is no time; {FORMS}");
    let beyond = || format!("{text:?} is beyond the calendar; {FORMS}");
    let back = |span: Duration| now.checked_sub(span).map_err(|_| beyond());
    if plain == "now" {
        return Ok(now);
    }
    if let Some(offset) = plain.strip_prefix("now").map(str::trim_start) {
        let (sign, span) = offset.split_at_checked(1).ok_or_else(wrong)?;
        let span = span_of(span).ok_or_else(wrong)?;
        return match sign {
            "-" => back(span),
            "+" => now.checked_add(span).map_err(|_| beyond()),
            _ => Err(wrong()),
        };
    }
    if let Some(span) = plain.strip_suffix("ago") {
        return back(span_of(span).ok_or_else(wrong)?);
    }
    if let Ok(seconds) = plain.parse::<f64>() {
        if !(LEAST_EPOCH..1e11).contains(&seconds) {
            return Err(format!("{text:?} has no unit, and as seconds since 1970 it is not of our days; {FORMS}"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is below 1e11 s, which is 1e17 µs")]
        return Timestamp::from_microsecond((seconds * 1e6).round() as i64).map_err(|_| beyond());
    }
    if let Some(span) = span_of(plain.strip_prefix('-').unwrap_or(&plain)) {
        return back(span);
    }
    text.trim().parse().map_err(|_| wrong())
}

/// The span that a text means: `90s`, `1h30m`, `2 minutes`.
///
/// # Errors
/// It is none; in words.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time; write `90s`, `1h30m` or `2 minutes`, in ms, s, m, h, d or w");
    span_of(&text.trim().to_ascii_lowercase()).ok_or_else(wrong)
}

fn span_of(text: &str) -> Option<Duration> {
    let (mut rest, mut millis) = (text.trim(), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let behind = behind.trim_start();
        let (unit, behind) = behind.split_at(behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len()));
        let (_, of_unit) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        millis += number.parse::<f64>().ok()? * of_unit;
        rest = behind.trim_start();
    }
    Duration::try_from_secs_f64(millis / 1e3).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00.5Z".parse().unwrap()
    }

    #[test]
    fn each_form_means_an_instant() {
        for (text, meant) in [
            ("now", "2026-11-22T10:00:00.5Z"),
            (" NOW ", "2026-11-22T10:00:00.5Z"),
            ("now-5m", "2026-11-22T09:55:00.5Z"),
            ("now + 1h", "2026-11-22T11:00:00.5Z"),
            ("30 seconds ago", "2026-11-22T09:59:30.5Z"),
            ("5 minutes ago", "2026-11-22T09:55:00.5Z"),
            ("1h30m ago", "2026-11-22T08:30:00.5Z"),
            ("1 hour 30 minutes ago", "2026-11-22T08:30:00.5Z"),
            ("300 ms ago", "2026-11-22T10:00:00.2Z"),
            ("10s", "2026-11-22T09:59:50.5Z"),
            ("-5m", "2026-11-22T09:55:00.5Z"),
            ("1.5 d", "2026-11-20T22:00:00.5Z"),
            ("1w", "2026-11-15T10:00:00.5Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.25", "2023-11-14T22:13:20.25Z"),
            ("2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(instant(text, now()).map(|at| at.to_string()), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_told_what_is() {
        for text in [
            "",
            "60",
            "yesterday",
            "last 5 minutes",
            "now5m",
            "now*5m",
            "now-",
            "ago",
            "5",
            "m",
            "5 fortnights",
            "1.2.3s",
            "2026-11-22T10:00:00",
            "99999999999999999d",
            "inf",
            "nan",
            "é ago",
            "nowé",
        ] {
            let why = instant(text, now()).expect_err(text);
            assert!(why.contains("write `now`"), "{text}: {why}");
        }
    }

    #[test]
    fn a_span_is_one_or_more_numbers_with_their_units() {
        assert_eq!(span("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert!(span("5").is_err() && span("now").is_err() && span("").is_err());
    }
}
