//! Two runs of one experiment side by side: what became worse or better, and what cannot be told.
//!
//! Called by the command and by tests. It promises: a run compared with itself is no regression; what is better one way
//! round is worse the other way round; nothing is worse or better unless it differs by more than its noise; and what has
//! no evidence in one of the runs is told as not known, never as unchanged.
//!
//! A single run shows no spread between runs. Its noise is what it shows of itself: how far the middle half of its
//! stretches of time reaches, and what chance leaves open in so many requests or counted events. A machine that is slower
//! all day than the one of the other run is not in it.

mod figures;
mod gate;
mod gauges;
mod noise;
mod outcomes;
mod told;

use std::fmt;

use serde::Serialize;

use crate::clock::{Seed, Time, Timestamp};
use crate::journal::Journal;

pub use gate::{BadLimit, Decision, Kind, Limits};
pub use noise::Reading;

/// The version of the JSON form; it grows when a field goes or means something else.
pub const COMPARISON_VERSION: u32 = 1;

/// What changed from one run of an experiment to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "a comparison that nobody reads gates nothing: ask for its `decision(..)`"]
pub struct Comparison {
    /// The version of this form.
    pub schema_version: u32,
    /// The experiment of both.
    pub experiment: String,
    /// The run that is compared with.
    pub old: RunName,
    /// The run that is judged.
    pub new: RunName,
    /// What else is not the same: seed, cluster, hypothesis, steps. Each in words.
    pub differences: Vec<String>,
    /// What was compared.
    pub rows: Vec<Row>,
}

/// Which run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunName {
    /// Its name.
    pub run: String,
    /// What its random choices derive from.
    pub seed: Seed,
    /// Its cluster.
    pub cluster: String,
    /// Virtual or real time.
    pub time: Time,
    /// When it started.
    pub started: Timestamp,
}

impl RunName {
    fn of(journal: &Journal) -> Self {
        let Journal { run, seed, cluster, time, started, .. } = journal;
        Self { run: run.clone(), seed: *seed, cluster: cluster.clone(), time: *time, started: *started }
    }
}

/// One thing that both runs may show.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What is compared.
    pub figure: Figure,
    /// Of what: a load in a part of the run, a check in a phase; empty for the run itself.
    pub subject: String,
    /// What the old run shows, if it does.
    pub old: Option<Shown>,
    /// What the new run shows, if it does.
    pub new: Option<Shown>,
    /// The change of a number relative to the old one; `None` for words, for what is not known, and from 0.
    pub change: Option<f64>,
    /// By how much it may change in this direction without meaning anything, in the number's own unit.
    pub noise: Option<f64>,
    /// What that means.
    #[serde(flatten)]
    pub meaning: Meaning,
}

/// What a run shows: a word or a number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// `met`, `complete`.
    Word(String),
    /// A number, and between which bounds it may lie.
    Number(Reading),
}

/// What a change means.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "meaning", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Meaning {
    /// There is none.
    Same,
    /// It is no greater than the noise.
    WithinNoise,
    /// It is worse, beyond the noise.
    Worse,
    /// It is better, beyond the noise.
    Better,
    /// It is another one beyond the noise, of which nobody said what is better.
    Changed,
    /// There is no telling.
    Unknown {
        /// Why.
        why: String,
        /// Whether a gate cannot be decided without it. What neither run could show does not keep it from that.
        decides: bool,
    },
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Figure {
    /// The verdict.
    Verdict,
    /// Whether the hypothesis held again after the rollback.
    Recovered,
    /// What became of the changes.
    Rollback,
    /// What a check came to, the worst of a phase.
    Check,
    /// From the last undo until the hypothesis was known to hold again, at the most; in seconds.
    RecoveryTime,
    /// A load as a whole, where it cannot be compared in parts.
    Load,
    /// The latency that half of the requests stay within, in milliseconds.
    P50,
    /// What 95 % stay within.
    P95,
    /// What 99 % stay within.
    P99,
    /// The share of good answers, from 0 to 1.
    Success,
    /// Requests a second.
    Throughput,
    /// By how much a check's counters grew.
    Growth,
    /// A check's ratio of two growths.
    Ratio,
    /// The median of what a check's series, which go up and down, were worth.
    Gauge,
}

impl Figure {
    /// Its name in a sentence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Recovered => "recovered",
            Self::Rollback => "rollback",
            Self::Check => "check",
            Self::RecoveryTime => "recovery time",
            Self::Load => "load",
            Self::P50 => "p50 latency",
            Self::P95 => "p95 latency",
            Self::P99 => "p99 latency",
            Self::Success => "success ratio",
            Self::Throughput => "throughput",
            Self::Growth => "growth",
            Self::Ratio => "ratio",
            Self::Gauge => "gauge",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::P50 | Self::P95 | Self::P99 => " ms",
            Self::RecoveryTime => " s",
            Self::Throughput => "/s",
            _ => "",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Two runs that are not of one experiment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runs are of different experiments, {old:?} and {new:?}; name a journal of the same one")]
pub struct OtherExperiment {
    /// The one of the old run.
    pub old: String,
    /// The one of the new run.
    pub new: String,
}

impl Journal {
    /// What changed since an older run of the same experiment.
    ///
    /// # Errors
    /// It is of another experiment.
    pub fn compared_with(&self, old: &Self) -> Result<Comparison, OtherExperiment> {
        if self.experiment != old.experiment {
            return Err(OtherExperiment { old: old.experiment.clone(), new: self.experiment.clone() });
        }
        let mut rows = outcomes::rows(old, self);
        rows.extend(figures::rows(old, self));
        Ok(Comparison {
            schema_version: COMPARISON_VERSION,
            experiment: self.experiment.clone(),
            old: RunName::of(old),
            new: RunName::of(self),
            differences: outcomes::differences(old, self),
            rows,
        })
    }
}

impl Row {
    fn unknown(figure: Figure, subject: &str, (old, new): (Option<Shown>, Option<Shown>), why: String) -> Self {
        let meaning = Meaning::Unknown { why, decides: true };
        Self { figure, subject: subject.to_owned(), old, new, change: None, noise: None, meaning }
    }
}

#[cfg(test)]
mod tests;
