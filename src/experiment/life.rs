//! The life of one fault: how it is made, looked at and ended, and what the journal holds of that.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tracing::{Instrument, Span};

use super::interrupt::interrupted;
use super::recorder::Recorder;
use super::sight::{self, Look};
use super::{Apply, Check, ExperimentError, Fault, Place, Proof, Targets, Untouched, spans};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::journal::{EventKind, FaultEnd, FaultRecord, FaultWindow, SightingTime, UndoRecord};
use crate::rollback::{OpenEntry, Standing, Undo, UndoGuard, UndoOutcome};

/// How an error of the cluster becomes one of the step.
pub(super) type Failed<'a> = dyn Fn(BoxError) -> ExperimentError + Sync + 'a;

/// What is on of one fault. Its record in the journal exists as long, and says on every path how it ended: dropped
/// anywhere, also while it is being made, it undoes.
pub(super) struct Life {
    recorder: Arc<Recorder>,
    /// Of its record in the journal.
    number: usize,
    what: String,
    /// Undone before its witness is: that still sees it go.
    fault: Option<UndoGuard>,
    stage: Option<UndoGuard>,
    eyes: Eyes,
    places: Vec<Place>,
    /// How long its effect may take to show, and to go.
    within: Duration,
    /// How the undos of the fault ended, once they were carried out.
    undone: Option<Vec<UndoRecord>>,
    ended: bool,
    /// For subscribers of `tracing`; none once it has ended.
    span: Span,
}

/// What sees the effect of a fault.
enum Eyes {
    Check {
        check: Arc<dyn Check>,
        blind: Option<&'static str>,
        stays: bool,
    },
    /// Nothing does. The fault itself can be read back.
    None,
}

impl Life {
    /// Nothing is made yet.
    pub(super) fn begin(recorder: &Arc<Recorder>, fault: &dyn Fault, targets: Targets) -> Self {
        let what = fault.describe();
        let window = FaultWindow {
            fault: what.clone(),
            requested: recorder.clock.now(),
            effective: None,
            undo_requested: None,
            undone: None,
        };
        let number = {
            let mut journal = recorder.journal();
            journal.faults.push(FaultRecord {
                window,
                targets: targets.names,
                lives_until: None,
                proved: false,
                trusted: fault.trusted(),
                remedy: fault.remedy().to_owned(),
                sightings: Vec::new(),
                end: FaultEnd::None,
                undo: Vec::new(),
            });
            journal.faults.len() - 1
        };
        Self {
            recorder: recorder.clone(),
            number,
            fault: None,
            stage: None,
            eyes: Eyes::None,
            places: fault.places(),
            within: fault.seen_within(),
            undone: None,
            ended: false,
            span: spans::fault(&recorder.span, &what),
            what,
        }
    }

    /// Stages the witness, looks, makes the fault, and looks until it is seen.
    pub(super) async fn land(&mut self, fault: &dyn Fault, failed: &Failed<'_>) -> Result<(), ExperimentError> {
        let span = self.span.clone();
        self.landing(fault, failed).instrument(span).await
    }

    async fn landing(&mut self, fault: &dyn Fault, failed: &Failed<'_>) -> Result<(), ExperimentError> {
        let recorder = self.recorder.clone();
        let mark = recorder.mark();
        recorder.lives.own(&mark.owner, self.number);
        let off = match fault.witness(&mark).await.map_err(failed)? {
            Proof::Applied => true,
            Proof::Missing(why) => {
                sight::unseen(&recorder, self.number, SightingTime::Before, why);
                false
            }
            Proof::Witness(witness) => {
                self.eyes = Eyes::Check { check: witness.check, blind: witness.blind, stays: witness.stays };
                if let Some(stage) = witness.stage {
                    let name = format!("witness of {}", self.what);
                    recorder.holds.enter(&self.places, &stage.undo).await.map_err(failed)?;
                    let guard = self.stage.insert(write_down(&recorder, &mark.owner, &name, stage.undo)?);
                    make(guard, stage.apply, failed).await?;
                }
                self.see_until(SightingTime::Before, false).await
            }
        };

        let mark = recorder.mark();
        recorder.lives.own(&mark.owner, self.number);
        recorder.event(EventKind::FaultRequested, &self.what, "");
        recorder.stamp(self.number, |window, now| window.requested = now);
        let armed = fault.arm(&mark).await.map_err(failed)?;
        // Before the ledger: whoever undoes what is written there marks the object, and the word is what proves the mark.
        recorder.holds.enter(&self.places, &armed.undo).await.map_err(failed)?;
        let guard = self.fault.insert(write_down(&recorder, &mark.owner, &self.what, armed.undo)?);
        make(guard, armed.apply, failed).await?;

        let on = self.see_until(SightingTime::Landed, true).await;
        let proved = off && on;
        let effective = {
            let lives_until = self.lives_until();
            let mut journal = recorder.journal();
            let record = &mut journal.faults[self.number];
            (record.proved, record.lives_until) = (proved, lives_until);
            proved || record.trusted.is_some()
        };
        spans::fault_landed(&self.span, proved);
        recorder.stamp(self.number, |window, now| window.effective = effective.then_some(now));
        recorder.event(EventKind::FaultEffective, &self.what, if proved { "proved" } else { "not proved" });
        Ok(())
    }

