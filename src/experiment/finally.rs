//! What is done at the end, whatever happened.

use super::step::UserStep;
use crate::rollback::Undo;

/// A step of `finally`.
#[derive(Clone)]
pub(super) enum Finally {
    /// Data: it is in the ledger before the method starts, so that a sweep finds it.
    Undo(Undo),
    /// A closure, which dies with the process.
    Closure(String, UserStep),
}

impl Finally {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Undo(undo) => undo.to_string(),
            Self::Closure(name, _) => name.clone(),
        }
    }

    pub(super) fn crash_safe(&self) -> bool {
        matches!(self, Self::Undo(_))
    }
}
