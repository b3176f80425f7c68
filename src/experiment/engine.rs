//! The engine: gate, method, hypothesis under the faults, rollback, recovery, journal.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::finally::Finally;
use super::guard::FaultGuard;
use super::interrupt::{Signal, Ticket, interrupted};
use super::run::{Run, Shared, panic_message};
use super::step::Work;
use super::strategy::RollbackStrategy;
use super::{Environment, Experiment, ExperimentError, Phase, plan};
use crate::clock::Timestamp;
use crate::journal::{
    Ended, Evaluation, EventKind, FaultEnd, FinallyRecord, Journal, Reason, SightingTime, StepStatus, Verdict,
};
use crate::rollback::UndoGuard;

/// Why the method stopped before its end.
enum Stop {
    Failed(ExperimentError),
    Panicked(Box<dyn std::any::Any + Send>),
    Interrupted(Signal),
}

impl From<ExperimentError> for Stop {
    fn from(error: ExperimentError) -> Self {
        Self::Failed(error)
    }
}

/// A background activity; dropping it stops it.
struct Running {
    step: usize,
    what: String,
    location: String,
    task: JoinHandle<Result<Value, String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is on while an experiment runs. Guards are dropped last to first.
#[derive(Default)]
struct Live {
    background: Vec<Running>,
    faults: Vec<FaultGuard>,
    /// For each step of `finally` its guard, if it is data.
    finally: Vec<Option<UndoGuard>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.background.clear();
        while self.finally.pop().is_some() {}
        while self.faults.pop().is_some() {}
    }
}

pub(super) async fn run(
    experiment: &Experiment,
    environment: Arc<dyn Environment>,
) -> Result<Journal, ExperimentError> {
    let (hypothesis, path) = (experiment.hypothesis.as_ref(), experiment.journal_path.clone());
    let run =
        Run::begin(&experiment.title, hypothesis, environment.clone(), experiment.observer.clone(), path, true).await?;
    let shared = run.shared.clone();
    let mut live = Live::default();

    // A signal stops the engine at any await; what is on is then undone below.
    let stop = {
        let work = AssertUnwindSafe(conduct(experiment, &environment, &shared, &mut live)).catch_unwind();
        tokio::select! {
            biased;
            signal = interrupted() => Some(Stop::Interrupted(signal)),
            done = work => match done {
                Ok(Ok(())) => None,
                Ok(Err(stop)) => Some(stop),
                Err(payload) => Some(Stop::Panicked(payload)),
            },
        }
    };
    if let Some(stop) = &stop {
        note(&shared, stop);
    }
    // Nothing of the load may outlive the run, nor count after it.
    live.background.clear();
    let undone = roll_back(experiment, &shared, &mut live, stop.is_none(), matches!(stop, Some(Stop::Failed(_)))).await;

    let gate_missed = shared.journal().ended == Ended::GateMissed;
    if undone && stop.is_none() && !gate_missed {
        recover(experiment, &shared).await;
    }
    let ended = match &stop {
        None if gate_missed => Ended::GateMissed,
        None => Ended::Completed,
        Some(Stop::Failed(error)) => Ended::Failed { error: error.to_string() },
        Some(Stop::Panicked(payload)) => Ended::Panicked { message: panic_message(&**payload) },
        Some(Stop::Interrupted((_, name))) => Ended::Interrupted { signal: (*name).to_owned() },
    };
    let stored = shared.finish(ended);
    let journal = shared.journal().clone();
    if !journal.not_undone().is_empty() {
        return Err(ExperimentError::NotUndone { journal: Box::new(journal) });
    }
    match stop {
        Some(Stop::Panicked(payload)) => resume_unwind(payload),
        Some(Stop::Failed(error)) => Err(error),
        Some(Stop::Interrupted((_, name))) => Err(ExperimentError::Interrupted { signal: name.to_owned() }),
        None => stored.map(|()| journal),
    }
}

