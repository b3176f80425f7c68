//! How a document is run: strategies, dry modes, and what the command adds.

use std::time::Duration;

pub(crate) use crate::experiment::{HypothesisStrategy, RollbackStrategy};

/// What is not done in a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dry {
    /// No probe is made.
    Probes,
    /// No action is done.
    Actions,
    /// Nothing is done.
    Activities,
    /// Nothing is waited for.
    Pause,
}

impl Dry {
    /// All of them, by their names in the command and the journal.
    pub(crate) const NAMES: [(&'static str, Self); 4] = [
        ("probes", Self::Probes),
        ("actions", Self::Actions),
        ("activities", Self::Activities),
        ("pause", Self::Pause),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, dry)| *dry == self).map_or("", |(name, _)| name)
    }

    /// Whether a probe, or else an action, is passed over.
    pub(crate) fn skips(self, probe: bool) -> bool {
        match self {
            Self::Probes => probe,
            Self::Actions => !probe,
            Self::Activities => true,
            Self::Pause => false,
        }
    }
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hypothesis: HypothesisStrategy,
    pub(crate) rollbacks: RollbackStrategy,
    /// From the end of one look of the continuous hypothesis to the beginning of the next.
    pub(crate) frequency: Duration,
    pub(crate) fail_fast: bool,
    pub(crate) dry: Option<Dry>,
    /// Faults stay on unless the document's own rollbacks end them, as in the original.
    pub(crate) leave_faults: bool,
    /// Exit codes of the original, for pipelines that rely on them.
    pub(crate) original_codes: bool,
}
