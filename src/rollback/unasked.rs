//! What a run that begins does not do unasked: it makes nothing again that may be away by somebody's will.

use futures_util::future::BoxFuture;

use super::{Header, InDrop, OpenEntry, RECREATE_WITHIN, Standing, Undo, UndoOutcome, Undoer};
use crate::clock::Timestamp;

/// Undoes as another does, but only looks at what was deleted long ago, or by nobody knows whom.
pub(super) struct Unasked<'a> {
    undoer: &'a dyn Undoer,
    now: Timestamp,
    /// The uids of what may have been deleted by somebody else.
    doubtful: Vec<String>,
    /// What a person does about it.
    sweep: String,
}

impl<'a> Unasked<'a> {
    /// For the open entries of a ledger.
    pub(super) fn new(undoer: &'a dyn Undoer, now: Timestamp, header: &Header, open: &[OpenEntry]) -> Self {
        let undos = open.iter().filter(|entry| !entry.applied).flat_map(|entry| &entry.undo);
        let doubtful = undos.filter_map(|undo| match undo {
            Undo::Recreate { uid, .. } => Some(uid.clone()),
            _ => None,
        });
        Self { undoer, now, doubtful: doubtful.collect(), sweep: header.sweep_command() }
    }

    /// Why this is not done unasked.
    fn doubt(&self, undo: &Undo) -> Option<String> {
        let Undo::Recreate { uid, deleted, .. } = undo else { return None };
        if self.now.duration_since(*deleted).unsigned_abs() > RECREATE_WITHIN {
            let hours = RECREATE_WITHIN.as_secs() / 3600;
            return Some(format!("it was deleted at {deleted}, which is more than {hours} h from now"));
        }
        let doubtful = self.doubtful.contains(uid);
        doubtful.then(|| "the run died while it was deleting it, and somebody else may have done so since".to_owned())
    }
}

impl Undoer for Unasked<'_> {
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        let Some(why) = self.doubt(undo) else { return self.undoer.undo(undo) };
        Box::pin(async move {
            match self.undoer.stands(undo).await {
                Ok(Standing::Gone { by }) => UndoOutcome::TargetGone { proof: by },
                Ok(Standing::Stands { .. }) => {
                    let why =
                        format!("{why}, so that no run makes it again unasked; if it is to be there: `{}`", self.sweep);
                    UndoOutcome::Leaked { why }
                }
                Err(error) => UndoOutcome::Leaked { why: format!("{why}, and it cannot be looked at: {error}") },
            }
        })
    }

    fn stands<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        self.undoer.stands(undo)
    }

    fn in_drop(&self) -> InDrop {
        self.undoer.in_drop()
    }
}
