//! The experiment: a hypothesis, a method, and the engine that runs them.
//!
//! An [`Experiment`] is a value: it can be planned, printed and run. The engine promises the order of things:
//! the hypothesis is judged before the method (the gate), the method runs, the hypothesis is judged again *while
//! the faults are on*, the faults are undone in reverse order and that is verified, the hypothesis is judged once
//! more (recovery), and the journal is stored: on every path, also after an error, a panic or a signal.
//!
//! Below it lies [`Run`], for tests that need loops. This module knows neither Kubernetes nor Prometheus: what it
//! needs of a cluster is [`Environment`], of a fault [`Fault`], of a check [`Check`].

#[cfg(feature = "cli")]
mod directed;
mod engine;
mod environment;
mod error;
mod fault;
mod finally;
mod guard;
mod hold;
mod hypothesis;
mod interrupt;
mod judging;
mod life;
mod live;
mod loads;
mod place;
mod plan;
mod probe;
mod recorder;
mod remarks;
mod run;
mod safeguard;
mod scene;
mod sight;
mod spans;
mod step;
mod strategy;
mod telemetry;

use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::BoxError;
use crate::journal::{Event, Journal};
use crate::rollback::Undo;

#[cfg(feature = "cli")]
pub(crate) use directed::StepBegun;
pub use environment::Environment;
pub use error::ExperimentError;
pub use fault::{Applied, Apply, Armed, Fault, Mark, Proof, Right, SEEN_WITHIN, Targets, Untouched, Witness};
use finally::Finally;
pub use guard::FaultGuard;
pub use hold::{Hold, Switch};
pub use hypothesis::Hypothesis;
#[cfg(feature = "cli")]
pub(crate) use interrupt::Signal;
pub use loads::{Counted, LoadNow, RunningLoad, RunningLoads};
pub use place::Place;
#[cfg(feature = "cli")]
pub(crate) use plan::needed;
pub use plan::{Plan, PlannedCheck, PlannedStep};
#[cfg(feature = "prometheus")]
pub(crate) use probe::found;
pub use probe::{Action, Background, Check, Finding, Judged, Observed, Probe};
#[cfg(feature = "cli")]
pub(crate) use recorder::{Store, Told};
pub use remarks::Remarks;
pub use run::Run;
pub use safeguard::Safeguard;
pub use scene::{Faults, Phase, Scene};
use step::{Step, Work};
pub use strategy::{HypothesisStrategy, RollbackStrategy};
pub use telemetry::Stretch;
pub(crate) use telemetry::{Measured, bounded};

/// A hypothesis and a method, ready to be planned and run.
///
/// The first page of this crate shows one. What is on when the method ends stays on while the hypothesis is judged,
/// and is undone after that; a fault that should end earlier says so with `lasting`.
#[derive(Clone)]
#[must_use = "an experiment does nothing until it is run: `.run(&cluster).await?`"]
pub struct Experiment {
    title: String,
    hypothesis: Option<Hypothesis>,
    steps: Vec<Step>,
    safeguards: Vec<Safeguard>,
    finally: Vec<Finally>,
    strategy: HypothesisStrategy,
    rollbacks: RollbackStrategy,
    baseline_within: Duration,
    watch_every: Duration,
    /// Where it was asked for.
    fail_fast: Option<&'static Location<'static>>,
    recovery: bool,
    recovery_within: Duration,
    must_recover: Option<&'static Location<'static>>,
    journal_path: Option<PathBuf>,
    observer: Option<recorder::Observer>,
}

impl Experiment {
    /// An experiment without steps so far.
    pub fn new(title: impl Into<String>, hypothesis: Hypothesis) -> Self {
        Self { hypothesis: Some(hypothesis), ..Self::without_hypothesis(title) }
    }