    /// Its number in the journal, while it is on.
    pub(super) fn on(&self) -> Option<usize> {
        (!self.ended).then_some(self.number)
    }

    /// Whether the fault is still as it was made, as the cluster and the witness see it. Recorded as a sighting.
    pub(super) async fn confirm(&self, when: SightingTime) {
        if self.ended {
            return;
        }
        let (recorder, number) = (&*self.recorder, self.number);
        let lives_until = self.lives_until();
        recorder.journal().faults[number].lives_until = lives_until;
        // Why it has gone is known where nobody heard of this run for too long.
        let lost = recorder.holds.lost(&self.places).await.map(|(_, why)| why);
        let mut gone = match self.read_back().await {
            Ok(gone) => gone,
            Err(why) => {
                sight::unseen(recorder, number, when, format!("the fault could not be read back: {why}"));
                None
            }
        };
        if gone.is_none() {
            let look = self.look(true).await;
            if look.on == Some(false) && recorder.journal().faults[number].proved {
                gone = Some(format!("it is still there, but without effect ({})", look.saw));
            }
            sight::record(recorder, number, when, look.on == Some(true), look);
        }
        match (lost, gone) {
            (None, None) => {}
            (Some(lost), None) => recorder.ended_early(number, &lost),
            (None, Some(by)) => recorder.ended_early(number, &by),
            (Some(lost), Some(by)) => recorder.ended_early(number, &format!("{lost} ({by})")),
        }
    }

    /// Undoes, without a look whether the effect has gone too: that is for [`end`](Self::end), which is to follow.
    pub(super) async fn undo(&mut self, by: FaultEnd) {
        if self.ended || self.undone.is_some() {
            return;
        }
        self.ending(by);
        if let Some(fault) = &mut self.fault {
            self.recorder.event(EventKind::UndoRequested, &self.what, "");
            let span = spans::undo(&self.span, &self.what);
            let outcomes = fault.rollback().instrument(span.clone()).await;
            let undone = records(fault, outcomes);
            spans::undone(&span, &undone);
            self.undone = Some(undone);
        }
    }

    /// Undoes, and records how that went. What has ended stays as it was recorded.
    pub(super) async fn end(&mut self, by: FaultEnd) {
        if self.ended {
            return;
        }
        self.undo(by).await;
        let span = self.span.clone();
        self.see_off().instrument(span).await;
        self.span = Span::none();
    }

    /// Waits until the effect of what is undone has gone, and takes the witness away.
    async fn see_off(&mut self) {
        let mut undo = self.undone.clone().unwrap_or_default();
        if self.fault.is_some() && undo.iter().all(|undo| undo.outcome.is_clean()) {
            self.see_it_gone().await;
        }
        if let Some(stage) = &mut self.stage {
            let outcomes = stage.rollback().await;
            undo.extend(records(stage, outcomes));
        }
        self.ended = true;
        record_undone(&self.recorder, self.number, undo, self.fault.is_some());
    }

