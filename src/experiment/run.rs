//! One run: the recorder, and the small layer for tests that need loops.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tracing::{Instrument, Span};

use super::guard::FaultGuard;
use super::life::Life;
use super::recorder::{Observer, Recorder};
use super::{
    Action, Background, Environment, ExperimentError, Fault, Hypothesis, Phase, Probe, Safeguard, safeguard, spans,
};
use crate::journal::{Ended, FaultEnd, Journal, Verdict};

/// A run of the caller's own making: for tests that need loops, conditions or nested faults.
///
/// An [`Experiment`](super::Experiment) is run on top of this layer and is the better choice wherever it fits: here
/// the order of gate, faults and judgement is the caller's. Faults are undone when their [`FaultGuard`] is rolled
/// back or dropped; the journal is written by [`finish`](Run::finish), or when the run is dropped.
///
/// ```
/// # use steadfast::prelude::*;
/// steadfast::block_on(async |cluster| {
///     steadfast::shop(&cluster).await?;
///     let shop = cluster.namespace("default");
///     let front = Hypothesis::new("front answers").check(http::get(shop.service("front").url("/")).expect(status(200)));
///
///     let run = Run::start("front without back", &cluster).await?;
///     run.require(&front).await?;
///     let cut = run.inject(shop.pods("app=back").deny_ingress()).await?;
///     assert_eq!(run.verify(&front).await?, Met);
///     cut.rollback().await?;
///     run.finish().await?.assert_verdict(Met);
///     Ok(())
/// });
/// ```
#[must_use = "a run that is dropped at once records nothing; bind it to a name"]
pub struct Run {
    pub(super) recorder: Arc<Recorder>,
    /// What runs beside, for whoever has to stop it.
    beside: Mutex<Vec<AbortHandle>>,
}

impl Run {
    /// Begins a run on a cluster. Nothing is touched yet.
    ///
    /// # Errors
    /// The ledger or the outputs folder cannot be written, or the cluster does not say who it is.
    pub async fn start(title: &str, cluster: &(impl Environment + Clone + 'static)) -> Result<Self, ExperimentError> {
        Self::begin(title, None, Arc::new(cluster.clone()), None, None, false).await
    }

    pub(super) async fn begin(
        title: &str,
        hypothesis: Option<&Hypothesis>,
        environment: Arc<dyn Environment>,
        observer: Option<Observer>,
        path: Option<PathBuf>,
        driven: bool,
    ) -> Result<Self, ExperimentError> {
        let recorder = Recorder::begin(title, hypothesis, environment, observer, path, driven).await?;
        Ok(Self::of(Arc::new(recorder)))
    }

    pub(super) fn of(recorder: Arc<Recorder>) -> Self {
        Self { recorder, beside: Mutex::default() }
    }

    /// Waits.
    #[track_caller]
    pub fn pause(&self, duration: Duration) -> impl Future<Output = ()> + '_ {
        let location = std::panic::Location::caller().to_string();
        async move {
            self.recorder.begin_method();
            let step = self.recorder.step("pause", &format!("{duration:?}"), location);
            let span = self.activity(step);
            self.recorder.clock.sleep(duration).await;
            span.in_scope(|| self.recorder.step_ended(step, Ok(serde_json::Value::Null)));
        }
    }

