//! goose's counts in our terms.

use std::collections::BTreeMap;
use std::time::Duration;

use goose::metrics::{GooseMetrics, GooseRequestMetricAggregate};
use serde::Serialize;

use crate::load::Latency;

/// A power of two holds so many of goose's buckets.
const BUCKETS: u64 = 64;

/// An attack in figures. Latencies are in milliseconds, from the sending of each request, and from goose's buckets: a
/// percentile is at most 1/64 above the true one, and never below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The most users that there were at a time.
    pub users: usize,
    /// Requests sent.
    pub requests: usize,
    /// Those answered with a 2xx status, unless the scenario judged otherwise.
    pub succeeded: usize,
    /// How many ended with each status, or without any.
    pub outcomes: BTreeMap<String, usize>,
    /// The median.
    pub p50_ms: f64,
    /// What 95 % stay within.
    pub p95_ms: f64,
    /// What 99 % stay within.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Each request by its method and path, or the name that the scenario gave it.
    pub paths: BTreeMap<String, PathSummary>,
    /// Each error by its text, and how often it occurred.
    pub errors: BTreeMap<String, usize>,
    /// Why this attack is no evidence, if it is none.
    pub invalid: Option<String>,
    #[serde(skip)]
    latencies: Latencies,
}

/// The requests to one path.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PathSummary {
    /// Requests sent.
    pub requests: usize,
    /// Those that succeeded.
    pub succeeded: usize,
    /// How many ended with each status, or without any.
    pub outcomes: BTreeMap<String, usize>,
    /// The median.
    pub p50_ms: f64,
    /// What 95 % stay within.
    pub p95_ms: f64,
    /// What 99 % stay within.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Counts of latencies by the lowest of their bucket, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Latencies {
    buckets: BTreeMap<u64, usize>,
    max: u64,
}

impl Summary {
    /// What goose counted.
    pub(super) fn of(metrics: &GooseMetrics) -> Self {
        let mut summary = Self { users: metrics.maximum_users, ..Self::default() };
        for (name, counted) in &metrics.requests {
            let latencies = Latencies::of(counted);
            summary.latencies.add(&latencies);
            let path = PathSummary::of(counted, &latencies);
            summary.requests += path.requests;
            summary.succeeded += path.succeeded;
            for (outcome, count) in &path.outcomes {
                *summary.outcomes.entry(outcome.clone()).or_default() += count;
            }
            summary.paths.insert(name.clone(), path);
        }
        for error in metrics.errors.values() {
            *summary.errors.entry(format!("{}: {}", error.name, error.error)).or_default() += error.occurrences;
        }
        for error in metrics.transaction_errors.values() {
            let name = format!("{} {}: {}", error.scenario_name, error.transaction_name, error.error);
            *summary.errors.entry(name).or_default() += error.occurrences;
        }
        summary.invalid = (summary.requests == 0).then(|| "its users sent no request".to_owned());
        summary.p50_ms = summary.latencies.millis(50.0);
        summary.p95_ms = summary.latencies.millis(95.0);
        summary.p99_ms = summary.latencies.millis(99.0);
        summary.max_ms = summary.latencies.millis(100.0);
        summary
    }

    /// The latency that `percent` of the requests stay within.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Latency {
        Latency(Duration::from_micros(self.latencies.percentile(percent)))
    }

    /// The share of requests that succeeded, from 0 to 1; 0 without any request.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an attack has fewer than 2^52 requests")]
    pub fn success_ratio(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.succeeded as f64 / self.requests as f64 }
    }
}

impl PathSummary {
    fn of(counted: &GooseRequestMetricAggregate, latencies: &Latencies) -> Self {
        let outcome = |status: u16| if status == 0 { "no answer".to_owned() } else { status.to_string() };
        Self {
            requests: counted.success_count + counted.fail_count,
            succeeded: counted.success_count,
            outcomes: counted.status_code_counts.iter().map(|(status, count)| (outcome(*status), *count)).collect(),
            p50_ms: latencies.millis(50.0),
            p95_ms: latencies.millis(95.0),
            p99_ms: latencies.millis(99.0),
            max_ms: latencies.millis(100.0),
        }
    }
}

impl Latencies {
    fn of(counted: &GooseRequestMetricAggregate) -> Self {
        let buckets = counted.raw_data.times_us.iter().map(|(lowest, count)| (*lowest, *count)).collect();
        Self { buckets, max: counted.raw_data.maximum_time_us }
    }

    fn add(&mut self, other: &Self) {
        for (lowest, count) in &other.buckets {
            *self.buckets.entry(*lowest).or_default() += count;
        }
        self.max = self.max.max(other.max);
    }

    /// The highest that the bucket of that rank may hold, in microseconds: nobody is promised less than they get.
    fn percentile(&self, percent: f64) -> u64 {
        let all: usize = self.buckets.values().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank lies between 0 and the count"
        )]
        let rank = ((percent / 100.0 * all as f64).ceil() as usize).max(1);
        let mut below = 0;
        for (lowest, count) in &self.buckets {
            below += count;
            if below >= rank {
                return highest(*lowest).min(self.max);
            }
        }
        self.max
    }

    #[expect(clippy::cast_precision_loss, reason = "a latency has fewer than 2^52 microseconds")]
    fn millis(&self, percent: f64) -> f64 {
        self.percentile(percent) as f64 / 1000.0
    }
}

/// The highest value of the bucket that begins with `lowest`: each power of two has [`BUCKETS`], of equal width.
fn highest(lowest: u64) -> u64 {
    let width = (1 << lowest.max(1).ilog2()) / BUCKETS;
    lowest + width.max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(times: impl IntoIterator<Item = u64>) -> Latencies {
        let mut all = Latencies::default();
        for time in times {
            // goose's own bucket of a time.
            let width = ((1 << time.max(1).ilog2()) / BUCKETS).max(1);
            *all.buckets.entry(time / width * width).or_default() += 1;
            all.max = all.max.max(time);
        }
        all
    }

    #[test]
    fn a_percentile_is_never_below_the_true_one_and_at_most_a_bucket_above() {
        for scale in [1, 10, 1_000, 33_333, 1_000_000] {
            let of = latencies((1..=100).map(|n| n * scale));
            for percent in [1.0, 50.0, 95.0, 99.0, 100.0] {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
                let true_one = percent as u64 * scale;
                let told = of.percentile(percent);
                assert!(told >= true_one && told <= true_one + true_one / 64, "{told} for {true_one}");
            }
            assert_eq!(of.percentile(100.0), 100 * scale, "the longest is exact");
        }
        assert_eq!(latencies([]).percentile(95.0), 0);
    }

    #[test]
    fn what_sent_no_request_is_no_evidence() {
        let summary = Summary::of(&GooseMetrics::default());
        assert_eq!(summary.invalid.as_deref(), Some("its users sent no request"));
        assert!(summary.success_ratio().abs() < f64::EPSILON);
    }
}
