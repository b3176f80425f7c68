//! What a query is worth.

use std::time::Duration;

use futures_util::future::BoxFuture;
use promql_parser::parser::{self, Expr};
use serde::{Serialize, Serializer};

use super::Prometheus;
use super::client::NoData;
use super::counter::seen;
use super::decode::{Series, Shape};
use super::selection::{JOB, TARGET_LABELS, selector};
use super::settle::{Settle, Watched};
use super::timeline;
use super::window::{Anchor, window};
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene, Stretch};
use crate::journal::{MetricSeries, Reason};

/// A probe of what a query is worth, as soon as what it selects was scraped after what it has to see: the method's end
/// under the fault, the undo after the rollback, now before the method. Several series, or none, are no number:
/// aggregate in the query.
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct InstantValue {
    prometheus: Prometheus,
    query: String,
}

impl InstantValue {
    pub(super) fn new(prometheus: Prometheus, query: &str) -> Self {
        Self { prometheus, query: query.to_owned() }
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Number>, NoData> {
        let mut form = vec![("query", self.query.clone())];
        let Some(at) = fresh(&self.prometheus, scene, &self.query).await? else { return Ok(None) };
        form.extend(at.map(|at| ("time", at.to_string())));
        let form: Vec<_> = form.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let series = self.prometheus.shaped(scene, "/api/v1/query", &form, Shape::Vector).await?;
        let no_data =
            |why: &str| NoData::Inconclusive(Reason::NoData { what: self.query.clone(), why: why.to_owned() });
        match series.as_slice() {
            [] => Err(no_data("the query gives no series; is the name right, and is the target scraped?")),
            [Series { samples, .. }] => match samples.as_slice() {
                [(_, value)] => Ok(Some(Number(*value))),
                _ => Err(no_data("the query gives no single value")),
            },
            _ => Err(no_data("the query gives several series; aggregate them, for instance with sum()")),
        }
    }
}

/// When all that a query selects was scraped after what it has to see; `Some(None)` if it selects nothing.
async fn fresh(prometheus: &Prometheus, scene: &Scene, query: &str) -> Result<Option<Option<f64>>, NoData> {
    let mut settles = Vec::new();
    for watched in watched(query) {
        settles.push(Settle::new(prometheus, scene, query, watched).await?);
    }
    if settles.is_empty() {
        return Ok(Some(None));
    }
    let window = window(Anchor::Newest, &mut settles, scene, query).await?;
    Ok(window.map(|window| Some(window.to)))
}

/// How far back a query looks: by its longest range, with what is around it.
fn ranges(query: &str) -> Duration {
    let mut longest = Duration::ZERO;
    if let Ok(expr) = parser::parse(query) {
        let mut around = Duration::ZERO;
        super::examine::each(&expr, &mut |expr| match expr {
            Expr::MatrixSelector(range) => longest = longest.max(range.range),
            Expr::Subquery(inner) => around = around.saturating_add(inner.range),
            _ => {}
        });
        longest = longest.saturating_add(around);
    }
    longest
}

/// Where the scrapes of what a query selects are seen. What it looks at of another time is not waited for.
pub(super) fn watched(query: &str) -> Vec<Watched> {
    let mut all: Vec<Watched> = Vec::new();
    if let Ok(expr) = parser::parse(query) {
        super::examine::each(&expr, &mut |expr| {
            let selected = match expr {
                Expr::VectorSelector(selected) => selected,
                Expr::MatrixSelector(range) => &range.vs,
                _ => return,
            };
            if selected.offset.is_some() || selected.at.is_some() {
                return;
            }
            let watched = watched_of(selected);
            if !all.iter().any(|known| known.query == watched.query) {
                all.push(watched);
            }
        });
    }
    all
}

fn watched_of(selected: &parser::VectorSelector) -> Watched {
    let labels = &selected.matchers.matchers;
    let of_target = |label: &&promql_parser::label::Matcher| TARGET_LABELS.contains(&label.name.as_str());
    let names_job = labels.iter().any(|label| label.name == JOB);
    // A query for `up` wants to know of targets that are down.
    if names_job && selected.name.as_deref() != Some("up") && selected.matchers.or_matchers.is_empty() {
        let operators: Vec<_> = labels.iter().filter(of_target).map(|label| (label, label.op.to_string())).collect();
        let of =
            operators.iter().map(|(label, operator)| (label.name.as_str(), operator.as_str(), label.value.as_str()));
        return Watched { query: selector("up", of), is_up: true, names_job };
    }
    Watched { query: selected.to_string(), is_up: false, names_job }
}

impl Probe for InstantValue {
    type Output = Number;

