//! What a load recorded: counted by thread, merged at the end, of bounded size however long the load was.
//!
//! Recordings of the n shares of one plan merge into exactly the recording of the whole: histograms, counts,
//! phases, rows, and the sample of single requests.

mod histogram;
mod hit;
mod live;
mod phases;
mod sample;
mod seconds;
mod spans;
mod stats;
mod summary;
mod tally;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::journal::FaultWindow;

pub use histogram::Histogram;
pub use hit::{Class, Hit, Outcome};
pub(super) use live::Recorder;
pub use phases::{FaultPhases, PhasePart};
pub use sample::KEPT;
pub use seconds::{Row, Rows};
pub use spans::Span;
pub use stats::Stats;
pub use summary::{Figures, Latency, PhaseSummary, Summary};
pub(super) use tally::Tallies;

/// The most different error texts that are kept.
const ERRORS: usize = 64;

/// One run of a load, or of one share of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recording {
    /// The load's name.
    pub name: String,
    /// When it began.
    pub started: Timestamp,
    /// The requests intended for each second, on average; 0 for a closed model.
    pub rate: f64,
    /// How many requests were planned; `None` for a closed model and a load without an end.
    pub planned: Option<u64>,
    /// How long requests were intended.
    pub lasting: Duration,
    /// The requests in the order of their numbers: all of them up to [`KEPT`], else an even part.
    pub hits: Vec<Hit>,
    /// The load over time.
    pub seconds: Rows,
    /// Counts and histograms between the instants at which faults began and ended.
    pub spans: Vec<Span>,
    /// How late the generator woke for its requests: its own fault alone.
    pub pacing: Histogram,
    /// Planned requests that were never sent since too many others were waiting.
    pub not_sent: u64,
    /// Requests sent again on a new connection since the server had just closed theirs.
    pub retries: u64,
    /// Connections opened.
    pub connections: u64,
    /// Records of single requests that nobody took in time.
    pub records_lost: u64,
    /// Whether it was ended before its plan's end.
    pub stopped: bool,
    /// The texts of errors, each with its count; of many the first by name.
    pub errors: BTreeMap<String, u64>,
    /// How many more errors there were.
    pub other_errors: u64,
    /// The faults that were on before or during the load.
    pub faults: Vec<FaultWindow>,
}

/// Two recordings that are no parts of one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the recordings of {0} are no parts of one load: {1}")]
pub struct NoParts(String, String);

impl Recording {
    /// Everything in one.
    #[must_use]
    pub fn total(&self) -> Stats {
        self.sum(|_| true)
    }

    /// The requests of the spans that begin at such instants.
    fn sum(&self, inside: impl Fn(Duration) -> bool) -> Stats {
        let mut sum = Stats::default();
        self.spans.iter().filter(|span| inside(span.from)).for_each(|span| sum.merge(&span.stats));
        sum
    }

    /// Whether each request is among the [`hits`](Self::hits).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.spans.iter().map(|span| span.stats.requests()).sum::<u64>() == self.hits.len() as u64
    }

    /// The requests to draw: those kept, and the slowest of each row, in the order of their numbers.
    #[must_use]
    pub fn drawn(&self) -> Vec<Hit> {
        let mut hits = self.hits.clone();
        hits.extend(self.seconds.rows.iter().filter_map(|row| row.slowest));
        hits.sort_by_key(|hit| hit.number);
        hits.dedup_by_key(|hit| hit.number);
        hits
    }

    /// Adds another share of the same plan.
    ///
    /// # Errors
    /// They are of different plans, or one does not know of a fault in whose midst the other's requests lie.
    pub fn merge(&mut self, other: &Self) -> Result<(), NoParts> {
        let unlike = |what: &str| NoParts(self.name.clone(), what.to_owned());
        if self.name != other.name {
            return Err(unlike(&format!("the other is of {}", other.name)));
        }
        if self.lasting != other.lasting || self.planned.is_some() != other.planned.is_some() {
            return Err(unlike("their plans differ"));
        }
        if self.rate.total_cmp(&other.rate).is_ne() {
            return Err(unlike("their rates differ"));
        }
        spans::merge(&mut self.spans, &other.spans).map_err(|why| NoParts(self.name.clone(), why))?;
        self.started = self.started.min(other.started);
        self.planned = self.planned.zip(other.planned).map(|(one, two)| one + two);
        let mut sample = sample::Sample::of(&self.hits);
        other.hits.iter().for_each(|hit| sample.record(hit));
        self.hits = sample.hits();
        self.seconds.merge(&other.seconds);
        self.pacing.merge(&other.pacing);
        self.not_sent += other.not_sent;
        self.retries += other.retries;
        self.connections += other.connections;
        self.records_lost += other.records_lost;
        self.stopped |= other.stopped;
        self.other_errors += other.other_errors;
        for (text, count) in &other.errors {
            self.error(text, *count);
        }
        for fault in &other.faults {
            match self.faults.iter_mut().find(|f| f.fault == fault.fault && f.requested == fault.requested) {
                None => self.faults.push(fault.clone()),
                Some(known) if known.undone.is_none() => *known = fault.clone(),
                Some(_) => {}
            }
        }
        self.faults.sort_by_key(|fault| fault.requested);
        Ok(())
    }

    /// Counts an error. Which texts are kept does not depend on their order.
    fn error(&mut self, text: &str, count: u64) {
        if let Some(known) = self.errors.get_mut(text) {
            *known += count;
            return;
        }
        self.errors.insert(text.to_owned(), count);
        if self.errors.len() > ERRORS
            && let Some((_, dropped)) = self.errors.pop_last()
        {
            self.other_errors += dropped;
        }
    }
}

/// Maps with outcomes as keys, stored as pairs: a key of JSON is a text.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Outcome;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Outcome, u64>, serializer: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Outcome, u64>, D::Error> {
        Ok(Vec::<(Outcome, u64)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
