//! When the hypothesis is judged, and when rollbacks of the user's own run. Names and meanings are Chaos Toolkit's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When the hypothesis is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HypothesisStrategy {
    /// Before the method, and after it while the faults are on.
    #[default]
    Default,
    /// Before the method alone: nothing is judged under the faults.
    BeforeMethodOnly,
    /// After the method alone: whether it held before is not known.
    AfterMethodOnly,
    /// Again and again while the method runs.
    DuringMethodOnly,
    /// Before, again and again during, and after.
    Continuously,
    /// Never.
    Skip,
}

impl HypothesisStrategy {
    pub(crate) fn judges_before(self) -> bool {
        matches!(self, Self::Default | Self::BeforeMethodOnly | Self::Continuously)
    }

    pub(crate) fn judges_during(self) -> bool {
        matches!(self, Self::DuringMethodOnly | Self::Continuously)
    }

    pub(crate) fn judges_after(self) -> bool {
        matches!(self, Self::Default | Self::AfterMethodOnly | Self::Continuously)
    }
}

/// When rollbacks of the user's own run. Faults are undone, and `finally` runs, whatever the strategy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollbackStrategy {
    /// Unless the experiment failed or was interrupted.
    Default,
    /// On every path.
    #[default]
    Always,
    /// On no path.
    Never,
    /// If the hypothesis deviated.
    Deviated,
}

/// How often the hypothesis is judged while the method runs, unless the experiment says otherwise.
pub(super) const WATCH_EVERY: Duration = Duration::from_secs(1);