fn note(shared: &Shared, stop: &Stop) {
    let why = match stop {
        Stop::Failed(error) => error.to_string(),
        Stop::Panicked(payload) => format!("a closure panicked: {}", panic_message(&**payload)),
        Stop::Interrupted((_, name)) => {
            shared.event(EventKind::Interrupted, name, "");
            format!("interrupted by {name}")
        }
    };
    let mut journal = shared.journal();
    // What was found before the stop stands: a deviation stays one.
    if journal.verdict != Verdict::Deviated {
        journal.verdict = Verdict::Inconclusive;
        journal.reason = Some(Reason::EndedBefore { why });
    }
}

/// Everything up to the rollback.
async fn conduct(
    experiment: &Experiment,
    environment: &Arc<dyn Environment>,
    shared: &Arc<Shared>,
    live: &mut Live,
) -> Result<(), Stop> {
    let plan = plan::plan(experiment, environment).await?;
    if !plan.lacking.is_empty() {
        let lacking = plan.lacking.iter().map(ToString::to_string).collect();
        return Err(ExperimentError::LacksRights { lacking }.into());
    }
    for step in &experiment.steps {
        shared.add_step(step.kind(), &step.name(), step.location.to_string());
    }
    let mut finally = Vec::new();
    for step in &experiment.finally {
        finally.push(FinallyRecord { name: step.name(), crash_safe: step.crash_safe(), run: false, error: None });
    }
    shared.journal().finally = finally;

    if experiment.strategy.judges_before()
        && let Some(miss) = gate(experiment, shared).await?
    {
        let mut journal = shared.journal();
        (journal.verdict, journal.reason, journal.ended) = (Verdict::Inconclusive, Some(miss), Ended::GateMissed);
        return Ok(());
    }

    arm_finally(experiment, shared, live)?;
    shared.begin_method();
    let method_started = shared.method_started().unwrap_or_else(|| shared.clock.now());
    let watched = method(experiment, shared, live, method_started).await?;
    let method_ended = shared.clock.now();
    shared.event(EventKind::MethodEnded, "", "");
    judge(experiment, shared, live, Phase::Fault { method_started, method_ended }, watched).await?;
    Ok(())
}

/// Writes the undos of `finally` into the ledger: from here on they happen even if this process dies.
fn arm_finally(experiment: &Experiment, shared: &Arc<Shared>, live: &mut Live) -> Result<(), ExperimentError> {
    for step in &experiment.finally {
        let guard = match step {
            Finally::Closure(..) => None,
            Finally::Undo(undo) => {
                Ticket::take(shared);
                let (owner, undoer) = (shared.mark().owner, shared.environment.undoer());
                let undo = vec![undo.clone()];
                Some(UndoGuard::arm(&shared.ledger, &owner, &step.name(), undo, undoer, shared.clock.now())?)
            }
        };
        live.finally.push(guard);
    }
    Ok(())
}

/// The hypothesis before the method, with the time it was given; the reason if it does not hold.
async fn gate(experiment: &Experiment, shared: &Shared) -> Result<Option<Reason>, ExperimentError> {
    let Some(hypothesis) = &experiment.hypothesis else { return Ok(None) };
    let deadline = shared.clock.elapsed() + experiment.baseline_within;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut evaluation = shared.judge_unrecorded(hypothesis, Phase::Gate).await?;
        evaluation.attempts = attempts;
        let holds = matches!(evaluation.verdict, Verdict::Met | Verdict::NotJudged);
        if holds || shared.clock.elapsed() >= deadline {
            shared.record(&evaluation);
            return Ok((!holds).then(|| miss(&evaluation)));
        }
        shared.clock.sleep(super::strategy::WATCH_EVERY).await;
    }
}

fn miss(evaluation: &Evaluation) -> Reason {
    let first = evaluation.checks.iter().find(|c| c.outcome == "not-met");
    match (first, &evaluation.reason) {
        (None, Some(reason)) => reason.clone(),
        (first, _) => {
            let first = first.or(evaluation.checks.first());
            let (check, phrase) = first.map(|c| (c.check.clone(), c.phrase.clone())).unwrap_or_default();
            Reason::GateMissed { check, phrase }
        }
    }
}

