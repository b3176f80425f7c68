//! Probes, and the checks that they become with a tolerance.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use super::{Scene, Stretch, bounded};
use crate::BoxError;
use crate::journal::{MetricSeries, Reason};
use crate::tolerance::{Judgement, Tolerance};

/// What a probe saw.
#[derive(Clone, Debug)]
pub enum Observed<T> {
    /// A value to judge.
    Value(T),
    /// A value of which only bounds are known, and why: it is met or not only where a tolerance can tell by the bounds.
    Partial {
        /// What is known.
        value: T,
        /// What is not.
        why: Reason,
    },
    /// The system under test did not answer: it fails every tolerance. In words: `no answer within 5s`.
    NoAnswer(String),
    /// There is no evidence.
    Inconclusive(Reason),
    /// The probe means nothing in this phase.
    NotApplicable,
}

/// Observes the system under test. Reads, never writes.
pub trait Probe: Send + Sync + 'static {
    /// What it sees; its serialised form is the evidence in the journal.
    type Output: Serialize + Send + Sync;

    /// What it looks at, in a few words and without addresses: `GET http://front.default/`.
    fn describe(&self) -> String;

    /// Looks once.
    ///
    /// # Errors
    /// Our own inability to look, such as a malformed URL. A system that does not answer is no error but
    /// [`Observed::NoAnswer`], a source of evidence without evidence is [`Observed::Inconclusive`].
    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Self::Output>, BoxError>>;

    /// How far back from a look what it finds reaches: nothing where it sees a moment, [`Duration::MAX`] where it sees all since
    /// the method's start. A look that reaches to no time at which a fault was on is no evidence of what holds under one.
    fn looks_back(&self) -> Duration {
        Duration::ZERO
    }

    /// What is wrong with this probe before anything is run: a query that does not parse, a malformed URL.
    ///
    /// # Errors
    /// The first such thing, naming the place and the remedy.
    fn validate(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// What a reader of the plan should know of this probe, seen without touching anything: a target that cannot be
    /// told, a source that does not answer now.
    ///
    /// # Errors
    /// It can never be judged as it stands, such as a window shorter than two scrapes.
    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        let _ = scene;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The series that it looks at, for reports: from so long before the run's start until now.
    ///
    /// # Errors
    /// They cannot be had now.
    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        let _ = (scene, run);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Makes it a [`Check`].
    fn expect<T>(self, tolerance: T) -> Judged<Self, T>
    where
        Self: Sized,
        T: Tolerance<Self::Output> + 'static,
    {
        Judged { probe: self, tolerance }
    }
}

/// A yes-or-no question about the system under test: a probe with a tolerance.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a check",
    label = "a hypothesis needs a yes-or-no answer",
    note = "give the probe a tolerance with `.expect(..)`; to only record a value, use `.observe(..)` in the method"
)]
pub trait Check: Send + Sync + 'static {
    /// What it looks at, and what it expects.
    fn describe(&self) -> String;

    /// As [`Probe::looks_back`].
    fn looks_back(&self) -> Duration {
        Duration::ZERO
    }

    /// As [`Probe::validate`].
    ///
    /// # Errors
    /// What is wrong before anything is run.
    fn validate(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// As [`Probe::examine`].
    ///
    /// # Errors
    /// It can never be judged as it stands.
    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        let _ = scene;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// As [`Probe::timeline`], with the bounds of the values that it expects.
    ///
    /// # Errors
    /// They cannot be had now.
    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        let _ = (scene, run);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Looks once and judges.
    ///
    /// # Errors
    /// Our own inability to look.
    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>>;
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The judgement.
    pub judgement: Judgement,
    /// What the probe saw.
    pub evidence: Value,
}

/// A probe with a tolerance. Made by [`Probe::expect`].
#[derive(Clone, Debug)]
#[must_use = "a check does nothing until it is part of a hypothesis"]
pub struct Judged<P, T> {
    probe: P,
    tolerance: T,
}

impl<P, T> Check for Judged<P, T>
where
    P: Probe,
    T: Tolerance<P::Output> + 'static,
{
    fn describe(&self) -> String {
        format!("{}: {}", self.probe.describe(), self.tolerance.expected())
    }

    fn looks_back(&self) -> Duration {
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
        Box::pin(async move { Ok(bounded(self.probe.timeline(scene, run).await?, &self.tolerance.bounds())) })
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let expected = self.tolerance.expected();
            found(self.probe.observe(scene).await?, &expected, |value, unknown| match unknown {
                Some(why) => self.tolerance.judge_partial(value, why),
                None => self.tolerance.judge(value),
            })
        })
    }
}

/// What a check finds of what its probe saw; `judge` is given why a value is not known whole, if it is not.
pub(crate) fn found<T: Serialize>(
    seen: Observed<T>,
    expected: &str,
    judge: impl FnOnce(&T, Option<&Reason>) -> Judgement,
) -> Result<Finding, BoxError> {
    let (judgement, evidence) = match seen {
        Observed::Value(value) => (judge(&value, None), serde_json::to_value(&value)?),
        Observed::Partial { value, why } => {
            (judge(&value, Some(&why)), serde_json::json!({"known": value, "unknown": why}))
        }
        Observed::NoAnswer(how) => {
            (Judgement::of(false, format!("no answer ({how})"), expected, ("", "no answer")), Value::Null)
        }
        Observed::Inconclusive(reason) => (Judgement::inconclusive(reason, expected), Value::Null),
        Observed::NotApplicable => (Judgement::not_applicable(expected), Value::Null),
    };
    Ok(Finding { judgement, evidence })
}

/// Does something, as a step of the method; its output goes into the journal.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an action",
    label = "this does nothing by itself",
    note = "an action is an HTTP request, a process, `load.plot_to(..)` or `pods.logs()`; for anything else use `.act_with(name, async |scene| ..)`"
)]
pub trait Action: Send + Sync + 'static {
    /// What it does, in a few words and without addresses.
    fn describe(&self) -> String;

    /// As [`Probe::validate`].
    ///
    /// # Errors
    /// What is wrong before anything is run.
    fn validate(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    /// It could not be done; the experiment has failed then.
    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>>;
}

/// Runs beside the method and is joined before the hypothesis is judged under the faults.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in the background",
    label = "this is no background activity",
    note = "a load (`load::get(&url).per_second(10).lasting(secs(10))`) can; pass it by reference, so that its results can be used later"
)]
pub trait Background: Send + Sync + 'static {
    /// What it does, in a few words and without addresses.
    fn describe(&self) -> String;

    /// As [`Probe::validate`].
    ///
    /// # Errors
    /// What is wrong before anything is run.
    fn validate(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Runs to its end. Dropping the future stops it.
    fn run(&self, scene: Scene) -> BoxFuture<'static, Result<Value, BoxError>>;
}
