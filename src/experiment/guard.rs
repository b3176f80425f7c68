//! A fault that is on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::recorder::Recorder;
use super::{Armed, Check, ExperimentError, Fault, Place, Proof, Scene};
use crate::clock::Timestamp;
use crate::journal::{EventKind, FaultEnd, FaultRecord, FaultWindow, Sighting, SightingTime, UndoRecord};
use crate::rollback::{Standing, Undo, UndoGuard, UndoOutcome};
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
    recorder: Arc<Recorder>,
    number: usize,
    expiry: Option<tokio::task::AbortHandle>,
}

/// The fault's undo is dropped before its witness': the witness still sees the fault go.
struct Life {
    fault: UndoGuard,
    stage: Option<UndoGuard>,
    check: Option<Arc<dyn Check>>,
    blind: Option<&'static str>,
    places: Vec<Place>,
    ended: bool,
}

impl FaultGuard {
    pub(super) async fn inject(
        recorder: &Arc<Recorder>,
        fault: &dyn Fault,
        location: String,
    ) -> Result<Self, ExperimentError> {
        let what = fault.describe();
        let failed = |source| ExperimentError::Failed { what: what.clone(), location: location.clone(), source };
        let targets = fault.resolve().await.map_err(failed)?;
        recorder.heed_signals();
        recorder.hold(&targets.places).await?;
        let places = &targets.places;

        let stage_mark = recorder.mark();
        let (stage, check, blind, missing) = match fault.witness(&stage_mark).await.map_err(failed)? {
            Proof::Applied => (None, None, None, None),
            Proof::Missing(why) => (None, None, None, Some(why)),
            Proof::Witness(witness) => {
                let stage = match witness.stage {
                    Some(stage) => Some(
                        make(recorder, &stage_mark.owner, &format!("witness of {what}"), stage, places, &failed)
                            .await?,
                    ),
                    None => None,
                };
                (stage, Some(witness.check), witness.blind, None)
            }
        };
        let by_application = check.is_none() && missing.is_none();
        let number = {
            let window = FaultWindow {
                fault: what.clone(),
                requested: recorder.clock.now(),
                effective: None,
                undo_requested: None,
                undone: None,
            };
            let mut journal = recorder.journal();
            journal.faults.push(FaultRecord {
                window,
                targets: targets.names,
                lives_until: None,
                proved: by_application,
                trusted: fault.trusted(),
                sightings: Vec::new(),
                end: FaultEnd::None,
                undo: Vec::new(),
            });
            journal.faults.len() - 1
        };
        let before = match &check {
            Some(check) => Some(look_until(recorder, number, &**check, SightingTime::Before, true, None).await),
            None => missing.map(|why| {
                let at = recorder.clock.now();
                sighted(recorder, number, Sighting { when: SightingTime::Before, at, as_expected: false, saw: why });
                false
            }),
        };

        let mark = recorder.mark();
        recorder.event(EventKind::FaultRequested, &what, "");
        recorder.stamp(number, |window, now| window.requested = now);
        let armed = fault.arm(&mark).await.map_err(failed)?;
        let guard = make(recorder, &mark.owner, &what, armed, places, &failed).await?;
        let life = Life { fault: guard, stage, check, blind, places: places.clone(), ended: false };

        let landed = match &life.check {
            Some(check) => look_until(recorder, number, &**check, SightingTime::Landed, false, blind).await,
            None => by_application,
        };
        let proved = landed && before != Some(false);
        let effective = {
            let lives_until = lives_until(recorder, &life);
            let mut journal = recorder.journal();
            let record = &mut journal.faults[number];
            (record.proved, record.lives_until) = (proved, lives_until);
            proved || record.trusted.is_some()
        };
        recorder.stamp(number, |window, now| window.effective = effective.then_some(now));
        recorder.event(EventKind::FaultEffective, &what, if proved { "proved" } else { "not proved" });

        let life = Arc::new(Mutex::new(life));
        let expiry = fault.lasting().map(|duration| expire(recorder, &life, number, duration));
        Ok(Self { life, recorder: recorder.clone(), number, expiry })
    }

