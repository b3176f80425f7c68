//! Quantiles of histograms, on exact growth of their buckets.

use std::collections::BTreeSet;
use std::fmt;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Prometheus;
use super::client::NoData;
use super::decode::Series;
use super::examine::{self, Type};
use super::growth::{FaultOn, Growth, Shown, Time, Window, not_watched, was_watched};
use super::native::Answered;
use super::selection::{Selection, labels};
use super::settle::{LOOKBACK, Settle};
use super::value::Number;
use super::window::{Anchor, Look};
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene};
use crate::journal::Reason;
use crate::tolerance::{AsNumber, Unit};

/// A histogram, by its name (without `_bucket`) and labels.
#[derive(Clone, Debug)]
pub struct Histogram {
    pub(super) selection: Selection,
}

labels!(Histogram);

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.selection.shown())
    }
}

impl Histogram {
    pub(super) fn new(prometheus: Prometheus, name: &str, hidden: Vec<(String, String)>) -> Self {
        Self { selection: Selection::new(prometheus, name, hidden) }
    }

    /// A probe: the value that this share (0 to 1) of all observations is at most, all series together, over the window
    /// that [`Counter::growth`](super::Counter::growth) has. No observations are no data.
    ///
    /// Buckets tell between which bounds a quantile lies and no more: a tolerance whose bound lies strictly within that
    /// bucket, or above the last finite one, is `Inconclusive`. Choose a bucket's bound, or take Prometheus' estimate:
    /// [`interpolated`](HistogramQuantile::interpolated). The growth of a native histogram's buckets is the server's; where
    /// they do not hold all that it counted (NaN is in none), nothing but that estimate tells.
    pub fn quantile(&self, quantile: f64) -> HistogramQuantile {
        HistogramQuantile { histogram: self.clone(), quantile, interpolated: false }
    }
}

/// A probe of a histogram's quantile. Made by [`Histogram::quantile`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct HistogramQuantile {
    histogram: Histogram,
    quantile: f64,
    interpolated: bool,
}

/// A quantile, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantile {
    /// Prometheus' estimate: linear within the bucket.
    pub value: Number,
    /// The bounds of its bucket; infinity above the last finite one. Without an end on both sides where the buckets of a
    /// native histogram do not hold all that was counted.
    pub between: (Number, Number),
    /// How many observations there were.
    pub observations: Number,
    /// The start of the window.
    pub from: Time,
    /// Its end.
    pub to: Time,
    /// When faults were on meanwhile.
    pub faults: Vec<FaultOn>,
    /// How many observations each bucket had at most its bound, by the bound.
    pub buckets: Vec<(Number, Number)>,
    /// Whether it is more than the lower bound of its bucket.
    #[serde(skip)]
    open: bool,
}

/// Its unit is the series' own: seconds by Prometheus' convention, so that a duration is a bound too.
impl<U: Unit> AsNumber<U> for Quantile {
    fn number(&self) -> f64 {
        self.value.0
    }

    fn bounds(&self) -> (f64, f64) {
        let (Number(low), Number(high)) = self.between;
        (if self.open { low.next_up() } else { low }, high)
    }

    fn shown(&self) -> String {
        let Self { value, between: (low, high), observations, .. } = self;
        let seconds = Window { from: self.from.0, to: self.to.0 }.seconds();
        let of = format!("of {} observations over {seconds} s", observations.0);
        match (low.0 == high.0, high.0.is_infinite()) {
            (_, true) if low.0.is_infinite() => format!("{:.6} (the server's estimate alone, {of})", value.0),
            (true, _) => format!("{:.6} (the server's estimate, {of})", value.0),
            (_, true) => format!("over {} (in the top bucket, {of})", low.0),
            _ => format!("{:.6} (between {} and {}, {of})", value.0, low.0, high.0),
        }
    }
}

