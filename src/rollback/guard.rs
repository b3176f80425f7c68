//! The guard of one ledger entry.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::carry::{Patience, Undoing};
use super::place::kept_by;
use super::reaper::Reaper;
use super::{EntryId, InDrop, Ledger, LedgerError, Standing, Undo, UndoOutcome, Undoer};
use crate::clock::Timestamp;

/// How long a drop may block.
const DROP_WITHIN: Duration = Duration::from_secs(5);

/// Holds the undo of a change until it was carried out.
///
/// Prefer [`rollback`](UndoGuard::rollback). Dropped before that, it undoes by itself: on the embedded lab by a
/// plain call, over a network on the reaper's thread, blocking at most 5 s. What fails then is told on standard
/// error and stays in the ledger.
#[must_use = "a guard that is dropped at once undoes at once; bind it to a name"]
pub struct UndoGuard {
    name: String,
    since: Timestamp,
    ledger: Ledger,
    entry: EntryId,
    /// A second attempt goes on behind the first.
    undoing: Undoing,
    settled: bool,
    undoer: Arc<dyn Undoer>,
}

impl UndoGuard {
    /// Writes the undo into the ledger. The change may be made once this has returned.
    ///
    /// # Errors
    /// The ledger cannot be written, or the run is ending.
    pub fn arm(
        ledger: &Ledger,
        owner: &str,
        name: &str,
        undo: Vec<Undo>,
        undoer: Arc<dyn Undoer>,
        since: Timestamp,
    ) -> Result<Self, LedgerError> {
        let entry = ledger.arm(owner, name, &undo)?;
        let (name, ledger, undoing) = (name.to_owned(), ledger.clone(), Undoing::of(undo, false));
        Ok(Self { name, since, ledger, entry, undoing, settled: false, undoer })
    }

    /// The change was made; `uids` are those of created objects and of those that were really deleted, in the order of the
    /// undos.
    ///
    /// # Errors
    /// The ledger cannot be written. The guard undoes all the same.
    pub fn applied(&mut self, uids: Vec<Option<String>>) -> Result<(), LedgerError> {
        self.undoing.applied(uids);
        self.ledger.applied(self.entry, &self.undoing.undo)
    }

    /// The undos, in the order of the changes.
    #[must_use]
    pub fn undos(&self) -> &[Undo] {
        &self.undoing.undo
    }

    /// What became of each change, in their order.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn standing(&self) -> Result<Vec<Standing>, String> {
        let mut standings = Vec::new();
        for undo in &self.undoing.undo {
            standings.push(self.undoer.stands(undo).await?);
        }
        Ok(standings)
    }

    /// Undoes, last change first, each even if another failed. How each ended, in that order. Called again after
    /// it was dropped half-way it finishes the rest, and repeats nothing.
    pub async fn rollback(&mut self) -> Vec<UndoOutcome> {
        self.keep();
        self.undoing.carry_out(&*self.undoer, Patience::Once).await;
        self.settle()
    }

    /// As [`rollback`](Self::rollback), on this thread and without a runtime, within 5 s.
    pub fn rollback_now(&mut self) -> Vec<UndoOutcome> {
        self.keep();
        match self.undoer.in_drop() {
            // It waits for nothing, and so is ready at once.
            InDrop::Inline => drop(self.undoing.carry_out(&*self.undoer, Patience::None).now_or_never()),
            InDrop::Reaper(connect) => {
                let mut undoing = self.undoing.clone();
                let undone = Reaper::global().undo(connect, DROP_WITHIN, move |undoer, end| {
                    Box::pin(async move {
                        undoing.carry_out(&*undoer, Patience::Until(end)).await;
                        undoing
                    })
                });
                match undone {
                    Ok(undoing) => self.undoing = undoing,
                    Err(why) => self.undoing.give_up(&why),
                }
            }
        }
        self.settle()
    }

    /// Leaves the change as it is, by the user's choice.
    pub fn leave(mut self) {
        self.settled = true;
        if let Err(error) = self.ledger.left(self.entry) {
            crate::journal::complain(&error);
        }
    }

    /// What holds a place is not undone where something of the run may still be on.
    fn keep(&mut self) {
        if let Some(why) = kept_by(self.entry, &self.undoing.undo, &self.ledger.open()) {
            self.undoing.give_up(&why);
        }
    }

    fn settle(&mut self) -> Vec<UndoOutcome> {
        if !self.settled {
            self.settled = true;
            if let Err(error) = self.ledger.settled(self.entry, &self.undoing.done) {
                crate::journal::complain(&format!("{}: {error}", self.name));
            }
        }
        self.undoing.done.clone()
    }
}

impl Drop for UndoGuard {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // A panic in a drop while unwinding aborts the process, and with it every other undo.
        let undone = catch_unwind(AssertUnwindSafe(|| self.rollback_now()));
        let outcomes = undone.unwrap_or_else(|_| vec![UndoOutcome::Leaked { why: "the undo panicked".into() }]);
        let mut told = String::new();
        for (undo, outcome) in self.undoing.undo.iter().rev().zip(&outcomes) {
            if !outcome.is_clean() {
                // Writing to a string cannot fail.
                let _ = write!(told, "\n  {undo}: {outcome}; by hand: {}", undo.by_hand());
            }
        }
        if !told.is_empty() {
            crate::journal::complain(&format!("{} (since {}) may still be on:{told}", self.name, self.since));
        }
    }
}
