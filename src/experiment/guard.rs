//! A fault that is on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::interrupt::Ticket;
use super::run::Shared;
use super::{Armed, Check, ExperimentError, Fault, Proof, Scene};
use crate::clock::Timestamp;
use crate::journal::{EventKind, FaultEnd, FaultRecord, FaultWindow, Sighting, SightingTime, UndoRecord};
use crate::rollback::{Standing, UndoGuard, UndoOutcome};
use crate::tolerance::Outcome;

/// How long a fault may take to show, and to go: a policy bites within 0.1 s on kind, a pod starts within seconds.
const PROOF_WITHIN: Duration = Duration::from_secs(15);

/// How long to wait between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A fault that is on, until [`rollback`](FaultGuard::rollback) or the end of its scope.
///
/// Dropped, it undoes the fault and blocks until that is verified, at most 5 s; what happened is then in the
/// journal, and on standard error if it failed. Prefer the explicit rollback, which reports an error.
#[must_use = "a fault guard that is dropped at once undoes its fault at once; bind it to a name"]
pub struct FaultGuard {
    life: Arc<Mutex<Life>>,
    shared: Arc<Shared>,
    number: usize,
    expiry: Option<tokio::task::AbortHandle>,
}

/// The fault's undo is dropped before its witness': the witness still sees the fault go.
struct Life {
    fault: UndoGuard,
    stage: Option<UndoGuard>,
    check: Option<Arc<dyn Check>>,
    ended: bool,
}

impl FaultGuard {
    pub(super) async fn inject(
        shared: &Arc<Shared>,
        fault: &dyn Fault,
        location: String,
    ) -> Result<Self, ExperimentError> {
        let what = fault.describe();
        let failed = |source| ExperimentError::Failed { what: what.clone(), location: location.clone(), source };
        let targets = fault.resolve().await.map_err(failed)?;
        Ticket::take(shared);

        let stage_mark = shared.mark();
        let (stage, check, missing) = match fault.witness(&stage_mark).await.map_err(failed)? {
            Proof::Applied => (None, None, None),
            Proof::Missing(why) => (None, None, Some(why)),
            Proof::Witness(witness) => {
                let stage = match witness.stage {
                    Some(stage) => {
                        Some(make(shared, &stage_mark.owner, &format!("witness of {what}"), stage, &failed).await?)
                    }
                    None => None,
                };
                (stage, Some(witness.check), None)
            }
        };
        let by_application = check.is_none() && missing.is_none();
        let number = {
            let window = FaultWindow {
                fault: what.clone(),
                requested: shared.clock.now(),
                effective: None,
                undo_requested: None,
                undone: None,
            };
            let mut journal = shared.journal();
            journal.faults.push(FaultRecord {
                window,
                targets: targets.names,
                proved: by_application,
                trusted: fault.trusted(),
                sightings: Vec::new(),
                end: FaultEnd::None,
                undo: Vec::new(),
            });
            journal.faults.len() - 1
        };
        let before = match &check {
            Some(check) => Some(look_until(shared, number, &**check, SightingTime::Before, true).await),
            None => missing.map(|why| {
                let at = shared.clock.now();
                sighted(shared, number, Sighting { when: SightingTime::Before, at, as_expected: false, saw: why });
                false
            }),
        };

        let mark = shared.mark();
        shared.event(EventKind::FaultRequested, &what, "");
        shared.journal().faults[number].window.requested = shared.clock.now();
        let armed = fault.arm(&mark).await.map_err(failed)?;
        let guard = make(shared, &mark.owner, &what, armed, &failed).await?;
        let life = Life { fault: guard, stage, check, ended: false };

        let landed = match &life.check {
            Some(check) => look_until(shared, number, &**check, SightingTime::Landed, false).await,
            None => by_application,
        };
        let proved = landed && before != Some(false);
        let now = shared.clock.now();
        {
            let mut journal = shared.journal();
            let record = &mut journal.faults[number];
            record.proved = proved;
            record.window.effective = (proved || record.trusted.is_some()).then_some(now);
        }
        shared.event(EventKind::FaultEffective, &what, if proved { "proved" } else { "not proved" });

        let life = Arc::new(Mutex::new(life));
        let expiry = fault.lasting().map(|duration| expire(shared, &life, number, duration));
        Ok(Self { life, shared: shared.clone(), number, expiry })
    }

