//! The share of one counter's growth in another's.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::Counter;
use super::client::NoData;
use super::counter::{seen, unknown};
use super::examine::{self, Type};
use super::growth::Growth;
use super::timeline::{self, Kind};
use super::value::Number;
use super::window::{Anchor, Look};
use crate::BoxError;
use crate::experiment::{Observed, Probe, Scene, Stretch};
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::AsNumber;

/// A probe: the growth of `part` by the growth of `whole`, such as failed requests by all requests; 0 to 1 where one is
/// counted in the other. The window is that of [`Counter::growth`]. A whole that did not grow is no traffic, which is
/// `Inconclusive`.
pub fn ratio(part: &Counter, whole: &Counter) -> CounterRatio {
    CounterRatio { part: part.clone(), whole: whole.clone(), vanished_too: false }
}

/// A probe of a share. Made by [`ratio`].
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct CounterRatio {
    part: Counter,
    whole: Counter,
    vanished_too: bool,
}

/// A share, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The growth of the part by that of the whole.
    pub ratio: Number,
    /// The part.
    pub part: Growth,
    /// The whole.
    pub whole: Growth,
}

impl AsNumber for Ratio {
    fn number(&self) -> f64 {
        self.ratio.0
    }

    fn bounds(&self) -> (f64, f64) {
        let ((part_least, part_most), (whole_least, whole_most)) = (self.part.bounds(), self.whole.bounds());
        let most = if whole_least > 0.0 { part_most / whole_least } else { f64::INFINITY };
        (part_least / whole_most, most)
    }

    fn shown(&self) -> String {
        let (part, whole) = (self.part.total.0, self.whole.total.0);
        format!("{:.4}, {part} of {whole} {}", self.ratio.0, self.whole.evidence())
    }
}

impl CounterRatio {
    /// As [`CounterGrowth::vanished_too`](super::CounterGrowth::vanished_too).
    pub fn vanished_too(mut self) -> Self {
        self.vanished_too = true;
        self
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Ratio>, NoData> {
        let look = Look {
            selections: &[&self.part.selection, &self.whole.selection],
            anchor: Anchor::Method,
            when_absent: None,
            vanished_too: self.vanished_too,
            what: self.describe(),
        };
        let Some(grown) = look.growth(scene).await? else { return Ok(None) };
        let [part, whole] = <[Growth; 2]>::try_from(grown).unwrap_or_else(|_| unreachable!("two were asked for"));
        if whole.total.0 == 0.0 {
            let why = format!("it did not grow over {} s: there was no traffic to have a share of", whole.seconds);
            return Err(Reason::NoData { what: self.whole.selection.query(), why }.into());
        }
        Ok(Some(Ratio { ratio: Number(part.total.0 / whole.total.0), part, whole }))
    }
}

impl Probe for CounterRatio {
    type Output = Ratio;

    fn describe(&self) -> String {
        format!("share of {} in {}", self.part, self.whole)
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.part.selection.validate()?;
        self.whole.selection.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move {
            let mut notes = examine::selection(&self.part.selection, scene, Type::Counter, None).await?;
            notes.extend(examine::selection(&self.whole.selection, scene, Type::Counter, None).await?);
            Ok(notes)
        })
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(async move {
            let mut series = timeline::of_selection(&self.part.selection, Kind::Counter, scene, run).await?;
            series.extend(timeline::of_selection(&self.whole.selection, Kind::Counter, scene, run).await?);
            Ok(series)
        })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Ratio>, BoxError>> {
        Box::pin(async move {
            seen(self.look(scene).await, |ratio| {
                unknown(&self.part.selection.query(), &ratio.part)
                    .or_else(|| unknown(&self.whole.selection.query(), &ratio.whole))
            })
        })
    }
}
