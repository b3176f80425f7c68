//! When a fault was on.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The four instants of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultWindow {
    /// The fault, as it describes itself.
    pub fault: String,
    /// When its change was sent to the cluster.
    pub requested: Timestamp,
    /// When it was proved effective.
    pub effective: Option<Timestamp>,
    /// When its undo was asked for.
    pub undo_requested: Option<Timestamp>,
    /// When its undo was verified.
    pub undone: Option<Timestamp>,
}

impl FaultWindow {
    /// Whether it was on at some moment between two instants, as far as was seen.
    pub(crate) fn is_on_between(&self, from: Timestamp, to: Timestamp) -> bool {
        self.effective.is_some_and(|at| at <= to) && self.undo_requested.is_none_or(|at| at > from)
    }

    /// Whether it was on from one instant to another, as far as was seen.
    pub(crate) fn is_on_throughout(&self, from: Timestamp, to: Timestamp) -> bool {
        self.effective.is_some_and(|at| at <= from) && self.undo_requested.is_none_or(|at| at >= to)
    }
}
