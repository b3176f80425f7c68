//! Series as they were over a run, for reports.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::Expr;

use super::Prometheus;
use super::client::NoData;
use super::decode::{Series, Shape};
use super::growth::millis;
use super::selection::Selection;
use crate::BoxError;
use crate::experiment::{Scene, Stretch};
use crate::journal::{MOST_SAMPLES, MOST_SERIES, MetricSeries};

/// What the values of series are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// They grow, and fall only where they begin again.
    Counter,
    /// They go up and down.
    Gauge,
}

/// The samples of a selection as they were scraped.
pub(super) async fn of_selection(
    selection: &Selection,
    kind: Kind,
    scene: &Scene,
    run: &Stretch,
) -> Result<Vec<MetricSeries>, BoxError> {
    let series = selection.prometheus.raw(scene, &selection.query(), back(scene, run)).await.map_err(why)?;
    Ok(drawn(&selection.shown(), kind, series, run, None))
}

/// When an alert fired: a series without samples where it never did.
pub(super) async fn of_alert(
    prometheus: &Prometheus,
    name: &str,
    query: String,
    scene: &Scene,
    run: &Stretch,
) -> Result<Vec<MetricSeries>, BoxError> {
    let mut series = prometheus.raw(scene, &query, back(scene, run)).await.map_err(why)?;
    if series.is_empty() {
        let labels = [("__name__", "ALERTS"), ("alertname", name)];
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
        series.push(Series { labels, samples: Vec::new() });
    }
    Ok(drawn(&query, Kind::Gauge, series, run, None))
}

fn back(scene: &Scene, run: &Stretch) -> f64 {
    scene.clock.now().duration_since(run.started).as_secs_f64() + run.before.as_secs_f64()
}

/// What a query was worth over the run, at no more steps than are drawn.
pub(super) async fn of_query(
    prometheus: &Prometheus,
    query: &str,
    scene: &Scene,
    run: &Stretch,
) -> Result<Vec<MetricSeries>, BoxError> {
    let end = scene.clock.now().as_duration().as_secs_f64();
    let start = run.started.as_duration().as_secs_f64() - run.before.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "hundreds")]
    let step = ((end - start) / (MOST_SAMPLES / 4) as f64).ceil().max(1.0);
    let (start, end, every) = (start.to_string(), end.to_string(), step.to_string());
    let form = [("query", query), ("start", &start), ("end", &end), ("step", &every)];
    let series = prometheus.shaped(scene, "/api/v1/query_range", &form, Shape::Matrix).await.map_err(why)?;
    Ok(drawn(query, kind_of(query), series, run, Some(Duration::from_secs_f64(step))))
}

/// A query that selects series counts if they do by their name; what it computes goes up and down.
fn kind_of(query: &str) -> Kind {
    let name = match promql_parser::parser::parse(query) {
        Ok(Expr::VectorSelector(selector)) => selector.name.unwrap_or_default(),
        _ => String::new(),
    };
    let counts = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
    if counts { Kind::Counter } else { Kind::Gauge }
}

fn why(no_data: NoData) -> BoxError {
    match no_data {
        NoData::Inconclusive(reason) => reason.to_string().into(),
        NoData::Error(error) => error,
    }
}

fn drawn(query: &str, kind: Kind, series: Vec<Series>, run: &Stretch, step: Option<Duration>) -> Vec<MetricSeries> {
    let zero = run.started.as_duration().as_secs_f64();
    let one = |series: Series| {
        let Series { labels, samples } = series;
        let interval = step.map(|step| step.as_secs_f64()).or_else(|| usual(&samples));
        let samples = samples.iter().map(|(at, value)| (millis(at - zero), value.is_finite().then_some(*value)));
        MetricSeries {
            query: query.to_owned(),
            labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
            checks: Vec::new(),
            counter: kind == Kind::Counter,
            bounds: Vec::new(),
            interval,
            samples: thinned(samples.collect(), MOST_SAMPLES),
        }
    };
    series.into_iter().take(MOST_SERIES).map(one).collect()
}

/// The usual time between two samples: the median.
fn usual(samples: &[(f64, f64)]) -> Option<f64> {
    let mut between: Vec<f64> = samples.windows(2).map(|pair| millis(pair[1].0 - pair[0].0)).collect();
    between.sort_by(f64::total_cmp);
    between.get(between.len() / 2).copied()
}

/// No more than `most` samples: of each stretch the least and the greatest, what is no number, and both ends.
fn thinned(samples: Vec<(f64, Option<f64>)>, most: usize) -> Vec<(f64, Option<f64>)> {
    if samples.len() <= most {
        return samples;
    }
    // Least, greatest and one that is no number of each stretch.
    let stretches = (most.saturating_sub(2) / 3).max(1);
    let length = samples.len().div_ceil(stretches);
    let mut kept = Vec::with_capacity(most);
    for (number, stretch) in samples.chunks(length).enumerate() {
        let by = |pick: fn(f64, f64) -> bool| {
            let numbers = stretch.iter().enumerate().filter_map(|(place, (_, value))| Some((place, (*value)?)));
            numbers.reduce(|kept, next| if pick(next.1, kept.1) { next } else { kept }).map(|(place, _)| place)
        };
        let none = stretch.iter().position(|(_, value)| value.is_none());
        let first = (number == 0).then_some(0);
        let last = ((number + 1) * length >= samples.len()).then(|| stretch.len() - 1);
        let mut places: Vec<usize> =
            [first, by(|a, b| a < b), by(|a, b| a > b), none, last].into_iter().flatten().collect();
        places.sort_unstable();
        places.dedup();
        kept.extend(places.into_iter().filter_map(|place| stretch.get(place).copied()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_known_by_its_name_unless_something_is_made_of_it() {
        for (query, counts) in [
            ("failed_call_total{to='middle'}", true),
            ("http_seconds_bucket", true),
            ("up", false),
            ("rate(failed_call_total[1m])", false),
            ("sum(failed_call_total)", false),
            ("no query {", false),
        ] {
            assert_eq!(kind_of(query) == Kind::Counter, counts, "{query}");
        }
    }

    #[test]
    fn a_long_series_keeps_its_ends_and_its_extremes() {
        let mut samples: Vec<_> = (0..10_000).map(|n| (f64::from(n), Some((n % 7) as f64))).collect();
        samples[4321].1 = Some(1000.0);
        samples[777].1 = Some(-1000.0);
        samples[8000].1 = None;
        let thin = thinned(samples.clone(), 1000);
        assert!(thin.len() <= 1000 && thin.len() > 600, "{}", thin.len());
        for kept in [0, 777, 4321, 8000, 9999] {
            assert!(thin.contains(&samples[kept]), "{kept} is lost");
        }
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0), "out of order");
        assert_eq!(thinned(samples[..1000].to_vec(), 1000), samples[..1000]);
    }
}
