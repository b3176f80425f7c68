//! What is drawn of one load: single requests, intervals, faults.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::page::chart::{Interval, Intervals};
use crate::page::scale::time_step;

/// Outcomes that are told apart; further ones are drawn as one.
const MOST_OUTCOMES: usize = 8;

/// Intervals of the lower panels, at most.
pub(super) const MOST_INTERVALS: u16 = 240;

/// A request as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// Nanoseconds from the load's start to the instant that the latency counts from.
    pub at: u64,
    /// The latency in nanoseconds.
    pub latency: u64,
    /// The outcome, an index.
    pub outcome: usize,
}

/// One load, or one attack of a result file.
pub(crate) struct Series {
    pub(super) name: String,
    pub(super) facts: Vec<(String, String)>,
    pub(super) warning: Option<String>,
    pub(super) points: Vec<Point>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) bands: Vec<Band>,
    pub(super) phases: Vec<Phase>,
    intervals: Option<Intervals>,
}

/// A kind of outcome: `200`, `time-out`.
pub(super) struct Outcome {
    pub name: String,
    pub good: bool,
    pub count: u64,
}

/// A fault, in seconds from the load's start.
pub(super) struct Band {
    pub name: String,
    pub from: f64,
    pub to: Option<f64>,
}

/// An outcome's name, whether it is good, and how many requests had it.
pub(crate) type Count<N> = (N, bool, u64);

/// A row of the table of phases.
pub(crate) struct Phase {
    /// `before`, `during deny ingress …`.
    pub(crate) name: String,
    /// Requests.
    pub(crate) requests: u64,
    /// The share of good answers.
    pub(crate) success: f64,
    /// Median, 95 %, 99 % and the longest.
    pub(crate) latencies: [Duration; 4],
}

