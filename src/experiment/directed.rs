//! Runs that somebody else conducts by rules of his own, as Chaos Toolkit's documents do: what such a conductor needs of
//! the engine beside faults and judgement. It heeds signals from its beginning, and has all the time that it needs then.

use std::sync::Arc;

use serde_json::Value;
use tracing::{Instrument, Span};

use super::interrupt::{self, Signal};
use super::recorder::{Observer, Recorder, Store, Told};
use super::{Environment, ExperimentError, Hypothesis, Phase, Run, Scene, spans};
use crate::journal::{Ended, Evaluation, EventKind, FaultEnd, FinallyRecord, Journal, Reason, Verdict};

/// An activity of the method that goes on.
pub(crate) struct StepBegun {
    number: usize,
    pub(crate) span: Span,
}

impl Run {
    /// Begins a run whose journal is stored by `store`, first of all now; `told` is told how it ended. From here on a signal ends the process only when
    /// [`close`](Self::close) has been called.
    pub(crate) async fn directed(
        title: &str,
        environment: Arc<dyn Environment>,
        observer: Option<Observer>,
        store: Store,
        told: Told,
    ) -> Result<Self, ExperimentError> {
        let recorder = Arc::new(Recorder::directed(title, environment, observer, store, told).await?);
        interrupt::users_too();
        recorder.heed_signals();
        Ok(Self::of(recorder))
    }

    /// Waits for the first signal.
    pub(crate) async fn interrupted(&self) -> Signal {
        interrupt::interrupted().await
    }

    /// Waits for a signal after the first: somebody wants it to be over now.
    pub(crate) async fn interrupted_again(&self) {
        interrupt::again().await;
    }

    /// Where and when something looks.
    pub(crate) fn scene(&self, phase: Phase) -> Scene {
        self.recorder.scene(phase)
    }

    /// The phase of the method's steps.
    pub(crate) fn method_phase(&self) -> Phase {
        self.recorder.begin_method();
        self.recorder.method_phase()
    }

    /// The method has ended, by itself or because it was cut.
    pub(crate) fn method_ended(&self) {
        self.recorder.end_method();
    }

    /// The span of what is rolled back.
    pub(crate) fn rollback(&self) -> Span {
        self.recorder.span.in_scope(spans::rollback)
    }

    /// Records that an activity of the method begins. What it returns is for its conductor to keep.
    pub(crate) fn step_begun(&self, kind: &str, name: &str) -> StepBegun {
        let number = self.recorder.step(kind, name, String::new());
        StepBegun { number, span: self.recorder.activity(number) }
    }

    /// Records how it ended.
    pub(crate) fn step_ended(&self, step: &StepBegun, done: Result<(), String>) {
        step.span.in_scope(|| self.recorder.step_ended(step.number, done.map(|()| Value::Null)));
    }

    /// Records an activity that is not done, and why.
    pub(crate) fn step_passed_over(&self, kind: &str, name: &str, why: &str) {
        let number = self.recorder.add_step(kind, name, String::new());
        self.recorder.journal().steps[number].infos.push(why.to_owned());
    }

    /// Records a rollback that has ended, and what went wrong.
    pub(crate) fn rolled_back(&self, name: &str, error: Option<String>) {
        self.recorder.event(EventKind::FinallyEnded, name, error.as_deref().unwrap_or("done"));
        let record = FinallyRecord { name: name.to_owned(), crash_safe: false, run: true, left_out: false, error };
        self.recorder.journal().finally.push(record);
    }

    /// The phase of a look beside the run: before the method, or while it goes on.
    pub(crate) fn phase_beside(&self) -> Phase {
        self.recorder.method_started().map_or(Phase::Gate, |method_started| Phase::Watch { method_started })
    }

    /// Judges a hypothesis before the method.
    pub(crate) async fn gate(&self, hypothesis: &Hypothesis) -> Result<Evaluation, ExperimentError> {
        self.recorder.judge(hypothesis, Phase::Gate).instrument(self.phase(&Phase::Gate)).await
    }