    /// Takes the fault back, verifies it, and waits until its witness sees it gone.
    ///
    /// # Errors
    /// It is not known to be gone. The ledger keeps it for the sweep.
    pub async fn rollback(self) -> Result<(), ExperimentError> {
        if self.end(FaultEnd::Rollback).await {
            return Ok(());
        }
        let journal = Box::new(self.recorder.journal().clone());
        Err(ExperimentError::NotUndone { journal })
    }

    /// Whether the fault is still as it was made, as the cluster and the witness see it. Recorded as a sighting.
    pub(super) async fn confirm(&self, when: SightingTime) {
        let life = self.life.lock().await;
        if !life.ended {
            confirm(&self.recorder, self.number, &life, when).await;
        }
    }

    /// Undoes; true if everything is known to be gone. What has ended already stays as it was recorded.
    pub(super) async fn end(&self, by: FaultEnd) -> bool {
        let mut life = self.life.lock().await;
        end(&self.recorder, self.number, &mut life, by).await;
        self.recorder.journal().faults[self.number].undo.iter().all(|undo| undo.outcome.is_clean())
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
        self.recorder.stamp(self.number, |window, now| window.undo_requested = Some(now));
        let mut records = settle_now(&mut life.fault);
        if let Some(stage) = &mut life.stage {
            records.extend(settle_now(stage));
        }
        let clean = records.iter().all(|r| r.outcome.is_clean());
        if clean {
            self.recorder.stamp(self.number, |window, now| window.undone = Some(now));
        }
        let mut journal = self.recorder.journal();
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
pub(super) async fn make(
    recorder: &Recorder,
    owner: &str,
    name: &str,
    armed: Armed,
    places: &[Place],
    failed: &(dyn Fn(crate::BoxError) -> ExperimentError + Sync),
) -> Result<UndoGuard, ExperimentError> {
    let undoer = recorder.environment.undoer();
    let mut guard = UndoGuard::arm(&recorder.ledger, owner, name, armed.undo, undoer, recorder.clock.now())?;
    let entered = recorder.holds.enter(places, guard.undos()).await;
    let made = match entered {
        Ok(()) => (armed.apply)().await,
        Err(error) => Err(error),
    };
    match made {
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
    recorder: &Arc<Recorder>,
    life: &Arc<Mutex<Life>>,
    number: usize,
    duration: Duration,
) -> tokio::task::AbortHandle {
    let (recorder, life) = (Arc::downgrade(recorder), Arc::downgrade(life));
    let task = tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        if let (Some(recorder), Some(life)) = (recorder.upgrade(), life.upgrade()) {
            let mut life = life.lock().await;
            if !life.ended {
                confirm(&recorder, number, &life, SightingTime::BeforePlannedEnd).await;
                end(&recorder, number, &mut life, FaultEnd::Plan).await;
            }
        }
    });
    task.abort_handle()
}

async fn confirm(recorder: &Recorder, number: usize, life: &Life, when: SightingTime) {
    let lives_until = lives_until(recorder, life);
    recorder.journal().faults[number].lives_until = lives_until;
    let mut gone = None;
    match life.fault.standing().await {
        Ok(standings) => gone = first_gone(standings),
        Err(why) => {
            let saw = format!("the fault could not be read back: {why}");
            sighted(recorder, number, Sighting { when, at: recorder.clock.now(), as_expected: false, saw });
        }
    }
    if let (None, Some(check)) = (&gone, &life.check) {
        let (on, saw) = look(recorder, &**check).await;
        let as_expected = on == Some(false);
        let saw = if recorder.journal().faults[number].proved { saw } else { explained(saw, on, life.blind) };
        sighted(recorder, number, Sighting { when, at: recorder.clock.now(), as_expected, saw: saw.clone() });
        if on == Some(true) && recorder.journal().faults[number].proved {
            gone = Some(format!("it is still there, but without effect ({saw})"));
        }
    }
    if let Some(by) = gone {
        // Why it has gone is known where nobody heard of this run for too long.
        let by = recorder.holds.lost(&life.places).map_or(by.clone(), |lost| format!("{lost} ({by})"));
        let mut journal = recorder.journal();
        let fault = journal.faults[number].window.fault.clone();
        journal.faults[number].end = FaultEnd::Early { by: by.clone() };
        drop(journal);
        recorder.event(EventKind::FaultEndedEarly, &fault, &by);
    }
}

async fn end(recorder: &Recorder, number: usize, life: &mut Life, by: FaultEnd) {
    if life.ended {
        return;
    }
    recorder.stamp(number, |window, now| window.undo_requested = Some(now));
    let name = {
        let mut journal = recorder.journal();
        let record = &mut journal.faults[number];
        if record.end == FaultEnd::None {
            record.end = by;
        }
        record.window.fault.clone()
    };
    recorder.event(EventKind::UndoRequested, &name, "");
    let outcomes = life.fault.rollback().await;
    let mut undo = records(&life.fault, outcomes);
    let proved = recorder.journal().faults[number].proved;
    // What ended the fault may have taken its witness too: then the reading back is all there is.
    let unseen = witness_gone(life).await;
    if let Some(by) = &unseen {
        let (when, at) = (SightingTime::After, recorder.clock.now());
        sighted(recorder, number, Sighting { when, at, as_expected: false, saw: format!("nobody can look: {by}") });
    }
    if let Some(check) = &life.check
        && unseen.is_none()
        && undo.iter().all(|u| u.outcome.is_clean())
    {
        let back = look_until(recorder, number, &**check, SightingTime::After, true, None).await;
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
    recorder.journal().faults[number].undo = undo;
    if clean {
        recorder.stamp(number, |window, now| window.undone = Some(now));
    }
    recorder.event(if clean { EventKind::Undone } else { EventKind::UndoFailed }, &name, &told.join("; "));
}

/// Until when the fault can live at most if nobody undoes it; only what it created goes with the switch.
fn lives_until(recorder: &Recorder, life: &Life) -> Option<Timestamp> {
    let held = life.fault.undos().iter().all(|undo| matches!(undo, Undo::Delete { .. }));
    if held { recorder.holds.lives_until(&life.places) } else { None }
}

/// What became of a witness that is not there any more.
async fn witness_gone(life: &Life) -> Option<String> {
    first_gone(life.stage.as_ref()?.standing().await.ok()?)
}

fn first_gone(standings: Vec<Standing>) -> Option<String> {
    standings.into_iter().find_map(|standing| match standing {
        Standing::Gone { by } => Some(by),
        Standing::Stands { .. } => None,
    })
}

/// Looks until the check is met (`wanted`) or not met, and records the last look; false if it never came to that.
/// `blind` explains a check that is met to the end where it should not be.
async fn look_until(
    recorder: &Recorder,
    number: usize,
    check: &dyn Check,
    when: SightingTime,
    wanted: bool,
    blind: Option<&str>,
) -> bool {
    let deadline = recorder.clock.elapsed() + PROOF_WITHIN;
    loop {
        let (met, saw) = look(recorder, check).await;
        let as_expected = met == Some(wanted);
        if as_expected || recorder.clock.elapsed() >= deadline {
            let saw = explained(saw, met, blind);
            sighted(recorder, number, Sighting { when, at: recorder.clock.now(), as_expected, saw });
            return as_expected;
        }
        recorder.clock.sleep(LOOK_EVERY).await;
    }
}

/// What a check saw, with what it may mean that it is met although the fault is on.
fn explained(saw: String, met: Option<bool>, blind: Option<&str>) -> String {
    match (met, blind) {
        (Some(true), Some(blind)) => format!("{saw}; {blind}"),
        _ => saw,
    }
}

/// Whether the check is met, if that can be told, and what it saw.
async fn look(recorder: &Recorder, check: &dyn Check) -> (Option<bool>, String) {
    let scene: Scene = recorder.scene(recorder.method_phase());
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

fn sighted(recorder: &Recorder, number: usize, sighting: Sighting) {
    let (as_expected, saw) = (sighting.as_expected, sighting.saw.clone());
    let fault = {
        let mut journal = recorder.journal();
        journal.faults[number].sightings.push(sighting);
        journal.faults[number].window.fault.clone()
    };
    recorder.event(EventKind::FaultSighted, &fault, &format!("{}{saw}", if as_expected { "" } else { "unexpected: " }));
}