    fn describe(&self) -> String {
        format!("query {}", self.query)
    }

    fn looks_back(&self) -> Duration {
        ranges(&self.query)
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.prometheus.validate()?;
        super::examine::query(&self.query)
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(super::examine::of_query(&self.prometheus, scene, &self.query))
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(timeline::of_query(&self.prometheus, &self.query, scene, run))
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Number>, BoxError>> {
        Box::pin(async move { seen(self.look(scene).await, |_| None) })
    }
}

/// A probe of what a query was worth over a time that ends with the first scrape after what it has to see, as
/// [`InstantValue`]: the values of one series at each step.
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct RangeValues {
    prometheus: Prometheus,
    query: String,
    duration: Duration,
    step: Duration,
}

impl RangeValues {
    pub(super) fn new(prometheus: Prometheus, query: &str, duration: Duration, step: Duration) -> Self {
        Self { prometheus, query: query.to_owned(), duration, step }
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Vec<Number>>, NoData> {
        let Some(end) = fresh(&self.prometheus, scene, &self.query).await? else { return Ok(None) };
        let end = end.unwrap_or_else(|| scene.clock.now().as_duration().as_secs_f64());
        let start = end - self.duration.as_secs_f64();
        let (start, end, step) = (start.to_string(), end.to_string(), self.step.as_secs_f64().to_string());
        let form = [("query", self.query.as_str()), ("start", &start), ("end", &end), ("step", &step)];
        let series = self.prometheus.shaped(scene, "/api/v1/query_range", &form, Shape::Matrix).await?;
        match series.as_slice() {
            [one] => Ok(Some(one.samples.iter().map(|(_, value)| Number(*value)).collect())),
            [] => Err(Reason::NoData { what: self.query.clone(), why: "the query gives no series".into() }.into()),
            _ => Err(Reason::NoData { what: self.query.clone(), why: "the query gives several series".into() }.into()),
        }
    }

    /// How many values there are if none is missing.
    fn steps(&self) -> u128 {
        self.duration.as_nanos() / self.step.as_nanos().max(1) + 1
    }
}

impl Probe for RangeValues {
    type Output = Vec<Number>;

    fn describe(&self) -> String {
        format!("query {} over {:?}", self.query, self.duration)
    }

    fn looks_back(&self) -> Duration {
        self.duration.saturating_add(ranges(&self.query))
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.prometheus.validate()?;
        if self.step.is_zero() {
            return Err(format!("the step of query {} is 0; a step is longer", self.query).into());
        }
        super::examine::query(&self.query)
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(super::examine::of_query(&self.prometheus, scene, &self.query))
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(timeline::of_query(&self.prometheus, &self.query, scene, run))
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Vec<Number>>, BoxError>> {
        Box::pin(async move {
            seen(self.look(scene).await, |values| {
                let missing = self.steps().saturating_sub(values.len() as u128);
                let why = format!("{missing} of {} steps have no value", self.steps());
                (missing > 0).then(|| Reason::NoData { what: self.query.clone(), why })
            })
        })
    }
}

/// Whether a query parses; the error names it.
pub(super) fn parsed(query: &str) -> Result<(), BoxError> {
    parser::parse(query)
        .map(drop)
        .map_err(|error| format!("the query {query:?} does not parse: {}", super::blame::why(query, &error)).into())
}

/// A value of a series. JSON has no NaN and no infinity, so it is written as Prometheus writes it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            finite if finite.is_finite() => serializer.serialize_f64(finite),
            f64::INFINITY => serializer.serialize_str("+Inf"),
            f64::NEG_INFINITY => serializer.serialize_str("-Inf"),
            _ => serializer.serialize_str("NaN"),
        }
    }
}

/// Its unit is the series' own: seconds by Prometheus' convention, so that a duration is a bound too.
impl<U: crate::tolerance::Unit> crate::tolerance::AsNumber<U> for Number {
    fn number(&self) -> f64 {
        self.0
    }
}
