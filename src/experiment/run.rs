//! One run: the recorder, and the small layer for tests that need loops.

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::guard::FaultGuard;
use super::interrupt::Ticket;
use super::{Action, Background, Environment, ExperimentError, Fault, Hypothesis, Mark, Phase, Probe, Scene};
use crate::clock::{Clock, Timestamp};
use crate::journal::{
    CheckRecord, Ended, Evaluation, Event, EventKind, FaultEnd, JOURNAL_VERSION, Journal, StepRecord, StepStatus,
    Verdict,
};
use crate::rollback::Ledger;

/// Told of every event as it happens.
pub(super) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

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
///     run.finish()?.assert_verdict(Met);
///     Ok(())
/// });
/// ```
#[must_use = "a run that is dropped at once records nothing; bind it to a name"]
pub struct Run {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) environment: Arc<dyn Environment>,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) ticket: Mutex<Option<Ticket>>,
    journal: Mutex<Journal>,
    observer: Option<Observer>,
    outputs: PathBuf,
    path: PathBuf,
    marks: AtomicU32,
    method_started: Mutex<Option<Timestamp>>,
    driven: bool,
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
        let clock = environment.clock();
        let name = environment.new_run();
        let outputs = environment.outputs();
        let path = outputs.join(path.unwrap_or_else(|| PathBuf::from("journal.json")));
        let doing = "open the ledger";
        let ledger = environment.ledger(&name).await.map_err(|source| ExperimentError::Cluster {
            doing,
            cluster: environment.describe(),
            source,
        })?;
        let now = clock.now();
        let mut journal = Journal {
            version: JOURNAL_VERSION,
            experiment: title.to_owned(),
            hypothesis: hypothesis.map(|h| h.title.clone()),
            run: name,
            seed: environment.seed(),
            cluster: environment.describe(),
            time: clock.time(),
            started: now,
            finished: now,
            ended: Ended::Running,
            verdict: Verdict::NotJudged,
            reason: None,
            recovered: Verdict::NotJudged,
            evaluations: Vec::new(),
            steps: Vec::new(),
            faults: Vec::new(),
            finally: Vec::new(),
            events: Vec::new(),
            path: None,
        };
        // Written once before anything is touched: a path that cannot be written is found now, not after the faults.
        journal.write(&path)?;
        let shared = Shared {
            environment,
            clock,
            ledger,
            ticket: Mutex::new(None),
            journal: Mutex::new(journal),
            observer,
            outputs,
            path,
            marks: AtomicU32::new(0),
            method_started: Mutex::new(None),
            driven,
        };
        let run = Self { shared: Arc::new(shared) };
        run.shared.event(EventKind::RunStarted, title, &run.shared.environment.describe());
        Ok(run)
    }

    /// Waits.
    #[track_caller]
    pub fn pause(&self, duration: Duration) -> impl Future<Output = ()> + '_ {
        let location = std::panic::Location::caller().to_string();
        async move {
            self.shared.begin_method();
            let step = self.shared.step("pause", &format!("{duration:?}"), location);
            self.shared.clock.sleep(duration).await;
            self.shared.step_ended(step, Ok(serde_json::Value::Null));
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
            self.shared.begin_method();
            let step = self.shared.step("inject", &fault.describe(), location.clone());
            let injected = FaultGuard::inject(&self.shared, &fault, location).await;
            let record = injected.as_ref().map(|_| serde_json::Value::Null).map_err(ToString::to_string);
            self.shared.step_ended(step, record);
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
            self.shared.begin_method();
            let name = action.describe();
            let step = self.shared.step("act", &name, location.clone());
            let done = action.act(&self.shared.scene(self.shared.method_phase())).await;
            self.shared.step_ended(step, done.as_ref().cloned().map_err(ToString::to_string));
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
            self.shared.begin_method();
            let name = probe.describe();
            let step = self.shared.step("observe", &name, location.clone());
            let seen = probe.observe(&self.shared.scene(self.shared.method_phase())).await;
            self.shared.step_ended(step, seen.as_ref().map(super::step::evidence).map_err(ToString::to_string));
            seen.map_err(|source| ExperimentError::Failed { what: name, location, source })
        }
    }

    /// Starts a load beside what follows; join the returned task before judging.
    #[track_caller]
    pub fn background(&self, load: &impl Background) -> tokio::task::JoinHandle<Result<serde_json::Value, String>> {
        self.shared.begin_method();
        let name = load.describe();
        let (step, shared) =
            (self.shared.step("background", &name, std::panic::Location::caller().to_string()), self.shared.clone());
        let work = load.run(self.shared.scene(self.shared.method_phase()));
        tokio::spawn(async move {
            let done = work.await.map_err(|e| e.to_string());
            shared.step_ended(step, done.clone());
            done
        })
    }

    /// The gate: fails unless the hypothesis holds now, before any fault.
    ///
    /// # Errors
    /// It does not hold, nothing shows that it does, or a check could not look.
    #[track_caller]
    pub fn require<'a>(&'a self, hypothesis: &'a Hypothesis) -> impl Future<Output = Result<(), ExperimentError>> + 'a {
        let location = std::panic::Location::caller().to_string();
        async move {
            let evaluation = self.shared.judge(hypothesis, Phase::Gate).await?;
            if matches!(evaluation.verdict, Verdict::Met | Verdict::NotJudged) {
                return Ok(());
            }
            let phrases: Vec<_> = evaluation.checks.iter().map(|c| format!("{}: {}", c.check, c.phrase)).collect();
            let source = format!("it does not hold before the method: {}", phrases.join("; ")).into();
            Err(ExperimentError::Failed { what: hypothesis.title.clone(), location, source })
        }
    }

    /// Judges the hypothesis while the faults are on; the verdict goes into the journal.
    ///
    /// # Errors
    /// A check could not look.
    pub async fn verify(&self, hypothesis: &Hypothesis) -> Result<Verdict, ExperimentError> {
        let now = self.shared.clock.now();
        let method_started = self.shared.method_started().unwrap_or(now);
        let evaluation = self.shared.judge(hypothesis, Phase::Fault { method_started, method_ended: now }).await?;
        let unproved = self.shared.unproved();
        let mut journal = self.shared.journal();
        journal.hypothesis = Some(hypothesis.title.clone());
        (journal.verdict, journal.reason) = match unproved {
            Some(reason) => (Verdict::Inconclusive, Some(reason)),
            None => (evaluation.verdict, evaluation.reason),
        };
        Ok(journal.verdict)
    }

    /// Ends the run and stores its journal.
    ///
    /// # Errors
    /// Something was not undone, or the journal cannot be stored.
    pub fn finish(self) -> Result<Journal, ExperimentError> {
        self.shared.finish(Ended::Completed)?;
        let journal = self.shared.journal().clone();
        if journal.not_undone().is_empty() {
            Ok(journal)
        } else {
            Err(ExperimentError::NotUndone { journal: Box::new(journal) })
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.shared.journal().ended == Ended::Running
            && let Err(error) = self.shared.finish(Ended::Cancelled)
        {
            crate::journal::complain(&error);
        }
    }
}

