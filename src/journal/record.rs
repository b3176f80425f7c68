//! The parts of a journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FaultWindow;
use crate::clock::Timestamp;
use crate::journal::Reason;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Ended {
    /// It has not: the journal of a run that was killed says so.
    Running,
    /// To the end of the method.
    Completed,
    /// Before the method: the hypothesis did not hold, or nothing showed that it did.
    GateMissed,
    /// Something could not be done or observed.
    Failed {
        /// Why.
        error: String,
    },
    /// A closure of the user panicked.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// A signal arrived.
    Interrupted {
        /// Its name: `SIGINT`.
        signal: String,
    },
    /// Before the end of the method, by a safeguard or by the first deviation, as the experiment said; it is undone.
    Stopped {
        /// What stopped it.
        by: String,
    },
    /// The run was dropped before its end, by a time-out of the test for instance.
    Cancelled,
}

/// The phase of evaluations that are repeated while the method runs.
pub(crate) const WATCHED: &str = "during the method";

/// The phase of the evaluation while the faults are on, after the method.
pub(crate) const UNDER_FAULT: &str = "under the fault";

/// One judgement of the whole hypothesis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The part of the run: `before the method`, `under the fault`.
    pub phase: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How often the hypothesis was judged before it held, where it was given time.
    pub attempts: u32,
    /// What came out.
    pub verdict: super::Verdict,
    /// Why, where that is inconclusive.
    pub reason: Option<Reason>,
    /// The checks in their order.
    pub checks: Vec<CheckRecord>,
}

/// One check of an [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// What it looks at and expects.
    pub check: String,
    /// `met`, `not-met`, `inconclusive`, `not-applicable`.
    pub outcome: String,
    /// What it saw, in one phrase: `was 503, expected status 200`.
    pub phrase: String,
    /// How that stands to the bound, without quantity: `within`, `grew`.
    pub relation: String,
    /// Why, where the outcome is inconclusive.
    pub reason: Option<Reason>,
    /// What the probe saw.
    pub evidence: Value,
    /// When it began to look. `None` in a journal of an older version, or of another tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it had seen what it saw. `None` where `from` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Whether it looked under the fault, but at a time at which no fault was on any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faults_over: bool,
    /// What the sources of evidence warn of. Unless they are trusted all the same, the outcome is inconclusive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What they said beside that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

/// One safeguard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SafeguardRecord {
    /// What it looks at and expects.
    pub check: String,
    /// Where it stands in the source.
    pub location: String,
    /// The time between the beginnings of two looks.
    pub every: Duration,
    /// How long at a stretch the run goes on although it cannot be judged.
    pub unknown_for: Duration,
    /// How often it was looked at.
    pub looks: u64,
    /// How many of these looks could not be judged.
    pub unknown: u64,
    /// When the last look began that found that it holds.
    pub held_at: Option<Timestamp>,
    /// How it stopped the run, if it did.
    pub broken: Option<Breach>,
    /// The looks in the order of time; of more than [`MOST_LOOKS`] fewer in the same stretch. Empty in a journal of an
    /// older version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked: Vec<SafeguardLook>,
}

/// The most looks of one safeguard that a journal keeps: the first, the last, and those at which something changed
/// before others; what is left is spread over the time.
pub const MOST_LOOKS: usize = 100;

/// One look at a safeguard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafeguardLook {
    /// When it began.
    pub at: Timestamp,
    /// `met`, `not-met`, `inconclusive`, `not-applicable`.
    pub outcome: String,
    /// What it saw, in one phrase: `was 503, expected status 200`.
    pub phrase: String,
}

impl SafeguardRecord {
    /// Keeps a look, and not too many.
    pub(crate) fn keep(&mut self, look: SafeguardLook) {
        let all = &mut self.looked;
        all.push(look);
        if all.len() <= MOST_LOOKS {
            return;
        }
        let changes = |at: usize| all[at].outcome != all[at - 1].outcome || all[at].outcome != all[at + 1].outcome;
        let between = |at: &usize| (all[at + 1].at.duration_since(all[at - 1].at), *at);
        // One that stopped the run is its last; the others are missed least where they stand closest.
        let steady = (1..MOST_LOOKS).filter(|at| !changes(*at)).min_by_key(between);
        if let Some(least) = steady.or_else(|| (1..MOST_LOOKS).min_by_key(between)) {
            all.remove(least);
        }
    }