    /// Injects a fault and returns once it is proved effective, or known not to be.
    ///
    /// # Errors
    /// Nothing matches, the ledger cannot be written, or the cluster refuses; nothing is left behind then.
    #[track_caller]
    pub fn inject<'a, F: Fault + 'a>(
        &'a self,
        fault: F,
    ) -> impl Future<Output = Result<FaultGuard, ExperimentError>> + 'a {
        let location = std::panic::Location::caller().to_string();
        async move {
            if let Some((by, _)) = self.recorder.stopped_by() {
                return Err(ExperimentError::Stopped { by });
            }
            self.recorder.begin_method();
            let step = self.recorder.step("inject", &fault.describe(), location.clone());
            let span = self.activity(step);
            let injected = FaultGuard::inject(&self.recorder, &fault, location).instrument(span.clone()).await;
            let record = injected.as_ref().map(|_| serde_json::Value::Null).map_err(ToString::to_string);
            span.in_scope(|| self.recorder.step_ended(step, record));
            injected
        }
    }

    /// Does something and returns its output.
    ///
    /// # Errors
    /// It could not be done.
    #[track_caller]
    pub fn act<'a, A: Action + 'a>(
        &'a self,
        action: A,
    ) -> impl Future<Output = Result<serde_json::Value, ExperimentError>> + 'a {
        let location = std::panic::Location::caller().to_string();
        async move {
            self.recorder.begin_method();
            let name = action.describe();
            let step = self.recorder.step("act", &name, location.clone());
            let scene = self.recorder.scene(self.recorder.method_phase());
            let span = self.activity(step);
            let done = action.act(&scene).instrument(span.clone()).await;
            self.recorder.remarked(step, &scene.remarks);
            span.in_scope(|| self.recorder.step_ended(step, done.as_ref().cloned().map_err(ToString::to_string)));
            done.map_err(|source| ExperimentError::Failed { what: name, location, source })
        }
    }

    /// Looks without judging, and records what was seen.
    ///
    /// # Errors
    /// It could not be looked at.
    #[track_caller]
    pub fn observe<'a, P: Probe + 'a>(
        &'a self,
        probe: P,
    ) -> impl Future<Output = Result<super::Observed<P::Output>, ExperimentError>> + 'a {
        let location = std::panic::Location::caller().to_string();
        async move {
            self.recorder.begin_method();
            let name = probe.describe();
            let step = self.recorder.step("observe", &name, location.clone());
            let scene = self.recorder.scene(self.recorder.method_phase());
            let span = self.activity(step);
            let seen = probe.observe(&scene).instrument(span.clone()).await;
            self.recorder.remarked(step, &scene.remarks);
            let record = seen.as_ref().map(super::step::evidence).map_err(ToString::to_string);
            span.in_scope(|| self.recorder.step_ended(step, record));
            seen.map_err(|source| ExperimentError::Failed { what: name, location, source })
        }
    }

    /// Starts a load beside what follows; join the returned task before judging.
    #[track_caller]
    pub fn background(&self, load: &impl Background) -> tokio::task::JoinHandle<Result<serde_json::Value, String>> {
        self.recorder.begin_method();
        let name = load.describe();
        let (step, recorder) = (
            self.recorder.step("background", &name, std::panic::Location::caller().to_string()),
            self.recorder.clone(),
        );
        let work = load.run(self.recorder.scene(self.recorder.method_phase()));
        let work = async move {
            let done = work.await.map_err(|e| e.to_string());
            recorder.step_ended(step, done.clone());
            done
        };
        let task = tokio::spawn(work.instrument(self.activity(step)));
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
        task
    }

    /// Does something beside a safeguard, and returns what came of it. When the safeguard is broken, or cannot be judged,
    /// the work is dropped where it is, what runs in the background is stopped, and every fault that is on is undone, also
    /// one whose guard is held outside; nothing more is injected then. The method begins here at the latest. For several
    /// safeguards this is nested.
    ///
    /// ```
    /// # use steadfast::prelude::*;
    /// steadfast::block_on(async |cluster| {
    ///     steadfast::shop(&cluster).await?;
    ///     let shop = cluster.namespace("default");
    ///     let answers = http::get(shop.service("front").url("/")).expect(status(200));
    ///     let fresh = http::get(shop.service("front").url("/")).expect(not(contains("error")));
    ///
    ///     let run = Run::start("back is cut off", &cluster).await?;
    ///     let cut = async |seconds| {
    ///         let _cut = run.inject(shop.pods("app=back").deny_ingress()).await?;
    ///         run.pause(secs(seconds)).await;
    ///         steadfast::Result::Ok(())
    ///     };
    ///     run.guarded(answers, cut(10)).await??;
    ///     let stopped = run.guarded(fresh, cut(600)).await.expect_err("front says that its value is old");
    ///     assert!(stopped.to_string().contains("was broken at"));
    ///     run.finish().await?.assert_verdict(Inconclusive);
    ///     Ok(())
    /// });
    /// ```
    ///
    /// # Errors
    /// The safeguard is wrong as it stands, or [`Stopped`](ExperimentError::Stopped) the work.
    #[track_caller]
    pub fn guarded<'a, W: Future + 'a>(
        &'a self,
        safeguard: impl Into<Safeguard>,
        work: W,
    ) -> impl Future<Output = Result<W::Output, ExperimentError>> + 'a {
        let guards = [safeguard.into().at(std::panic::Location::caller())];
        async move {
            let (recorder, mut work) = (&*self.recorder, Box::pin(work));
            let scene = recorder.scene(Phase::Gate);
            let examined = guards[0].examine(&scene).await;
            examined.map_err(|source| safeguard::invalid(&guards[0], source))?;
            let mut watch = safeguard::Watch::begin(recorder, &guards);
            let stopped = match watch.look().await {
                Some(reason) => Err(reason),
                None => {
                    recorder.begin_method();
                    safeguard::beside(&mut watch, async { Ok((&mut work).await) }, |reason| reason).await
                }
            };
            match stopped {
                Ok(done) => Ok(done),
                Err(by) => {
                    recorder.cut(None, Some(by.clone()));
                    self.stop_beside();
                    // Held, so that the work's guards leave them to be undone here; what was being made is undone by its own.
                    let lives = recorder.lives.all();
                    drop(work);
                    undo(lives).await;
                    Err(ExperimentError::Stopped { by })
                }
            }
        }
    }

    /// The span of a step: there is no phase that it belongs to.
    fn activity(&self, step: usize) -> Span {
        self.recorder.span.in_scope(|| self.recorder.activity(step))
    }

    pub(crate) fn phase(&self, phase: &Phase) -> Span {
        self.recorder.span.in_scope(|| spans::phase(phase))
    }

    fn stop_beside(&self) {
        for task in self.beside.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }

    /// The gate: fails unless the hypothesis holds now, before any fault.
    ///
    /// # Errors
    /// It does not hold, nothing shows that it does, or a check could not look.
    #[track_caller]
    pub fn require<'a>(&'a self, hypothesis: &'a Hypothesis) -> impl Future<Output = Result<(), ExperimentError>> + 'a {
        let location = std::panic::Location::caller().to_string();
        async move {
            let span = self.phase(&Phase::Gate);
            let evaluation = self.recorder.judge(hypothesis, Phase::Gate).instrument(span).await?;
            if matches!(evaluation.verdict, Verdict::Met | Verdict::NotJudged) {
                return Ok(());
            }
            let phrases: Vec<_> = evaluation.checks.iter().map(|c| format!("{}: {}", c.check, c.phrase)).collect();
            let source = format!("it does not hold before the method: {}", phrases.join("; ")).into();
            Err(ExperimentError::Failed { what: hypothesis.title.clone(), location, source })
        }
    }

    /// Judges the hypothesis while the faults are on, each of which is read back and seen directly before and after. What
    /// that finds goes into the journal; of several judgements the worst is its verdict.
    ///
    /// Once the guards have let go of all faults nothing is left to be judged under them: then this judges the recovery.
    ///
    /// # Errors
    /// A check could not look.
    pub async fn verify(&self, hypothesis: &Hypothesis) -> Result<Verdict, ExperimentError> {
        let recorder = &self.recorder;
        if let Some(undone) = recorder.all_undone() {
            let phase = Phase::Recovery { undone };
            let evaluation = recorder.judge(hypothesis, phase).instrument(self.phase(&phase)).await?;
            let mut journal = recorder.journal();
            journal.recovered = evaluation.verdict;
            journal.hypothesis.get_or_insert_with(|| hypothesis.title.clone());
            return Ok(evaluation.verdict);
        }
        let now = recorder.clock.now();
        let method_started = recorder.method_started().unwrap_or(now);
        let phase = Phase::Fault { method_started, method_ended: now };
        let evaluation = recorder.judge_under_faults(hypothesis, phase).instrument(self.phase(&phase)).await?;
        Ok(recorder.conclude(hypothesis, &[evaluation]))
    }

    /// Ends the run: undoes what is still on, gives its places back, and stores its journal.
    ///
    /// # Errors
    /// Something was not undone, or is not back as it was, or the journal cannot be stored.
    pub async fn finish(self) -> Result<Journal, ExperimentError> {
        self.recorder.end_method();
        let span = self.recorder.span.clone();
        undo(self.recorder.lives.all()).instrument(span.clone()).await;
        let places = self.recorder.holds.places();
        self.recorder.holds.give_back().instrument(span).await;
        self.recorder.measure(&places).await;
        let stopped = self.recorder.stopped_by().map(|by| by.1);
        self.recorder.finish(stopped.unwrap_or(Ended::Completed))?;
        self.recorder.outcome()
    }
}

/// Last to first, as faults are undone: all of them before anybody looks whether the effect of one has gone.
async fn undo(lives: Vec<Arc<tokio::sync::Mutex<Life>>>) {
    for life in lives.iter().rev() {
        life.lock().await.undo(FaultEnd::Rollback).await;
    }
    for life in lives.into_iter().rev() {
        life.lock().await.end(FaultEnd::Rollback).await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.recorder.journal().ended != Ended::Running {
            return;
        }
        self.recorder.end_method();
        // Before the places are given back. What is being ended right now goes with its own guard.
        for life in self.recorder.lives.all().into_iter().rev() {
            if let Ok(mut life) = life.try_lock() {
                life.end_now();
            }
        }
        if let Err(error) = self.recorder.finish(Ended::Cancelled) {
            crate::journal::complain(&error);
        }
    }
}
