//! Checks of how a gauge goes over time.

use std::time::Duration;

use serde_json::json;

use super::client::NoData;
use super::decode::Series;
use super::examine::Type;
use super::gauge::{SeriesValue, value_of};
use super::growth::{GAP, Shown, Window, millis};
use super::selection::Selection;
use super::settle::{Settle, Watched};
use super::window::{Anchor, Look};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::experiment::{Check, Finding, Phase, Scene};
use crate::journal::{Bound, Reason};
use crate::tolerance::{Judgement, Outcome, Tolerance};

/// A check that every sample is within tolerance. Made by [`Gauge::stays`](super::Gauge::stays).
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct Stays<T> {
    selection: Selection,
    tolerance: T,
}

impl<T: Tolerance<SeriesValue> + 'static> Stays<T> {
    pub(super) fn new(selection: Selection, tolerance: T) -> Self {
        Self { selection, tolerance }
    }

    const AFTER_FAULTS: bool = false;

    fn taken_for(&self) -> (Type, Option<Duration>) {
        (Type::Gauge, None)
    }

    fn bounds(&self) -> Vec<Bound> {
        self.tolerance.bounds()
    }

    fn expected(&self) -> String {
        format!("always {}", self.tolerance.expected())
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Finding>, NoData> {
        let selection = &self.selection;
        let look = Look::at(&selection, Anchor::Method, &self.describe());
        let Some((window, samples, faults)) = look.samples(scene).await? else { return Ok(None) };
        let (mut series, mut interval) = (Vec::new(), 0.0);
        for samples in &samples {
            series.extend(samples.within(window));
            interval = samples.interval;
        }
        let judged: Vec<_> = series.iter().map(|(one, used)| self.of_one(one, used, window, interval)).collect();
        let counted: usize = series.iter().map(|(_, used)| used.len()).sum();
        let judgement =
            first_of(judged, &[is_out, is_unknown]).unwrap_or_else(|| nothing(&self.selection, &self.expected()));
        let met = matches!(judgement.outcome, Outcome::Met);
        let seen = if met {
            format!("within in all {counted} samples of {} series over {} s", series.len(), window.seconds())
        } else {
            judgement.seen
        };
        let evidence =
            json!({"series": series.len(), "samples": counted, "seconds": window.seconds(), "faults": faults});
        Ok(Some(Finding { judgement: Judgement { seen, ..judgement }, evidence }))
    }

    fn of_one(&self, series: &Series, used: &[(f64, f64)], window: Window, interval: f64) -> Judgement {
        let judged = used.iter().map(|(at, value)| {
            let judged = self.tolerance.judge(&value_of(series, *at, *value));
            Judgement {
                seen: format!("{}: {}", Shown(&series.labels), judged.seen),
                expected: self.expected(),
                ..judged
            }
        });
        let worst = first_of(judged.collect(), &[is_out, is_unknown])
            .unwrap_or_else(|| nothing(&self.selection, &self.expected()));
        let ends = [window.from].into_iter().chain(used.iter().map(|(at, _)| *at)).chain([window.to]);
        let ends: Vec<f64> = ends.collect();
        let longest = ends.windows(2).map(|pair| pair[1] - pair[0]).reduce(f64::max).unwrap_or_default();
        if longest > GAP * interval && !is_out(&worst.outcome) {
            let what = format!("{}{}", self.selection.shown(), Shown(&series.labels));
            let why =
                format!("it has no sample for {} s of the window: what it was then is not known", millis(longest));
            return Judgement::inconclusive(Reason::NoData { what, why }, &self.expected());
        }
        worst
    }
}

fn is_out(outcome: &Outcome) -> bool {
    *outcome == Outcome::NotMet
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Inconclusive(_))
}

/// The first that the first rule picks, else the next rule, else the first at all.
fn first_of(mut judged: Vec<Judgement>, rules: &[fn(&Outcome) -> bool]) -> Option<Judgement> {
    let picked = rules.iter().find_map(|rule| judged.iter().position(|j| rule(&j.outcome)));
    (!judged.is_empty()).then(|| judged.swap_remove(picked.unwrap_or(0)))
}

