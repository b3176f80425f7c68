//! Counters, and checks of what they count.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Prometheus;
use super::client::NoData;
use super::each::{Each, PerSeries};
use super::examine::{self, Type};
use super::growth::{Growth, SeriesGrowth};
use super::recovers::StopsWithin;
use super::selection::{Selection, labels};
use super::timeline::{self, Kind};
use super::value::{Number, parsed};
use super::window::{Anchor, Look};
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene, Stretch};
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::AsNumber;

/// A counter, by its name and labels.
#[derive(Clone, Debug)]
pub struct Counter {
    pub(super) selection: Selection,
}

labels!(Counter);

impl Counter {
    pub(super) fn new(prometheus: Prometheus, name: &str, hidden: Vec<(String, String)>) -> Self {
        Self { selection: Selection::new(prometheus, name, hidden) }
    }

    /// A probe: by how much the counter grew, all its series together; [`each`](CounterGrowth::each) judges one by one.
    ///
    /// What the window is depends on the phase: before the method and after the rollback it lies between two fresh
    /// scrapes; under the fault it runs from the method's start to the first scrape after its end, and what was counted
    /// since the last scrape before belongs to it.
    pub fn growth(&self) -> CounterGrowth {
        self.grown(Anchor::Method)
    }

    /// A probe: by how much the counter grew over the last `duration`, which must reach back to the method's start.
    pub fn growth_over(&self, duration: Duration) -> CounterGrowth {
        self.grown(Anchor::Back(duration))
    }

    /// A probe: by how much the counter grew since the first fault, for what a fault should bring about
    /// (`.expect(at_least(1.0))`). Before the method and after the rollback it does not apply.
    ///
    /// What was counted between the last scrape before the fault and the first one after it may have been before the
    /// fault: a bound that only this part decides is `Inconclusive`.
    pub fn increase(&self) -> CounterGrowth {
        self.grown(Anchor::Fault)
    }

    /// A probe: how much the counter grew per second, over the window that [`growth`](Self::growth) has.
    pub fn rate(&self) -> CounterRate {
        CounterRate { growth: self.growth() }
    }

    /// As [`rate`](Self::rate), over the last `duration`, which must reach back to the method's start.
    pub fn rate_over(&self, duration: Duration) -> CounterRate {
        CounterRate { growth: self.growth_over(duration) }
    }

    /// A check: at the latest so long after the faults were undone it has stopped to grow: it does not grow between the last
    /// two scrapes of that time. Applies after the rollback, and under the fault where every fault has ended by plan. A
    /// series that is absent has not grown, where its target is known.
    pub fn recovers_within(&self, duration: Duration) -> StopsWithin {
        StopsWithin::new(self.selection.clone(), duration)
    }

    fn grown(&self, anchor: Anchor) -> CounterGrowth {
        CounterGrowth { counter: self.clone(), anchor, when_absent: None, vanished_too: false }
    }
}

/// A probe of a counter's growth. Made by [`Counter::growth`], [`Counter::growth_over`] and [`Counter::increase`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct CounterGrowth {
    counter: Counter,
    anchor: Anchor,
    when_absent: Option<f64>,
    vanished_too: bool,
}

impl CounterGrowth {
    /// The growth of a counter that does not exist, where its labels name no job and so no target can be asked.
    /// It never overrides a target that is known to be down.
    pub fn or_when_absent(mut self, growth: f64) -> Self {
        self.when_absent = Some(growth);
        self
    }

    /// Takes series that end in the window as they are: what a pod counted between its last scrape and its end is then
    /// left out, for instance where the fault deletes pods.
    pub fn vanished_too(mut self) -> Self {
        self.vanished_too = true;
        self
    }

    /// Judges every series by itself: all of them must be within tolerance.
    pub fn each(self) -> Each<Self> {
        Each::every(self)
    }

