//! What is counted of any set of requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::hit::{Hit, Outcome};
use super::pairs;

/// A set of requests in counts and histograms. The sets' sum is the set of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// How many ended in each way.
    #[serde(with = "pairs")]
    pub outcomes: BTreeMap<Outcome, u64>,
    /// From the intended instant to the end.
    pub latency: Histogram,
    /// From the sending to the end.
    pub service: Histogram,
    /// From the intended instant to the sending.
    pub lateness: Histogram,
    /// The bytes of the answers' bodies.
    pub bytes_in: u64,
    /// The bytes of the requests' bodies.
    pub bytes_out: u64,
}

impl Stats {
    pub(super) fn record(&mut self, hit: &Hit) {
        *self.outcomes.entry(hit.outcome).or_default() += 1;
        self.latency.record(hit.latency());
        self.service.record(hit.service());
        self.lateness.record(hit.lateness());
        self.bytes_in += hit.bytes;
        self.bytes_out += hit.bytes_out;
    }

    /// Adds another set.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.outcomes, &other.outcomes);
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.lateness.merge(&other.lateness);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }

    /// How many requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        all(&self.outcomes)
    }

    /// How many had a status below 400.
    #[must_use]
    pub fn succeeded(&self) -> u64 {
        good(&self.outcomes)
    }

    /// The share of good answers, from 0 to 1; 0 without any request.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    pub fn success_ratio(&self) -> f64 {
        let all = self.requests();
        if all == 0 { 0.0 } else { self.succeeded() as f64 / all as f64 }
    }
}

/// How many requests ended in each way.
type Outcomes = BTreeMap<Outcome, u64>;

pub(super) fn add(outcomes: &mut Outcomes, others: &Outcomes) {
    for (outcome, count) in others {
        *outcomes.entry(*outcome).or_default() += count;
    }
}

pub(super) fn all(outcomes: &Outcomes) -> u64 {
    outcomes.values().sum()
}

pub(super) fn good(outcomes: &Outcomes) -> u64 {
    outcomes.iter().filter(|(outcome, _)| outcome.is_success()).map(|(_, count)| count).sum()
}
