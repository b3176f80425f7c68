//! Results in figures.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Serialize, Serializer};

use super::Buckets;
use crate::load::vegeta::Record;
use crate::load::vegeta::json::{nanoseconds, time_text};

/// Significant digits of the quantiles: they are true to a hundredth of a percent, in 3 MB whatever the count.
const DIGITS: u8 = 4;

/// No more different errors are kept.
const MOST_ERRORS: usize = 10_000;

/// Counts results; its memory does not grow with them.
pub struct Metrics {
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    span: Option<Span>,
    ok: Times,
    failed: Times,
    codes: BTreeMap<u16, u64>,
    errors: Errors,
    buckets: Option<Buckets>,
}

/// From the first sending to the last end.
struct Span {
    earliest: Moment,
    latest: Moment,
    end: Moment,
}

type Moment = (Timestamp, Offset);

/// Latencies in nanoseconds.
struct Times {
    histogram: Histogram<u64>,
    total: u64,
    min: u64,
    max: u64,
}

/// Different errors in the order in which they came.
#[derive(Default)]
struct Errors {
    order: Vec<String>,
    seen: BTreeSet<String>,
    left_out: u64,
}

/// A report as vegeta's JSON has it. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// All latencies, of failures too.
    pub latencies: Latencies,
    /// How many latencies lie in each bucket, if there are buckets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Buckets>,
    /// The answers' bodies.
    pub bytes_in: Volume,
    /// The requests' bodies.
    pub bytes_out: Volume,
    /// The first sending.
    pub earliest: String,
    /// The last sending.
    pub latest: String,
    /// The last end.
    pub end: String,
    /// From the first sending to the last.
    pub duration: u64,
    /// From the last sending to the last end.
    pub wait: u64,
    /// How many results there are.
    pub requests: u64,
    /// Requests a second of `duration`: too many by one, so it is above what was asked for.
    #[serde(serialize_with = "as_go_does")]
    pub rate: f64,
    /// Successes a second until the last end.
    #[serde(serialize_with = "as_go_does")]
    pub throughput: f64,
    /// The share of successes, from 0 to 1.
    #[serde(serialize_with = "as_go_does")]
    pub success: f64,
    /// How many results have each status; 0 is no answer.
    pub status_codes: BTreeMap<String, u64>,
    /// The different errors in the order in which they came.
    pub errors: Vec<String>,
    /// What vegeta does not report.
    pub steadfast: Added,
}

/// Latencies in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latencies {
    /// Their sum.
    pub total: u64,
    /// Their mean.
    pub mean: u64,
    /// The median.
    #[serde(rename = "50th")]
    pub p50: u64,
    /// What 90 % stay within.
    #[serde(rename = "90th")]
    pub p90: u64,
    /// What 95 % stay within.
    #[serde(rename = "95th")]
    pub p95: u64,
    /// What 99 % stay within.
    #[serde(rename = "99th")]
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// The shortest.
    pub min: u64,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Volume {
    /// Of all requests.
    pub total: u64,
    /// Of one.
    #[serde(serialize_with = "as_go_does")]
    pub mean: f64,
}

