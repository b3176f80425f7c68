//! The spans of a run for subscribers of `tracing`: docs/observability.md has their names, parents and fields.
//!
//! They cost next to nothing where nobody subscribes, and nothing is judged by them. A field holds what the journal
//! holds of the same, and so no secret.

use tracing::field::{Empty, display};
use tracing::{Span, info_span};

use super::{Phase, Place, Scene};
use crate::journal::{CheckRecord, Event, Journal, StepStatus, UndoRecord};

/// The whole run.
pub(super) fn run(name: &str, experiment: &str, cluster: &str) -> Span {
    info_span!(
        "run",
        steadfast.run = name,
        steadfast.experiment = experiment,
        steadfast.cluster = cluster,
        steadfast.verdict = Empty,
        steadfast.recovered = Empty
    )
}

/// What came of it.
pub(super) fn run_ended(span: &Span, journal: &Journal) {
    span.record("steadfast.verdict", display(journal.verdict));
    span.record("steadfast.recovered", display(journal.recovered));
}

/// A part of the run, below the span that is entered.
pub(super) fn phase(phase: &Phase) -> Span {
    part(phase.name())
}

/// As [`phase`], for the part in which the faults are undone.
pub(super) fn rollback() -> Span {
    part("rollback")
}

fn part(name: &'static str) -> Span {
    info_span!("phase", steadfast.phase = name)
}

/// A step of the method, below the span that is entered.
pub(super) fn activity(kind: &str, name: &str, location: &str) -> Span {
    info_span!(
        "activity",
        steadfast.kind = kind,
        steadfast.activity = name,
        steadfast.location = location,
        steadfast.status = Empty
    )
}

/// How it ended.
pub(super) fn activity_ended(status: &StepStatus) {
    // Of another span, as of a run that is dropped, it is no field.
    let status = match status {
        StepStatus::Succeeded => "succeeded",
        StepStatus::Failed { .. } => "failed",
        StepStatus::Panicked { .. } => "panicked",
        StepStatus::Stopped => "stopped",
        StepStatus::NotRun => "not-run",
    };
    Span::current().record("steadfast.status", status);
}

/// As [`activity_ended`], for one that ran beside, within its span; what came of it, as it is.
pub(super) fn background<T>(done: Result<T, String>) -> Result<T, String> {
    Span::current().record("steadfast.status", if done.is_ok() { "succeeded" } else { "failed" });
    done
}

/// One look of a check, below the span that is entered.
pub(super) fn check(check: &str, scene: &Scene) -> Span {
    info_span!("check", steadfast.check = check, steadfast.phase = scene.phase.name(), steadfast.outcome = Empty)
}

/// What it found.
pub(super) fn check_judged(span: &Span, record: &CheckRecord) {
    span.record("steadfast.outcome", record.outcome.as_str());
}

/// A fault, from before its witness is staged until it is undone: it outlives the activity that injects it, and so
/// belongs to the run.
pub(super) fn fault(run: &Span, fault: &str) -> Span {
    let span = info_span!(parent: run, "fault", steadfast.fault = fault, steadfast.proved = Empty);
    span.follows_from(Span::current());
    span
}

/// Whether it was proved.
pub(super) fn fault_landed(span: &Span, proved: bool) {
    span.record("steadfast.proved", proved);
}

/// The undoing of a fault.
pub(super) fn undo(fault: &Span, what: &str) -> Span {
    info_span!(parent: fault, "undo", steadfast.fault = what, steadfast.clean = Empty)
}

/// How that went.
pub(super) fn undone(span: &Span, undo: &[UndoRecord]) {
    span.record("steadfast.clean", undo.iter().all(|undo| undo.outcome.is_clean()));
}

/// A place that is taken, with its switch.
pub(super) fn held(run: &Span, place: &Place) -> Span {
    info_span!(parent: run, "lease", steadfast.place = %place, steadfast.lease = "taken")
}

/// A place that is given back, below the span that is entered.
pub(super) fn given_back(place: &Place) -> Span {
    info_span!("lease", steadfast.place = %place, steadfast.lease = "given back")
}

/// What stands in the journal's timeline, as an event.
pub(super) fn event(run: &Span, event: &Event) {
    let Event { kind, subject, detail, .. } = event;
    tracing::info!(parent: run, steadfast.subject = subject, steadfast.detail = detail, "{kind}");
}
