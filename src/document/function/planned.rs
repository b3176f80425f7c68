//! What functions would do, where they are only asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Failed;
use crate::experiment::{Fault, Place, Targets};

/// What a call would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A fault of the house, which is guarded, proved and, unless it is to be left, undone.
    Fault {
        /// What it does.
        fault: String,
        targets: Targets,
        places: Vec<Place>,
        /// Why it is believed without a proof, if it is.
        trusted: Option<String>,
        /// Whether it is left at the end.
        left: bool,
    },
    /// A change that nobody undoes, in words.
    Left(String),
}

/// Keeps what calls would change.
#[derive(Debug, Default)]
pub(crate) struct Planned(Mutex<Vec<Change>>);

impl Planned {
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a fault's targets.
    pub(super) async fn fault(&self, fault: &impl Fault, left: bool) -> Result<(), Failed> {
        let targets = fault.resolve().await?;
        let trusted = fault.trusted();
        self.changes().push(Change::Fault { fault: fault.describe(), targets, places: fault.places(), trusted, left });
        Ok(())
    }

    pub(super) fn left(&self, what: String) {
        self.changes().push(Change::Left(what));
    }

    /// What was added since it was last asked.
    pub(crate) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes())
    }
}