/// What is corrected or added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Added {
    /// Requests a second without the bias: n requests have n - 1 gaps between them. 0 if that cannot be said.
    #[serde(serialize_with = "as_go_does")]
    pub rate: f64,
    /// How many succeeded.
    pub succeeded: u64,
    /// Latencies of what succeeded: refusals are quick, and make a median of everything better.
    pub latencies_ok: Latencies,
    /// Latencies of what failed.
    pub latencies_failed: Latencies,
    /// How many results had an error that is not among `errors`, because there are too many different ones.
    pub errors_left_out: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Metrics {
    /// Counts nothing yet.
    #[must_use]
    pub fn new(buckets: Option<Buckets>) -> Self {
        Self {
            requests: 0,
            bytes_in: 0,
            bytes_out: 0,
            span: None,
            ok: Times::new(),
            failed: Times::new(),
            codes: BTreeMap::new(),
            errors: Errors::default(),
            buckets,
        }
    }

    /// Counts a result.
    pub fn add(&mut self, record: &Record) {
        self.requests += 1;
        self.bytes_in = self.bytes_in.saturating_add(record.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(record.bytes_out);
        let sent = (record.timestamp, record.zone);
        let ended = (record.timestamp.saturating_add(record.latency).unwrap_or(Timestamp::MAX), record.zone);
        match &mut self.span {
            None => self.span = Some(Span { earliest: sent, latest: sent, end: ended }),
            Some(span) => {
                span.earliest = if sent.0 < span.earliest.0 { sent } else { span.earliest };
                span.latest = if sent.0 > span.latest.0 { sent } else { span.latest };
                span.end = if ended.0 > span.end.0 { ended } else { span.end };
            }
        }
        let latency = nanoseconds(record.latency);
        let times = if record.is_success() { &mut self.ok } else { &mut self.failed };
        times.add(latency);
        if let Some(buckets) = &mut self.buckets {
            buckets.add(latency);
        }
        *self.codes.entry(record.code).or_default() += 1;
        self.errors.add(&record.error);
    }

    /// How many results were counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn buckets(&self) -> Option<&Buckets> {
        self.buckets.as_ref()
    }

    /// The latency in nanoseconds that each of these shares of all results stays within, from 0 to 1.
    pub(super) fn quantiles(&self, shares: impl Iterator<Item = f64>) -> Vec<u64> {
        let all = self.all();
        shares.map(|share| all.quantile(share)).collect()
    }

    fn all(&self) -> Times {
        let mut all = Times::new();
        all.merge(&self.ok);
        all.merge(&self.failed);
        all
    }

    /// The figures so far.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 there is no difference that a report shows")]
    pub fn report(&self) -> Report {
        let requests = self.requests as f64;
        let between =
            |from: Moment, to: Moment| u64::try_from(to.0.as_nanosecond() - from.0.as_nanosecond()).unwrap_or_default();
        let (duration, wait) = self
            .span
            .as_ref()
            .map_or((0, 0), |span| (between(span.earliest, span.latest), between(span.latest, span.end)));
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        // vegeta's answer to a division by nothing.
        let per = |count: f64, time: f64| if duration == 0 { count } else { count / time };
        let share = |count: f64| if self.requests == 0 { 0.0 } else { count / requests };
        let succeeded = self.ok.histogram.len();
        let time = |of: fn(&Span) -> Moment| {
            let (at, zone) = self.span.as_ref().map_or((Timestamp::UNIX_EPOCH, Offset::UTC), of);
            time_text(at, zone)
        };
        Report {
            latencies: self.all().latencies(),
            buckets: self.buckets.clone(),
            bytes_in: Volume { total: self.bytes_in, mean: share(self.bytes_in as f64) },
            bytes_out: Volume { total: self.bytes_out, mean: share(self.bytes_out as f64) },
            earliest: time(|span| span.earliest),
            latest: time(|span| span.latest),
            end: time(|span| span.end),
            duration,
            wait,
            requests: self.requests,
            rate: per(requests, seconds(duration)),
            throughput: per(succeeded as f64, seconds(duration.saturating_add(wait))),
            success: share(succeeded as f64),
            status_codes: self.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
            errors: self.errors.order.clone(),
            steadfast: Added {
                rate: if duration == 0 { 0.0 } else { (requests - 1.0) / seconds(duration) },
                succeeded,
                latencies_ok: self.ok.latencies(),
                latencies_failed: self.failed.latencies(),
                errors_left_out: self.errors.left_out,
            },
        }
    }
}

impl Times {
    fn new() -> Self {
        let mut histogram = Histogram::new(DIGITS).expect("its digits are from 0 to 5");
        histogram.auto(true);
        Self { histogram, total: 0, min: u64::MAX, max: 0 }
    }

    fn add(&mut self, latency: u64) {
        // It resizes itself up to any value.
        let _ = self.histogram.record(latency);
        self.total = self.total.saturating_add(latency);
        self.min = self.min.min(latency);
        self.max = self.max.max(latency);
    }

    fn merge(&mut self, other: &Self) {
        let _ = self.histogram.add(&other.histogram);
        self.total = self.total.saturating_add(other.total);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// A bucket of the histogram may begin below the shortest and end above the longest.
    fn quantile(&self, share: f64) -> u64 {
        match share {
            _ if self.histogram.is_empty() => 0,
            0.0 => self.min,
            _ => self.histogram.value_at_quantile(share).clamp(self.min, self.max),
        }
    }

    fn latencies(&self) -> Latencies {
        if self.histogram.is_empty() {
            return Latencies::default();
        }
        Latencies {
            total: self.total,
            mean: self.total / self.histogram.len(),
            p50: self.quantile(0.50),
            p90: self.quantile(0.90),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            max: self.max,
            min: self.min,
        }
    }
}

impl Errors {
    fn add(&mut self, error: &str) {
        if error.is_empty() || self.order.last().is_some_and(|last| last == error) || self.seen.contains(error) {
            return;
        }
        if self.order.len() == MOST_ERRORS {
            self.left_out += 1;
            return;
        }
        self.order.push(error.to_owned());
        self.seen.insert(error.to_owned());
    }
}

/// Whole numbers without a point.
#[expect(clippy::cast_possible_truncation, reason = "it is below 2^53")]
fn as_go_does<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}
