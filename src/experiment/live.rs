//! What is on while an experiment runs, and what becomes of it where the run is dropped.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::guard::FaultGuard;
use super::recorder::Recorder;
use crate::rollback::{UndoGuard, UndoOutcome};

/// A background activity; dropping it stops it.
pub(super) struct Running {
    pub(super) step: usize,
    pub(super) what: String,
    pub(super) location: String,
    pub(super) task: JoinHandle<Result<Value, String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is on while an experiment runs. Guards are dropped last to first.
#[derive(Default)]
pub(super) struct Live {
    pub(super) background: Vec<Running>,
    pub(super) faults: Vec<FaultGuard>,
    /// What is still to be done of each step of `finally`.
    pub(super) finally: Vec<Option<Due>>,
    /// The journal's keeper, once there is something to be done.
    pub(super) recorder: Option<Arc<Recorder>>,
}

/// A step of `finally` that is still to be done.
pub(super) enum Due {
    /// Data, which a drop undoes.
    Undo(UndoGuard),
    /// A closure, which nobody can await in a drop.
    Closure,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.background.clear();
        while let Some(due) = self.finally.pop() {
            if let (Some(due), Some(recorder)) = (due, &self.recorder) {
                due.dropped(recorder, self.finally.len());
            }
        }
        while self.faults.pop().is_some() {}
    }
}

impl Due {
    /// The run was dropped before this was done; `number` is that of its record.
    fn dropped(self, recorder: &Recorder, number: usize) {
        let (run, error) = match self {
            Self::Undo(mut guard) => (true, unclean(&guard.rollback_now())),
            Self::Closure => (false, Some("not run: the run was dropped".to_owned())),
        };
        let mut journal = recorder.journal();
        let Some(record) = journal.finally.get_mut(number) else { return };
        if let (false, Some(error)) = (run, &error) {
            crate::journal::complain(&format!("finally, {}: {error}", record.name));
        }
        (record.run, record.error) = (run, error);
    }
}

/// The first undo that is not known to be done.
pub(super) fn unclean(outcomes: &[UndoOutcome]) -> Option<String> {
    outcomes.iter().find(|outcome| !outcome.is_clean()).map(ToString::to_string)
}
