//! Series judged one by one.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::decode::Labels;
use super::growth::Shown;
use crate::BoxError;
use crate::experiment::{Check, Finding, Probe, Scene, Stretch, bounded, found};
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::{Judgement, Outcome, Tolerance};

/// What a probe saw of several series.
pub trait PerSeries {
    /// Of one of them.
    type One: Clone + Send + Sync;

    /// Each, with its labels.
    fn series(&self) -> Vec<(&Labels, Self::One)>;

    /// Why one is not known exactly, if it is not.
    fn doubt(one: &Self::One) -> Option<String>;
}

/// A probe whose series are judged one by one: every one of them, or at least one.
#[derive(Clone, Debug)]
#[must_use = "a probe does nothing until it is expected: `.expect(..)`"]
pub struct Each<P> {
    probe: P,
    every: bool,
}

impl<P> Each<P> {
    pub(super) fn every(probe: P) -> Self {
        Self { probe, every: true }
    }

    pub(super) fn some(probe: P) -> Self {
        Self { probe, every: false }
    }
}

impl<P: Probe> Each<P>
where
    P::Output: PerSeries,
{
    /// Makes it a check. Without any series it is judged as all of them together are.
    pub fn expect<T>(self, tolerance: T) -> JudgedEach<P, T>
    where
        T: Tolerance<<P::Output as PerSeries>::One> + Tolerance<P::Output> + 'static,
    {
        JudgedEach { probe: Arc::new(self.probe), every: self.every, tolerance }
    }
}

/// A check of every series, or of one. Made by [`Each::expect`].
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct JudgedEach<P, T> {
    probe: Arc<P>,
    every: bool,
    tolerance: T,
}

impl<P, T> JudgedEach<P, T>
where
    P: Probe,
    P::Output: PerSeries,
    T: Tolerance<<P::Output as PerSeries>::One> + Tolerance<P::Output> + 'static,
{
    fn expected(&self) -> String {
        let expected = Tolerance::<P::Output>::expected(&self.tolerance);
        format!("{} {expected}", if self.every { "each" } else { "one" })
    }

    /// `whole` is why all of them together are not known, if they are not.
    fn judge(&self, value: &P::Output, whole: Option<&Reason>) -> Judgement {
        let mut judged: Vec<(String, Judgement)> = Vec::new();
        let mut doubted = false;
        for (labels, one) in value.series() {
            let shown = Shown(labels).to_string();
            let judgement = match P::Output::doubt(&one) {
                Some(why) => {
                    doubted = true;
                    self.tolerance.judge_partial(&one, &Reason::NoData { what: shown.clone(), why })
                }
                None => self.tolerance.judge(&one),
            };
            judged.push((shown, judgement));
        }
        if judged.is_empty() {
            return match whole {
                Some(why) => self.tolerance.judge_partial(value, why),
                None => self.tolerance.judge(value),
            };
        }
        // A doubt that no series has is of one that was not seen: it may have been within as well as not.
        if let Some(why) = whole.filter(|_| !doubted) {
            judged.push(("another".to_owned(), Judgement::inconclusive(why.clone(), "")));
        }
        let unknown = |outcome: &Outcome| matches!(outcome, Outcome::Inconclusive(_));
        let decisive = |outcome: &Outcome| *outcome == if self.every { Outcome::NotMet } else { Outcome::Met };
        let of = judged.len();
        let picked = judged.iter().position(|(_, j)| decisive(&j.outcome));
        let picked = picked.or_else(|| judged.iter().position(|(_, j)| unknown(&j.outcome)));
        let (shown, judgement) = judged.swap_remove(picked.unwrap_or(0));
        let which = if picked.is_some() || of == 1 { String::new() } else { format!(" (and so are all {of})") };
        Judgement { seen: format!("{shown}: {}{which}", judgement.seen), expected: self.expected(), ..judgement }
    }
}

impl<P, T> Check for JudgedEach<P, T>
where
    P: Probe,
    P::Output: PerSeries,
    T: Tolerance<<P::Output as PerSeries>::One> + Tolerance<P::Output> + 'static,
{
    fn describe(&self) -> String {
        format!("{}: {}", self.probe.describe(), self.expected())
    }

    fn looks_back(&self) -> std::time::Duration {
        self.probe.looks_back()
    }

    fn validate(&self) -> Result<(), BoxError> {
        self.probe.validate()
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        self.probe.examine(scene)
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(async move {
            let bounds = Tolerance::<<P::Output as PerSeries>::One>::bounds(&self.tolerance);
            Ok(bounded(self.probe.timeline(scene, run).await?, &bounds))
        })
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let seen = self.probe.observe(scene).await?;
            found(seen, &self.expected(), |value, unknown| self.judge(value, unknown))
        })
    }
}
