//! The engine: gate, method, hypothesis under the faults, rollback, recovery, journal.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use tracing::Instrument;

use super::finally::{self, Finally};
use super::guard::FaultGuard;
use super::interrupt::{Signal, arrived, interrupted};
use super::live::{Due, Live, Running, unclean};
use super::recorder::{Recorder, panic_message};
use super::run::Run;
use super::step::Work;
use super::strategy::RollbackStrategy;
use super::{Environment, Experiment, ExperimentError, Hypothesis, Phase, plan, safeguard, spans};
use crate::clock::Timestamp;
use crate::journal::{
    Ended, Evaluation, EventKind, FaultEnd, FaultRecord, FinallyRecord, Journal, Reason, SightingTime, StepStatus,
    Verdict,
};
use crate::rollback::UndoGuard;

/// Why the method stopped before its end.
enum Stop {
    Failed(ExperimentError),
    Panicked(Box<dyn std::any::Any + Send>),
    Interrupted(Signal),
    /// By a safeguard.
    Unsafe(Reason),
    /// At the first deviation.
    Deviated,
}

impl Stop {
    /// Whether the experiment itself said that it should.
    fn is_planned(&self) -> bool {
        matches!(self, Self::Unsafe(_) | Self::Deviated)
    }
}

impl From<ExperimentError> for Stop {
    fn from(error: ExperimentError) -> Self {
        Self::Failed(error)
    }
}

pub(super) async fn run(
    experiment: &Experiment,
    environment: Arc<dyn Environment>,
) -> Result<Journal, ExperimentError> {
    let (hypothesis, path) = (experiment.hypothesis.as_ref(), experiment.journal_path.clone());
    let run =
        Run::begin(&experiment.title, hypothesis, environment.clone(), experiment.observer.clone(), path, true).await?;
    let span = run.recorder.span.clone();
    conducted(experiment, environment, run).instrument(span).await
}

/// All of a run that has begun.
pub(super) async fn conducted(
    experiment: &Experiment,
    environment: Arc<dyn Environment>,
    run: Run,
) -> Result<Journal, ExperimentError> {
    let (hypothesis, recorder) = (experiment.hypothesis.as_ref(), run.recorder.clone());
    let mut live = Live::default();

    // A signal stops the engine at any await; what is on is then undone below.
    let stop = {
        let work = AssertUnwindSafe(conduct(experiment, &environment, &recorder, &mut live)).catch_unwind();
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
        note(&recorder, hypothesis, stop);
    }
    // Nothing of the load may outlive the run, nor count after it.
    live.background.clear();
    let as_planned = stop.as_ref().is_none_or(Stop::is_planned);
    if let Some(Stop::Unsafe(_) | Stop::Interrupted(_)) = &stop {
        // What harms goes first, whatever `finally` takes.
        end_faults(&mut live).await;
    }
    roll_back(experiment, &recorder, &mut live, as_planned).instrument(spans::rollback()).await;

    let gate_missed = recorder.journal().ended == Ended::GateMissed;
    let reached = as_planned && recorder.method_started().is_some();
    let now = recorder.clock.now();
    if reached && recorder.journal().faults.iter().all(FaultRecord::is_undone) {
        tokio::select! {
            biased;
            // Whatever it finds, the process ends: nobody is to wait for it.
            _ = interrupted() => {}
            () = recover(experiment, &recorder).instrument(spans::phase(&Phase::Recovery { undone: now })) => {}
        }
    }
    // One that came while all was being undone ends the process too.
    let signal = arrived().map(|(_, name)| name);
    let ended = match &stop {
        None => match signal {
            Some(signal) => {
                recorder.event(EventKind::Interrupted, signal, "");
                Ended::Interrupted { signal: signal.to_owned() }
            }
            None if gate_missed => Ended::GateMissed,
            None => Ended::Completed,
        },
        Some(Stop::Failed(error)) => Ended::Failed { error: error.to_string() },
        Some(Stop::Panicked(payload)) => Ended::Panicked { message: panic_message(&**payload) },
        Some(Stop::Unsafe(reason)) => {
            recorder.stopped_by().map_or_else(|| Ended::Stopped { by: reason.to_string() }, |(_, ended)| ended)
        }
        Some(Stop::Deviated) => Ended::Stopped { by: "the first deviation".to_owned() },
        Some(Stop::Interrupted((_, name))) => Ended::Interrupted { signal: (*name).to_owned() },
    };
    if signal.is_some() {
        let left = recorder.journal().not_undone();
        if !left.is_empty() {
            crate::journal::complain(&format!("rollback failed, a fault may be left: {}", left.join("; ")));
        }
    }
    let places = recorder.holds.places();
    recorder.holds.give_back().await;
    if signal.is_none() {
        tokio::select! {
            biased;
            _ = interrupted() => {}
            () = recorder.measure(&places) => {}
        }
    }
    let stored = recorder.finish(ended);
    if signal.is_some() {
        // Whoever handles the signal ends the process now: the body must not go on, nor fail with a code of its own.
        return std::future::pending().await;
    }
    let outcome = recorder.outcome();
    if let Err(ExperimentError::NotUndone { .. }) = outcome {
        return outcome;
    }
    match stop {
        Some(Stop::Panicked(payload)) => resume_unwind(payload),
        Some(Stop::Failed(error)) => Err(error),
        Some(Stop::Interrupted(_) | Stop::Unsafe(_) | Stop::Deviated) | None => {
            let journal = stored.and(outcome)?;
            let must = experiment.must_recover.is_some() && !matches!(journal.ended, Ended::Interrupted { .. });
            match journal.recovered {
                Verdict::Met => Ok(journal),
                _ if !must => Ok(journal),
                _ if reached => Err(ExperimentError::NotRecovered { journal: Box::new(journal) }),
                _ => Err(ExperimentError::NothingToRecover { journal: Box::new(journal) }),
            }
        }
    }
}

