//! A check that a counter stops to grow.

use std::time::Duration;

use serde_json::json;

use super::client::NoData;
use super::decode::Series;
use super::examine::Type;
use super::growth::{Growth, Question, Samples, Window, growth, millis};
use super::selection::Selection;
use super::settle::{Settle, Watched};
use super::stays::{ended, over_time};
use crate::experiment::{Finding, Scene};
use crate::journal::{Bound, Reason};
use crate::tolerance::{Judgement, Outcome, Tolerance, at_most};

/// A check that a counter stops to grow. Made by [`Counter::recovers_within`](super::Counter::recovers_within).
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct StopsWithin {
    selection: Selection,
    within: Duration,
}

impl StopsWithin {
    pub(super) fn new(selection: Selection, within: Duration) -> Self {
        Self { selection, within }
    }

    const AFTER_FAULTS: bool = true;

    fn taken_for(&self) -> (Type, Option<Duration>) {
        (Type::Counter, Some(self.within))
    }

    /// That it stops growing is no line on its values.
    fn bounds(&self) -> Vec<Bound> {
        Vec::new()
    }

    fn expected(&self) -> String {
        format!("no growth within {:?} after the fault", self.within)
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Finding>, NoData> {
        let Some(ended) = ended(scene) else { return Ok(None) };
        let what = self.selection.query();
        let mut settle = Settle::new(&self.selection.prometheus, scene, &what, Watched::of(&self.selection)).await?;
        let ended = settle.not_before(ended);
        let deadline = ended + self.within.as_secs_f64();
        settle.scraped_at_last(deadline).await?;
        let whole = Window { from: ended, to: deadline };
        let samples = settle.samples(&self.selection, whole).await?;
        let scrapes = scrapes(&samples, whole);
        let (Some(last), true) = (scrapes.last(), scrapes.len() > 1) else {
            let why = format!(
                "two scrapes of each target have to be between the fault's end and {:?} after it, and it is scraped every {} s",
                self.within,
                settle.interval()
            );
            return Err(Reason::WindowTooShort { what, why }.into());
        };
        let of = |from: f64, to: f64| {
            let window = Window { from, to };
            let interval = settle.interval();
            let question = Question { what: &what, window, interval, vanished_too: false, since_scrape: true };
            growth(&question, &samples, None)
        };
        // The newest pair of scrapes decides; those before it tell since when.
        let decides = of(scrapes[scrapes.len() - 2], *last)?;
        let grew = |pair: &[f64]| of(pair[0], pair[1]).map_or(true, |grown| grown.total.0 > 0.0);
        let still = scrapes.windows(2).rposition(grew).map_or(scrapes[0], |pair| scrapes[pair + 1]);
        Ok(Some(self.finding(&decides, millis(still - ended))))
    }

    fn finding(&self, decides: &Growth, still: f64) -> Finding {
        let none = at_most(0.0);
        let judged = match &decides.unknown {
            Some(why) => {
                let why = Reason::NoData { what: self.selection.query(), why: why.clone() };
                Tolerance::<Growth>::judge_partial(&none, decides, &why)
            }
            None => Tolerance::<Growth>::judge(&none, decides),
        };
        let met = judged.outcome == Outcome::Met;
        let seen = if met { format!("still {still} s after it, {}", judged.seen) } else { judged.seen };
        let judgement = Judgement { seen, expected: self.expected(), ..judged };
        let still = met.then_some(still);
        Finding { judgement, evidence: json!({"still after seconds": still, "last scrapes": decides}) }
    }
}

/// The instants by which every target was scraped once more, within a window; of what has no target, its samples.
fn scrapes(samples: &Samples, window: Window) -> Vec<f64> {
    let series = samples.up.as_ref().unwrap_or(&samples.counter);
    let within = |series: &Series| -> Vec<f64> {
        let all = series.samples.iter().map(|(at, _)| *at);
        all.filter(|at| *at >= window.from && *at <= window.to).collect()
    };
    // One that was gone by then has no scrapes that count.
    let gone = window.to - 3.0 * samples.interval;
    let each: Vec<_> = series.iter().map(within).filter(|at| at.last().is_some_and(|last| *last > gone)).collect();
    let rounds = each.iter().map(Vec::len).min().unwrap_or_default();
    (0..rounds).filter_map(|round| each.iter().map(|at| at[round]).reduce(f64::max)).collect()
}

over_time!(StopsWithin);
