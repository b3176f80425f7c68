//! Evaluates queries: walks the parser's tree over the stored samples, each series over all steps at once.
//!
//! The arithmetic, the windows (closed on the left) and the texts of errors are those of Prometheus 2.42.

mod aggregate;
mod binary;
mod dates;
mod functions;
mod histogram;
mod labels;
mod range;
mod select;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::{AtModifier, Expr, Offset};

use super::promql::{Query, Refusal, Type};
use super::tsdb::{Labels, Sample, Tsdb};
use crate::clock::Stopwatch;

/// How far back an instant looks for a sample unless the query says so itself, in milliseconds.
pub(super) const LOOKBACK: i64 = 5 * 60 * 1000;

/// The step of a subquery that names none, in milliseconds: the real one's default evaluation interval.
const SUBQUERY_STEP: i64 = 60 * 1000;

/// The most samples that a query may hold at once: two fifths of the real one's, for they are all held.
pub(super) const MOST_SAMPLES: u64 = 20_000_000;

/// How long a query may take unless it says so itself.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// The instants that an expression is evaluated at, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub(super) first: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Steps {
    pub(super) fn instant(at: i64) -> Self {
        Self { first: at, step: 1, count: 1 }
    }

    #[expect(clippy::cast_possible_wrap, reason = "counts of steps are small")]
    fn time(&self, n: usize) -> i64 {
        self.first + self.step * n as i64
    }

    fn last(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }
}

/// A series with a value at some of the steps, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// The number of the step, and the value.
    pub(super) points: Vec<(u32, f64)>,
}

/// What an expression is worth at all steps.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Series>),
    String(String),
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Scalar(f64),
    String(String),
    Vector(Vec<(Labels, f64)>),
    Matrix(Vec<(Labels, Vec<Sample>)>),
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) samples: u64,
}

/// How long a query may take, since when, and how far back an instant looks for a sample.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) since: Stopwatch,
    pub(super) timeout: Duration,
    /// In milliseconds.
    pub(super) lookback: i64,
}

impl Terms {
    pub(super) fn of(timeout: Duration) -> Self {
        Self { since: Stopwatch::start(), timeout, lookback: LOOKBACK }
    }
}

/// Where and when expressions are evaluated.
struct Engine<'a> {
    tsdb: &'a Tsdb,
    /// What `start()` and `end()` are.
    bounds: (i64, i64),
    terms: Terms,
    samples: &'a Cell<u64>,
    steps: Steps,
}

/// The worth of a query at an instant, in milliseconds.
pub(super) fn instant(tsdb: &Tsdb, query: &Query, at: i64, terms: Terms) -> Result<(Answer, Cost), Refusal> {
    let samples = Cell::new(0);
    let engine = Engine { tsdb, bounds: (at, at), terms, samples: &samples, steps: Steps::instant(at) };
    let answer = if query.of == Type::Matrix {
        Answer::Matrix(engine.matrix(&query.expr)?)
    } else {
        match engine.evaluate(&query.expr)? {
            Value::Scalar(values) => Answer::Scalar(values.first().copied().unwrap_or(f64::NAN)),
            Value::String(text) => Answer::String(text),
            Value::Vector(series) => {
                let point = |s: Series| Some((s.labels, s.points.first()?.1));
                Answer::Vector(series.into_iter().filter_map(point).collect())
            }
        }
    };
    Ok((answer, Cost { samples: samples.get() }))
}

/// The worth of a query at steps, ordered by labels. A scalar is a series without labels.
pub(super) fn range(
    tsdb: &Tsdb,
    query: &Query,
    steps: Steps,
    end: i64,
    terms: Terms,
) -> Result<(Vec<Series>, Cost), Refusal> {
    let samples = Cell::new(0);
    let engine = Engine { tsdb, bounds: (steps.first, end), terms, samples: &samples, steps };
    let mut series = match engine.evaluate(&query.expr)? {
        Value::Scalar(values) => {
            let points = (0_u32..).zip(values).collect();
            vec![Series { labels: Labels::default(), points }]
        }
        Value::Vector(series) => series,
        Value::String(_) => vec![],
    };
    series.retain(|series| !series.points.is_empty());
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok((series, Cost { samples: samples.get() }))
}