fn note(recorder: &Recorder, hypothesis: Option<&Hypothesis>, stop: &Stop) {
    let why = match stop {
        Stop::Failed(error) => error.to_string(),
        Stop::Panicked(payload) => format!("a closure panicked: {}", panic_message(&**payload)),
        Stop::Interrupted((_, name)) => {
            recorder.event(EventKind::Interrupted, name, "");
            format!("interrupted by {name}")
        }
        Stop::Unsafe(reason) => return recorder.cut(hypothesis, Some(reason.clone())),
        Stop::Deviated => return recorder.cut(hypothesis, None),
    };
    recorder.ended_before(why);
}

/// Everything up to the rollback.
async fn conduct(
    experiment: &Experiment,
    environment: &Arc<dyn Environment>,
    recorder: &Arc<Recorder>,
    live: &mut Live,
) -> Result<(), Stop> {
    let plan = match plan::plan(experiment, environment).await {
        Err(_) if recorder.clear(&plan::places(experiment)).await? => plan::plan(experiment, environment).await?,
        planned => planned?,
    };
    if !plan.lacking.is_empty() {
        let lacking = plan.lacking.iter().map(ToString::to_string).collect();
        return Err(ExperimentError::LacksRights { lacking }.into());
    }
    recorder.hold(&plan.places).await?;
    for step in &experiment.steps {
        recorder.add_step(step.kind(), &step.name(), step.location.to_string());
    }
    let mut finally = Vec::new();
    for step in &experiment.finally {
        let (name, crash_safe) = (step.name(), step.crash_safe());
        finally.push(FinallyRecord { name, crash_safe, run: false, left_out: false, error: None });
    }
    recorder.journal().finally = finally;
    let mut safeguards = safeguard::Watch::begin(recorder, &experiment.safeguards);
    if let Some(reason) = safeguards.look().await {
        return Err(Stop::Unsafe(reason));
    }

    let gate = gate(experiment, recorder).instrument(spans::phase(&Phase::Gate));
    if experiment.strategy.judges_before()
        && let Some(miss) = safeguard::beside(&mut safeguards, gate, Stop::Unsafe).await?
    {
        let mut journal = recorder.journal();
        (journal.verdict, journal.reason, journal.ended) = (Verdict::Inconclusive, Some(miss), Ended::GateMissed);
        return Ok(());
    }

    arm_finally(experiment, recorder, live)?;
    recorder.begin_method();
    // The faults are on until they are undone, also while the hypothesis is judged.
    let work = method_and_judgement(experiment, recorder, live);
    safeguard::beside(&mut safeguards, work, Stop::Unsafe).await
}