    /// Leaves it on for good, by its user's choice, once `let_go` has taken off it what makes it the run's. Its witness goes.
    ///
    /// # Errors
    /// It could not be let go of, and was undone: what is marked as a run's is in the way of the next one.
    #[cfg(feature = "cli")]
    pub(super) async fn leave<F>(&mut self, let_go: impl FnOnce(Vec<Undo>) -> F) -> Result<(), BoxError>
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        if self.ended || self.undone.is_some() {
            return Ok(());
        }
        if let Some(fault) = &self.fault
            && let Err(why) = let_go(fault.undos().to_vec()).await
        {
            self.end(FaultEnd::Rollback).await;
            return Err(why);
        }
        {
            let mut journal = self.recorder.journal();
            let record = &mut journal.faults[self.number];
            if record.end == FaultEnd::None {
                record.end = FaultEnd::Left;
            }
        }
        if let Some(fault) = self.fault.take() {
            fault.leave();
        }
        let mut undo = Vec::new();
        if let Some(stage) = &mut self.stage {
            let outcomes = stage.rollback().await;
            undo.extend(records(stage, outcomes));
        }
        self.ended = true;
        self.span = Span::none();
        record_undone(&self.recorder, self.number, undo, false);
        Ok(())
    }

    /// As [`end`](Self::end), on this thread, where nothing can be awaited and nobody can look.
    pub(super) fn end_now(&mut self) {
        if self.ended {
            return;
        }
        self.ending(FaultEnd::Rollback);
        let mut undo = Vec::new();
        let span = spans::undo(&self.span, &self.what);
        for guard in [&mut self.fault, &mut self.stage].into_iter().flatten() {
            let outcomes = span.in_scope(|| guard.rollback_now());
            undo.extend(records(guard, outcomes));
        }
        spans::undone(&span, &undo);
        self.span = Span::none();
        self.ended = true;
        record_undone(&self.recorder, self.number, undo, self.fault.is_some());
    }

    /// How that went.
    pub(super) fn outcome(&self) -> Result<(), ExperimentError> {
        let journal = self.recorder.journal().clone();
        let record = &journal.faults[self.number];
        let (undone, back) = (record.is_undone(), record.lingers().is_none());
        match (undone, back) {
            (true, true) => Ok(()),
            (true, false) => Err(ExperimentError::NotBack { journal: Box::new(journal) }),
            (false, _) => Err(ExperimentError::NotUndone { journal: Box::new(journal) }),
        }
    }

    fn ending(&self, by: FaultEnd) {
        if self.fault.is_some() {
            self.recorder.stamp(self.number, |window, now| {
                window.undo_requested.get_or_insert(now);
            });
        }
        let mut journal = self.recorder.journal();
        let record = &mut journal.faults[self.number];
        if record.end == FaultEnd::None {
            record.end = by;
        }
    }

    /// Waits until the witness sees the fault gone. A signal does not let it: what is undone was read back.
    async fn see_it_gone(&self) {
        let (recorder, number) = (&*self.recorder, self.number);
        let unseen =
            |why: String| sight::unseen(recorder, number, SightingTime::After, format!("nobody can look: {why}"));
        // What ended the fault may have taken its witness too: then the reading back is all there is.
        if let Some(by) = self.witness_gone().await {
            return unseen(by);
        }
        let Eyes::Check { stays, .. } = self.eyes else { return };
        tokio::select! {
            biased;
            (_, signal) = interrupted() => unseen(format!("{signal} came")),
            _ = self.see_until(SightingTime::After, stays) => {}
        }
    }

    /// Looks until it is on, or off, as it should be by then; false if it never came to that.
    async fn see_until(&self, when: SightingTime, on: bool) -> bool {
        let recorder = &*self.recorder;
        let deadline = recorder.clock.elapsed() + self.within;
        loop {
            let look = self.look(when == SightingTime::Landed).await;
            let as_expected = look.on == Some(on);
            if as_expected || recorder.clock.elapsed() >= deadline {
                sight::record(recorder, self.number, when, as_expected, look);
                return as_expected;
            }
            recorder.clock.sleep(sight::LOOK_EVERY).await;
        }
    }

    /// Whether the fault has its effect. Where nothing sees that, what the cluster says of the fault itself. While it
    /// should be on, what never saw it is explained.
    async fn look(&self, should_be_on: bool) -> Look {
        match &self.eyes {
            Eyes::Check { check, blind, .. } => {
                let proved = self.recorder.journal().faults[self.number].proved;
                sight::look(&self.recorder, &**check, blind.filter(|_| should_be_on && !proved)).await
            }
            Eyes::None => {
                let undos = self.fault.as_ref().map_or(&[][..], UndoGuard::undos);
                sight::read_back(undos, self.read_back().await)
            }
        }
    }

    /// What has become of the fault, if it is not there any more as it was made.
    async fn read_back(&self) -> Result<Option<String>, String> {
        match &self.fault {
            Some(fault) => Ok(first_gone(fault.standing().await?)),
            None => Ok(None),
        }
    }

    /// Until when the fault can live at most if nobody undoes it; only what it created goes with the switch.
    fn lives_until(&self) -> Option<Timestamp> {
        let held = self.fault.as_ref()?.undos().iter().all(|undo| matches!(undo, Undo::Delete { .. }));
        if held { self.recorder.holds.lives_until(&self.places) } else { None }
    }

    /// What became of a witness that is not there any more.
    async fn witness_gone(&self) -> Option<String> {
        first_gone(self.stage.as_ref()?.standing().await.ok()?)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// The faults of a run that are on, and whose what is in the ledger.
#[derive(Default)]
pub(super) struct Lives {
    all: std::sync::Mutex<Vec<Weak<Mutex<Life>>>>,
    /// The number in the journal by the owner in the ledger, of a fault as of its witness.
    owners: std::sync::Mutex<BTreeMap<String, usize>>,
    /// Whether none may be added any more.
    stopped: watch::Sender<bool>,
}

impl Lives {
    /// Lets none be made any more: what is being made is undone.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Waits until none may be made any more.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as this does.
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    pub(super) fn add(&self, life: &Arc<Mutex<Life>>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(life));
    }

    /// In the order of their injection.
    pub(super) fn all(&self) -> Vec<Arc<Mutex<Life>>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|life| life.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    fn own(&self, owner: &str, number: usize) {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.to_owned(), number);
    }

    /// Records what somebody else has undone, out of the ledger.
    pub(super) fn swept(&self, recorder: &Recorder, undone: Vec<(OpenEntry, Vec<UndoOutcome>)>) {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut of: BTreeMap<usize, Vec<UndoRecord>> = BTreeMap::new();
        for (entry, outcomes) in undone {
            if let Some(number) = owners.get(&entry.owner) {
                of.entry(*number).or_default().extend(told(&entry.undo, outcomes));
            }
        }
        for (number, undo) in of {
            recorder.stamp(number, |window, now| {
                window.undo_requested.get_or_insert(now);
            });
            let mut journal = recorder.journal();
            if journal.faults[number].end == FaultEnd::None {
                journal.faults[number].end = FaultEnd::Rollback;
            }
            drop(journal);
            record_undone(recorder, number, undo, true);
        }
    }
}