    /// Why it stopped the run, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let Breach { since, look, .. } = self.broken.as_ref()?;
        let (check, since, phrase) = (self.check.clone(), since.to_string(), look.phrase.clone());
        Some(match &look.reason {
            None => Reason::SafeguardBroken { check, since, phrase },
            Some(why) => Reason::SafeguardUnknown { check, since, why: why.to_string() },
        })
    }
}

/// What a safeguard stopped a run for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// When the look began that first found it so: it came about after the last look at which it held.
    pub since: Timestamp,
    /// When the run was stopped.
    pub at: Timestamp,
    /// The last look, with its evidence.
    pub look: CheckRecord,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum StepStatus {
    /// As it should.
    Succeeded,
    /// With an error.
    Failed {
        /// The error.
        error: String,
    },
    /// With a panic in the user's closure.
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// It was running when the run ended.
    Stopped,
    /// Not reached.
    NotRun,
}

/// One step of the method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `background`, `pause`, `inject`, `act`, `observe`.
    pub kind: String,
    /// What it does.
    pub name: String,
    /// Where it stands in the source: `tests/it/lab4.rs:24`.
    pub location: String,
    /// When it began, if it did.
    pub started: Option<Timestamp>,
    /// When it ended, if it did.
    pub ended: Option<Timestamp>,
    /// How it ended.
    #[serde(flatten)]
    pub status: StepStatus,
    /// What it returned.
    pub output: Value,
    /// What sources of evidence warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What they said beside that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

/// When a witness looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SightingTime {
    /// Before the fault.
    Before,
    /// Once it was applied.
    Landed,
    /// Directly before the hypothesis was judged under it.
    BeforeHypothesis,
    /// Directly after.
    AfterHypothesis,
    /// Just before the experiment itself ended it.
    BeforePlannedEnd,
    /// After its undo.
    After,
}

impl std::fmt::Display for SightingTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Before => "before it",
            Self::Landed => "once applied",
            Self::BeforeHypothesis => "before the hypothesis",
            Self::AfterHypothesis => "after the hypothesis",
            Self::BeforePlannedEnd => "before its planned end",
            Self::After => "after its undo",
        })
    }
}

/// One look at a fault's effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// When, in the fault's life.
    pub when: SightingTime,
    /// When, on the clock.
    pub at: Timestamp,
    /// Whether the effect was as it should be then: none before and after, one in between.
    pub as_expected: bool,
    /// What the witness saw, in words.
    pub saw: String,
    /// What was looked at. `None` where nobody could look, and in a journal of an older version.
    #[serde(default)]
    pub probed: Option<String>,
    /// What was found there, as data.
    #[serde(default)]
    pub seen: Value,
}

/// Who ended a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended-by", rename_all = "kebab-case")]
pub enum FaultEnd {
    /// Nobody so far.
    None,
    /// The rollback.
    Rollback,
    /// The experiment, by its own plan.
    Plan,
    /// Nobody, by its user's choice: it was left as it is when the run ended.
    Left,
    /// Something else, before its time.
    Early {
        /// What, as far as can be told.
        by: String,
    },
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// When it was on.
    #[serde(flatten)]
    pub window: FaultWindow,
    /// What it touched, by name.
    pub targets: Vec<String>,
    /// Whether it was proved to bite.
    pub proved: bool,
    /// Why it is believed without proof, if the experiment says so.
    pub trusted: Option<String>,
    /// What its user can do where nothing proves it. Empty in a journal of an older version.
    #[serde(default)]
    pub remedy: String,
    /// Until when it could live at most if this run had not been heard of any more, as last known: the end of the
    /// dead-man's switch. `None` where that holds nothing of it.
    pub lives_until: Option<Timestamp>,
    /// Each look at its effect.
    pub sightings: Vec<Sighting>,
    /// Who ended it.
    #[serde(flatten)]
    pub end: FaultEnd,
    /// How each of its undos went, the witness' last.
    pub undo: Vec<UndoRecord>,
}

impl FaultRecord {
    /// Whether all of its undos ended clean.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        self.undo.iter().all(|undo| undo.outcome.is_clean())
    }

    /// What a witness saw that looked to the end of its time for the effect to be gone, which it was not. A fault that was
    /// never seen to come is not waited for to go.
    #[must_use]
    pub fn lingers(&self) -> Option<&Sighting> {
        let last = self.sightings.last().filter(|last| last.when == SightingTime::After)?;
        (self.proved && !last.as_expected && last.probed.is_some()).then_some(last)
    }
}

