//! The parameters of requests.

use std::time::Duration;

use super::{Wrong, bad, bad_parameter};
use crate::clock::Timestamp;
use crate::lab::prometheus::promql::{go_quoted, milliseconds};

/// Of a form and of the address, in this order of precedence.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn new(form: &[u8], query: &str) -> Self {
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(query.as_bytes()));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A time that must be there, in milliseconds.
    pub(super) fn time(&self, name: &str) -> Result<i64, Wrong> {
        time(self.get(name)).map_err(|why| bad_parameter(name, &why))
    }

    /// A time that may be absent.
    pub(super) fn time_or(&self, name: &str, otherwise: i64) -> Result<i64, Wrong> {
        match self.get(name) {
            "" => Ok(otherwise),
            text => time(text).map_err(|why| bad_parameter(name, &format!("Invalid time value for '{name}': {why}"))),
        }
    }

    /// A duration, in nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<i64, Wrong> {
        duration(self.get(name)).map_err(|why| bad_parameter(name, &why))
    }

    /// How long a query may take; never longer than the server allows.
    pub(super) fn timeout(&self, most: Duration) -> Result<Duration, Wrong> {
        if self.get("timeout").is_empty() {
            return Ok(most);
        }
        let nanos = self.duration("timeout")?;
        Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).min(most))
    }

    /// How far back an instant looks for a sample, in milliseconds; nothing says nothing. As later versions have it.
    pub(super) fn lookback(&self) -> Result<Option<i64>, Wrong> {
        match self.get("lookback_delta") {
            "" => Ok(None),
            text => match duration(text) {
                Ok(nanos) => Ok(Some(nanos / 1_000_000).filter(|millis| *millis > 0)),
                Err(why) => Err(bad(format!("error parsing lookback delta duration: {why}"))),
            },
        }
    }

    /// A number that may be absent; a negative one is none.
    pub(super) fn limit(&self) -> Result<Option<usize>, Wrong> {
        match self.get("limit") {
            "" => Ok(None),
            text => match text.parse::<i64>() {
                Ok(limit) => Ok(usize::try_from(limit).ok()),
                Err(_) => Err(bad("limit must be a number")),
            },
        }
    }
}

/// Milliseconds of a time: seconds as a number, or RFC 3339.
#[expect(clippy::cast_possible_truncation, reason = "out of range is bounded, as a time")]
fn time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = crate::lab::prometheus::numbers::parse(text) {
        let millis = (seconds * 1000.0).round();
        // What is no number is what Go makes of it.
        return Ok(if millis.is_nan() { -9_223_372_036_854 } else { millis.clamp(-9e15, 9e15) as i64 });
    }
    let wrong = || format!("cannot parse {} to a valid timestamp", go_quoted(text));
    // RFC 3339 has a `T` and an offset; jiff would take more.
    let full = text.as_bytes().get(10) == Some(&b'T') && !text.contains('[');
    let parsed: Timestamp = text.parse().map_err(|_| wrong())?;
    if full { Ok(parsed.as_millisecond()) } else { Err(wrong()) }
}

/// Nanoseconds of a duration: seconds as a number, or `500ms`, `1h30m`.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked")]
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {} to a valid duration", go_quoted(text));
    if let Some(seconds) = crate::lab::prometheus::numbers::parse(text) {
        let nanos = seconds * 1e9;
        if nanos.is_nan() || nanos.abs() > i64::MAX as f64 {
            return Err(format!("{}. It overflows int64", wrong()));
        }
        return Ok(nanos as i64);
    }
    milliseconds(text).map(|millis| millis * 1_000_000).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_have_many_forms() {
        for (text, millis) in [
            ("1", 1000),
            ("1.5", 1500),
            ("1e3", 1_000_000),
            ("-0.001", -1),
            ("2020-01-01T00:00:00Z", 1_577_836_800_000),
            ("2020-01-01T02:00:00.123456789+02:00", 1_577_836_800_123),
        ] {
            assert_eq!(time(text), Ok(millis), "{text}");
        }
        for text in ["noon", "", "2020-01-01", "2020-01-01T00:00:00", "2020-01-01 00:00:00Z"] {
            assert_eq!(time(text), Err(format!("cannot parse {text:?} to a valid timestamp")));
        }
        for (text, nanos) in
            [("1", 1_000_000_000), ("0.5", 500_000_000), ("500ms", 500_000_000), ("1m30s", 90_000_000_000)]
        {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        assert!(duration("soon").is_err() && duration("").is_err() && duration("1e99").is_err());
    }
}