fn nothing(selection: &Selection, expected: &str) -> Judgement {
    let why = "no series has a sample in the window; is the name right, and does the target have it?".to_owned();
    Judgement::inconclusive(Reason::NoData { what: selection.query(), why }, expected)
}

/// Why what is judged after the faults guards nothing.
pub(super) const NO_SAFEGUARD: &str = "it is judged when the faults are over; guard what the series do under them: \
    `.growth_over(..)` of a counter, `.value()` or `.stays(..)` of a gauge";

/// A check that looks at series over time, by its own `selection`, `taken_for`, `bounds`,
/// `expected` and `look`; `AFTER_FAULTS` says
/// whether it means nothing before they are over.
macro_rules! over_time {
    ($name:ident $(<$tolerance:ident>)?) => {
        impl$(<$tolerance: crate::tolerance::Tolerance<super::SeriesValue> + 'static>)? crate::experiment::Check
            for $name$(<$tolerance>)?
        {
            fn describe(&self) -> String {
                format!("{}: {}", self.selection.shown(), self.expected())
            }

            fn looks_back(&self) -> std::time::Duration {
                std::time::Duration::MAX
            }

            fn validate(&self) -> Result<(), crate::BoxError> {
                self.selection.validate()
            }

            fn examine<'a>(
                &'a self,
                scene: &'a crate::experiment::Scene,
            ) -> futures_util::future::BoxFuture<'a, Result<Vec<String>, crate::BoxError>> {
                let (taken_for, window) = self.taken_for();
                Box::pin(async move {
                    if Self::AFTER_FAULTS {
                        scene.no_safeguard(super::stays::NO_SAFEGUARD)?;
                    }
                    super::examine::selection(&self.selection, scene, taken_for, window).await
                })
            }

            fn timeline<'a>(
                &'a self,
                scene: &'a crate::experiment::Scene,
                run: &'a crate::experiment::Stretch,
            ) -> futures_util::future::BoxFuture<'a, Result<Vec<crate::journal::MetricSeries>, crate::BoxError>> {
                let kind = match self.taken_for().0 {
                    super::examine::Type::Counter => super::timeline::Kind::Counter,
                    super::examine::Type::Gauge | super::examine::Type::Histogram => super::timeline::Kind::Gauge,
                };
                Box::pin(async move {
                    let mut series = super::timeline::of_selection(&self.selection, kind, scene, run).await?;
                    series.iter_mut().for_each(|one| one.bounds = self.bounds());
                    Ok(series)
                })
            }

            fn check<'a>(
                &'a self,
                scene: &'a crate::experiment::Scene,
            ) -> futures_util::future::BoxFuture<'a, Result<crate::experiment::Finding, crate::BoxError>> {
                Box::pin(async move { super::stays::found(self.look(scene).await, &self.expected()) })
            }
        }
    };
}

pub(super) use over_time;

/// What a look gives, as a check says it.
pub(super) fn found(look: Result<Option<Finding>, NoData>, expected: &str) -> Result<Finding, BoxError> {
    match look {
        Ok(Some(finding)) => Ok(finding),
        Ok(None) => Ok(Finding { judgement: Judgement::not_applicable(expected), evidence: json!(null) }),
        Err(NoData::Inconclusive(reason)) => {
            Ok(Finding { judgement: Judgement::inconclusive(reason, expected), evidence: json!(null) })
        }
        Err(NoData::Error(error)) => Err(error),
    }
}

over_time!(Stays<T>);

/// A check that a gauge comes back. Made by [`Gauge::recovers_within`](super::Gauge::recovers_within).
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct RecoversWithin<T> {
    selection: Selection,
    within: Duration,
    tolerance: T,
}

