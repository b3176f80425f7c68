//! What a run writes down as it goes: its journal, its events, its marks.

use std::any::Any;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::hold::Holds;
use super::interrupt::{ENGINES_WITHIN, Interruptible, Ticket};
use super::life::Lives;
use super::{
    Environment, ExperimentError, Faults, Hypothesis, Mark, Measured, Phase, Remarks, RunningLoads, Scene, spans,
};
use crate::clock::{Clock, Timestamp};
use crate::journal::{
    CheckRecord, Ended, Evaluation, Event, EventKind, FaultWindow, Journal, JournalError, Reason, Source, StepRecord,
    StepStatus, UNDER_FAULT, Verdict, WATCHED,
};
use crate::rollback::{Ledger, OpenEntry, UndoOutcome, Undoer};

#[cfg(test)]
mod tests;

/// Told of every event as it happens.
pub(crate) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Stores a journal, again and again.
pub(crate) type Store = Box<dyn Fn(&mut Journal) -> Result<(), JournalError> + Send + Sync>;

/// Told how a run ended, once its journal is stored; after a signal nothing else of the process runs.
pub(crate) type Told = Box<dyn Fn(&Journal) + Send + Sync>;

/// Whether an engine undoes the run when a signal comes, and for how long it is waited for then.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Driven {
    No,
    Engine,
    /// As long as it takes.
    #[cfg(feature = "cli")]
    Director,
}

impl Driven {
    fn source(self) -> Source {
        match self {
            Self::No | Self::Engine => Source::Steadfast,
            #[cfg(feature = "cli")]
            Self::Director => Source::Document,
        }
    }
}

/// The memory of one run. The engine, the guards of its faults and the handler of signals share it.
pub(super) struct Recorder {
    pub(super) environment: Arc<dyn Environment>,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    /// For subscribers of `tracing`.
    pub(super) span: tracing::Span,
    ticket: Mutex<Option<Ticket>>,
    journal: Mutex<Journal>,
    faults: Faults,
    /// What is measured for the journal's telemetry.
    pub(super) measured: Measured,
    loads: RunningLoads,
    pub(super) holds: Holds,
    /// The faults that are on.
    pub(super) lives: Lives,
    observer: Option<Observer>,
    outputs: PathBuf,
    store: Store,
    told: Option<Told>,
    marks: AtomicU32,
    hold_marks: AtomicU32,
    method_started: Mutex<Option<Timestamp>>,
    pub(super) driven: Driven,
    /// Whether its end is stored. Held while that is done, and no longer: who comes second waits for it.
    finished: Mutex<bool>,
}

/// What tells a journal from all others of a call of tests, whatever its title: the test, by its folder, and the file
/// where that is not the first one.
fn test_of(outputs: &Path, file: &Path) -> String {
    let test = outputs.file_name().unwrap_or_default().to_string_lossy();
    // One that lies elsewhere is told by its name alone.
    let file = if file.is_absolute() { Path::new(file.file_name().unwrap_or_default()) } else { file };
    let name = file.with_extension("");
    if name == Path::new("journal") { test.into_owned() } else { format!("{test}/{}", name.display()) }
}

impl Recorder {
    /// Opens the ledger and writes the journal for the first time.
    pub(super) async fn begin(
        title: &str,
        hypothesis: Option<&Hypothesis>,
        environment: Arc<dyn Environment>,
        observer: Option<Observer>,
        path: Option<PathBuf>,
        driven: bool,
    ) -> Result<Self, ExperimentError> {
        let outputs = environment.outputs();
        let file = path.unwrap_or_else(|| environment.journal_file());
        let (test, path) = (test_of(&outputs, &file), outputs.join(file));
        let within = path.starts_with(&outputs);
        let store: Store = Box::new(move |journal| {
            journal.test = Some(test.clone());
            let stored = journal.write(&path);
            if within { stored.map_err(JournalError::in_outputs) } else { stored }
        });
        let driven = if driven { Driven::Engine } else { Driven::No };
        Self::stored(title, hypothesis, environment, observer, (store, None), driven).await
    }

