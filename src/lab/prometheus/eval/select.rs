//! Selectors, ranges and subqueries: from stored samples to steps and windows.

use promql_parser::parser::{Expr, VectorSelector};

use super::{Engine, SUBQUERY_STEP, Series, Shift, Steps, execution, millis};
use crate::lab::prometheus::promql::{Refusal, matchers};
use crate::lab::prometheus::tsdb::{Labels, Sample, Samples, is_stale};

/// Series with the samples that windows are cut from.
pub(super) struct Ranged {
    series: Vec<(Labels, Source)>,
    /// The width of a window, in milliseconds.
    pub(super) range: i64,
    shift: Shift,
}

enum Source {
    Stored(Samples),
    Computed(Vec<Sample>),
}

/// The samples of one series from `first` to `last`, both included.
pub(super) struct Window<'a> {
    pub(super) samples: &'a [Sample],
    pub(super) first: i64,
    pub(super) last: i64,
    /// The step's number, and its time.
    pub(super) step: usize,
    pub(super) at: i64,
}

impl Engine<'_> {
    /// The newest sample at each step, unless it is too old or marks an end.
    pub(super) fn select(&self, selector: &VectorSelector) -> Result<Vec<Series>, Refusal> {
        self.newest(selector, |_, value| value)
    }

    /// A function of the time (in milliseconds) and the value of the newest sample at each step.
    pub(super) fn newest(
        &self,
        selector: &VectorSelector,
        of: impl Fn(i64, f64) -> f64,
    ) -> Result<Vec<Series>, Refusal> {
        let shift = self.shift(selector.at.as_ref(), selector.offset.as_ref());
        let (begin, end) = (shift.time(self.steps.first), shift.time(self.steps.last()));
        let mut found = Vec::new();
        let mut samples = Vec::new();
        for (labels, stored) in self.tsdb.select(&matchers(selector)) {
            stored.copy_within(begin.saturating_sub(self.terms.lookback), end, &mut samples);
            if samples.is_empty() {
                continue;
            }
            let mut points = Vec::with_capacity(self.steps.count);
            let mut next = 0;
            for step in 0..self.steps.count {
                let at = shift.time(self.steps.time(step));
                while samples.get(next).is_some_and(|(time, _)| *time <= at) {
                    next += 1;
                }
                let Some((time, value)) = next.checked_sub(1).map(|newest| samples[newest]) else { continue };
                if time >= at.saturating_sub(self.terms.lookback) && !is_stale(value) {
                    points.push((number(step), of(time, value)));
                }
            }
            self.hold(points.len())?;
            if !points.is_empty() {
                found.push(Series { labels, points });
            }
        }
        Ok(found)
    }

    /// The samples that a range vector's windows are cut from.
    pub(super) fn ranged(&self, expr: &Expr) -> Result<Ranged, Refusal> {
        match expr {
            Expr::Paren(inner) => self.ranged(&inner.expr),
            Expr::MatrixSelector(selector) => {
                let shift = self.shift(selector.vs.at.as_ref(), selector.vs.offset.as_ref());
                let found = self.tsdb.select(&matchers(&selector.vs)).into_iter();
                let series = found.map(|(labels, samples)| (labels, Source::Stored(samples))).collect();
                Ok(Ranged { series, range: millis(selector.range), shift })
            }
            Expr::Subquery(subquery) => {
                let shift = self.shift(subquery.at.as_ref(), subquery.offset.as_ref());
                let range = millis(subquery.range);
                let step = subquery.step.map_or(SUBQUERY_STEP, millis).max(1);
                let begin = shift.time(self.steps.first).saturating_sub(range);
                let end = shift.time(self.steps.last());
                // The steps are multiples of the step, whenever the query is asked.
                let first = begin.div_euclid(step) * step;
                let first = if first < begin { first + step } else { first };
                let count =
                    if end < first { 0 } else { usize::try_from((end - first) / step + 1).unwrap_or(usize::MAX) };
                self.hold(count)?;
                let inner = Engine { steps: Steps { first, step, count }, ..*self };
                let timed = |series: Series| {
                    let points = series.points.into_iter();
                    let samples = points.map(|(n, value)| (inner.steps.time(n as usize), value)).collect();
                    (series.labels, Source::Computed(samples))
                };
                let series =
                    if count == 0 { vec![] } else { inner.vector(&subquery.expr)?.into_iter().map(timed).collect() };
                Ok(Ranged { series, range, shift })
            }
            _ => execution("no range vector where one must be"),
        }
    }

    /// A value of each window that holds a sample, unless there is none. The labels are for the caller to change.
    pub(super) fn over_windows(
        &self,
        ranged: Ranged,
        mut of: impl FnMut(&Window<'_>) -> Option<f64>,
    ) -> Result<Vec<Series>, Refusal> {
        let Ranged { series, range, shift } = ranged;
        let (begin, end) = (shift.time(self.steps.first), shift.time(self.steps.last()));
        let mut found = Vec::new();
        let mut samples = Vec::new();
        for (labels, source) in series {
            match source {
                Source::Stored(stored) => stored.copy_within(begin.saturating_sub(range), end, &mut samples),
                Source::Computed(computed) => samples = computed,
            }
            samples.retain(|(_, value)| !is_stale(*value));
            self.hold(samples.len())?;
            let (mut low, mut high) = (0, 0);
            let mut points = Vec::new();
            for step in 0..self.steps.count {
                let at = self.steps.time(step);
                let last = shift.time(at);
                let first = last.saturating_sub(range);
                while samples.get(low).is_some_and(|(time, _)| *time < first) {
                    low += 1;
                }
                while samples.get(high).is_some_and(|(time, _)| *time <= last) {
                    high += 1;
                }
                if low < high
                    && let Some(value) = of(&Window { samples: &samples[low..high], first, last, step, at })
                {
                    points.push((number(step), value));
                }
            }
            self.hold(points.len())?;
            if !points.is_empty() {
                found.push(Series { labels, points });
            }
        }
        Ok(found)
    }

    /// The raw samples of a range vector at the first step.
    pub(super) fn matrix(&self, expr: &Expr) -> Result<Vec<(Labels, Vec<Sample>)>, Refusal> {
        let mut cut = Vec::new();
        let series = self.over_windows(self.ranged(expr)?, |window| {
            cut.push(window.samples.to_vec());
            Some(0.0)
        })?;
        Ok(series.into_iter().map(|series| series.labels).zip(cut).collect())
    }
}

/// The number of a step, as points hold it.
#[expect(clippy::cast_possible_truncation, reason = "steps are bounded by the most samples of a query")]
pub(super) fn number(step: usize) -> u32 {
    step as u32
}