/// The steps in their order, with the hypothesis beside them if the strategy says so; what that found.
async fn method(
    experiment: &Experiment,
    shared: &Arc<Shared>,
    live: &mut Live,
    method_started: Timestamp,
) -> Result<Vec<Evaluation>, Stop> {
    let (stop_watching, watching) = tokio::sync::watch::channel(false);
    let steps = async {
        let done = steps(experiment, shared, live).await;
        stop_watching.send_replace(true);
        done
    };
    let watch = watch(experiment, shared, method_started, watching);
    let (stepped, watched) = futures_util::future::join(steps, watch).await;
    stepped?;
    Ok(watched?)
}

async fn watch(
    experiment: &Experiment,
    shared: &Shared,
    method_started: Timestamp,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Result<Vec<Evaluation>, ExperimentError> {
    let mut seen = Vec::new();
    let Some(hypothesis) = experiment.hypothesis.as_ref().filter(|_| experiment.strategy.judges_during()) else {
        return Ok(seen);
    };
    loop {
        let evaluation = shared.judge(hypothesis, Phase::Watch { method_started }).await?;
        seen.push(evaluation);
        if *stopped.borrow() {
            return Ok(seen);
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(seen),
            () = shared.clock.sleep(experiment.watch_every) => {}
        }
    }
}

async fn steps(experiment: &Experiment, shared: &Arc<Shared>, live: &mut Live) -> Result<(), Stop> {
    for (number, step) in experiment.steps.iter().enumerate() {
        let (what, location) = (step.name(), step.location.to_string());
        let failed = |source| ExperimentError::Failed { what: what.clone(), location: location.clone(), source };
        shared.step_started(number);
        let scene = || shared.scene(shared.method_phase());
        let done: Result<Value, ExperimentError> = match &step.work {
            Work::Background(load) => {
                let work = load.run(scene());
                let task = tokio::spawn(async move { work.await.map_err(|error| error.to_string()) });
                live.background.push(Running { step: number, what, location, task });
                continue;
            }
            Work::Pause(duration) => {
                shared.clock.sleep(*duration).await;
                Ok(Value::Null)
            }
            Work::Inject(fault) => match FaultGuard::inject(shared, &**fault, location.clone()).await {
                Ok(guard) => {
                    live.faults.push(guard);
                    Ok(Value::Null)
                }
                Err(error) => Err(error),
            },
            Work::Act(action) => action.act(&scene()).await.map_err(failed),
            Work::Observe(probe) => probe.observe(&scene()).await.map_err(failed),
            Work::ActWith(_, closure) => {
                match AssertUnwindSafe(async { closure(scene()).await }).catch_unwind().await {
                    Ok(done) => done.map_err(failed),
                    Err(payload) => {
                        let message = panic_message(&*payload);
                        shared.step_closed(number, StepStatus::Panicked { message }, Value::Null);
                        return Err(Stop::Panicked(payload));
                    }
                }
            }
        };
        shared.step_ended(number, done.as_ref().cloned().map_err(ToString::to_string));
        done?;
    }
    join(shared, live).await
}

/// Waits for the background load: what it found belongs to the method.
async fn join(shared: &Shared, live: &mut Live) -> Result<(), Stop> {
    let mut first = Ok(());
    for mut running in live.background.drain(..) {
        let done = match (&mut running.task).await {
            Ok(done) => done,
            Err(lost) if lost.is_panic() => {
                let payload = lost.into_panic();
                let message = panic_message(&*payload);
                shared.step_closed(running.step, StepStatus::Panicked { message }, Value::Null);
                first = first.and(Err(Stop::Panicked(payload)));
                continue;
            }
            Err(lost) => Err(lost.to_string()),
        };
        shared.step_ended(running.step, done.clone());
        if let Err(error) = done {
            let (what, location) = (running.what.clone(), running.location.clone());
            let failed = ExperimentError::Failed { what, location, source: error.into() };
            first = first.and(Err(Stop::Failed(failed)));
        }
    }
    first
}

/// The hypothesis while the faults are on, with each fault read back and seen directly before and after.
async fn judge(
    experiment: &Experiment,
    shared: &Shared,
    live: &Live,
    phase: Phase,
    mut evaluations: Vec<Evaluation>,
) -> Result<(), ExperimentError> {
    let Some(hypothesis) = &experiment.hypothesis else { return Ok(()) };
    let strategy = experiment.strategy;
    if strategy.judges_after() {
        for fault in &live.faults {
            fault.confirm(SightingTime::BeforeHypothesis).await;
        }
        evaluations.push(shared.judge(hypothesis, phase).await?);
        for fault in &live.faults {
            fault.confirm(SightingTime::AfterHypothesis).await;
        }
    } else if strategy.judges_during() {
        for fault in &live.faults {
            fault.confirm(SightingTime::AfterHypothesis).await;
        }
    }
    if evaluations.is_empty() {
        return Ok(());
    }
    let unproved = shared.unproved();
    let mut journal = shared.journal();
    (journal.verdict, journal.reason) = match unproved {
        Some(reason) => (Verdict::Inconclusive, Some(reason)),
        None => overall(&evaluations),
    };
    Ok(())
}

/// One that is out decides, then one that is unknown.
fn overall(evaluations: &[Evaluation]) -> (Verdict, Option<Reason>) {
    for verdict in [Verdict::Deviated, Verdict::Inconclusive, Verdict::Met] {
        if let Some(evaluation) = evaluations.iter().find(|e| e.verdict == verdict) {
            return (verdict, evaluation.reason.clone());
        }
    }
    (Verdict::NotJudged, None)
}

/// Undoes in reverse order, every one even if an earlier one failed; true if all is known to be gone.
async fn roll_back(experiment: &Experiment, shared: &Shared, live: &mut Live, completed: bool, failed: bool) -> bool {
    let deviated = shared.journal().verdict == Verdict::Deviated;
    let wanted = match experiment.rollbacks {
        RollbackStrategy::Always => true,
        RollbackStrategy::Never => false,
        RollbackStrategy::Default => completed && !failed,
        RollbackStrategy::Deviated => deviated,
    };
    // Where the method was not reached nothing changed, so nothing is there to roll back.
    let reached = shared.method_started().is_some();
    for (number, step) in experiment.finally.iter().enumerate().rev() {
        let guard = live.finally.get_mut(number).and_then(Option::take);
        if !(wanted && reached) {
            if let Some(guard) = guard {
                guard.leave();
            }
            continue;
        }
        let error = finally(shared, step, guard).await;
        shared.event(EventKind::FinallyEnded, &step.name(), error.as_deref().unwrap_or("done"));
        if let Some(record) = shared.journal().finally.get_mut(number) {
            (record.run, record.error) = (true, error);
        }
    }
    let mut clean = true;
    while let Some(fault) = live.faults.pop() {
        clean &= fault.end(FaultEnd::Rollback).await;
    }
    clean
}

/// What went wrong with one step of `finally`, if something did.
async fn finally(shared: &Shared, step: &Finally, guard: Option<UndoGuard>) -> Option<String> {
    match step {
        Finally::Undo(_) => {
            let outcomes = guard?.rollback().await;
            outcomes.iter().find(|outcome| !outcome.is_clean()).map(ToString::to_string)
        }
        Finally::Closure(_, closure) => {
            let scene = shared.scene(shared.method_phase());
            match AssertUnwindSafe(async { closure(scene).await }).catch_unwind().await {
                Ok(done) => done.err().map(|error| error.to_string()),
                Err(payload) => Some(format!("it panicked: {}", panic_message(&*payload))),
            }
        }
    }
}

/// The hypothesis once more: does the system come back by itself?
async fn recover(experiment: &Experiment, shared: &Shared) {
    let Some(hypothesis) =
        experiment.hypothesis.as_ref().filter(|_| experiment.recovery && experiment.strategy.judges_after())
    else {
        return;
    };
    let undone = shared.clock.now();
    let recovered = match shared.judge(hypothesis, Phase::Recovery { undone }).await {
        Ok(evaluation) => evaluation.verdict,
        // Recovery never changes the outcome of the run; the event says why nothing is known.
        Err(error) => {
            shared.event(EventKind::EvaluationEnded, "after the rollback", &error.to_string());
            Verdict::Inconclusive
        }
    };
    shared.journal().recovered = recovered;
}
