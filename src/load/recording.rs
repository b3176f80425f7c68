//! What a load recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::tolerance::AsNumber;

/// How late the generator may send, of 100 requests the latest but one, before it is no evidence.
const LATE: Duration = Duration::from_millis(100);

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Outcome {
    /// With a status.
    Status(u16),
    /// Without an answer: `refused`, `reset`, `time-out`.
    NoAnswer(String),
}

impl Outcome {
    /// Whether it is a status below 400.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Status(status) if *status < 400)
    }

    /// `200`, `time-out`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::NoAnswer(why) => why.clone(),
        }
    }
}

/// One request. Times are counted from the load's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its number, from 0.
    pub number: u64,
    /// When it was to be sent.
    pub intended: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When its answer was complete, or given up.
    pub done: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The length of the answer's body.
    pub bytes: u64,
}

impl Hit {
    /// From the intended instant to the end: what a user waits who came on schedule.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.done.saturating_sub(self.intended)
    }

    /// From the intended instant to the sending: the generator's own fault.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.sent.saturating_sub(self.intended)
    }
}

/// All requests of one run of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// The load's name.
    pub name: String,
    /// When it began.
    pub started: Timestamp,
    /// The requests intended for each second.
    pub rate: f64,
    /// The requests in the order of their intended instants.
    pub hits: Vec<Hit>,
}

/// A latency: seconds for bounds, shown in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Latency(pub Duration);

impl AsNumber for Latency {
    fn number(&self) -> f64 {
        self.0.as_secs_f64()
    }

    fn shown(&self) -> String {
        format!("{:.1} ms", self.0.as_secs_f64() * 1000.0)
    }
}

/// A load in figures. Latencies are in milliseconds, from the intended instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Requests sent.
    pub requests: usize,
    /// Those answered with a status below 400.
    pub succeeded: usize,
    /// How many ended in each way.
    pub outcomes: BTreeMap<String, usize>,
    /// The median.
    pub p50_ms: f64,
    /// What 95 % stay within.
    pub p95_ms: f64,
    /// What 99 % stay within.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The longest that the generator itself was late.
    pub lateness_max_ms: f64,
    /// Why this load is no evidence, if it did not keep its plan.
    pub invalid: Option<String>,
}

impl Recording {
    /// The latency that `percent` of the requests stay within.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Latency {
        Latency(percentile(self.hits.iter().map(Hit::latency), percent))
    }

    /// The share of good answers, from 0 to 1; 0 without any request.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    pub fn success_ratio(&self) -> f64 {
        let succeeded = self.hits.iter().filter(|hit| hit.outcome.is_success()).count();
        if self.hits.is_empty() { 0.0 } else { succeeded as f64 / self.hits.len() as f64 }
    }

    /// The figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        // Microseconds are exact enough, and free of what floating point adds.
        let millis = |latency: Duration| (latency.as_secs_f64() * 1e6).round() / 1000.0;
        let mut outcomes = BTreeMap::new();
        for hit in &self.hits {
            *outcomes.entry(hit.outcome.name()).or_default() += 1;
        }
        let late = percentile(self.hits.iter().map(Hit::lateness), 99.0);
        let invalid = (late > LATE).then(|| format!("the generator sent up to {late:?} late; give it more processor"));
        Summary {
            requests: self.hits.len(),
            succeeded: self.hits.iter().filter(|hit| hit.outcome.is_success()).count(),
            outcomes,
            p50_ms: millis(self.percentile(50.0).0),
            p95_ms: millis(self.percentile(95.0).0),
            p99_ms: millis(self.percentile(99.0).0),
            max_ms: millis(self.percentile(100.0).0),
            lateness_max_ms: millis(self.hits.iter().map(Hit::lateness).max().unwrap_or_default()),
            invalid,
        }
    }
}

/// The smallest value that `percent` of all are at most.
fn percentile(values: impl Iterator<Item = Duration>, percent: f64) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies between 0 and the count"
    )]
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let of = |percent| percentile((1..=10).map(Duration::from_millis), percent).as_millis();
        assert_eq!([of(50.0), of(95.0), of(100.0), of(1.0)], [5, 10, 10, 1]);
        assert_eq!(percentile(std::iter::empty(), 50.0), Duration::ZERO);
    }

    #[test]
    fn a_late_generator_is_no_evidence() {
        let hit = |late: u64| Hit {
            number: 0,
            intended: Duration::ZERO,
            sent: Duration::from_millis(late),
            done: Duration::from_millis(late + 10),
            outcome: Outcome::Status(200),
            bytes: 0,
        };
        let recording =
            |late| Recording { name: "x".into(), started: Timestamp::UNIX_EPOCH, rate: 1.0, hits: vec![hit(late)] };
        assert_eq!(recording(5).summary().invalid, None);
        assert!(recording(200).summary().invalid.is_some());
        assert_eq!(recording(200).percentile(50.0).0, Duration::from_millis(210), "from the intended instant");
    }
}