/// `made` says whether there was more to undo than a witness.
fn record_undone(recorder: &Recorder, number: usize, undo: Vec<UndoRecord>, made: bool) {
    let clean = undo.iter().all(|undo| undo.outcome.is_clean());
    let told: Vec<_> = undo.iter().map(|undo| format!("{}: {}", undo.undo, undo.outcome)).collect();
    let what = {
        let mut journal = recorder.journal();
        let record = &mut journal.faults[number];
        record.undo = undo;
        record.window.fault.clone()
    };
    if made {
        recorder.stamp(number, |window, now| window.undone = clean.then_some(now));
    }
    if told.is_empty() {
        return;
    }
    recorder.event(if clean { EventKind::Undone } else { EventKind::UndoFailed }, &what, &told.join("; "));
}

fn records(guard: &UndoGuard, outcomes: Vec<UndoOutcome>) -> Vec<UndoRecord> {
    told(guard.undos(), outcomes)
}

/// Undos with how they ended, which is in reverse.
fn told(undos: &[Undo], outcomes: Vec<UndoOutcome>) -> Vec<UndoRecord> {
    let undos = undos.iter().rev();
    let told = undos.zip(outcomes).map(|(undo, outcome)| {
        let values = if outcome.is_clean() { Vec::new() } else { undo.told_values() };
        UndoRecord { undo: undo.to_string(), outcome, values }
    });
    told.collect()
}

fn first_gone(standings: Vec<Standing>) -> Option<String> {
    standings.into_iter().find_map(|standing| match standing {
        Standing::Gone { by } => Some(by),
        Standing::Stands { .. } => None,
    })
}

/// Writes the undo of a change down. The change may be made then, and is to be undone whatever becomes of it.
pub(super) fn write_down(
    recorder: &Recorder,
    owner: &str,
    name: &str,
    undo: Vec<Undo>,
) -> Result<UndoGuard, ExperimentError> {
    let undoer = recorder.environment.undoer();
    Ok(UndoGuard::arm(&recorder.ledger, owner, name, undo, undoer, recorder.clock.now())?)
}

/// Makes a change that is written down.
pub(super) async fn make(guard: &mut UndoGuard, change: Apply, failed: &Failed<'_>) -> Result<(), ExperimentError> {
    match change().await {
        Ok(uids) => Ok(guard.applied(uids)?),
        Err(error) => {
            if error.is::<Untouched>() {
                guard.applied(Vec::new())?;
            }
            Err(failed(error))
        }
    }
}
