//! What a run came to in a word or two, and the mark beside it: every format takes them from here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RollbackState;
use crate::journal::{Ended, Journal, Verdict};

/// What a run came to: what is wrong with the cluster goes before what was found about the hypothesis. In the order of
/// urgency, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Headline {
    /// Nothing is known to be undone.
    RollbackFailed,
    /// Some of it is undone, the rest is left or not known to be gone.
    RollbackPartial,
    /// It was killed or is still running, and something was on when its journal was last written.
    MayBeLeft,
    /// All is undone, but the effect of a fault was still seen.
    NotBack,
    /// It was killed or is still running; nothing was on.
    NotEnded,
    /// A step, a check or a closure of the experiment failed, so that it broke off.
    ExperimentFailed,
    /// A signal arrived, or the run was dropped.
    Interrupted,
    /// The hypothesis did not hold.
    Deviated,
    /// Nobody knows whether it held. Also a verdict of "met" whose evidence is not in the journal.
    Inconclusive,
    /// The hypothesis did not hold before the method, or nothing showed that it did.
    GateMissed,
    /// A safeguard or the experiment's own plan stopped it.
    Stopped,
    /// There was nothing to judge.
    NotJudged,
    /// The hypothesis held, and the journal shows it.
    Met,
}

impl Headline {
    /// Whether something may be left behind, or is not as it was: nobody can have expected that.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        self <= Self::NotBack
    }

    /// The mark beside it.
    #[cfg(feature = "report")]
    pub(crate) fn mark(self) -> Mark {
        match self {
            Self::RollbackFailed | Self::RollbackPartial | Self::MayBeLeft | Self::NotBack | Self::Deviated => {
                Mark::Bad
            }
            Self::NotEnded
            | Self::ExperimentFailed
            | Self::Interrupted
            | Self::Inconclusive
            | Self::GateMissed
            | Self::Stopped => Mark::Unknown,
            Self::NotJudged => Mark::None,
            Self::Met => Mark::Good,
        }
    }
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RollbackFailed => "rollback failed",
            Self::RollbackPartial => "rollback partial",
            Self::MayBeLeft => "not ended, something may be left",
            Self::NotBack => "undone, but not back",
            Self::NotEnded => "not ended",
            Self::ExperimentFailed => "experiment failed",
            Self::Interrupted => "interrupted",
            Self::Deviated => "deviated",
            Self::Inconclusive => "inconclusive",
            Self::GateMissed => "gate missed",
            Self::Stopped => "stopped",
            Self::NotJudged => "not judged",
            Self::Met => "met",
        })
    }
}

impl Journal {
    /// What the run came to, in a word or two: what is wrong with the cluster goes before what was found about the
    /// hypothesis.
    #[must_use]
    pub fn headline(&self) -> Headline {
        let rollback = self.rollback();
        match (rollback.state, &self.ended, self.verdict) {
            (RollbackState::Failed, ..) => Headline::RollbackFailed,
            (RollbackState::Partial, ..) => Headline::RollbackPartial,
            (RollbackState::Unknown, ..) if !rollback.left.is_empty() => Headline::MayBeLeft,
            (RollbackState::NotBack, ..) => Headline::NotBack,
            (_, Ended::Running, _) => Headline::NotEnded,
            (.., Verdict::Deviated) => Headline::Deviated,
            (_, Ended::GateMissed, _) => Headline::GateMissed,
            (_, Ended::Interrupted { .. } | Ended::Cancelled, _) => Headline::Interrupted,
            (_, Ended::Stopped { .. }, _) => Headline::Stopped,
            (_, Ended::Failed { .. } | Ended::Panicked { .. }, _) => Headline::ExperimentFailed,
            // A verdict without the evaluations that show it is not shown as one.
            (.., Verdict::Met) if self.shows_met() => Headline::Met,
            (.., Verdict::Met | Verdict::Inconclusive) => Headline::Inconclusive,
            (.., Verdict::NotJudged) => Headline::NotJudged,
        }
    }
}

/// The mark of a word: a class of the page's style, and a sign for who sees no colours.
#[cfg(feature = "report")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Nobody knows, or somebody is to look.
    Unknown,
    /// Neither.
    None,
}

#[cfg(feature = "report")]
impl Mark {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
            Self::None => "none",
        }
    }

    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Unknown => "?",
            Self::None => "–",
        }
    }

    /// Of a verdict.
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Met => Self::Good,
            Verdict::Deviated => Self::Bad,
            Verdict::Inconclusive => Self::Unknown,
            Verdict::NotJudged => Self::None,
        }
    }

    /// Of the outcome of a check, as a journal names it.
    pub(crate) fn of_outcome(outcome: &str) -> Self {
        match outcome {
            "met" => Self::Good,
            "not-met" => Self::Bad,
            "not-applicable" => Self::None,
            // Inconclusive, or a word of a later version: not known to hold.
            _ => Self::Unknown,
        }
    }
}

#[cfg(feature = "report")]
impl RollbackState {
    pub(crate) fn mark(self) -> Mark {
        match self {
            Self::Complete => Mark::Good,
            Self::Partial | Self::Failed | Self::NotBack => Mark::Bad,
            Self::Left | Self::Unknown => Mark::Unknown,
            Self::NotNeeded => Mark::None,
        }
    }
}
