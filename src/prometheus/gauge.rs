//! Gauges, and checks of their values.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Prometheus;
use super::client::NoData;
use super::counter::seen;
use super::decode::{Labels, Series};
use super::each::{Each, PerSeries};
use super::examine::{self, Type};
use super::growth::{At, FaultOn, Shown, Time};
use super::selection::{Selection, labels};
use super::stays::{RecoversWithin, Stays};
use super::timeline::{self, Kind};
use super::value::Number;
use super::window::{Anchor, Look};
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene, Stretch};
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::{AsNumber, Tolerance, Unit, Unitless};

/// A gauge, by its name and labels.
#[derive(Clone, Debug)]
pub struct Gauge {
    pub(super) selection: Selection,
}

labels!(Gauge);

impl Gauge {
    pub(super) fn new(prometheus: Prometheus, name: &str, hidden: Vec<(String, String)>) -> Self {
        Self { selection: Selection::new(prometheus, name, hidden) }
    }

    /// A probe: the newest value, of a scrape after what it has to see: the method's end under the fault, the undo after
    /// the rollback, now before the method. Several series are no value:
    /// [`each`](GaugeValue::each), [`any`](GaugeValue::any) or [`sum`](GaugeValue::sum).
    pub fn value(&self) -> GaugeValue {
        GaugeValue { gauge: self.clone(), sum: false }
    }

    /// A check: every sample of every series is within tolerance, from the method's start to the first scrape after its
    /// end; between two fresh scrapes before the method and after the rollback.
    pub fn stays<T: Tolerance<SeriesValue> + 'static>(&self, tolerance: T) -> Stays<T> {
        Stays::new(self.selection.clone(), tolerance)
    }

    /// A check: at the latest so long after the faults were undone every series is within tolerance, and stays so until
    /// then. Applies after the rollback, and under the fault where every fault has ended by plan. It is told to within a
    /// scrape.
    pub fn recovers_within<T: Tolerance<SeriesValue> + 'static>(
        &self,
        duration: Duration,
        tolerance: T,
    ) -> RecoversWithin<T> {
        RecoversWithin::new(self.selection.clone(), duration, tolerance)
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.selection.shown())
    }
}

/// A probe of a gauge's newest value. Made by [`Gauge::value`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct GaugeValue {
    gauge: Gauge,
    sum: bool,
}

/// The newest value of a gauge, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GaugeValues {
    /// The value, or the sum of all.
    pub value: Number,
    /// Each series.
    pub series: Vec<SeriesValue>,
    /// When faults were on in the last scrape interval.
    pub faults: Vec<FaultOn>,
}

/// A value of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesValue {
    /// Its labels.
    pub labels: Labels,
    /// The sample.
    #[serde(flatten)]
    pub sample: At,
}

/// Its unit is the series' own: seconds by Prometheus' convention, so that a duration is a bound too.
impl<U: Unit> AsNumber<U> for SeriesValue {
    fn number(&self) -> f64 {
        self.sample.value.0
    }

    fn shown(&self) -> String {
        format!("{} at {}", self.sample.value.0, self.sample.at)
    }
}

/// Its unit is the series' own: seconds by Prometheus' convention, so that a duration is a bound too.
impl<U: Unit> AsNumber<U> for GaugeValues {
    fn number(&self) -> f64 {
        self.value.0
    }

    fn shown(&self) -> String {
        match self.series.as_slice() {
            [one] => AsNumber::<Unitless>::shown(one),
            all => format!("{}, the sum of {} series", self.value.0, all.len()),
        }
    }
}

impl PerSeries for GaugeValues {
    type One = SeriesValue;

    fn series(&self) -> Vec<(&Labels, SeriesValue)> {
        self.series.iter().map(|one| (&one.labels, one.clone())).collect()
    }

    fn doubt(_: &SeriesValue) -> Option<String> {
        None
    }
}

impl GaugeValue {
    /// All series together.
    pub fn sum(mut self) -> Self {
        self.sum = true;
        self
    }

    /// Judges every series by itself: all of them must be within tolerance.
    pub fn each(mut self) -> Each<Self> {
        self.sum = true;
        Each::every(self)
    }

    /// Judges every series by itself: one of them must be within tolerance.
    pub fn any(mut self) -> Each<Self> {
        self.sum = true;
        Each::some(self)
    }

    async fn look(&self, scene: &Scene) -> Result<Option<GaugeValues>, NoData> {
        let selection = &self.gauge.selection;
        let look = Look::at(&selection, Anchor::Newest, &self.describe());
        let Some((window, samples, faults)) = look.samples(scene).await? else { return Ok(None) };
        let no_data = |why: String| Reason::NoData { what: selection.query(), why };
        let series: Vec<_> =
            samples.iter().flat_map(|s| s.newest(window)).map(|(one, at, value)| value_of(one, at, value)).collect();
        if series.is_empty() {
            let why = "no series has a sample of the newest scrape; is the name right, and does the target have it?";
            return Err(no_data(why.to_owned()).into());
        }
        if let ([first, second, ..], false) = (series.as_slice(), self.sum) {
            let (first, second) = (Shown(&first.labels), Shown(&second.labels));
            let why = format!(
                "{} series match, {first} and {second} among them; say `.each()`, `.any()` or `.sum()`",
                series.len()
            );
            return Err(no_data(why).into());
        }
        let value = Number(series.iter().map(|one| one.sample.value.0).sum());
        Ok(Some(GaugeValues { value, series, faults }))
    }
}

pub(super) fn value_of(series: &Series, at: f64, value: f64) -> SeriesValue {
    SeriesValue { labels: series.labels.clone(), sample: At { at: Time(at), value: Number(value) } }
}

impl Probe for GaugeValue {
    type Output = GaugeValues;

    fn describe(&self) -> String {
        let sum = if self.sum { "the sum of " } else { "" };
        format!("value of {sum}{}", self.gauge)
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.gauge.selection.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(examine::selection(&self.gauge.selection, scene, Type::Gauge, None))
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(timeline::of_selection(&self.gauge.selection, Kind::Gauge, scene, run))
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<GaugeValues>, BoxError>> {
        Box::pin(async move { seen(self.look(scene).await, |_| None) })
    }
}