    /// Judges a hypothesis while the method goes on.
    pub(crate) async fn watch(&self, hypothesis: &Hypothesis) -> Result<Evaluation, ExperimentError> {
        let now = self.recorder.clock.now();
        let method_started = self.recorder.method_started().unwrap_or(now);
        let phase = Phase::Watch { method_started };
        self.recorder.judge(hypothesis, phase).instrument(self.phase(&phase)).await
    }

    /// Judges a hypothesis while the faults are on, each of which is read back and seen directly before and after.
    pub(crate) async fn under_faults(&self, hypothesis: &Hypothesis) -> Result<Evaluation, ExperimentError> {
        let now = self.recorder.clock.now();
        let method_started = self.recorder.method_started().unwrap_or(now);
        let phase = Phase::Fault { method_started, method_ended: now };
        self.recorder.judge_under_faults(hypothesis, phase).instrument(self.phase(&phase)).await
    }

    /// The hypothesis did not hold before the method, which is not played.
    pub(crate) fn gate_missed(&self, reason: Reason) {
        let mut journal = self.recorder.journal();
        (journal.verdict, journal.reason) = (Verdict::Inconclusive, Some(reason));
    }

    /// A deviation that was seen stands; all else is inconclusive.
    pub(crate) fn not_known(&self, reason: Reason) {
        let mut journal = self.recorder.journal();
        if journal.verdict != Verdict::Deviated {
            (journal.verdict, journal.reason) = (Verdict::Inconclusive, Some(reason));
        }
    }

    /// By the user's own choice there was nothing to judge by: what was taken for met is not judged.
    pub(crate) fn not_judged(&self) {
        let mut journal = self.recorder.journal();
        let nothing = matches!(journal.reason, Some(Reason::NothingApplies { .. }));
        if journal.verdict == Verdict::Met || nothing {
            (journal.verdict, journal.reason) = (Verdict::NotJudged, None);
        }
    }

    /// What was taken for met rests on something that was not done.
    pub(crate) fn not_shown(&self, reason: Reason) {
        if self.recorder.journal().verdict == Verdict::Met {
            self.not_known(reason);
        }
    }

    /// Makes of evaluations the verdict.
    pub(crate) fn conclude(&self, hypothesis: &Hypothesis, evaluations: &[Evaluation]) -> Verdict {
        self.recorder.conclude(hypothesis, evaluations)
    }

    /// The run did not come to where its hypothesis would have been judged.
    pub(crate) fn ended_before(&self, why: String) {
        self.recorder.ended_before(why);
    }

    /// What is known so far.
    pub(crate) fn evidence(&self) -> Journal {
        self.recorder.journal().clone()
    }

    /// Undoes what is still on, newest first, and gives the places back.
    pub(crate) async fn undo_all(&self) {
        self.recorder.end_method();
        for life in self.recorder.lives.all().into_iter().rev() {
            life.lock().await.end(FaultEnd::Rollback).await;
        }
        let places = self.recorder.holds.places();
        self.recorder.holds.give_back().instrument(self.recorder.span.clone()).await;
        if interrupt::arrived().is_none() {
            self.recorder.measure(&places).await;
        }
    }

    /// Ends the run and stores its journal; after a signal the process then ends with `code`.
    ///
    /// # Errors
    /// The journal or the ledger cannot be stored.
    pub(crate) async fn close(&self, ended: Ended, code: Option<i32>) -> Result<Journal, ExperimentError> {
        if let Ended::Interrupted { signal } = &ended {
            self.recorder.event(EventKind::Interrupted, signal, "");
        }
        interrupt::leave_with(code);
        self.recorder.finish(ended)?;
        if interrupt::arrived().is_some() {
            // Whoever handles the signal ends the process now.
            return std::future::pending().await;
        }
        Ok(self.recorder.journal().clone())
    }
}
