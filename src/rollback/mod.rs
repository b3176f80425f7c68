//! Undo: what was done is taken back, whoever dies.
//!
//! The engine arms an [`UndoGuard`] before each change; it writes the [`Undo`] into the [`Ledger`], and carries it
//! out when it is rolled back or dropped. What a dead process left open, a [`sweep`] undoes. This module promises:
//! no change before its undo is on disk; undos in reverse order, each tried even if another failed; nothing is ever
//! deleted that is not proved to be ours; nothing is guessed from a line that is torn, foreign or unknown.

mod carry;
mod command;
#[cfg(feature = "kubernetes")]
mod decide;
mod guard;
#[cfg(feature = "kubernetes")]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "what is not ELF has no hook, and so no leash"))]
mod leash;
mod ledger;
mod line;
mod place;
mod process;
mod reading;
mod reaper;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod unasked;
mod undo;

pub(crate) use command::{IN_CLUSTER, is_sweep_command, quoted, sweep_command};
#[cfg(feature = "lab")]
pub(crate) use decide::MARK;
#[cfg(feature = "kubernetes")]
pub(crate) use decide::{Next, Writes, decide, home, moved, remade, standing};
pub use guard::UndoGuard;
#[cfg(feature = "kubernetes")]
pub(crate) use leash::leash_is_on;
#[cfg(all(feature = "kubernetes", target_os = "linux", not(miri)))]
pub(crate) use leash::{LEASH_VARIABLE, hooked, is_leash, serve};
pub use ledger::{EntryId, Header, Ledger, LedgerError, OpenEntry};
pub use process::{PROCESS_ANNOTATION, is_alive, is_dead, this_process};
use reading::read;
pub use reading::{Complaint, Reading};
#[cfg(feature = "kubernetes")]
pub(crate) use reaper::on_the_reaper;
pub use state::{StateDir, this_host};
pub use sweep::{Finding, Listed, Sweeper, Swept, list, sweep, sweep_ledger};
#[cfg(feature = "kubernetes")]
pub(crate) use undo::keys;
pub(crate) use undo::put_back;
pub use undo::{
    Author, Connect, Field, InDrop, ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Original, RECREATE_WITHIN, RUN_LABEL,
    Standing, UNDO_VERSION, Undo, UndoOutcome, Undoer, manifest,
};
