//! A load in figures, and whether they are evidence.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Hit, PhasePart, Recording, Stats};
use crate::tolerance::{AsNumber, Time};

/// How late the generator may send, of 100 requests the latest but one, before it is no evidence.
const LATE: Duration = Duration::from_millis(100);

/// A latency: judged by durations, shown in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Latency(pub Duration);

impl AsNumber<Time> for Latency {
    fn number(&self) -> f64 {
        self.0.as_secs_f64()
    }

    fn shown(&self) -> String {
        format!("{:.1} ms", self.0.as_secs_f64() * 1000.0)
    }
}

/// Requests in figures. Latencies are in milliseconds, from the intended instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Requests sent.
    pub requests: u64,
    /// Those answered with a status below 400.
    pub succeeded: u64,
    /// How many ended in each way.
    pub outcomes: BTreeMap<String, u64>,
    /// The median.
    pub p50_ms: f64,
    /// What 95 % stay within.
    pub p95_ms: f64,
    /// What 99 % stay within.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// One part of a load, seen from one fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseSummary {
    /// The fault, as it describes itself.
    pub fault: String,
    /// The part.
    pub phase: PhasePart,
    /// Its requests.
    #[serde(flatten)]
    pub figures: Figures,
}

/// A load in figures. Latencies are in milliseconds, from the intended instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// All requests.
    #[serde(flatten)]
    pub figures: Figures,
    /// What half of them took once they were sent.
    pub service_p50_ms: f64,
    /// What 99 % of them took once they were sent.
    pub service_p99_ms: f64,
    /// What 99 % were sent late at most, for whatever reason.
    pub lateness_p99_ms: f64,
    /// The longest that one was sent late.
    pub lateness_max_ms: f64,
    /// What the generator itself was late for 99 %, at most.
    pub pacing_p99_ms: f64,
    /// How many were planned.
    pub planned: Option<u64>,
    /// How many of them were never sent.
    pub not_sent: u64,
    /// Why this load is no evidence, if it did not keep its plan.
    pub invalid: Option<String>,
    /// The parts before, during and after each fault, as far as requests were intended in them.
    pub phases: Vec<PhaseSummary>,
}

impl std::ops::Deref for Summary {
    type Target = Figures;

    fn deref(&self) -> &Figures {
        &self.figures
    }
}

impl Recording {
    /// The latency that `percent` of the requests stay within: exactly if all are kept, else to three digits.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Latency {
        self.percentile_of(&self.total(), percent, |_| true)
    }

    /// As [`percentile`](Self::percentile), of the requests before, during or after a fault.
    #[must_use]
    pub fn percentile_in(&self, fault: &str, part: PhasePart, percent: f64) -> Option<Latency> {
        let stats = self.stats_in(fault, part)?;
        Some(self.percentile_of(&stats, percent, |hit| self.part_of_all(fault, hit.intended) == Some(part)))
    }

    /// The requests before, during or after a fault; `None` if the load saw no such fault. One that was on several
    /// times counts each time: before the first, during any, after the last.
    #[must_use]
    pub fn stats_in(&self, fault: &str, part: PhasePart) -> Option<Stats> {
        self.faults.iter().find(|window| window.fault == fault)?;
        Some(self.sum(|at| self.part_of_all(fault, at) == Some(part)))
    }

    fn percentile_of(&self, stats: &Stats, percent: f64, within: impl Fn(&Hit) -> bool) -> Latency {
        if self.is_complete() {
            Latency(percentile(self.hits.iter().filter(|hit| within(hit)).map(Hit::latency), percent))
        } else {
            Latency(stats.latency.quantile(percent / 100.0))
        }
    }

    /// The requests of the spans that begin inside, with the median, 95 %, 99 % and the longest.
    pub(in crate::load) fn within(&self, inside: &dyn Fn(Duration) -> bool) -> (Stats, [Duration; 4]) {
        let stats = self.sum(inside);
        let latencies =
            [50.0, 95.0, 99.0, 100.0].map(|percent| self.percentile_of(&stats, percent, |hit| inside(hit.intended)).0);
        (stats, latencies)
    }

    fn figures(&self, stats: &Stats, within: impl Fn(&Hit) -> bool + Copy) -> Figures {
        let at = |percent| millis(self.percentile_of(stats, percent, within).0);
        Figures {
            requests: stats.requests(),
            succeeded: stats.succeeded(),
            outcomes: stats.outcomes.iter().map(|(outcome, count)| (outcome.name().into_owned(), *count)).collect(),
            p50_ms: at(50.0),
            p95_ms: at(95.0),
            p99_ms: at(99.0),
            max_ms: millis(stats.latency.max()),
        }
    }

    /// The share of good answers, from 0 to 1; 0 without any request.
    #[must_use]
    pub fn success_ratio(&self) -> f64 {
        self.total().success_ratio()
    }

    /// The share of the planned requests that were sent, from 0 to 1; 1 if there is no plan.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    pub fn rate_kept(&self) -> f64 {
        match self.planned {
            Some(planned) if planned > 0 => self.total().requests() as f64 / planned as f64,
            _ => 1.0,
        }
    }

    /// Why it is no evidence: the generator judges itself before it judges the system.
    #[must_use]
    pub fn invalid(&self) -> Option<String> {
        self.invalid_with(&self.total())
    }

    fn invalid_with(&self, total: &Stats) -> Option<String> {
        let (sent, pacing, late) = (total.requests(), self.pacing.quantile(0.99), total.lateness.quantile(0.99));
        if self.not_sent > 0 {
            let planned = self.planned.unwrap_or(sent + self.not_sent);
            return Some(format!(
                "{} of {planned} requests were not sent, as many others waited for a connection; allow more connections or a lower rate",
                self.not_sent
            ));
        }
        if pacing > LATE {
            return Some(format!("the generator woke up to {pacing:?} late; give it more processor"));
        }
        if late > LATE {
            return Some(format!(
                "1 of 100 requests waited {late:?} or longer for a free connection; allow more connections"
            ));
        }
        match self.planned {
            Some(planned) if sent < planned && !self.stopped => {
                Some(format!("{sent} of {planned} requests were sent; the generator did not end its plan"))
            }
            _ => None,
        }
    }

    /// The figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let total = self.total();
        let mut phases = Vec::new();
        for fault in &self.faults {
            for part in PhasePart::ALL {
                let within = |hit: &Hit| self.part(fault, hit.intended) == part;
                let stats = self.sum(|at| self.part(fault, at) == part);
                if stats.requests() > 0 {
                    let figures = self.figures(&stats, within);
                    phases.push(PhaseSummary { fault: fault.fault.clone(), phase: part, figures });
                }
            }
        }
        Summary {
            figures: self.figures(&total, |_| true),
            service_p50_ms: millis(total.service.quantile(0.5)),
            service_p99_ms: millis(total.service.quantile(0.99)),
            lateness_p99_ms: millis(total.lateness.quantile(0.99)),
            lateness_max_ms: millis(total.lateness.max()),
            pacing_p99_ms: millis(self.pacing.quantile(0.99)),
            planned: self.planned,
            not_sent: self.not_sent,
            invalid: self.invalid_with(&total),
            phases,
        }
    }
}

/// Microseconds are exact enough, and free of what floating point adds.
fn millis(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).round() / 1000.0
}

/// The smallest value that `percent` of all are at most.
fn percentile(values: impl Iterator<Item = Duration>, percent: f64) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
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
}
