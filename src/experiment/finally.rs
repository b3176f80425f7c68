//! What is done at the end, whatever happened.

use std::time::Duration;

use super::step::UserStep;
use crate::rollback::Undo;

/// How long a closure may take: faults may be on meanwhile.
pub(super) const WITHIN: Duration = Duration::from_secs(300);

/// A step of `finally`, or a rollback of the user's own.
#[derive(Clone)]
pub(super) struct Finally {
    pub(super) work: Work,
    /// Whether the experiment's strategy says if it is done; else it is done on every path.
    pub(super) by_strategy: bool,
}

/// What is done.
#[derive(Clone)]
pub(super) enum Work {
    /// Data: it is in the ledger before the method starts, so that a sweep finds it.
    Undo(Undo),
    /// A closure, which dies with the process.
    Closure(String, UserStep),
}

impl Finally {
    pub(super) fn name(&self) -> String {
        match &self.work {
            Work::Undo(undo) => undo.to_string(),
            Work::Closure(name, _) => name.clone(),
        }
    }

    pub(super) fn crash_safe(&self) -> bool {
        matches!(self.work, Work::Undo(_))
    }
}
