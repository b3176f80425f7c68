//! Latencies counted in buckets that the user names.

use std::str::FromStr;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::table::aligned;
use crate::load::vegeta::{duration_text, parse_duration};

/// How long the longest bar could be.
const BAR: f64 = 75.0;

/// Buckets, each from its bound to the next one's, the last without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Nanoseconds, ascending, the first 0.
    bounds: Vec<u64>,
    counts: Vec<u64>,
}

impl FromStr for Buckets {
    type Err = String;

    /// Reads `[0,1ms,10ms]`; a first bound of 0 may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("bad buckets {text:?}: {why}; give them as [0,1ms,10ms]");
        let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.ok_or_else(|| wrong("they are not in brackets"))?;
        let mut bounds = Vec::new();
        for bound in inner.split(',') {
            let bound = parse_duration(bound.trim()).map_err(|why| wrong(&why))?;
            bounds.push(u64::try_from(bound.as_nanos()).map_err(|_| wrong("a bound is too long"))?);
        }
        if bounds.first().is_some_and(|first| *first > 0) {
            bounds.insert(0, 0);
        }
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(wrong("they do not ascend"));
        }
        Ok(Self { counts: vec![0; bounds.len()], bounds })
    }
}

impl Buckets {
    /// Counts a latency in nanoseconds.
    pub(super) fn add(&mut self, latency: u64) {
        let place = self.bounds.partition_point(|bound| *bound <= latency);
        self.counts[place.saturating_sub(1)] += 1;
    }

    /// Each bucket's beginning in nanoseconds, and its count.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bounds.iter().copied().zip(self.counts.iter().copied())
    }
}

impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.bounds.len()))?;
        for (bound, count) in self.counts() {
            map.serialize_entry(&bound.to_string(), &count)?;
        }
        map.end()
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar is at most 75 long"
)]
pub(super) fn text(buckets: &Buckets) -> String {
    let total: u64 = buckets.counts.iter().sum();
    let bound = |place: usize| buckets.bounds.get(place).map(|bound| duration_text(Duration::from_nanos(*bound)));
    let mut rows = vec![["Bucket", "", "#", "%", "Histogram"].map(str::to_owned)];
    for (place, count) in buckets.counts.iter().enumerate() {
        let ratio = if total == 0 { 0.0 } else { *count as f64 / total as f64 };
        rows.push([
            format!("[{},", bound(place).unwrap_or_default()),
            format!("{}]", bound(place + 1).unwrap_or_else(|| "+Inf".to_owned())),
            count.to_string(),
            format!("{:.2}%", ratio * 100.0),
            "#".repeat((ratio * BAR) as usize),
        ]);
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read_and_counted() {
        let mut buckets: Buckets = "[1ms, 2ms]".parse().unwrap();
        for latency in [0, 999_999, 1_000_000, 5_000_000] {
            buckets.add(latency);
        }
        assert_eq!(buckets.counts().collect::<Vec<_>>(), [(0, 2), (1_000_000, 1), (2_000_000, 1)]);
        assert_eq!(serde_json::to_string(&buckets).unwrap(), r#"{"0":2,"1000000":1,"2000000":1}"#);
        let shown = "Bucket         #  %       Histogram\n\
                     [0s,    1ms]   2  50.00%  #####################################\n\
                     [1ms,   2ms]   1  25.00%  ##################\n\
                     [2ms,   +Inf]  1  25.00%  ##################\n";
        assert_eq!(text(&buckets), shown);
        assert_eq!("[0,1ms]".parse::<Buckets>(), "[1ms]".parse());
    }

    #[test]
    fn what_are_no_buckets_is_named() {
        for (wrong, why) in [
            ("", "brackets"),
            ("0,1ms", "brackets"),
            ("[]", "is empty"),
            ("[x]", "\"x\""),
            ("[2ms,1ms]", "ascend"),
            ("[0,0]", "ascend"),
            ("[-1s]", "negative"),
        ] {
            let error = wrong.parse::<Buckets>().expect_err(wrong);
            assert!(error.contains(why), "{error}");
        }
    }
}
