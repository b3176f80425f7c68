//! What a run came to, for machines: `summary.json`, as docs/summary.schema.json has it. All other formats are made of it.

use serde::{Deserialize, Serialize};

use super::{Headline, RollbackState, cases};
use crate::journal::{self, Ended, Journal, Verdict};

/// The version of `summary.json`; it grows when a field goes or means something else.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What wrote the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// This crate.
    Steadfast,
    /// Chaos Toolkit: nobody has seen its faults.
    ChaosToolkit,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) schema_version: u32,
    pub(crate) source: Source,
    pub(crate) experiment: String,
    /// The test that ran it, and which of its journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test: Option<String>,
    pub(crate) hypothesis: Option<String>,
    /// What it came to, in a word or two.
    pub(crate) headline: Headline,
    /// The verdict in one sentence.
    pub(crate) sentence: String,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<Why>,
    pub(crate) recovered: Verdict,
    /// How it ended: `completed`, `gate-missed`, `failed`.
    pub(crate) ended: String,
    /// What ended it, where that was not its own plan.
    pub(crate) error: Option<String>,
    /// What became of its changes.
    pub(crate) rollback: RollbackState,
    /// What is left of them or not known to be gone, also by choice, in words.
    pub(crate) left: Vec<String>,
    /// What may be left behind, in words.
    pub(crate) not_undone: Vec<String>,
    /// What is undone, but was not seen to be back.
    pub(crate) not_back: Vec<String>,
    pub(crate) run: Option<String>,
    pub(crate) seed: Option<String>,
    pub(crate) cluster: Option<String>,
    /// `virtual` or `real`.
    pub(crate) time: String,
    pub(crate) started: Option<String>,
    pub(crate) finished: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    /// The file beside this one.
    pub(crate) journal: Option<String>,
    /// What was written with this file, beside the journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) written: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cases: Vec<Case>,
    /// The verdict with its evidence, for people.
    #[serde(skip)]
    pub(crate) text: String,
}

/// Why a verdict is inconclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Why {
    /// Its kind: `no data`.
    pub(crate) kind: String,
    /// In words.
    pub(crate) text: String,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) cases: u64,
    pub(crate) failed: u64,
    pub(crate) errors: u64,
    pub(crate) skipped: u64,
}

/// One thing that had to be so: a check in a phase, a fault, an undo, a safeguard, the run itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// `before`, `method`, `during`, `after`, `fault`, `undo`, `safeguard`, `run`.
    pub(crate) phase: String,
    /// What it is; no two of a phase are the same.
    pub(crate) name: String,
    pub(crate) result: CaseResult,
    /// What was seen, in one phrase.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// How long it was judged, or on.
    pub(crate) seconds: f64,
    /// Where it stands in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// Whether it was judged: what was skipped then does not apply, the rest was not reached.
    #[serde(skip)]
    pub(crate) judged: bool,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CaseResult {
    /// It was so.
    Passed,
    /// Not reached, or it does not apply.
    Skipped,
    /// Nobody knows.
    Error,
    /// It was not so.
    Failed,
}

impl Summary {
    /// Of a journal.
    pub(crate) fn of(journal: &Journal) -> Self {
        let known = journal.source != journal::Source::ChaosToolkit;
        let cases = cases::of(journal);
        let (ended, error) = ended(&journal.ended);
        let rollback = journal.rollback();
        let file = journal.path().and_then(std::path::Path::file_name);
        Self {
            schema_version: SCHEMA_VERSION,
            source: if known { Source::Steadfast } else { Source::ChaosToolkit },
            experiment: journal.experiment.clone(),
            test: journal.test.clone(),
            hypothesis: journal.hypothesis.clone(),
            headline: journal.headline(),
            sentence: journal.sentence(),
            verdict: journal.verdict,
            reason: journal.reason.as_ref().map(|why| Why { kind: why.kind().to_owned(), text: why.to_string() }),
            recovered: journal.recovered,
            ended: ended.to_owned(),
            error,
            rollback: rollback.state,
            left: rollback.left,
            not_undone: journal.not_undone(),
            not_back: journal.not_back(),
            run: known.then(|| journal.run.clone()),
            seed: known.then(|| journal.seed.0.to_string()),
            cluster: Some(journal.cluster.clone()),
            time: match journal.time {
                crate::clock::Time::Virtual => "virtual".to_owned(),
                crate::clock::Time::Real => "real".to_owned(),
            },
            started: Some(journal.started.to_string()),
            finished: Some(journal.finished.to_string()),
            seconds: seconds(journal.finished.duration_since(journal.started)),
            counts: Counts::of(&cases),
            journal: file.map(|file| file.to_string_lossy().into_owned()),
            written: Vec::new(),
            cases,
            text: journal.summary(),
        }
    }

    /// Whether nothing is wrong and nothing unknown, whatever was expected: met, undone, and run to its end.
    #[cfg(feature = "cli")]
    pub(crate) fn is_clean(&self) -> bool {
        self.counts.failed == 0 && self.counts.errors == 0
    }

    /// As indented JSON with a final newline.
    pub(crate) fn to_json(&self) -> String {
        to_json(self)
    }

    /// The cases that are not as they should be, the worst first.
    pub(crate) fn wrong(&self) -> Vec<&Case> {
        let mut wrong: Vec<_> = self.cases.iter().filter(|case| case.result > CaseResult::Skipped).collect();
        wrong.sort_by_key(|case| std::cmp::Reverse(case.result));
        wrong
    }
}

/// Indented JSON with a final newline.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("it holds nothing that JSON lacks");
    text.push('\n');
    text
}

impl Counts {
    pub(crate) fn of(cases: &[Case]) -> Self {
        let of = |result| cases.iter().filter(|case| case.result == result).count() as u64;
        Self {
            cases: cases.len() as u64,
            failed: of(CaseResult::Failed),
            errors: of(CaseResult::Error),
            skipped: of(CaseResult::Skipped),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.failed += other.failed;
        self.errors += other.errors;
        self.skipped += other.skipped;
    }
}

/// Milliseconds are enough, and print alike everywhere.
pub(crate) fn seconds(duration: jiff::SignedDuration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round().max(0.0) / 1000.0
}

/// How a run ended, in one word, and what ended it.
pub(crate) fn ended(ended: &Ended) -> (&'static str, Option<String>) {
    match ended {
        Ended::Running => ("running", Some("the run has not ended: it was killed, or is still going on".to_owned())),
        Ended::Completed => ("completed", None),
        Ended::GateMissed => ("gate-missed", None),
        Ended::Failed { error } => ("failed", Some(error.clone())),
        Ended::Panicked { message } => ("panicked", Some(message.clone())),
        Ended::Interrupted { signal } => ("interrupted", Some(format!("interrupted by {signal}"))),
        Ended::Stopped { by } => ("stopped", Some(format!("stopped by {by}"))),
        Ended::Cancelled => ("cancelled", Some("the run was dropped before its end".to_owned())),
    }
}