    /// An experiment that judges nothing: its verdict is [`NotJudged`](crate::journal::Verdict::NotJudged).
    pub fn without_hypothesis(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            hypothesis: None,
            steps: Vec::new(),
            safeguards: Vec::new(),
            finally: Vec::new(),
            strategy: HypothesisStrategy::default(),
            rollbacks: RollbackStrategy::default(),
            baseline_within: Duration::ZERO,
            watch_every: strategy::WATCH_EVERY,
            fail_fast: None,
            recovery: true,
            recovery_within: Duration::ZERO,
            must_recover: None,
            journal_path: None,
            observer: None,
        }
    }

    /// Gives the hypothesis this long to hold before the method; without it, it is judged once.
    pub fn baseline_within(mut self, duration: Duration) -> Self {
        self.baseline_within = duration;
        self
    }

    /// When the hypothesis is judged; before and after the method by default.
    pub fn hypothesis_strategy(mut self, strategy: HypothesisStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// When the steps of [`rollback`](Self::rollback) run; on every path by default. Faults are undone, and the steps of
    /// [`finally`](Self::finally) run, whatever the strategy.
    pub fn rollback_strategy(mut self, strategy: RollbackStrategy) -> Self {
        self.rollbacks = strategy;
        self
    }

    /// How often the hypothesis is judged during the method, where the strategy asks for it; each second by default.
    pub fn watch_every(mut self, interval: Duration) -> Self {
        self.watch_every = interval;
        self
    }

    /// Fails the run unless the hypothesis holds again after the rollback, with evidence: anything but `Met` is
    /// [`ExperimentError::NotRecovered`], and a run whose method was not begun, at a missed gate or by a safeguard, is
    /// [`ExperimentError::NothingToRecover`]. Without it the journal tells, and [`Journal::assert_recovered`] asks.
    #[track_caller]
    pub fn must_recover(mut self) -> Self {
        self.must_recover = Some(Location::caller());
        self
    }

    /// Gives the hypothesis this long to hold again after the rollback; without it, it is judged once.
    pub fn recovery_within(mut self, duration: Duration) -> Self {
        self.recovery_within = duration;
        self
    }

    /// Ends the method at the first look during it that deviates, and undoes everything at once; the verdict is
    /// [`Deviated`](crate::journal::Verdict::Deviated) if the faults that were on are proved. The hypothesis must be judged
    /// while the method runs: [`Continuously`](HypothesisStrategy::Continuously) or
    /// [`DuringMethodOnly`](HypothesisStrategy::DuringMethodOnly).
    #[track_caller]
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = Some(Location::caller());
        self
    }

    /// A check that must hold while this runs, or everything is stopped and undone at once. A [`Safeguard`] says how often
    /// it is looked at, and what happens when it cannot be judged; of several each stops by itself.
    #[track_caller]
    pub fn safeguard(mut self, safeguard: impl Into<Safeguard>) -> Self {
        self.safeguards.push(safeguard.into().at(Location::caller()));
        self
    }

    /// Does not judge the hypothesis again after the rollback.
    pub fn without_recovery(mut self) -> Self {
        self.recovery = false;
        self
    }

    /// Where the journal is stored: relative to the outputs folder. By default `journal.json`, and `journal-2.json`, `journal-3.json` and so on
    /// for further runs on the same cluster of a test.
    pub fn journal_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal_path = Some(path.into());
        self
    }

    /// Tells `observer` of each event as it happens.
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Step: starts a load that runs beside what follows. It is joined before the hypothesis is judged.
    #[track_caller]
    pub fn background(self, load: &(impl Background + Clone)) -> Self {
        self.step(Work::Background(Arc::new(load.clone())))
    }

    /// Step: waits.
    #[track_caller]
    pub fn pause(self, duration: Duration) -> Self {
        self.step(Work::Pause(duration))
    }

    /// Step: injects a fault; the next step begins once it is proved effective. It is undone on every path.
    #[track_caller]
    pub fn inject(self, fault: impl Fault) -> Self {
        self.step(Work::Inject(Arc::new(fault)))
    }

    /// Step: does something.
    #[track_caller]
    pub fn act(self, action: impl Action) -> Self {
        self.step(Work::Act(Arc::new(action)))
    }

    /// Step: calls an async closure. A panic in it is journalled, everything is undone, then it goes on.
    #[track_caller]
    pub fn act_with<F>(self, name: impl Into<String>, closure: F) -> Self
    where
        F: AsyncFn(Scene) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.step(Work::ActWith(name.into(), user_step(closure)))
    }

    /// Step: looks without judging; what is seen goes into the journal.
    #[track_caller]
    pub fn observe(self, probe: impl Probe) -> Self {
        self.step(Work::Observe(Arc::new(probe)))
    }

    /// At the end, before the faults are undone: an undo that the crate does not know by itself. It is in the ledger
    /// before the method starts. It runs on every path on which the method began. Several run last to first. Where a
    /// safeguard or a signal stopped the run, the faults are undone first.
    pub fn finally(self, undo: Undo) -> Self {
        self.at_the_end(finally::Work::Undo(undo), false)
    }

    /// As [`finally`](Self::finally): an async closure. It is lost if this process is killed; one that takes longer than
    /// 5 min is dropped where it is, and that is its error. Where the future of the run is dropped it is
    /// not run, which the journal and standard error tell.
    pub fn finally_with<F>(self, name: impl Into<String>, closure: F) -> Self
    where
        F: AsyncFn(Scene) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.at_the_end(finally::Work::Closure(name.into(), user_step(closure)), false)
    }

    /// As [`finally`](Self::finally), if the [`rollback_strategy`](Self::rollback_strategy) wants it: a rollback of the
    /// user's own, as the section `rollbacks` of Chaos Toolkit has them.
    pub fn rollback(self, undo: Undo) -> Self {
        self.at_the_end(finally::Work::Undo(undo), true)
    }

    /// As [`rollback`](Self::rollback): an async closure. It is lost if this process is killed.
    pub fn rollback_with<F>(self, name: impl Into<String>, closure: F) -> Self
    where
        F: AsyncFn(Scene) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.at_the_end(finally::Work::Closure(name.into(), user_step(closure)), true)
    }

    /// What a run would do: every step, target and needed right. Reads, never writes.
    ///
    /// # Errors
    /// Something is wrong already: a selector that matches nothing, a query that does not parse, a malformed URL.
    pub async fn plan(&self, cluster: &(impl Environment + Clone + 'static)) -> Result<Plan, ExperimentError> {
        let environment: Arc<dyn Environment> = Arc::new(cluster.clone());
        plan::plan(self, &environment).await
    }

    /// Runs it. The journal is stored on every path.
    ///
    /// # Errors
    /// Something could not be done or observed, a signal arrived, or something was not undone, which wins over
    /// everything else. A hypothesis that does not hold is no error but a [`Verdict`](crate::journal::Verdict).
    ///
    /// # Panics
    /// A closure of the experiment panicked: everything is undone, then the panic goes on.
    pub async fn run(self, cluster: &(impl Environment + Clone + 'static)) -> Result<Journal, ExperimentError> {
        engine::run(&self, Arc::new(cluster.clone())).await
    }

    fn at_the_end(mut self, work: finally::Work, by_strategy: bool) -> Self {
        self.finally.push(Finally { work, by_strategy });
        self
    }

    /// The hypothesis that is judged again after the rollback, if one is.
    fn recovers(&self) -> Option<&Hypothesis> {
        self.hypothesis.as_ref().filter(|_| self.recovery && self.strategy.judges_after())
    }

    #[track_caller]
    fn step(mut self, work: Work) -> Self {
        self.steps.push(Step { work, location: Location::caller() });
        self
    }
}

fn user_step<F>(closure: F) -> step::UserStep
where
    F: AsyncFn(Scene) -> Result<(), BoxError> + Send + Sync + 'static,
{
    let closure = Arc::new(closure);
    Arc::new(move |scene| {
        let closure = closure.clone();
        Box::pin(async move { closure(scene).await.map(|()| serde_json::Value::Null) })
    })
}