async fn method_and_judgement(experiment: &Experiment, recorder: &Arc<Recorder>, live: &mut Live) -> Result<(), Stop> {
    let method_started = recorder.method_started().unwrap_or_else(|| recorder.clock.now());
    let span = spans::phase(&Phase::Method { method_started });
    let watched = method(experiment, recorder, live, method_started).instrument(span).await?;
    let method_ended = recorder.clock.now();
    recorder.end_method();
    let phase = Phase::Fault { method_started, method_ended };
    judge(experiment, recorder, phase, watched).instrument(spans::phase(&phase)).await?;
    Ok(())
}

/// Writes the undos of `finally` into the ledger: from here on they happen even if this process dies.
fn arm_finally(experiment: &Experiment, recorder: &Arc<Recorder>, live: &mut Live) -> Result<(), ExperimentError> {
    live.recorder = Some(recorder.clone());
    for step in &experiment.finally {
        let due = match &step.work {
            // Of one that the strategy may leave out nobody knows that it is missing.
            finally::Work::Closure(..) => {
                (!step.by_strategy || experiment.rollbacks == RollbackStrategy::Always).then_some(Due::Closure)
            }
            finally::Work::Undo(undo) => {
                recorder.heed_signals();
                let (owner, undoer) = (recorder.mark().owner, recorder.environment.undoer());
                let undo = vec![undo.clone()];
                let now = recorder.clock.now();
                Some(Due::Undo(UndoGuard::arm(&recorder.ledger, &owner, &step.name(), undo, undoer, now)?))
            }
        };
        live.finally.push(due);
    }
    Ok(())
}

/// The hypothesis before the method, with the time it was given; the reason if it does not hold.
async fn gate(experiment: &Experiment, recorder: &Recorder) -> Result<Option<Reason>, Stop> {
    let Some(hypothesis) = &experiment.hypothesis else { return Ok(None) };
    let evaluation = judge_within(experiment.baseline_within, recorder, hypothesis, |_| Phase::Gate).await?;
    Ok((!holds(&evaluation)).then(|| miss(&evaluation)))
}

fn holds(evaluation: &Evaluation) -> bool {
    matches!(evaluation.verdict, Verdict::Met | Verdict::NotJudged)
}

/// Judges the hypothesis until it holds, or its time is up; the last judgement alone is recorded.
async fn judge_within(
    within: Duration,
    recorder: &Recorder,
    hypothesis: &Hypothesis,
    phase: impl Fn(Timestamp) -> Phase,
) -> Result<Evaluation, ExperimentError> {
    let deadline = recorder.clock.elapsed() + within;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut evaluation = recorder.judge_unrecorded(hypothesis, phase(recorder.clock.now())).await?;
        evaluation.attempts = attempts;
        if holds(&evaluation) || recorder.clock.elapsed() >= deadline {
            recorder.record(&evaluation);
            return Ok(evaluation);
        }
        recorder.clock.sleep(super::strategy::WATCH_EVERY).await;
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
    recorder: &Arc<Recorder>,
    live: &mut Live,
    method_started: Timestamp,
) -> Result<Vec<Evaluation>, Stop> {
    let (stop_watching, watching) = tokio::sync::watch::channel(false);
    let (landing, mut landed) = tokio::sync::watch::channel(false);
    let steps = async {
        let done = steps(experiment, recorder, live, &landing).await;
        stop_watching.send_replace(true);
        done
    };
    let watch = watch(experiment, recorder, method_started, watching);
    let (mut steps, mut watch) = (pin!(steps), pin!(watch));
    tokio::select! {
        biased;
        stepped = &mut steps => {
            let watched = watch.await;
            stepped.and(watched)
        }
        watched = &mut watch => match watched {
            Err(Stop::Deviated) => {
                // A fault that bites before it is proved is given the moment that its proof needs: without it, what was
                // seen would say nothing.
                tokio::select! {
                    biased;
                    stepped = &mut steps => stepped?,
                    _ = landed.wait_for(|landing| !landing) => {}
                }
                Err(Stop::Deviated)
            }
            // What else went wrong is told once the steps are done.
            watched => steps.await.and(watched),
        },
    }
}