impl HistogramQuantile {
    /// Takes the estimate that `histogram_quantile` gives for the quantile itself: linear within its bucket.
    pub fn interpolated(mut self) -> Self {
        self.interpolated = true;
        self
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Quantile>, NoData> {
        let selection = &self.histogram.selection;
        let buckets = selection.named(&format!("{}_bucket", selection.name()));
        let look = Look::at(&&buckets, Anchor::Method, &self.describe()).growth(scene).await;
        match look {
            Ok(None) => Ok(None),
            Ok(Some(grown)) => match grown.into_iter().next() {
                Some(growth) if !growth.series.is_empty() => self.of_buckets(&buckets, growth).map(Some),
                _ => self.native(scene).await,
            },
            Err(error @ NoData::Inconclusive(Reason::NoData { .. })) => {
                // One that is there and cannot be judged is not to be judged in another way.
                let classic = selection.prometheus.raw(scene, &buckets.query(), LOOKBACK).await?;
                if classic.is_empty() { self.native(scene).await } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Why a native histogram may have had observations that the server's growth of it lacks: as with classic ones, but
    /// that its samples are not ours to look at.
    async fn doubt(&self, scene: &Scene, window: Window, settle: &Settle<'_>) -> Result<Option<String>, NoData> {
        let selection = &self.histogram.selection;
        let what = selection.query();
        if let Some(up) = selection.up() {
            let up = selection.prometheus.raw(scene, &up, settle.now() - window.from + LOOKBACK).await?;
            if !up.iter().any(|up| was_watched(up, window)) {
                return Ok(Some("its target was not up before and after the window".into()));
            }
            let not = |up: &Series| Some((up.labels.clone(), not_watched(up, window, settle.interval(), false)?));
            if let Some((labels, why)) = up.iter().find_map(not) {
                return Ok(Some(format!("{}: its target {why}, and might have counted unseen", Shown(&labels))));
            }
        }
        let count = format!("histogram_count({what})");
        let mut at_both = Vec::new();
        for at in [window.from, window.to] {
            let form = [("query", count.as_str()), ("time", &*at.to_string())];
            let series = selection.prometheus.series(scene, "/api/v1/query", &form).await?;
            at_both.push(series.into_iter().map(|series| series.labels).collect::<BTreeSet<_>>());
        }
        let [before, after] = &*at_both else { return Ok(None) };
        let only =
            |here: &BTreeSet<_>, there: &BTreeSet<_>| here.difference(there).next().map(|of| Shown(of).to_string());
        Ok(match (only(after, before), only(before, after)) {
            (Some(born), _) => Some(format!("{born} begins in the window: what it counted until then is not known")),
            (None, Some(ended)) => Some(format!("{ended} ended in the window: what it counted at last is not known")),
            (None, None) => None,
        })
    }

    fn of_buckets(&self, selection: &Selection, growth: Growth) -> Result<Quantile, NoData> {
        let no_data = |why: String| NoData::from(Reason::NoData { what: selection.query(), why });
        if let Some(why) = growth.unknown {
            return Err(no_data(why));
        }
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for one in &growth.series {
            let bound = one.labels.get("le").and_then(|le| le.parse::<f64>().ok());
            let bound = bound.ok_or_else(|| no_data("a bucket has no label `le`, or one that is no number".into()))?;
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += one.delta.0,
                None => buckets.push((bound, one.delta.0)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (value, between) = quantile_of(self.quantile, &buckets).map_err(|why| no_data(why.to_owned()))?;
        // The first begins where nothing tells.
        let open = buckets.iter().any(|(bound, _)| *bound == between.0) && between.0 < between.1;
        let observations = buckets.last().map_or(0.0, |(_, count)| *count);
        Ok(Quantile {
            value: Number(value),
            between: (Number(between.0), Number(between.1)),
            observations: Number(observations),
            from: growth.from,
            to: growth.to,
            faults: growth.faults,
            buckets: buckets.into_iter().map(|(bound, count)| (Number(bound), Number(count))).collect(),
            open,
        })
    }

    /// Of a native histogram the server says how much each bucket grew, and estimates within the bucket.
    async fn native(&self, scene: &Scene) -> Result<Option<Quantile>, NoData> {
        let selection = &self.histogram.selection;
        let what = selection.query();
        let watched = super::settle::Watched::of(selection);
        let mut settles = [Settle::new(&selection.prometheus, scene, &what, watched).await?];
        let Some(window) = super::window::window(Anchor::Method, &mut settles, scene, &what).await? else {
            return Ok(None);
        };
        let [settle] = &settles;
        // A left-open range takes the sample before the window in with it.
        let seconds = (window.to - window.from + settle.interval()).ceil();
        let at = window.to.to_string();
        let query = format!("sum(increase({what}[{seconds}s]))");
        let form = [("query", query.as_str()), ("time", at.as_str())];
        let Answered(grown) = selection.prometheus.decoded(scene, "/api/v1/query", &form).await?;
        let estimate = format!("histogram_quantile({}, {query})", self.quantile);
        let form = [("query", estimate.as_str()), ("time", at.as_str())];
        let value = selection.prometheus.series(scene, "/api/v1/query", &form).await?;
        let value = value.first().and_then(|series| series.samples.first()).map(|(_, value)| *value);
        let (Some(grown), Some(value)) = (grown, value.filter(|value| !value.is_nan())) else {
            let why =
                "there were no observations in the window, or there is no such histogram, classic or native".to_owned();
            return Err(Reason::NoData { what, why }.into());
        };
        if let Some(why) = self.doubt(scene, window, settle).await? {
            return Err(Reason::NoData { what, why }.into());
        }
        let bucket = grown.bucket(self.quantile);
        let (low, high) = bucket.map_or((f64::NEG_INFINITY, f64::INFINITY), |bucket| (bucket.low, bucket.high));
        let mut counted = 0.0;
        let cumulative = grown.buckets.iter().map(|bucket| {
            counted += bucket.count;
            (Number(bucket.high), Number(counted))
        });
        Ok(Some(Quantile {
            value: Number(value),
            // Servers differ in how they estimate at the edges of a bucket.
            between: (Number(low.min(value)), Number(high.max(value))),
            observations: Number(grown.count),
            from: Time(window.from),
            to: Time(window.to),
            faults: super::window::faults_on(settle, scene, window),
            buckets: cumulative.collect(),
            open: bucket.is_some_and(|bucket| bucket.open && bucket.low < value),
        }))
    }
}

/// The estimate and the bounds of its bucket, of cumulative counts by ascending bounds. As Prometheus does it: linear
/// within a bucket, the first of which begins at 0, or at its bound where that is negative.
fn quantile_of(quantile: f64, buckets: &[(f64, f64)]) -> Result<(f64, (f64, f64)), &'static str> {
    if !(0.0..=1.0).contains(&quantile) {
        return Err("a quantile is between 0 and 1");
    }
    let [.., (top, all)] = buckets else { return Err("it has no buckets") };
    if !top.is_infinite() {
        return Err("it has no bucket +Inf, so that not all observations are counted");
    }
    if *all == 0.0 {
        return Err("there were no observations in the window");
    }
    let rank = quantile * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank).unwrap_or(buckets.len() - 1);
    let (high, below) = (buckets[at].0, at.checked_sub(1).map(|before| buckets[before]));
    let low = below.map_or_else(|| high.min(0.0), |(bound, _)| bound);
    let counted = below.map_or(0.0, |(_, count)| count);
    if high.is_infinite() {
        return Ok((low, (low, high)));
    }
    let within = buckets[at].1 - counted;
    let share = if within > 0.0 { (rank - counted) / within } else { 1.0 };
    Ok((low + (high - low) * share, (low, high)))
}

impl Probe for HistogramQuantile {
    type Output = Quantile;

    fn describe(&self) -> String {
        format!("quantile {} of {}", self.quantile, self.histogram)
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn validate(&self) -> Result<(), BoxError> {
        if !(0.0..=1.0).contains(&self.quantile) {
            return Err(format!("quantile {} of {} is not between 0 and 1", self.quantile, self.histogram).into());
        }
        self.histogram.selection.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(examine::selection(&self.histogram.selection, scene, Type::Histogram, None))
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Quantile>, BoxError>> {
        Box::pin(async move {
            super::counter::seen(self.look(scene).await, |quantile| {
                let (Number(low), Number(high)) = quantile.between;
                let unbounded = low.is_infinite() && high.is_infinite();
                if low == high || (self.interpolated && (high.is_finite() || unbounded)) {
                    return None;
                }
                let why = if unbounded {
                    format!(
                        "{} observations were counted, and no buckets hold them all; take the server's estimate: `.interpolated()`",
                        quantile.observations.0
                    )
                } else {
                    format!(
                        "it lies between {low} and {high}, and the buckets tell no more; choose a bucket's bound, or take the estimate: `.interpolated()`"
                    )
                };
                Some(Reason::NoData { what: self.describe(), why })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: [(f64, f64); 4] = [(0.1, 50.0), (0.5, 90.0), (1.0, 100.0), (f64::INFINITY, 100.0)];

    #[test]
    fn a_quantile_has_the_estimate_and_the_bounds_of_its_bucket() {
        assert_eq!(quantile_of(0.5, &BUCKETS), Ok((0.1, (0.0, 0.1))));
        assert_eq!(quantile_of(0.7, &BUCKETS), Ok((0.1 + 0.4 * 0.5, (0.1, 0.5))));
        assert_eq!(quantile_of(0.9, &BUCKETS), Ok((0.5, (0.1, 0.5))));
        assert_eq!(quantile_of(0.25, &[(-1.0, 4.0), (f64::INFINITY, 4.0)]), Ok((-1.0, (-1.0, -1.0))));
    }

    #[test]
    fn what_no_bucket_tells_is_not_told() {
        let slow = [(0.1, 50.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile_of(0.99, &slow), Ok((0.1, (0.1, f64::INFINITY))));
        for (buckets, why) in
            [(&[][..], "no buckets"), (&[(0.1, 4.0)], "+Inf"), (&[(0.1, 0.0), (f64::INFINITY, 0.0)], "no observations")]
        {
            let error = quantile_of(0.5, buckets).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