    /// As [`begin`](Self::begin), with a journal that `store` stores, for a director that undoes in its own time and is told.
    #[cfg(feature = "cli")]
    pub(super) async fn directed(
        title: &str,
        environment: Arc<dyn Environment>,
        observer: Option<Observer>,
        store: Store,
        told: Told,
    ) -> Result<Self, ExperimentError> {
        Self::stored(title, None, environment, observer, (store, Some(told)), Driven::Director).await
    }

    async fn stored(
        title: &str,
        hypothesis: Option<&Hypothesis>,
        environment: Arc<dyn Environment>,
        observer: Option<Observer>,
        (store, told): (Store, Option<Told>),
        driven: Driven,
    ) -> Result<Self, ExperimentError> {
        let (clock, name) = (environment.clock(), environment.new_run());
        let outputs = environment.outputs();
        let doing = "open the ledger";
        let ledger = environment.ledger(&name).await.map_err(|source| ExperimentError::Cluster {
            doing,
            cluster: environment.describe(),
            source,
        })?;
        let now = clock.now();
        let trace = environment.trace(&name, title, now);
        let span = spans::run(&name, title, &environment.describe());
        let (sweep, kubeconfig) = environment.sweep().unzip();
        let mut journal = Journal {
            sweep,
            kubeconfig: kubeconfig.flatten(),
            hypothesis: hypothesis.map(|h| h.title.clone()),
            run: name,
            seed: environment.seed(),
            source: driven.source(),
            trace,
            ..Journal::begun(title, environment.describe(), clock.time(), now)
        };
        // Written once before anything is touched: a path that cannot be written is found now, not after the faults.
        store(&mut journal)?;
        if let Some(path) = journal.path() {
            environment.began(path);
        }
        let recorder = Self {
            environment,
            clock,
            ledger,
            span,
            ticket: Mutex::new(None),
            journal: Mutex::new(journal),
            faults: Faults::default(),
            measured: Measured::default(),
            loads: RunningLoads::default(),
            holds: Holds::default(),
            lives: Lives::default(),
            observer,
            outputs,
            store,
            told,
            marks: AtomicU32::new(0),
            hold_marks: AtomicU32::new(0),
            method_started: Mutex::new(None),
            driven,
            finished: Mutex::new(false),
        };
        recorder.event(EventKind::RunStarted, title, &recorder.environment.describe());
        Ok(recorder)
    }

    /// Makes this run one that signals wait for; installs their handlers with the first fault of the process.
    pub(super) fn heed_signals(self: &Arc<Self>) {
        let mut held = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let run: Arc<dyn Interruptible> = self.clone();
            *held = Some(Ticket::take(&run));
        }
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn event(&self, kind: EventKind, subject: &str, detail: &str) {
        let event = Event { at: self.clock.now(), kind, subject: subject.to_owned(), detail: detail.to_owned() };
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        spans::event(&self.span, &event);
        self.journal().events.push(event);
    }

    /// A new mark for something that this run creates.
    pub(super) fn mark(&self) -> Mark {
        self.mark_of(&self.marks, "")
    }

    /// As [`mark`](Self::mark), for what holds a place: numbered apart, since not every cluster lets that be made.
    pub(super) fn hold_mark(&self) -> Mark {
        self.mark_of(&self.hold_marks, "hold-")
    }

    fn mark_of(&self, numbers: &AtomicU32, kind: &str) -> Mark {
        let run = self.journal().run.clone();
        let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let owner = format!("steadfast-{run}-{kind}{number}");
        Mark { owner, run, at: self.clock.now(), switches: self.holds.switches() }
    }

