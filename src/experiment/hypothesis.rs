//! The hypothesis: the steady state that must hold.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::{Check, Phase, Scene, remarks, spans};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::journal::{CheckRecord, Evaluation, Reason, Verdict};
use crate::tolerance::{Judgement, Outcome};

/// A title and the checks that make up the steady state.
#[derive(Clone)]
#[must_use = "a hypothesis does nothing until an experiment has it"]
pub struct Hypothesis {
    pub(super) title: String,
    pub(super) checks: Vec<(Arc<dyn Check>, &'static Location<'static>)>,
}

impl Hypothesis {
    /// A hypothesis without checks so far.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), checks: Vec::new() }
    }

    /// Adds a check.
    #[track_caller]
    pub fn check(mut self, check: impl Check) -> Self {
        self.checks.push((Arc::new(check), Location::caller()));
        self
    }

    /// Judges all checks in their order. One that is out decides, then one that is unknown; what does not apply
    /// counts neither way, and if nothing applies nothing is judged. `before` are the checks
    /// that have looked while a fault was on.
    pub(super) async fn judge(
        &self,
        scene: &Scene,
        before: &BTreeSet<String>,
        mut judged: impl FnMut(&CheckRecord),
    ) -> Result<Evaluation, CheckFailed> {
        let started = scene.clock.now();
        let mut checks = Vec::new();
        for (check, location) in &self.checks {
            let record = looked(&**check, scene, before, location).await?;
            judged(&record);
            checks.push(record);
        }
        let (verdict, reason) = combine(&checks, scene);
        Ok(evaluation(scene, started, checks, verdict, reason))
    }
}

/// One look of a check, for the journal.
pub(super) async fn looked(
    check: &dyn Check,
    scene: &Scene,
    before: &BTreeSet<String>,
    location: &Location<'_>,
) -> Result<CheckRecord, CheckFailed> {
    let name = check.describe();
    let failed = |source| CheckFailed { check: name.clone(), location: location.to_string(), source };
    let span = spans::check(&name, scene);
    let began = scene.clock.now();
    let (mut finding, remarks) = remarks::look(check, scene).instrument(span.clone()).await.map_err(failed)?;
    let ended = scene.clock.now();
    let over = faults_over(check, scene, began, ended);
    if let (Outcome::Met, Some(why), false) = (&finding.judgement.outcome, &over, before.contains(&name)) {
        let reason = Reason::WindowTooShort { what: name.clone(), why: why.clone() };
        finding.judgement = Judgement::inconclusive(reason, &finding.judgement.expected);
    }
    let (outcome, reason) = match &finding.judgement.outcome {
        Outcome::Met => ("met", None),
        Outcome::NotMet => ("not-met", None),
        Outcome::Inconclusive(reason) => ("inconclusive", Some(reason.clone())),
        Outcome::NotApplicable => ("not-applicable", None),
    };
    let record = CheckRecord {
        outcome: outcome.to_owned(),
        phrase: finding.judgement.phrase(),
        relation: finding.judgement.relation,
        reason,
        evidence: finding.evidence,
        from: Some(began),
        to: Some(ended),
        faults_over: over.is_some(),
        warnings: remarks.warnings(),
        infos: remarks.infos(),
        check: name.clone(),
    };
    spans::check_judged(&span, &record);
    Ok(record)
}

/// Why a look that is meant to be under the fault is not, if it is not: what held then may not have held before.
fn faults_over(check: &dyn Check, scene: &Scene, began: Timestamp, to: Timestamp) -> Option<String> {
    let Phase::Fault { .. } = scene.phase else { return None };
    let back = check.looks_back();
    if back == Duration::MAX {
        return None;
    }
    let from = began.checked_sub(back).unwrap_or(Timestamp::MIN);
    let last = scene.faults.over(from, to)?;
    let ended = last.undo_requested?;
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Some(format!(
        "no fault was on when it looked, {:.1} s after {:?} had ended, which was on for {:.1} s; judge the time of the fault, by a \
         load, by `.growth()` or `.stays(..)` of series, by a safeguard, or with `.hypothesis_strategy(Continuously)`; or let \
         the fault be on until then, without `.lasting(..)`",
        seconds(ended, began),
        last.fault,
        seconds(last.effective.unwrap_or(last.requested), ended)
    ))
}

/// A check that could not look.
pub(super) struct CheckFailed {
    pub(super) check: String,
    pub(super) location: String,
    pub(super) source: BoxError,
}

fn combine(checks: &[CheckRecord], scene: &Scene) -> (Verdict, Option<Reason>) {
    let any = |outcome: &str| checks.iter().find(|check| check.outcome == outcome);
    if any("not-met").is_some() {
        (Verdict::Deviated, None)
    } else if let Some(unknown) = any("inconclusive") {
        (Verdict::Inconclusive, unknown.reason.clone())
    } else if any("met").is_some() {
        (Verdict::Met, None)
    } else if checks.is_empty() {
        (Verdict::NotJudged, None)
    } else if matches!(scene.phase, Phase::Fault { .. }) {
        (Verdict::Inconclusive, Some(Reason::NothingApplies { phase: scene.phase.name().to_owned() }))
    } else {
        (Verdict::NotJudged, None)
    }
}

fn evaluation(
    scene: &Scene,
    started: Timestamp,
    checks: Vec<CheckRecord>,
    verdict: Verdict,
    reason: Option<Reason>,
) -> Evaluation {
    let phase = scene.phase.name().to_owned();
    Evaluation { phase, started, ended: scene.clock.now(), attempts: 1, verdict, reason, checks }
}