impl Shared {
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an engine undoes it when a signal comes; if not, whoever handles the signal must.
    pub(super) fn driven(&self) -> bool {
        self.driven
    }

    pub(super) fn event(&self, kind: EventKind, subject: &str, detail: &str) {
        let event = Event { at: self.clock.now(), kind, subject: subject.to_owned(), detail: detail.to_owned() };
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        self.journal().events.push(event);
    }

    /// A new mark for something that this run creates.
    pub(super) fn mark(&self) -> Mark {
        let run = self.journal().run.clone();
        let number = self.marks.fetch_add(1, Ordering::Relaxed) + 1;
        Mark { owner: format!("steadfast-{run}-{number}"), run }
    }

    pub(super) fn scene(&self, phase: Phase) -> Scene {
        Scene {
            phase,
            clock: self.clock.clone(),
            transport: self.environment.transport(),
            outputs: self.outputs.clone(),
            faults: self.journal().faults.iter().map(|fault| fault.window.clone()).collect(),
        }
    }

    pub(super) fn begin_method(&self) {
        let mut started = self.method_started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_none() {
            *started = Some(self.clock.now());
            drop(started);
            self.event(EventKind::MethodStarted, "", "");
        }
    }

    pub(super) fn method_started(&self) -> Option<Timestamp> {
        *self.method_started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn method_phase(&self) -> Phase {
        Phase::Method { method_started: self.method_started().unwrap_or_else(|| self.clock.now()) }
    }

    /// Records that a step begins; its number is for [`step_ended`](Self::step_ended).
    pub(super) fn step(&self, kind: &str, name: &str, location: String) -> usize {
        let number = self.add_step(kind, name, location);
        self.step_started(number);
        number
    }

    /// Records a step that may never begin.
    pub(super) fn add_step(&self, kind: &str, name: &str, location: String) -> usize {
        let mut journal = self.journal();
        journal.steps.push(StepRecord {
            kind: kind.to_owned(),
            name: name.to_owned(),
            location,
            started: None,
            ended: None,
            status: StepStatus::NotRun,
            output: serde_json::Value::Null,
        });
        journal.steps.len() - 1
    }

    pub(super) fn step_started(&self, number: usize) {
        let (kind, name) = {
            let mut journal = self.journal();
            let now = self.clock.now();
            let step = &mut journal.steps[number];
            step.started = Some(now);
            step.status = StepStatus::Stopped;
            (step.kind.clone(), step.name.clone())
        };
        let event = if kind == "background" { EventKind::BackgroundStarted } else { EventKind::StepStarted };
        self.event(event, &name, if kind == "background" { "" } else { &kind });
    }

    pub(super) fn step_ended(&self, number: usize, done: Result<serde_json::Value, String>) {
        let status = match &done {
            Ok(_) => StepStatus::Succeeded,
            Err(error) => StepStatus::Failed { error: error.clone() },
        };
        self.step_closed(number, status, done.unwrap_or_default());
    }

    pub(super) fn step_closed(&self, number: usize, status: StepStatus, output: serde_json::Value) {
        let detail = match &status {
            StepStatus::Failed { error } => format!("failed: {error}"),
            StepStatus::Panicked { message } => format!("panicked: {message}"),
            StepStatus::Succeeded | StepStatus::Stopped | StepStatus::NotRun => String::new(),
        };
        let (kind, name) = {
            let mut journal = self.journal();
            let now = self.clock.now();
            let step = &mut journal.steps[number];
            (step.ended, step.status, step.output) = (Some(now), status, output);
            (step.kind.clone(), step.name.clone())
        };
        let event = if kind == "background" { EventKind::BackgroundEnded } else { EventKind::StepEnded };
        self.event(event, &name, &detail);
    }

    /// Judges the hypothesis and records it.
    pub(super) async fn judge(&self, hypothesis: &Hypothesis, phase: Phase) -> Result<Evaluation, ExperimentError> {
        let evaluation = self.judge_unrecorded(hypothesis, phase).await?;
        self.record(&evaluation);
        Ok(evaluation)
    }

    pub(super) async fn judge_unrecorded(
        &self,
        hypothesis: &Hypothesis,
        phase: Phase,
    ) -> Result<Evaluation, ExperimentError> {
        self.event(EventKind::EvaluationStarted, &hypothesis.title, phase.name());
        let scene = self.scene(phase);
        let told = |check: &CheckRecord| self.event(EventKind::CheckJudged, &check.check, &check.phrase);
        let judged = hypothesis.judge(&scene, told).await;
        let evaluation = judged.map_err(|failed| ExperimentError::Failed {
            what: failed.check,
            location: failed.location,
            source: failed.source,
        })?;
        self.event(EventKind::EvaluationEnded, phase.name(), &evaluation.verdict.to_string());
        Ok(evaluation)
    }

    pub(super) fn record(&self, evaluation: &Evaluation) {
        self.journal().evaluations.push(evaluation.clone());
    }

    /// Why the faults so far are no ground for a verdict, if they are not.
    pub(super) fn unproved(&self) -> Option<crate::journal::Reason> {
        use crate::journal::Reason;
        self.journal().faults.iter().find_map(|fault| match &fault.end {
            FaultEnd::Early { by } => {
                let seen = fault.sightings.last().map_or(fault.window.requested, |s| s.at);
                let at = self.clock.now().max(seen).to_string();
                Some(Reason::FaultEndedEarly { fault: fault.window.fault.clone(), by: by.clone(), at })
            }
            _ if !fault.proved && fault.trusted.is_none() => {
                let saw = fault.sightings.iter().rfind(|s| !s.as_expected).map(|s| s.saw.clone());
                let remedy = "give it a `.witness(check)`, or believe it by `.trust_without_proof(\"why\")`";
                let why = format!("{}; {remedy}", saw.unwrap_or_else(|| "nothing looked at its effect".into()));
                Some(Reason::FaultNotProved { fault: fault.window.fault.clone(), why })
            }
            _ => None,
        })
    }

    /// Closes the journal and stores it.
    pub(super) fn finish(&self, ended: Ended) -> Result<(), ExperimentError> {
        let verdict = self.journal().verdict;
        self.event(EventKind::RunEnded, &verdict.to_string(), "");
        let mut journal = self.journal();
        journal.ended = ended;
        journal.finished = self.clock.now();
        let leaked = !journal.not_undone().is_empty();
        let stored = journal.write(&self.path);
        drop(journal);
        if let Some(ticket) = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ticket.done(leaked);
        }
        let closed = self.ledger.finish();
        stored?;
        closed?;
        Ok(())
    }
}

/// The text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is no text".to_owned())
}