impl<T: Tolerance<SeriesValue> + 'static> RecoversWithin<T> {
    pub(super) fn new(selection: Selection, within: Duration, tolerance: T) -> Self {
        Self { selection, within, tolerance }
    }

    const AFTER_FAULTS: bool = true;

    fn taken_for(&self) -> (Type, Option<Duration>) {
        (Type::Gauge, None)
    }

    fn bounds(&self) -> Vec<Bound> {
        self.tolerance.bounds()
    }

    fn expected(&self) -> String {
        format!("{} within {:?} after the fault", self.tolerance.expected(), self.within)
    }

    async fn look(&self, scene: &Scene) -> Result<Option<Finding>, NoData> {
        let Some(ended) = ended(scene) else { return Ok(None) };
        let what = self.selection.query();
        let mut settle = Settle::new(&self.selection.prometheus, scene, &what, Watched::of(&self.selection)).await?;
        let ended = settle.not_before(ended);
        let deadline = ended + self.within.as_secs_f64();
        let to = settle.scraped_at_last(deadline).await?;
        let window = Window { from: ended, to };
        let samples = settle.samples(&self.selection, window).await?;
        let mut back = Vec::new();
        for (series, used) in samples.within(window) {
            back.push((Shown(&series.labels).to_string(), self.of_one(series, used, window, settle.interval())?));
        }
        let (Some(last), false) = (back.iter().map(|(_, since)| *since).reduce(f64::max), back.is_empty()) else {
            return Ok(Some(Finding { judgement: nothing(&self.selection, &self.expected()), evidence: json!(null) }));
        };
        let scrape = settle.interval();
        let took = |since: f64| millis(since - ended);
        let evidence = json!({"recovered": back.iter().map(|(labels, since)| json!({
            "series": labels,
            "seconds": since.is_finite().then(|| took(*since)),
        })).collect::<Vec<_>>(), "told to within seconds": scrape});
        let slowest =
            back.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(labels, _)| labels.clone()).unwrap_or_default();
        let judgement = if last.is_finite() {
            let seen = format!("back after {} s (told to within {scrape} s; {slowest} last)", took(last));
            if last > deadline && last - scrape < deadline {
                // It came back between two scrapes, and the deadline lies between them too.
                Judgement::inconclusive(
                    Reason::NoData { what, why: format!("it was {seen}, which is too coarse") },
                    &self.expected(),
                )
            } else {
                Judgement::of(last <= deadline, seen, &self.expected(), ("recovered", "recovered late"))
            }
        } else {
            Judgement::of(
                false,
                format!("not back after {} s ({slowest})", took(to)),
                &self.expected(),
                ("", "not recovered"),
            )
        };
        Ok(Some(Finding { judgement, evidence }))
    }

    /// From when on a series is within tolerance until the end; infinity if it is not at the end.
    fn of_one(&self, series: &Series, used: &[(f64, f64)], window: Window, interval: f64) -> Result<f64, Reason> {
        let mut since = f64::INFINITY;
        for (at, value) in used {
            match self.tolerance.judge(&value_of(series, *at, *value)).outcome {
                Outcome::Met if since.is_infinite() => since = *at,
                Outcome::Met => {}
                Outcome::Inconclusive(reason) => return Err(reason),
                Outcome::NotMet | Outcome::NotApplicable => since = f64::INFINITY,
            }
        }
        let last = used.last().map_or(window.from, |(at, _)| *at);
        if window.to - last > GAP * interval {
            let what = format!("{}{}", self.selection.shown(), Shown(&series.labels));
            let why = format!("it ended {} s before the time was over", millis(window.to - last));
            return Err(Reason::NoData { what, why });
        }
        Ok(since)
    }
}

/// When the last fault ended; `None` while one is on, or before the method.
pub(super) fn ended(scene: &Scene) -> Option<Timestamp> {
    let last = || {
        let ends: Vec<_> = scene.faults.windows().1.iter().map(|fault| fault.undone).collect();
        ends.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
    };
    match scene.phase {
        // A later attempt of the recovery does not make the faults end later.
        Phase::Recovery { undone } => last().or(Some(undone)),
        Phase::Fault { .. } => last(),
        Phase::Gate | Phase::Method { .. } | Phase::Watch { .. } | Phase::Safeguard { .. } => None,
    }
}

over_time!(RecoversWithin<T>);
