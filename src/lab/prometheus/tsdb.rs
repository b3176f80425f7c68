//! Stored samples.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The labels of a series, its name under `__name__`.
pub(super) type Labels = BTreeMap<String, String>;

/// One sample: milliseconds since 1970, and the value.
pub(super) type Sample = (i64, f64);

/// The bits of the NaN that marks the end of a series, as Prometheus has it.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// How long samples are kept, in milliseconds.
const RETENTION: i64 = 2 * 60 * 60 * 1000;

/// All series. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tsdb {
    series: Arc<Mutex<BTreeMap<Labels, VecDeque<Sample>>>>,
}

impl Tsdb {
    fn series(&self) -> MutexGuard<'_, BTreeMap<Labels, VecDeque<Sample>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, labels: Labels, at: i64, value: f64) {
        let mut all = self.series();
        let samples = all.entry(labels).or_default();
        samples.push_back((at, value));
        while samples.front().is_some_and(|(first, _)| *first < at - RETENTION) {
            samples.pop_front();
        }
    }

    /// Marks the end of a series.
    pub(super) fn end(&self, labels: Labels, at: i64) {
        self.append(labels, at, f64::from_bits(STALE));
    }

    /// The series that a test accepts, with their samples from `first` to `last`, both included.
    pub(super) fn select(
        &self,
        accepts: impl Fn(&Labels) -> bool,
        first: i64,
        last: i64,
    ) -> Vec<(Labels, Vec<Sample>)> {
        let all = self.series();
        let chosen = all.iter().filter(|(labels, _)| accepts(labels));
        chosen
            .map(|(labels, samples)| {
                let within = samples.iter().filter(|(at, _)| (first..=last).contains(at)).copied().collect();
                (labels.clone(), within)
            })
            .collect()
    }
}

pub(super) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}