    /// Takes the fault back, verifies it, and waits until its witness sees it gone.
    ///
    /// # Errors
    /// It is not known to be gone. The ledger keeps it for the sweep.
    pub async fn rollback(self) -> Result<(), ExperimentError> {
        if self.end(FaultEnd::Rollback).await {
            return Ok(());
        }
        let journal = Box::new(self.shared.journal().clone());
        Err(ExperimentError::NotUndone { journal })
    }

    /// Whether the fault is still as it was made, as the cluster and the witness see it. Recorded as a sighting.
    pub(super) async fn confirm(&self, when: SightingTime) {
        let life = self.life.lock().await;
        if !life.ended {
            confirm(&self.shared, self.number, &life, when).await;
        }
    }

    /// Undoes; true if everything is known to be gone. What has ended already stays as it was recorded.
    pub(super) async fn end(&self, by: FaultEnd) -> bool {
        let mut life = self.life.lock().await;
        end(&self.shared, self.number, &mut life, by).await;
        self.shared.journal().faults[self.number].undo.iter().all(|undo| undo.outcome.is_clean())
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        if let Some(expiry) = &self.expiry {
            expiry.abort();
        }
        // Somebody who is ending it right now holds the lock, and ends it also when dropped.
        let Ok(mut life) = self.life.try_lock() else { return };
        if life.ended {
            return;
        }
        life.ended = true;
        let window = |change: &dyn Fn(&mut FaultWindow, Timestamp)| {
            let now = self.shared.clock.now();
            change(&mut self.shared.journal().faults[self.number].window, now);
        };
        window(&|w, now| w.undo_requested = Some(now));
        let mut records = settle_now(&mut life.fault);
        if let Some(stage) = &mut life.stage {
            records.extend(settle_now(stage));
        }
        let clean = records.iter().all(|r| r.outcome.is_clean());
        if clean {
            window(&|w, now| w.undone = Some(now));
        }
        let mut journal = self.shared.journal();
        let record = &mut journal.faults[self.number];
        record.end = FaultEnd::Rollback;
        record.undo = records;
    }
}

fn settle_now(guard: &mut UndoGuard) -> Vec<UndoRecord> {
    let outcomes = guard.rollback_now();
    records(guard, outcomes)
}

fn records(guard: &UndoGuard, outcomes: Vec<UndoOutcome>) -> Vec<UndoRecord> {
    let undos = guard.undos().iter().rev();
    undos.zip(outcomes).map(|(undo, outcome)| UndoRecord { undo: undo.to_string(), outcome }).collect()
}

/// Writes the undo down, then makes the change. If the change fails, what may have been made of it is undone.
async fn make(
    shared: &Shared,
    owner: &str,
    name: &str,
    armed: Armed,
    failed: &(dyn Fn(crate::BoxError) -> ExperimentError + Sync),
) -> Result<UndoGuard, ExperimentError> {
    let undoer = shared.environment.undoer();
    let mut guard = UndoGuard::arm(&shared.ledger, owner, name, armed.undo, undoer, shared.clock.now())?;
    match (armed.apply)().await {
        Ok(uids) => {
            guard.applied(uids)?;
            Ok(guard)
        }
        Err(source) => {
            guard.rollback().await;
            Err(failed(source))
        }
    }
}

/// Ends the fault by itself after its time. It holds no strong reference: the guard's drop must find itself alone.
fn expire(
    shared: &Arc<Shared>,
    life: &Arc<Mutex<Life>>,
    number: usize,
    duration: Duration,
) -> tokio::task::AbortHandle {
    let (shared, life) = (Arc::downgrade(shared), Arc::downgrade(life));
    let task = tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        if let (Some(shared), Some(life)) = (shared.upgrade(), life.upgrade()) {
            let mut life = life.lock().await;
            if !life.ended {
                confirm(&shared, number, &life, SightingTime::BeforePlannedEnd).await;
                end(&shared, number, &mut life, FaultEnd::Plan).await;
            }
        }
    });
    task.abort_handle()
}