async fn watch(
    experiment: &Experiment,
    recorder: &Recorder,
    method_started: Timestamp,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Result<Vec<Evaluation>, Stop> {
    let mut seen = Vec::new();
    let Some(hypothesis) = experiment.hypothesis.as_ref().filter(|_| experiment.strategy.judges_during()) else {
        return Ok(seen);
    };
    loop {
        let evaluation = recorder.judge(hypothesis, Phase::Watch { method_started }).await?;
        if experiment.fail_fast.is_some() && evaluation.verdict == Verdict::Deviated {
            return Err(Stop::Deviated);
        }
        seen.push(evaluation);
        if *stopped.borrow() {
            return Ok(seen);
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(seen),
            () = recorder.clock.sleep(experiment.watch_every) => {}
        }
    }
}

async fn steps(
    experiment: &Experiment,
    recorder: &Arc<Recorder>,
    live: &mut Live,
    landing: &tokio::sync::watch::Sender<bool>,
) -> Result<(), Stop> {
    for (number, step) in experiment.steps.iter().enumerate() {
        let (what, location) = (step.name(), step.location.to_string());
        let failed = |source| ExperimentError::Failed { what: what.clone(), location: location.clone(), source };
        recorder.step_started(number);
        let scene = recorder.scene(recorder.method_phase());
        let span = recorder.activity(number);
        let done: Result<Value, ExperimentError> = match &step.work {
            Work::Background(load) => {
                let work = load.run(scene.clone());
                let work = async move { spans::background(work.await.map_err(|error| error.to_string())) };
                let task = tokio::spawn(work.instrument(span));
                live.background.push(Running { step: number, what, location, task });
                continue;
            }
            Work::Pause(duration) => {
                recorder.clock.sleep(*duration).await;
                Ok(Value::Null)
            }
            Work::Inject(fault) => {
                landing.send_replace(true);
                let inject = FaultGuard::inject(recorder, &**fault, location.clone()).instrument(span.clone());
                let injected = inject.await;
                landing.send_replace(false);
                injected.map(|guard| {
                    live.faults.push(guard);
                    Value::Null
                })
            }
            Work::Act(action) => action.act(&scene).instrument(span.clone()).await.map_err(failed),
            Work::Observe(probe) => probe.observe(&scene).instrument(span.clone()).await.map_err(failed),
            Work::ActWith(_, closure) => {
                let work = async { closure(scene.clone()).await }.instrument(span.clone());
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(done) => done.map_err(failed),
                    Err(payload) => {
                        let message = panic_message(&*payload);
                        let status = StepStatus::Panicked { message };
                        span.in_scope(|| recorder.step_closed(number, status, Value::Null));
                        return Err(Stop::Panicked(payload));
                    }
                }
            }
        };
        recorder.remarked(number, &scene.remarks);
        span.in_scope(|| recorder.step_ended(number, done.as_ref().cloned().map_err(ToString::to_string)));
        done?;
        if experiment.fail_fast.is_some() {
            // Who waits for this step stops here, before the next one begins.
            tokio::task::yield_now().await;
        }
    }
    join(recorder, live).await
}

/// Waits for the background load: what it found belongs to the method.
async fn join(recorder: &Recorder, live: &mut Live) -> Result<(), Stop> {
    let mut first = Ok(());
    for mut running in live.background.drain(..) {
        let done = match (&mut running.task).await {
            Ok(done) => done,
            Err(lost) if lost.is_panic() => {
                let payload = lost.into_panic();
                let message = panic_message(&*payload);
                recorder.step_closed(running.step, StepStatus::Panicked { message }, Value::Null);
                first = first.and(Err(Stop::Panicked(payload)));
                continue;
            }
            Err(lost) => Err(lost.to_string()),
        };
        recorder.step_ended(running.step, done.clone());
        if let Err(error) = done {
            let (what, location) = (running.what.clone(), running.location.clone());
            let failed = ExperimentError::Failed { what, location, source: error.into() };
            first = first.and(Err(Stop::Failed(failed)));
        }
    }
    first
}