fn execution<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Execution(why.into()))
}

/// When an expression with `@` and `offset` looks at, in milliseconds.
#[derive(Clone, Copy)]
struct Shift {
    at: Option<i64>,
    offset: i64,
}

impl Shift {
    fn time(self, step: i64) -> i64 {
        self.at.unwrap_or(step).saturating_sub(self.offset)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

impl Engine<'_> {
    fn evaluate(&self, expr: &Expr) -> Result<Value, Refusal> {
        self.check()?;
        match expr {
            Expr::Paren(inner) => self.evaluate(&inner.expr),
            Expr::NumberLiteral(number) => Ok(Value::Scalar(vec![number.val; self.steps.count])),
            Expr::StringLiteral(text) => Ok(Value::String(text.val.clone())),
            Expr::VectorSelector(selector) => Ok(Value::Vector(self.select(selector)?)),
            Expr::Call(call) => self.call(call),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) => Ok(match self.evaluate(&unary.expr)? {
                Value::Scalar(values) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
                Value::Vector(series) => Value::Vector(distinct(mapped(series, |value| -value))?),
                text => text,
            }),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => execution("a range vector where none can be"),
            Expr::Extension(_) => execution("an extension of the language"),
        }
    }

    fn vector(&self, expr: &Expr) -> Result<Vec<Series>, Refusal> {
        match self.evaluate(expr)? {
            Value::Vector(series) => Ok(series),
            _ => execution("no instant vector where one must be"),
        }
    }

    fn scalar(&self, expr: &Expr) -> Result<Vec<f64>, Refusal> {
        match self.evaluate(expr)? {
            Value::Scalar(values) => Ok(values),
            _ => execution("no scalar where one must be"),
        }
    }

    fn string(&self, expr: &Expr) -> Result<String, Refusal> {
        match self.evaluate(expr)? {
            Value::String(text) => Ok(text),
            _ => execution("no string where one must be"),
        }
    }

    /// Counts samples that are held from now on.
    fn hold(&self, samples: usize) -> Result<(), Refusal> {
        self.samples.set(self.samples.get() + samples as u64);
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.samples.get() > MOST_SAMPLES {
            return execution("query processing would load too many samples into memory in query execution");
        }
        if self.terms.since.elapsed() > self.terms.timeout {
            return Err(Refusal::Timeout("query timed out in expression evaluation".into()));
        }
        Ok(())
    }

    fn shift(&self, at: Option<&AtModifier>, offset: Option<&Offset>) -> Shift {
        let at = at.map(|at| match at {
            AtModifier::Start => self.bounds.0,
            AtModifier::End => self.bounds.1,
            AtModifier::At(time) => match time.duration_since(std::time::UNIX_EPOCH) {
                Ok(since) => millis(since),
                Err(before) => -millis(before.duration()),
            },
        });
        let offset = match offset {
            None => 0,
            Some(Offset::Pos(back)) => millis(*back),
            Some(Offset::Neg(ahead)) => -millis(*ahead),
        };
        Shift { at, offset }
    }
}

/// A function of each value; the result is another quantity, so it has no name.
fn mapped(series: Vec<Series>, of: impl Fn(f64) -> f64) -> Vec<Series> {
    let one = |mut series: Series| {
        series.labels = series.labels.without_name();
        for (_, value) in &mut series.points {
            *value = of(*value);
        }
        series
    };
    series.into_iter().map(one).collect()
}

/// Joins series that have come to have the same labels. At one step there may be only one of them.
fn distinct(series: Vec<Series>) -> Result<Vec<Series>, Refusal> {
    let mut places: BTreeMap<Labels, usize> = BTreeMap::new();
    let mut joined: Vec<Series> = Vec::with_capacity(series.len());
    let mut mixed = std::collections::BTreeSet::new();
    for one in series {
        if let Some(place) = places.get(&one.labels) {
            joined[*place].points.extend(one.points);
            mixed.insert(*place);
        } else {
            places.insert(one.labels.clone(), joined.len());
            joined.push(one);
        }
    }
    for place in mixed {
        let points = &mut joined[place].points;
        points.sort_by_key(|(step, _)| *step);
        if points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return execution("vector cannot contain metrics with the same labelset");
        }
    }
    Ok(joined)
}