/// How one undo went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoRecord {
    /// What was to be done: `delete networkpolicy default/steadfast-1-1`.
    pub undo: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: crate::rollback::UndoOutcome,
    /// The values that a person has to put back, where it is not known to be done: none of a Secret, and few enough for
    /// a command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<crate::rollback::Field>,
}

/// One step of `finally`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinallyRecord {
    /// What it does.
    pub name: String,
    /// Whether it is data in the ledger, or a closure that dies with the process.
    pub crash_safe: bool,
    /// Whether it was run.
    pub run: bool,
    /// Whether the rollback strategy left it out, as the experiment chose. Absent in a journal of an older version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// What went wrong.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sighting_of_an_older_version_is_read_and_a_new_one_has_all_that_it_had() {
        let old = r#"{"when": "landed", "at": "2025-12-31T23:00:00Z", "as_expected": true, "saw": "denied"}"#;
        let read: Sighting = serde_json::from_str(old).expect("it is read");
        assert_eq!((read.saw.as_str(), &read.probed, &read.seen), ("denied", &None, &Value::Null));
        let written = serde_json::to_value(&read).expect("it serialises");
        let old: serde_json::Map<String, Value> = serde_json::from_str(old).expect("it is JSON");
        assert!(old.iter().all(|(field, value)| written[field] == *value), "{written}");
    }

    #[test]
    fn records_of_before_there_were_warnings_are_read_and_written_as_they_were() {
        let check =
            json!({"check": "c", "outcome": "met", "phrase": "p", "relation": "within", "reason": null, "evidence": 1});
        let record: CheckRecord = serde_json::from_value(check.clone()).expect("it is read");
        assert_eq!(serde_json::to_value(&record).expect("it is written"), check);
        let step = json!({"kind": "observe", "name": "n", "location": "l", "started": null, "ended": null,
            "status": "succeeded", "output": 1});
        let record: StepRecord = serde_json::from_value(step.clone()).expect("it is read");
        assert_eq!(serde_json::to_value(&record).expect("it is written"), step);
    }

    /// A safeguard with these looks, one a second.
    fn watched(outcomes: impl IntoIterator<Item = &'static str>) -> SafeguardRecord {
        let old = json!({"check": "c", "location": "l", "every": {"secs": 1, "nanos": 0},
            "unknown_for": {"secs": 0, "nanos": 0}, "looks": 0, "unknown": 0, "held_at": null, "broken": null});
        let mut record: SafeguardRecord = serde_json::from_value(old.clone()).expect("it is read");
        assert_eq!(serde_json::to_value(&record).expect("it is written"), old, "as before there were looks");
        for (second, outcome) in (0..).zip(outcomes) {
            let at = Timestamp::from_second(second).expect("a time");
            record.keep(SafeguardLook { at, outcome: outcome.to_owned(), phrase: second.to_string() });
        }
        record
    }

    #[test]
    fn of_many_looks_those_are_kept_that_tell_the_most() {
        let few = watched(["met"; MOST_LOOKS]);
        assert_eq!(few.looked.len(), MOST_LOOKS);
        let outcomes = (0..100_000).map(|number| match number {
            777 | 5_000..5_003 => "inconclusive",
            99_999 => "not-met",
            _ => "met",
        });
        let many = watched(outcomes);
        let seconds: Vec<_> = many.looked.iter().map(|look| look.at.as_second()).collect();
        assert_eq!(seconds.len(), MOST_LOOKS);
        for kept in [0, 776, 777, 778, 4_999, 5_000, 5_002, 5_003, 99_998, 99_999] {
            assert!(seconds.contains(&kept), "{kept} is missing: {seconds:?}");
        }
        assert!(many.looked.iter().any(|look| look.outcome == "not-met"));
        let widest = seconds.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest <= Some(4 * 100_000 / 100), "spread over the time: {seconds:?}");
        // Where each look is a change, there is no end to them either.
        let restless = watched((0..1_000).map(|number| if number % 2 == 0 { "met" } else { "inconclusive" }));
        assert_eq!(restless.looked.len(), MOST_LOOKS);
        let ends = [restless.looked.first(), restless.looked.last()].map(|look| look.map(|look| look.at.as_second()));
        assert_eq!(ends, [Some(0), Some(999)]);
    }
}