    pub(super) fn scene(&self, phase: Phase) -> Scene {
        Scene {
            phase,
            clock: self.clock.clone(),
            transport: self.environment.transport(),
            outputs: self.outputs.clone(),
            faults: self.faults.clone(),
            remarks: Remarks::default(),
            measured: self.measured.clone(),
            trace: self.journal().trace.clone(),
            loads: self.loads.clone(),
        }
    }

    /// Stamps a fault's window with the time, in the journal and for whoever watches the faults.
    pub(super) fn stamp(&self, fault: usize, change: impl FnOnce(&mut FaultWindow, Timestamp)) {
        self.faults.publish(fault, || {
            let mut journal = self.journal();
            let window = &mut journal.faults[fault].window;
            change(window, self.clock.now());
            window.clone()
        });
        let (run, experiment, window) = {
            let journal = self.journal();
            (journal.run.clone(), journal.experiment.clone(), journal.faults[fault].window.clone())
        };
        self.environment.fault_changed(&run, &experiment, fault, &window);
    }

    pub(super) fn begin_method(&self) {
        let mut started = self.method_started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_none() {
            *started = Some(self.clock.now());
            drop(started);
            self.event(EventKind::MethodStarted, "", "");
        }
    }

    /// Records that the method has ended, where it began and nobody has said so.
    pub(super) fn end_method(&self) {
        let known = |kind| self.journal().events.iter().any(|event| event.kind == kind);
        if known(EventKind::MethodStarted) && !known(EventKind::MethodEnded) {
            self.event(EventKind::MethodEnded, "", "");
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
            warnings: Vec::new(),
            infos: Vec::new(),
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

    /// The span of a step, below the one that is entered.
    pub(super) fn activity(&self, number: usize) -> tracing::Span {
        let journal = self.journal();
        let StepRecord { kind, name, location, .. } = &journal.steps[number];
        spans::activity(kind, name, location)
    }

    /// Keeps what sources of evidence said in a step.
    pub(super) fn remarked(&self, number: usize, remarks: &Remarks) {
        let mut journal = self.journal();
        let step = &mut journal.steps[number];
        (step.warnings, step.infos) = (remarks.warnings(), remarks.infos());
    }

    pub(super) fn step_closed(&self, number: usize, status: StepStatus, output: serde_json::Value) {
        spans::activity_ended(&status);
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
        self.measured.look_at(hypothesis.checks.iter().map(|(check, _)| check));
        self.event(EventKind::EvaluationStarted, &hypothesis.title, phase.name());
        let scene = self.scene(phase);
        let judged = if let Phase::Fault { .. } = phase { self.judged_under_a_fault() } else { BTreeSet::new() };
        let told = |check: &CheckRecord| self.event(EventKind::CheckJudged, &check.check, &check.phrase);
        let judged = hypothesis.judge(&scene, &judged, told).await;
        let evaluation = judged.map_err(|failed| ExperimentError::Failed {
            what: failed.check,
            location: failed.location,
            source: failed.source,
        })?;
        self.event(EventKind::EvaluationEnded, phase.name(), &evaluation.verdict.to_string());
        Ok(evaluation)
    }

    /// The checks that have looked while a fault was on, from the beginning of the look to its end: they look one after
    /// another, and what one waits for says nothing of when the others looked.
    fn judged_under_a_fault(&self) -> BTreeSet<String> {
        let journal = self.journal();
        let under = [WATCHED, UNDER_FAULT];
        let on = |check: &&CheckRecord| {
            let mut faults = journal.faults.iter();
            let (Some(from), Some(to)) = (check.from, check.to) else { return false };
            faults.any(|fault| fault.window.is_on_throughout(from, to))
        };
        let evaluations = journal.evaluations.iter().filter(|evaluation| under.contains(&&*evaluation.phase));
        let checks = evaluations.flat_map(|evaluation| &evaluation.checks).filter(on);
        checks.filter(|check| ["met", "not-met"].contains(&&*check.outcome)).map(|check| check.check.clone()).collect()
    }

    pub(super) fn record(&self, evaluation: &Evaluation) {
        self.journal().evaluations.push(evaluation.clone());
    }

    /// What was judged so far is not all that was to be: a deviation stays one, all else is inconclusive.
    pub(super) fn ended_before(&self, why: String) {
        let mut journal = self.journal();
        if journal.verdict != Verdict::Deviated {
            (journal.verdict, journal.reason) = (Verdict::Inconclusive, Some(Reason::EndedBefore { why }));
        }
    }

    /// The journal of a run that has ended, if everything is as it was.
    pub(super) fn outcome(&self) -> Result<Journal, ExperimentError> {
        let journal = self.journal().clone();
        if !journal.not_undone().is_empty() {
            return Err(ExperimentError::NotUndone { journal: Box::new(journal) });
        }
        if !journal.not_back().is_empty() {
            return Err(ExperimentError::NotBack { journal: Box::new(journal) });
        }
        Ok(journal)
    }

    /// Gives back what is held, closes the journal and stores it.
    pub(super) fn finish(&self, ended: Ended) -> Result<(), ExperimentError> {
        self.holds.give_back_now();
        self.close(ended)
    }

    fn is_finished(&self) -> bool {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is finished or somebody is at that, which a disk that hangs may keep from its end.
    fn is_finishing(&self) -> bool {
        match self.finished.try_lock() {
            Ok(finished) => *finished,
            Err(TryLockError::Poisoned(finished)) => *finished.into_inner(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    /// Closes the journal and stores it, unless somebody has already.
    fn close(&self, ended: Ended) -> Result<(), ExperimentError> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *finished, true) {
            return Ok(());
        }
        let verdict = self.journal().verdict;
        self.event(EventKind::RunEnded, &verdict.to_string(), "");
        let (journal, stored) = {
            let mut journal = self.journal();
            journal.ended = ended;
            journal.finished = self.clock.now();
            journal.telemetry = self.measured.taken();
            let stored = (self.store)(&mut journal);
            (journal.clone(), stored)
        };
        spans::run_ended(&self.span, &journal);
        // Whoever directs a run says by the exit code what came of its own rollbacks.
        let left = self.driven.source() == Source::Steadfast && journal.finally.iter().any(|step| step.error.is_some());
        let leaked = left || !self.ledger.open().is_empty();
        let closed = self.ledger.finish();
        drop(finished);
        // Whoever is told of it may take his time: nobody waits for a lock of the run meanwhile.
        if let (Some(told), true) = (&self.told, stored.is_ok()) {
            told(&journal);
        }
        self.environment.ended(&journal);
        // Last: after a signal the process ends as soon as every run has said so.
        if let Some(ticket) = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ticket.done(leaked);
        }
        stored?;
        closed?;
        Ok(())
    }
}

impl Interruptible for Recorder {
    fn waited_for(&self) -> Option<Duration> {
        match self.driven {
            // Whoever closes it is storing it, or telling of it. Not asked for a lock: other runs are undone after this.
            Driven::No => self.is_finishing().then_some(ENGINES_WITHIN),
            Driven::Engine => Some(ENGINES_WITHIN),
            #[cfg(feature = "cli")]
            Driven::Director => Some(Duration::MAX),
        }
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn undoer(&self) -> Arc<dyn Undoer> {
        self.environment.undoer()
    }

    fn interrupted(&self, signal: &'static str, undone: Vec<(OpenEntry, Vec<UndoOutcome>)>) {
        if self.is_finished() {
            return;
        }
        self.event(EventKind::Interrupted, signal, "");
        self.ended_before(format!("interrupted by {signal}"));
        self.lives.swept(self, undone);
        if let Err(error) = self.close(Ended::Interrupted { signal: signal.to_owned() }) {
            crate::journal::complain(&error);
        }
    }
}

/// The text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is no text".to_owned())
}