/// The hypothesis while the faults are on; with what was found during the method that is the verdict.
async fn judge(
    experiment: &Experiment,
    recorder: &Recorder,
    phase: Phase,
    mut evaluations: Vec<Evaluation>,
) -> Result<(), ExperimentError> {
    let Some(hypothesis) = &experiment.hypothesis else { return Ok(()) };
    if experiment.strategy.judges_after() {
        evaluations.push(recorder.judge_under_faults(hypothesis, phase).await?);
    } else if experiment.strategy.judges_during() {
        recorder.confirm(SightingTime::AfterHypothesis).await;
    }
    if !evaluations.is_empty() {
        recorder.conclude(hypothesis, &evaluations);
    }
    Ok(())
}

/// Undoes in reverse order, every one even if an earlier one failed.
async fn roll_back(experiment: &Experiment, recorder: &Recorder, live: &mut Live, as_planned: bool) {
    let deviated = recorder.journal().verdict == Verdict::Deviated;
    let wanted = match experiment.rollbacks {
        RollbackStrategy::Always => true,
        RollbackStrategy::Never => false,
        RollbackStrategy::Default => as_planned,
        RollbackStrategy::Deviated => deviated,
    };
    // Where the method was not reached nothing changed, so nothing is there to roll back.
    let reached = recorder.method_started().is_some();
    for (number, step) in experiment.finally.iter().enumerate().rev() {
        if !(reached && (wanted || !step.by_strategy)) {
            if let Some(Due::Undo(guard)) = live.finally.get_mut(number).and_then(Option::take) {
                guard.leave();
            }
            if let Some(record) = recorder.journal().finally.get_mut(number) {
                record.left_out = reached;
            }
            continue;
        }
        // Dropped meanwhile, it is still due.
        let error = finish(recorder, step, live.finally.get_mut(number).and_then(Option::as_mut)).await;
        recorder.event(EventKind::FinallyEnded, &step.name(), error.as_deref().unwrap_or("done"));
        if let Some(record) = recorder.journal().finally.get_mut(number) {
            (record.run, record.error) = (true, error);
        }
        if let Some(due) = live.finally.get_mut(number) {
            *due = None;
        }
    }
    end_faults(live).await;
}

/// In reverse order: all are undone before anybody looks whether the effect of one has gone.
async fn end_faults(live: &mut Live) {
    for fault in live.faults.iter().rev() {
        fault.undo(FaultEnd::Rollback).await;
    }
    while let Some(fault) = live.faults.pop() {
        fault.end(FaultEnd::Rollback).await;
    }
}

/// What went wrong with one step of `finally`, if something did.
async fn finish(recorder: &Recorder, step: &Finally, due: Option<&mut Due>) -> Option<String> {
    match &step.work {
        finally::Work::Undo(_) => match due {
            Some(Due::Undo(guard)) => unclean(&guard.rollback().await),
            _ => None,
        },
        finally::Work::Closure(_, closure) => {
            let scene = recorder.scene(recorder.method_phase());
            let work = AssertUnwindSafe(async { closure(scene).await }).catch_unwind();
            tokio::select! {
                biased;
                done = work => match done {
                    Ok(done) => done.err().map(|error| error.to_string()),
                    Err(payload) => Some(format!("it panicked: {}", panic_message(&*payload))),
                },
                () = recorder.clock.sleep(finally::WITHIN) => {
                    Some(format!("it took longer than {:?}, and was dropped where it was", finally::WITHIN))
                }
            }
        }
    }
}

/// The hypothesis once more: does the system come back by itself?
async fn recover(experiment: &Experiment, recorder: &Recorder) {
    let Some(hypothesis) = experiment.recovers() else { return };
    // Each attempt looks at what is so from its own begin: what failed right after the undo does not count for ever.
    let judged =
        judge_within(experiment.recovery_within, recorder, hypothesis, |undone| Phase::Recovery { undone }).await;
    let recovered = match judged {
        Ok(evaluation) => evaluation.verdict,
        // Recovery never changes the verdict; the event says why nothing is known.
        Err(error) => {
            recorder.event(EventKind::EvaluationEnded, "after the rollback", &error.to_string());
            Verdict::Inconclusive
        }
    };
    recorder.journal().recovered = recovered;
    if recovered == Verdict::Deviated && experiment.must_recover.is_none() {
        let remedy = "if that is to fail the test, say `.must_recover()`; if it needs longer, `.recovery_within(..)`";
        crate::journal::complain(&format!("{}: not recovered after the rollback; {remedy}", experiment.title));
    }
}
