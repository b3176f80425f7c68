//! What was measured while a run went on: for reports. No verdict rests on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;

/// The most samples of one series, and the most stretches of one load; of more, the least and the greatest of each
/// stretch of time are kept.
pub const MOST_SAMPLES: usize = 1000;

/// The most series of one run.
pub const MOST_SERIES: usize = 200;

/// What was measured while a run went on, of bounded size however long it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// The loads over time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<LoadSeries>,
    /// The series that the hypothesis and the safeguards look at, from before the run to its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<MetricSeries>,
    /// What the cluster itself reported, such as a killed container, in the order of time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster_events: Vec<ClusterEvent>,
    /// Logs that the run collected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogExcerpt>,
    /// What of it could not be had, in words: `events of namespace shop: forbidden`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Telemetry {
    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One load over time, its requests counted where they were intended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadSeries {
    /// The load's name, as in its step.
    pub load: String,
    /// When its first request was intended.
    pub started: Timestamp,
    /// The seconds of one stretch.
    pub width: f64,
    /// How its requests ended: `200`, `503`, `time-out`.
    pub outcomes: Vec<LoadOutcome>,
    /// The stretches, from `started` on, empty ones too.
    pub rows: Vec<LoadRow>,
    /// What its step would have returned, of a load that is no step of its own, as an attack of a document: its figures
    /// as a whole, and before, during and after each fault.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub figures: Value,
}

/// One way in which requests ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOutcome {
    /// Its name: `200`, `time-out`.
    pub name: String,
    /// Whether it counts as a success.
    pub success: bool,
}

/// The requests intended in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadRow {
    /// How many ended in each way, in the order of [`LoadSeries::outcomes`].
    pub counts: Vec<u64>,
    /// Median, 95 %, 99 % and the longest latency in milliseconds, from the intended instant on; `None` without requests.
    pub latencies_ms: Option<[f64; 4]>,
}

/// One series of a metrics server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    /// The query or selector.
    pub query: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The checks that look at it, as they describe themselves.
    pub checks: Vec<String>,
    /// Whether it counts: then a fall is a reset.
    pub counter: bool,
    /// What a check expects of the values as they are drawn, where that is a line: an upper or a lower bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bound>,
    /// The time between two samples in seconds, as far as known: a longer one is a gap.
    pub interval: Option<f64>,
    /// The samples: seconds since the run's start (less than 0 before it), and the value; `None` where it ended or is no number.
    pub samples: Vec<(f64, Option<f64>)>,
}

/// A line that values should not cross.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Where it lies.
    pub value: f64,
    /// What it means: `at most 0.5`.
    pub meaning: String,
}

/// What the cluster itself reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEvent {
    /// When it was last seen.
    pub at: Timestamp,
    /// What it is about: `pod shop/back-7d9f`.
    pub object: String,
    /// Kubernetes' short reason: `Killing`, `BackOff`.
    pub reason: String,
    /// Whether the cluster calls it a warning.
    pub warning: bool,
    /// Its text.
    pub message: String,
    /// How often it was seen.
    pub count: u64,
}

/// Lines of one container's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogExcerpt {
    /// Where from: `pod shop/back-7d9f, container back`.
    pub source: String,
    /// The lines, each with its time where that is known.
    pub lines: Vec<LogLine>,
    /// How many lines before these are left out.
    pub left_out: u64,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// The line.
    pub text: String,
}