impl Series {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            facts: Vec::new(),
            warning: None,
            points: Vec::new(),
            outcomes: Vec::new(),
            bands: Vec::new(),
            phases: Vec::new(),
            intervals: None,
        }
    }

    /// A figure above the drawing.
    pub(crate) fn fact(&mut self, term: &str, value: impl Into<String>) {
        self.facts.push((term.to_owned(), value.into()));
    }

    /// Why this load is no evidence.
    pub(crate) fn warn(&mut self, why: impl Into<String>) {
        self.warning = Some(why.into());
    }

    /// A request: when it was to be sent, from the load's start, and how it went.
    pub(crate) fn add(&mut self, at: Duration, latency: Duration, outcome: &str, good: bool) {
        let outcome = self.outcome(outcome, good);
        self.outcomes[outcome].count += 1;
        self.points.push(Point { at: nanos(at), latency: nanos(latency), outcome });
    }

    /// Figures of all requests, where those that were [added](Self::add) are a sample: for each interval of a length
    /// how many ended in each way, and the median, 90 %, 99 % and the longest.
    pub(crate) fn count_by<N: AsRef<str>>(
        &mut self,
        length: Duration,
        rows: impl Iterator<Item = (Vec<Count<N>>, Option<[Duration; 4]>)>,
    ) {
        self.outcomes.iter_mut().for_each(|outcome| outcome.count = 0);
        let mut all = Vec::new();
        for (outcomes, latencies) in rows {
            let mut counts = Vec::new();
            for (name, good, count) in outcomes {
                let outcome = self.outcome(name.as_ref(), good);
                self.outcomes[outcome].count += count;
                counts.resize(counts.len().max(outcome + 1), 0);
                counts[outcome] += count;
            }
            all.push(Interval { counts, latencies: latencies.map(|latencies| latencies.map(nanos)) });
        }
        all.iter_mut().for_each(|row| row.counts.resize(self.outcomes.len(), 0));
        self.intervals = Some(Intervals { from: 0.0, width: length.as_secs_f64(), rows: all });
    }

    /// A fault, shaded from `from` to `to`, or to the end.
    pub(crate) fn band(&mut self, name: &str, from: f64, to: Option<f64>) {
        self.bands.push(Band { name: name.to_owned(), from, to });
    }

    /// A row of the table of phases.
    pub(crate) fn phase(&mut self, phase: Phase) {
        self.phases.push(phase);
    }

    fn outcome(&mut self, name: &str, good: bool) -> usize {
        if let Some(known) = self.outcomes.iter().position(|outcome| outcome.name == name && outcome.good == good) {
            return known;
        }
        if self.outcomes.len() == MOST_OUTCOMES - 1 {
            self.outcomes.push(Outcome { name: "other".to_owned(), good: false, count: 0 });
        }
        if self.outcomes.len() == MOST_OUTCOMES {
            return MOST_OUTCOMES - 1;
        }
        self.outcomes.push(Outcome { name: name.to_owned(), good, count: 0 });
        self.outcomes.len() - 1
    }

    /// Puts good outcomes first: they are drawn below the others, and in the first colour.
    pub(super) fn good_first(&mut self) {
        let mut order: Vec<usize> = (0..self.outcomes.len()).collect();
        order.sort_by_key(|number| !self.outcomes[*number].good);
        for point in &mut self.points {
            point.outcome = order.iter().position(|old| *old == point.outcome).unwrap_or(point.outcome);
        }
        for row in self.intervals.iter_mut().flat_map(|intervals| &mut intervals.rows) {
            row.counts = order.iter().map(|old| row.counts[*old]).collect();
        }
        self.outcomes.sort_by_key(|outcome| !outcome.good);
    }

    /// The requests of the longest latencies, the longest first.
    pub(super) fn slowest(&self, most: usize) -> Vec<Point> {
        let mut slowest = self.points.clone();
        let by = |one: &Point, other: &Point| other.latency.cmp(&one.latency).then(one.at.cmp(&other.at));
        if slowest.len() > most {
            slowest.select_nth_unstable_by(most, by);
            slowest.truncate(most);
        }
        slowest.sort_by(by);
        slowest
    }

    /// When the last request was to be sent, in seconds.
    pub(super) fn end(&self) -> f64 {
        self.points.iter().map(|point| point.at).max().map_or(0.0, seconds)
    }

    /// The figures by interval, of intervals that suit a drawing of `end` seconds.
    pub(super) fn intervals(&mut self, end: f64) -> &Intervals {
        let made = self.intervals.take().unwrap_or_else(|| self.made_intervals(end));
        self.intervals.insert(made)
    }

    /// The length of intervals that suit a drawing of `end` seconds.
    pub(super) fn width(&self, end: f64) -> f64 {
        if let Some(made) = &self.intervals {
            return made.width;
        }
        // A second where there are few requests: a rate is read by the second.
        let dense = self.points.len() > 20_000;
        time_step(end.max(0.001), MOST_INTERVALS.into()).max(if dense { 0.001 } else { time_step(end.min(1.0), 1.0) })
    }

    fn made_intervals(&self, end: f64) -> Intervals {
        let width = self.width(end);
        let mut rows: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
        for point in &self.points {
            rows.entry(index(point.at, width)).or_default().push((point.latency, point.outcome));
        }
        let count = rows.last_key_value().map_or(0, |(last, _)| last + 1);
        let mut intervals = vec![Interval { counts: vec![0; self.outcomes.len()], latencies: None }; count];
        for (number, mut requests) in rows {
            let interval = &mut intervals[number];
            for (_, outcome) in &requests {
                interval.counts[*outcome] += 1;
            }
            requests.sort_unstable();
            let at = |percent: usize| requests[(requests.len() * percent).div_ceil(100).max(1) - 1].0;
            interval.latencies = Some([at(50), at(90), at(99), at(100)]);
        }
        Intervals { from: 0.0, width, rows: intervals }
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a place on the page")]
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an instant is positive")]
fn index(nanos: u64, width: f64) -> usize {
    // An instant on a border belongs to what follows it, whatever binary fractions make of it.
    (seconds(nanos) / width + 1e-9) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_count_each_request_once() {
        let mut series = Series::new("n");
        for number in 0..100_u32 {
            let (late, status) = if number % 10 == 9 { (1000, "time-out") } else { (u64::from(number), "200") };
            series.add(
                Duration::from_millis(u64::from(number) * 100),
                Duration::from_millis(late),
                status,
                late < 1000,
            );
        }
        let intervals = series.intervals(10.0);
        assert_eq!((intervals.width, intervals.rows.len()), (1.0, 10));
        assert!(intervals.rows.iter().all(|row| row.counts == [9, 1]), "each second has ten");
        assert_eq!(intervals.rows[0].latencies, Some([4, 8, 1000, 1000].map(|millis: u64| millis * 1_000_000)));
    }

    #[test]
    fn a_thousand_kinds_of_outcome_are_a_few() {
        let mut series = Series::new("n");
        for number in 0..1000 {
            series.add(Duration::ZERO, Duration::ZERO, &format!("error {number}"), false);
        }
        assert_eq!(series.outcomes.len(), MOST_OUTCOMES);
        assert_eq!(series.outcomes.iter().map(|outcome| outcome.count).sum::<u64>(), 1000);
        assert_eq!(series.outcomes[MOST_OUTCOMES - 1].name, "other");
    }
}