async fn confirm(shared: &Shared, number: usize, life: &Life, when: SightingTime) {
    let mut gone = None;
    match life.fault.standing().await {
        Ok(standings) => {
            gone = standings.into_iter().find_map(|standing| match standing {
                Standing::Gone { by } => Some(by),
                Standing::Stands { .. } => None,
            });
        }
        Err(why) => {
            let saw = format!("the fault could not be read back: {why}");
            sighted(shared, number, Sighting { when, at: shared.clock.now(), as_expected: false, saw });
        }
    }
    if let (None, Some(check)) = (&gone, &life.check) {
        let (on, saw) = look(shared, &**check).await;
        let as_expected = on == Some(false);
        sighted(shared, number, Sighting { when, at: shared.clock.now(), as_expected, saw: saw.clone() });
        if on == Some(true) && shared.journal().faults[number].proved {
            gone = Some(format!("it is still there, but without effect ({saw})"));
        }
    }
    if let Some(by) = gone {
        let mut journal = shared.journal();
        let fault = journal.faults[number].window.fault.clone();
        journal.faults[number].end = FaultEnd::Early { by: by.clone() };
        drop(journal);
        shared.event(EventKind::FaultEndedEarly, &fault, &by);
    }
}

async fn end(shared: &Shared, number: usize, life: &mut Life, by: FaultEnd) {
    if life.ended {
        return;
    }
    let name = {
        let mut journal = shared.journal();
        let record = &mut journal.faults[number];
        record.window.undo_requested = Some(shared.clock.now());
        if record.end == FaultEnd::None {
            record.end = by;
        }
        record.window.fault.clone()
    };
    shared.event(EventKind::UndoRequested, &name, "");
    let outcomes = life.fault.rollback().await;
    let mut undo = records(&life.fault, outcomes);
    let proved = shared.journal().faults[number].proved;
    if let Some(check) = &life.check
        && undo.iter().all(|u| u.outcome.is_clean())
    {
        let back = look_until(shared, number, &**check, SightingTime::After, true).await;
        if !back && proved {
            let why = format!("the change is gone, but after {PROOF_WITHIN:?} its witness still sees its effect");
            for record in &mut undo {
                record.outcome = UndoOutcome::Unverified { why: why.clone() };
            }
        }
    }
    if let Some(stage) = &mut life.stage {
        let outcomes = stage.rollback().await;
        undo.extend(records(stage, outcomes));
    }
    life.ended = true;
    let clean = undo.iter().all(|u| u.outcome.is_clean());
    let told: Vec<_> = undo.iter().map(|u| format!("{}: {}", u.undo, u.outcome)).collect();
    {
        let mut journal = shared.journal();
        let record = &mut journal.faults[number];
        record.undo = undo;
        record.window.undone = clean.then(|| shared.clock.now());
    }
    shared.event(if clean { EventKind::Undone } else { EventKind::UndoFailed }, &name, &told.join("; "));
}

/// Looks until the check is met (`wanted`) or not met, and records the last look; false if it never came to that.
async fn look_until(shared: &Shared, number: usize, check: &dyn Check, when: SightingTime, wanted: bool) -> bool {
    let deadline = shared.clock.elapsed() + PROOF_WITHIN;
    loop {
        let (met, saw) = look(shared, check).await;
        let as_expected = met == Some(wanted);
        if as_expected || shared.clock.elapsed() >= deadline {
            sighted(shared, number, Sighting { when, at: shared.clock.now(), as_expected, saw });
            return as_expected;
        }
        shared.clock.sleep(LOOK_EVERY).await;
    }
}

/// Whether the check is met, if that can be told, and what it saw.
async fn look(shared: &Shared, check: &dyn Check) -> (Option<bool>, String) {
    let scene: Scene = shared.scene(shared.method_phase());
    match check.check(&scene).await {
        Ok(finding) => {
            let met = match finding.judgement.outcome {
                Outcome::Met => Some(true),
                Outcome::NotMet => Some(false),
                Outcome::Inconclusive(_) | Outcome::NotApplicable => None,
            };
            (met, format!("{}: {}", check.describe(), finding.judgement.seen))
        }
        Err(error) => (None, format!("{} failed: {error}", check.describe())),
    }
}

fn sighted(shared: &Shared, number: usize, sighting: Sighting) {
    let (as_expected, saw) = (sighting.as_expected, sighting.saw.clone());
    let fault = {
        let mut journal = shared.journal();
        journal.faults[number].sightings.push(sighting);
        journal.faults[number].window.fault.clone()
    };
    shared.event(EventKind::FaultSighted, &fault, &format!("{}{saw}", if as_expected { "" } else { "unexpected: " }));
}
