//! The stable form: what a snapshot holds.

use std::fmt::Write;

use super::{Breach, Ended, FaultEnd, Journal, SightingTime, StepStatus, Verdict, WATCHED};

impl Journal {
    /// The journal without any measured quantity: order, names, statuses, verdicts, kinds of reasons, and how
    /// observations stand to their bounds. Equal for each run of an experiment that goes the same way, on the lab
    /// and on a real cluster.
    #[must_use]
    pub fn stable(&self) -> String {
        let mut text = String::new();
        self.write_stable(&mut text).expect("writing to a string cannot fail");
        text.replace(&self.run, "<run>")
    }

    fn write_stable(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "experiment: {}", self.experiment)?;
        writeln!(out, "hypothesis: {}", self.hypothesis.as_deref().unwrap_or("none"))?;
        // Repeated evaluations differ in number from run to run; the worst one stands for them.
        let mut watched: Option<Verdict> = None;
        for evaluation in &self.evaluations {
            if evaluation.phase == WATCHED {
                watched = Some(watched.map_or(evaluation.verdict, |w| w.worse(evaluation.verdict)));
                continue;
            }
            writeln!(out, "{}: {}", evaluation.phase, evaluation.verdict)?;
            for check in &evaluation.checks {
                let reason = check.reason.as_ref().map(|r| format!(" [{}]", r.kind())).unwrap_or_default();
                writeln!(out, "  - {}: {} ({}){reason}", check.check, check.outcome, check.relation)?;
            }
        }
        if let Some(verdict) = watched {
            writeln!(out, "{WATCHED}: {verdict}")?;
        }
        for safeguard in &self.safeguards {
            let how = match &safeguard.broken {
                Some(Breach { look, .. }) => {
                    let reason = look.reason.as_ref().map(|r| format!(" [{}]", r.kind())).unwrap_or_default();
                    format!("broken: {} ({}){reason}", look.outcome, look.relation)
                }
                None if safeguard.held_at.is_some() => "held".to_owned(),
                None => "never judged".to_owned(),
            };
            writeln!(out, "safeguard {}: {how}", safeguard.check)?;
        }
        writeln!(out, "method:")?;
        for step in &self.steps {
            let status = match &step.status {
                StepStatus::Succeeded => "succeeded",
                StepStatus::Failed { .. } => "failed",
                StepStatus::Panicked { .. } => "panicked",
                StepStatus::Stopped => "stopped",
                StepStatus::NotRun => "not run",
            };
            writeln!(out, "  - {}: {}: {status}", step.kind, step.name)?;
        }
        if !self.faults.is_empty() {
            writeln!(out, "faults:")?;
        }
        for fault in &self.faults {
            let proof = match (&fault.trusted, fault.proved) {
                (Some(_), _) => "trusted without proof",
                (None, true) => "proved",
                (None, false) => "not proved",
            };
            let end = match &fault.end {
                FaultEnd::None => "still on",
                FaultEnd::Rollback => "ended by the rollback",
                FaultEnd::Plan => "ended by plan",
                FaultEnd::Left => "left by choice",
                FaultEnd::Early { .. } => "ended early",
            };
            writeln!(out, "  - {}: {proof}, {end}", fault.window.fault)?;
            for sighting in &fault.sightings {
                let when = match sighting.when {
                    SightingTime::Before => "before",
                    SightingTime::Landed => "landed",
                    SightingTime::BeforeHypothesis => "before the hypothesis",
                    SightingTime::AfterHypothesis => "after the hypothesis",
                    SightingTime::BeforePlannedEnd => "before its planned end",
                    SightingTime::After => "after",
                };
                writeln!(out, "    {when}: {}", if sighting.as_expected { "as expected" } else { "not as expected" })?;
            }
            for undo in &fault.undo {
                let outcome = outcome_name(&undo.outcome);
                writeln!(out, "    {}: {outcome}", undo.undo)?;
            }
        }
        for step in &self.finally {
            let how = match (step.run, &step.error) {
                (false, _) => "not run",
                (true, None) => "done",
                (true, Some(_)) => "failed",
            };
            writeln!(out, "finally {}: {how}", step.name)?;
        }
        let ended = match &self.ended {
            Ended::Running => "still running",
            Ended::Completed => "completed",
            Ended::GateMissed => "gate missed",
            Ended::Failed { .. } => "failed",
            Ended::Panicked { .. } => "panicked",
            Ended::Interrupted { .. } => "interrupted",
            Ended::Stopped { .. } => "stopped",
            Ended::Cancelled => "cancelled",
        };
        writeln!(out, "ended: {ended}")?;
        let reason = self.reason.as_ref().map(|r| format!(" ({})", r.kind())).unwrap_or_default();
        writeln!(out, "verdict: {}{reason}", self.verdict)?;
        writeln!(out, "recovered: {}", self.recovered)
    }
}

fn outcome_name(outcome: &crate::rollback::UndoOutcome) -> &'static str {
    use crate::rollback::UndoOutcome;
    match outcome {
        UndoOutcome::Reverted => "reverted",
        UndoOutcome::TargetGone { .. } => "target gone",
        UndoOutcome::Unverified { .. } => "unverified",
        UndoOutcome::Leaked { .. } => "leaked",
    }
}