    /// Judges every series by itself: one of them must be within tolerance.
    pub fn any(self) -> Each<Self> {
        Each::some(self)
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Growth>, NoData> {
        let selection = &self.counter.selection;
        let look = Look {
            selections: &[selection],
            anchor: self.anchor,
            when_absent: self.when_absent,
            vanished_too: self.vanished_too,
            what: self.describe(),
        };
        let grown = look.growth(scene).await?.and_then(|mut grown| grown.pop());
        if grown.as_ref().is_some_and(|grown| grown.series.is_empty())
            && let Some(unheard) = examine::unheard(&selection.prometheus, scene, selection.name()).await
        {
            scene.remarks.warn(&unheard);
        }
        Ok(grown)
    }

    fn of(&self, what: &str) -> String {
        let shown = self.counter.selection.shown();
        match self.anchor {
            Anchor::Method | Anchor::Newest => format!("{what} of {shown}"),
            Anchor::Fault => format!("{what} of {shown} since the fault"),
            Anchor::Back(over) => format!("{what} of {shown} over {over:?}"),
        }
    }
}

/// A look's result as a probe gives it.
pub(super) fn seen<T>(
    look: Result<Option<T>, NoData>,
    unknown: impl Fn(&T) -> Option<Reason>,
) -> Result<Observed<T>, BoxError> {
    match look {
        Ok(None) => Ok(Observed::NotApplicable),
        Ok(Some(value)) => Ok(match unknown(&value) {
            Some(why) => Observed::Partial { value, why },
            None => Observed::Value(value),
        }),
        Err(NoData::Inconclusive(reason)) => Ok(Observed::Inconclusive(reason)),
        Err(NoData::Error(error)) => Err(error),
    }
}

/// Why a growth is not known exactly.
pub(super) fn unknown(what: &str, growth: &Growth) -> Option<Reason> {
    let straddles = "what was counted between the scrapes before and after the fault's start may have been before it";
    let straddles = (growth.least != growth.total).then(|| straddles.to_owned());
    let why = growth.unknown.clone().or(straddles)?;
    Some(Reason::NoData { what: what.to_owned(), why })
}

impl CounterGrowth {
    fn doubt(&self, growth: &Growth) -> Option<Reason> {
        unknown(&self.counter.selection.query(), growth)
    }
}

impl Probe for CounterGrowth {
    type Output = Growth;

    fn describe(&self) -> String {
        self.of(if self.anchor == Anchor::Fault { "increase" } else { "growth" })
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.counter.selection.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        let window = if let Anchor::Back(over) = self.anchor { Some(over) } else { None };
        Box::pin(examine::selection(&self.counter.selection, scene, Type::Counter, window))
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(timeline::of_selection(&self.counter.selection, Kind::Counter, scene, run))
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Growth>, BoxError>> {
        Box::pin(async move { seen(self.look(scene).await, |growth| self.doubt(growth)) })
    }
}

impl PerSeries for Growth {
    type One = SeriesGrowth;

    fn series(&self) -> Vec<(&super::decode::Labels, SeriesGrowth)> {
        self.series.iter().map(|one| (&one.labels, one.clone())).collect()
    }

    fn doubt(one: &SeriesGrowth) -> Option<String> {
        let straddles =
            "what was counted between the scrapes before and after the fault's start may have been before it";
        one.unknown.clone().or_else(|| (one.least != one.delta).then(|| straddles.to_owned()))
    }
}

/// How much a counter grew per second, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Per second, all series together.
    pub per_second: Number,
    /// Each series.
    pub series: Vec<SeriesRate>,
    /// What it was made of.
    pub growth: Growth,
}

/// The rate of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesRate {
    /// Per second, between the first and the last sample that were used.
    pub per_second: Number,
    /// What it was made of.
    pub growth: SeriesGrowth,
}

impl SeriesRate {
    fn of(growth: &SeriesGrowth, window: f64) -> Self {
        let between = growth.last.at.0 - growth.first.at.0;
        // One that was born has grown since the window began, not since its first sample.
        let seconds = if growth.born { window } else { between };
        Self { per_second: Number(per(growth.delta.0, seconds)), growth: growth.clone() }
    }
}

