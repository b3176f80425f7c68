//! Where and when a probe looks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::journal::FaultWindow;
use crate::transport::Transport;

/// The part of a run in which something is observed, with the instants that a window can be anchored to.
///
/// A check decides what it means in each phase: growth of a counter, for instance, runs from the method's
/// start in [`Fault`](Phase::Fault) and between two scrapes in [`Gate`](Phase::Gate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Before the method: does the hypothesis hold at all?
    Gate,
    /// A step of the method.
    Method {
        /// When the method started.
        method_started: Timestamp,
    },
    /// Again and again while the method runs.
    Watch {
        /// When the method started.
        method_started: Timestamp,
    },
    /// After the method, while the faults are on.
    Fault {
        /// When the method started.
        method_started: Timestamp,
        /// When its last step and its background load had ended.
        method_ended: Timestamp,
    },
    /// After the rollback.
    Recovery {
        /// When the last fault was undone.
        undone: Timestamp,
    },
}

impl Phase {
    /// The phase in words, as in reports and the stable journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gate => "before the method",
            Self::Method { .. } => "in the method",
            Self::Watch { .. } => "during the method",
            Self::Fault { .. } => "under the fault",
            Self::Recovery { .. } => "after the rollback",
        }
    }
}

/// What surrounds a probe, an action or a load while it works.
#[derive(Clone)]
#[non_exhaustive]
pub struct Scene {
    /// The part of the run.
    pub phase: Phase,
    /// The clock of the run.
    pub clock: Clock,
    /// The way to the system under test.
    pub transport: std::sync::Arc<dyn Transport>,
    /// The folder for outputs; relative paths are relative to it.
    pub outputs: PathBuf,
    /// The faults so far, each with the time it was on.
    pub faults: Vec<FaultWindow>,
}
