//! Numbers as Prometheus writes and reads them.

use std::fmt::Write;

use super::promql::go_quoted;
use super::tsdb::Labels;

/// All digits and no exponent, as scalars and labels have it: Go's format `f`.
pub(super) fn plain(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

/// Appends a sample's value as the answers to queries have it: with an exponent if it is very small or very large.
pub(super) fn write_value(out: &mut String, value: f64) {
    let size = value.abs();
    // Writing to a string does not fail.
    let _ = if value.is_finite() && size != 0.0 && !(1e-6..1e21).contains(&size) {
        out.write_str(&exponential(value))
    } else if value.is_finite() {
        write!(out, "{value}")
    } else {
        out.write_str(&plain(value))
    };
}

/// With an exponent of two digits or more: `1e+00`, as alerts have it.
pub(super) fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return plain(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Appends a time in seconds, with milliseconds if there are any.
pub(super) fn write_time(out: &mut String, millis: i64) {
    let (sign, size) = if millis < 0 { ("-", millis.unsigned_abs()) } else { ("", millis.unsigned_abs()) };
    // Writing to a string does not fail.
    let _ = match size % 1000 {
        0 => write!(out, "{sign}{}", size / 1000),
        rest => write!(out, "{sign}{}.{rest:03}", size / 1000),
    };
}

/// A float in an exposition or a label, as Go's `ParseFloat` takes it.
pub(super) fn parse(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Bytes, not characters: the text is anybody's.
    if unsigned.len() > 2 && unsigned.as_bytes()[..2].eq_ignore_ascii_case(b"0x") {
        return None;
    }
    text.parse().ok()
}

/// Labels as errors show them: `{__name__="up", job="a"}`.
pub(super) fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.pairs().iter().map(|(name, value)| format!("{name}={}", go_quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_does() {
        let written = |value| {
            let mut out = String::new();
            write_value(&mut out, value);
            out
        };
        for (value, text) in [
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0, "1"),
            (-0.0, "-0"),
            (1e-7, "1e-07"),
            (-1.5e-9, "-1.5e-09"),
            (1e-6, "0.000001"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e300, "1.25e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(value), text);
        }
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!((exponential(1.0), exponential(0.0)), ("1e+00".into(), "0e+00".into()));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "0x1p4", "-0X10", "\u{e4}\u{f6}", "\u{fffd}O\u{fffd}", "+\u{20ac}1", "1 "] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!((parse("0"), parse("-1e3"), parse("+Inf")), (Some(0.0), Some(-1000.0), Some(f64::INFINITY)));
    }

    #[test]
    fn times_have_at_most_milliseconds() {
        let written = |millis| {
            let mut out = String::new();
            write_time(&mut out, millis);
            out
        };
        for (millis, text) in [(5000, "5"), (5120, "5.120"), (5001, "5.001"), (-1, "-0.001"), (-5100, "-5.100")] {
            assert_eq!(written(millis), text);
        }
    }
}