fn per(amount: f64, seconds: f64) -> f64 {
    if amount == 0.0 { 0.0 } else { amount / seconds }
}

impl AsNumber for SeriesRate {
    fn number(&self) -> f64 {
        self.per_second.0
    }

    fn bounds(&self) -> (f64, f64) {
        bounds(self.per_second.0, self.growth.delta.0, self.growth.bounds())
    }

    fn shown(&self) -> String {
        format!("{:.4} a second, {}", self.per_second.0, self.growth.shown())
    }
}

impl AsNumber for Rate {
    fn number(&self) -> f64 {
        self.per_second.0
    }

    fn bounds(&self) -> (f64, f64) {
        bounds(self.per_second.0, self.growth.total.0, self.growth.bounds())
    }

    fn shown(&self) -> String {
        format!("{:.4} a second {}", self.per_second.0, self.growth.evidence())
    }
}

/// The bounds of a rate, by those of what it was made of.
fn bounds(rate: f64, total: f64, (least, most): (f64, f64)) -> (f64, f64) {
    let scaled = |bound: f64| {
        if bound == total {
            rate
        } else if total == 0.0 {
            bound
        } else {
            rate * bound / total
        }
    };
    (scaled(least), scaled(most))
}

/// A probe of a counter's rate. Made by [`Counter::rate`] and [`Counter::rate_over`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct CounterRate {
    growth: CounterGrowth,
}

impl CounterRate {
    /// As [`CounterGrowth::or_when_absent`].
    pub fn or_when_absent(self, rate: f64) -> Self {
        Self { growth: self.growth.or_when_absent(rate) }
    }

    /// As [`CounterGrowth::vanished_too`].
    pub fn vanished_too(self) -> Self {
        Self { growth: self.growth.vanished_too() }
    }

    /// Judges every series by itself: all of them must be within tolerance.
    pub fn each(self) -> Each<Self> {
        Each::every(self)
    }

    /// Judges every series by itself: one of them must be within tolerance.
    pub fn any(self) -> Each<Self> {
        Each::some(self)
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Rate>, NoData> {
        let Some(growth) = self.growth.look(scene).await? else { return Ok(None) };
        let series: Vec<_> = growth.series.iter().map(|one| SeriesRate::of(one, growth.seconds)).collect();
        if let Some(one) = series.iter().find(|one| !one.per_second.0.is_finite()) {
            let why =
                format!("{} has one sample in the window; a rate needs two", super::growth::Shown(&one.growth.labels));
            return Err(Reason::WindowTooShort { what: self.describe(), why }.into());
        }
        // Without series there is what `or_when_absent` says, which is a rate already.
        let per_second =
            if series.is_empty() { growth.total.0 } else { series.iter().map(|one| one.per_second.0).sum() };
        Ok(Some(Rate { per_second: Number(per_second), series, growth }))
    }
}

impl Probe for CounterRate {
    type Output = Rate;

    fn describe(&self) -> String {
        self.growth.of("rate")
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.growth.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        self.growth.examine(scene)
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        self.growth.timeline(scene, run)
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Rate>, BoxError>> {
        Box::pin(async move { seen(self.look(scene).await, |rate| self.growth.doubt(&rate.growth)) })
    }
}

impl PerSeries for Rate {
    type One = SeriesRate;

    fn series(&self) -> Vec<(&super::decode::Labels, SeriesRate)> {
        self.series.iter().map(|one| (&one.growth.labels, one.clone())).collect()
    }

    fn doubt(one: &SeriesRate) -> Option<String> {
        Growth::doubt(&one.growth)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.selection.shown())
    }
}

impl Selection {
    pub(super) fn validate(&self) -> Result<(), BoxError> {
        self.prometheus.validate()?;
        parsed(&self.query())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_parse_is_named() {
        let prometheus = Prometheus::new("http://localhost:9090");
        let error = prometheus.counter("failed calls").growth().validate().unwrap_err().to_string();
        assert!(error.contains("failed calls"), "{error}");
        assert!(prometheus.counter("failed_call_total").growth().validate().is_ok());
    }
}
