//! The judgement under the faults: what it rests on, and how it becomes the verdict. Engine and [`Run`](super::Run) share it.

use super::recorder::Recorder;
use super::{ExperimentError, Hypothesis, Phase};
use crate::clock::Timestamp;
use crate::journal::{
    Ended, Evaluation, EventKind, FaultEnd, FaultRecord, Reason, Sighting, SightingTime, Verdict, WATCHED,
};
use crate::rollback::LedgerError;

impl Recorder {
    /// Judges the hypothesis with each fault that is on read back and seen directly before and after.
    pub(super) async fn judge_under_faults(
        &self,
        hypothesis: &Hypothesis,
        phase: Phase,
    ) -> Result<Evaluation, ExperimentError> {
        let on = self.confirm(SightingTime::BeforeHypothesis).await;
        let evaluation = self.judge(hypothesis, phase).await?;
        self.confirm(SightingTime::AfterHypothesis).await;
        for fault in on {
            let let_go = self.journal().faults[fault].end == FaultEnd::Rollback;
            if let_go {
                self.ended_early(fault, "its guard let it go while the hypothesis was judged");
            }
        }
        Ok(evaluation)
    }

    /// Reads back and looks at each fault that is on; their numbers.
    pub(super) async fn confirm(&self, when: SightingTime) -> Vec<usize> {
        let mut on = Vec::new();
        for life in self.lives.all() {
            let life = life.lock().await;
            if let Some(number) = life.on() {
                life.confirm(when).await;
                on.push(number);
            }
        }
        on
    }

    /// Makes of evaluations under the faults the verdict, unless a worse one was found before; what they amount to.
    pub(super) fn conclude(&self, hypothesis: &Hypothesis, evaluations: &[Evaluation]) -> Verdict {
        self.conclude_on(hypothesis, evaluations, self.unproved(|_| true))
    }

    fn conclude_on(&self, hypothesis: &Hypothesis, evaluations: &[Evaluation], unproved: Option<Reason>) -> Verdict {
        let (verdict, reason) = match unproved {
            Some(reason) => (Verdict::Inconclusive, Some(reason)),
            None => overall(evaluations),
        };
        let mut journal = self.journal();
        if journal.verdict.worse(verdict) != journal.verdict {
            (journal.verdict, journal.reason) = (verdict, reason);
            journal.hypothesis = Some(hypothesis.title.clone());
        }
        verdict
    }

    /// The method was cut short. A deviation that was seen in it stands, all else is inconclusive.
    pub(super) fn cut(&self, hypothesis: Option<&Hypothesis>, reason: Option<Reason>) {
        let watched = |e: &&Evaluation| e.phase == WATCHED && e.verdict == Verdict::Deviated;
        let seen: Vec<_> = self.journal().evaluations.iter().filter(watched).cloned().collect();
        if let (Some(hypothesis), [_, ..]) = (hypothesis, &*seen) {
            // What was cut off before it was made had no part in it.
            let made = |fault: &FaultRecord| fault.window.effective.or(fault.window.undo_requested).is_some();
            self.conclude_on(hypothesis, &seen, self.unproved(made));
        }
        if reason.is_some() {
            // What is being injected beside, too.
            self.ledger.refuse_new();
            self.lives.stop();
        }
        let mut journal = self.journal();
        if let (Some(reason), true) = (reason, journal.verdict != Verdict::Deviated) {
            (journal.verdict, journal.reason) = (Verdict::Inconclusive, Some(reason));
        }
    }

    /// The safeguard that stopped the run, if one did.
    pub(super) fn stopped_by(&self) -> Option<(Reason, Ended)> {
        self.journal().safeguards.iter().find_map(|safeguard| {
            let by = format!("the safeguard {}", safeguard.check);
            Some((safeguard.reason()?, Ended::Stopped { by }))
        })
    }

    /// Of a run that a safeguard stopped, what could not be done is no more than that.
    pub(super) fn or_stopped(&self, error: ExperimentError) -> ExperimentError {
        match (error, self.stopped_by()) {
            (ExperimentError::Ledger(LedgerError::Closing), Some((by, _))) => ExperimentError::Stopped { by },
            (error, _) => error,
        }
    }

    /// A fault is found to have gone before its time. What was found first stands.
    pub(super) fn ended_early(&self, fault: usize, by: &str) {
        let name = {
            let mut journal = self.journal();
            let record = &mut journal.faults[fault];
            if matches!(record.end, FaultEnd::Early { .. }) {
                return;
            }
            record.end = FaultEnd::Early { by: by.to_owned() };
            record.window.fault.clone()
        };
        self.event(EventKind::FaultEndedEarly, &name, by);
    }

    /// When the last fault was undone, if there were any and their guards have let go of all of them: nothing is left to
    /// be judged under a fault then. One that ended by plan was on when it had to be.
    pub(super) fn all_undone(&self) -> Option<Timestamp> {
        let journal = self.journal();
        // Those that could not be made were never on.
        let mut made = journal.faults.iter().filter(|fault| {
            fault.end == FaultEnd::None || fault.window.effective.is_some() || fault.window.undo_requested.is_some()
        });
        made.try_fold(None, |last: Option<Timestamp>, fault| match (&fault.end, fault.window.undo_requested) {
            (FaultEnd::Rollback | FaultEnd::Early { .. }, Some(undone)) => Some(last.max(Some(undone))),
            _ => None,
        })?
    }

    /// Why the faults so far, of those that count, are no ground for a verdict, if they are not.
    fn unproved(&self, counts: impl Fn(&FaultRecord) -> bool) -> Option<Reason> {
        self.journal().faults.iter().filter(|fault| counts(fault)).find_map(|fault| match &fault.end {
            FaultEnd::Early { by } => {
                let seen = fault.sightings.last().map_or(fault.window.requested, |s| s.at);
                let at = self.clock.now().max(seen).to_string();
                Some(Reason::FaultEndedEarly { fault: fault.window.fault.clone(), by: by.clone(), at })
            }
            _ if !fault.proved && fault.trusted.is_none() => {
                let saw = fault.sightings.iter().rfind(|s| !s.as_expected).map(|s| s.saw.clone());
                let why = format!("{}; {}", saw.unwrap_or_else(|| "nothing looked at its effect".into()), fault.remedy);
                Some(Reason::FaultNotProved { fault: fault.window.fault.clone(), why })
            }
            // It was on; whether it still was when the hypothesis was judged, nobody could see.
            _ => unconfirmed(fault).map(|saw| {
                let why = format!("it was on, but not known to be still there: {saw}; is the cluster well?");
                Reason::FaultNotProved { fault: fault.window.fault.clone(), why }
            }),
        })
    }
}

/// One that is out decides, then one that is unknown.
fn overall(evaluations: &[Evaluation]) -> (Verdict, Option<Reason>) {
    let verdict = evaluations.iter().fold(Verdict::NotJudged, |worst, e| worst.worse(e.verdict));
    let reason = evaluations.iter().find(|e| e.verdict == verdict).and_then(|e| e.reason.clone());
    (verdict, reason)
}

/// What was seen instead of a fault that had to be confirmed while the hypothesis was judged.
fn unconfirmed(fault: &FaultRecord) -> Option<&str> {
    use SightingTime::{AfterHypothesis, BeforeHypothesis, BeforePlannedEnd};
    let confirms = |s: &&Sighting| matches!(s.when, BeforeHypothesis | AfterHypothesis | BeforePlannedEnd);
    let missed = fault.sightings.iter().filter(confirms).find(|s| !s.as_expected);
    missed.map(|s| s.saw.as_str())
}
