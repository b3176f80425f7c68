//! What a query is worth.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Serialize, Serializer};

use super::Prometheus;
use super::client::NoData;
use super::decode::Series;
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene};
use crate::journal::Reason;

/// A probe of what a query is worth now. Several series, or none, are no number: aggregate in the query.
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

    async fn look(&self, scene: &Scene) -> Result<f64, NoData> {
        let series = self.prometheus.series(scene, "/api/v1/query", &[("query", &self.query)]).await?;
        let no_data =
            |why: &str| NoData::Inconclusive(Reason::NoData { what: self.query.clone(), why: why.to_owned() });
        match series.as_slice() {
            [] => Err(no_data("the query gives no series; is the name right, and is the target scraped?")),
            [Series { samples, .. }] if samples.len() == 1 => Ok(samples[0].1),
            [_] => Err(no_data("the query gives a range; ask for one value")),
            _ => Err(no_data("the query gives several series; aggregate them, for instance with sum()")),
        }
    }
}

impl Probe for InstantValue {
    type Output = Number;

    fn describe(&self) -> String {
        format!("query {}", self.query)
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.prometheus.validate()?;
        parsed(&self.query)
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Number>, BoxError>> {
        Box::pin(async move { observed(self.look(scene).await.map(Number)) })
    }
}

/// A probe of what a query was worth over a time that ends now: the values of one series at each step.
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

    async fn look(&self, scene: &Scene) -> Result<Vec<Number>, NoData> {
        let end = scene.clock.now().as_duration().as_secs_f64();
        let start = end - self.duration.as_secs_f64();
        let (start, end, step) = (start.to_string(), end.to_string(), self.step.as_secs_f64().to_string());
        let form = [("query", self.query.as_str()), ("start", &start), ("end", &end), ("step", &step)];
        let series = self.prometheus.series(scene, "/api/v1/query_range", &form).await?;
        match series.as_slice() {
            [one] => Ok(one.samples.iter().map(|(_, value)| Number(*value)).collect()),
            [] => Err(Reason::NoData { what: self.query.clone(), why: "the query gives no series".into() }.into()),
            _ => Err(Reason::NoData { what: self.query.clone(), why: "the query gives several series".into() }.into()),
        }
    }
}

impl Probe for RangeValues {
    type Output = Vec<Number>;

    fn describe(&self) -> String {
        format!("query {} over {:?}", self.query, self.duration)
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.prometheus.validate()?;
        parsed(&self.query)
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Vec<Number>>, BoxError>> {
        Box::pin(async move { observed(self.look(scene).await) })
    }
}

pub(super) fn observed<T>(seen: Result<T, NoData>) -> Result<Observed<T>, BoxError> {
    match seen {
        Ok(value) => Ok(Observed::Value(value)),
        Err(NoData::Inconclusive(reason)) => Ok(Observed::Inconclusive(reason)),
        Err(NoData::Error(error)) => Err(error),
    }
}

/// Whether a query parses; the error names it.
pub(super) fn parsed(query: &str) -> Result<(), BoxError> {
    promql_parser::parser::parse(query)
        .map(drop)
        .map_err(|error| format!("the query {query:?} does not parse: {error}").into())
}

/// A value of a series. JSON has no NaN and no infinity, so it is written as Prometheus writes it.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl crate::tolerance::AsNumber for Number {
    fn number(&self) -> f64 {
        self.0
    }
}
