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

#[cfg(feature = "cli")]
impl HypothesisStrategy {
    /// All of them, by name.
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("default", Self::Default),
        ("before-method-only", Self::BeforeMethodOnly),
        ("after-method-only", Self::AfterMethodOnly),
        ("during-method-only", Self::DuringMethodOnly),
        ("continuously", Self::Continuously),
        ("skip", Self::Skip),
    ];

    /// How Chaos Toolkit once spelt `continuously`, and takes it still.
    pub(crate) const MISSPELT: &'static str = "continously";

    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = if name == Self::MISSPELT { "continuously" } else { name };
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, strategy)| *strategy)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }
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

#[cfg(feature = "cli")]
impl RollbackStrategy {
    /// All of them, by name.
    pub(crate) const NAMES: [(&'static str, Self); 4] =
        [("default", Self::Default), ("always", Self::Always), ("never", Self::Never), ("deviated", Self::Deviated)];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, strategy)| *strategy)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, strategy)| *strategy == self).map_or("", |(name, _)| name)
    }
}

/// How often the hypothesis is judged while the method runs, unless the experiment says otherwise.
pub(super) const WATCH_EVERY: Duration = Duration::from_secs(1);
