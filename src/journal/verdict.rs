//! Verdicts, and the reasons for not knowing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an experiment found about its hypothesis while the faults were on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The hypothesis held, with evidence.
    Met,
    /// The hypothesis did not hold.
    Deviated,
    /// There is no evidence either way; the journal has a [`Reason`].
    Inconclusive,
    /// The user's own choice left nothing to be judged under the fault.
    NotJudged,
}

impl Verdict {
    /// Of two verdicts the one that stands: what was found out is not undone by what was found afterwards.
    #[must_use]
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |verdict| match verdict {
            Self::Deviated => 3,
            Self::Inconclusive => 2,
            Self::Met => 1,
            Self::NotJudged => 0,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Deviated => "deviated",
            Self::Inconclusive => "inconclusive",
            Self::NotJudged => "not judged",
        })
    }
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The hypothesis did not hold before the method, so the method did not run.
    #[error("the hypothesis did not hold before the method: {check}: {phrase}")]
    GateMissed {
        /// The first check that missed.
        check: String,
        /// What it saw.
        phrase: String,
    },
    /// A fault had gone before the hypothesis was judged under it.
    #[error("fault {fault:?} ended early: {by} (noticed at {at})")]
    FaultEndedEarly {
        /// The fault.
        fault: String,
        /// What ended it, as far as can be told.
        by: String,
        /// When that was noticed.
        at: String,
    },
    /// Nothing shows that a fault had an effect.
    #[error("fault {fault:?} is not proved: {why}")]
    FaultNotProved {
        /// The fault.
        fault: String,
        /// What is missing, and the remedy.
        why: String,
    },
    /// A source of evidence does not answer, or answers what cannot be read.
    #[error("{what} is unavailable: {why}")]
    Unavailable {
        /// The source.
        what: String,
        /// Its answer.
        why: String,
    },
    /// A source of evidence has no data for what was asked.
    #[error("no data for {what}: {why}")]
    NoData {
        /// The query.
        what: String,
        /// Why that is no evidence, and the remedy.
        why: String,
    },
    /// The newest data is older than what had to be seen.
    #[error("stale data for {what}: {why}")]
    StaleData {
        /// The query.
        what: String,
        /// How old it is and what was needed.
        why: String,
    },
    /// The window asked for does not reach back to the fault.
    #[error("{what} cannot see the fault: {why}")]
    WindowTooShort {
        /// The query.
        what: String,
        /// The window and what was needed.
        why: String,
    },
    /// A value that is not a number.
    #[error("{what} is not a number")]
    NotANumber {
        /// The query.
        what: String,
    },
    /// The measuring tool itself did not do what it should have.
    #[error("{what} did not do what was planned: {why}")]
    InvalidLoad {
        /// The load.
        what: String,
        /// What was missed.
        why: String,
    },
    /// The run ended before the hypothesis could be judged under the faults.
    #[error("the run ended before the hypothesis was judged: {why}")]
    EndedBefore {
        /// What ended it.
        why: String,
    },
    /// A safeguard was broken, so everything was stopped and undone.
    #[error("the safeguard {check:?} was broken at {since}, so everything was stopped: {phrase}")]
    SafeguardBroken {
        /// The safeguard.
        check: String,
        /// When it was first seen broken.
        since: String,
        /// What it saw.
        phrase: String,
    },
    /// A safeguard could not be judged, so everything was stopped and undone.
    #[error(
        "the safeguard {check:?} could not be judged since {since}, so everything was stopped: {why}; to go on for a time, it has `.unknown_for(..)`"
    )]
    SafeguardUnknown {
        /// The safeguard.
        check: String,
        /// The first look at a stretch that found nothing.
        since: String,
        /// Why.
        why: String,
    },
    /// Every check was not applicable where it was judged.
    #[error("no check applies {phase}")]
    NothingApplies {
        /// The phase, in words.
        phase: String,
    },
}

impl Reason {
    /// The kind alone, free of any measured quantity, as in the stable journal.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::GateMissed { .. } => "gate missed",
            Self::FaultEndedEarly { .. } => "fault ended early",
            Self::FaultNotProved { .. } => "fault not proved",
            Self::Unavailable { .. } => "unavailable",
            Self::NoData { .. } => "no data",
            Self::StaleData { .. } => "stale data",
            Self::WindowTooShort { .. } => "window too short",
            Self::NotANumber { .. } => "not a number",
            Self::InvalidLoad { .. } => "invalid load",
            Self::EndedBefore { .. } => "ended before",
            Self::SafeguardBroken { .. } => "safeguard broken",
            Self::SafeguardUnknown { .. } => "safeguard unknown",
            Self::NothingApplies { .. } => "nothing applies",
        }
    }
}
