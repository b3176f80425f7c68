//! Undo.
mod undo;

pub use undo::{
    Connect, Field, InDrop, ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, RUN_LABEL, Standing, UNDO_VERSION, Undo,
    UndoOutcome, Undoer,
};

/// The ledger.
pub struct Ledger;
