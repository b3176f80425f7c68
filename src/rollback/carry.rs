//! Carrying out what a ledger holds open: one way for whoever undoes.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::place::kept_by;
use super::{EntryId, LedgerError, OpenEntry, Undo, UndoOutcome, Undoer};

/// How long after an undo a change may still come that was not known to be made: its request was on its way.
pub(super) const LATE_WITHIN: Duration = Duration::from_secs(2);

/// How often a change that may come late, and an undo that failed, are looked at again.
pub(super) const AGAIN_EVERY: Duration = Duration::from_millis(100);

/// How long whoever undoes has for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// No time: futures are polled once, on this thread.
    None,
    /// What each undo needs; one that fails is not tried again.
    Once,
    /// Until then; one that fails is tried again.
    Until(Instant),
}

impl Patience {
    /// Whether there is time for waiting until `then`, or `then` has passed.
    fn lasts_to(self, then: Instant) -> bool {
        match self {
            Self::None => false,
            Self::Once => Instant::now() < then,
            Self::Until(end) => Instant::now() < then && Instant::now() + AGAIN_EVERY < end,
        }
    }

    fn allows_another_attempt(self) -> bool {
        matches!(self, Self::Until(end) if Instant::now() + AGAIN_EVERY < end)
    }
}

/// An entry that is being undone. Dropped half-way, it can be gone on with.
#[derive(Clone)]
pub(super) struct Undoing {
    /// In the order of the changes.
    pub(super) undo: Vec<Undo>,
    applied: bool,
    /// Of the undos in reverse, how those ended that were carried out.
    pub(super) done: Vec<UndoOutcome>,
    late_until: Option<Instant>,
}

impl Undoing {
    pub(super) fn of(undo: Vec<Undo>, applied: bool) -> Self {
        Self { undo, applied, done: Vec::new(), late_until: None }
    }

    /// The changes were made; `uids` are those of created objects and of those that were really deleted, in the order of
    /// the undos. What was not is not made again.
    pub(super) fn applied(&mut self, uids: Vec<Option<String>>) {
        self.applied = true;
        let uids = uids.into_iter().chain(std::iter::repeat(None));
        for (undo, known) in self.undo.iter_mut().zip(uids) {
            match (&mut *undo, known) {
                (Undo::Delete { uid, .. }, Some(known)) => *uid = Some(known),
                (Undo::Recreate { object, uid, .. }, None) => {
                    *undo = Undo::Deleted { object: object.clone(), uid: uid.clone() };
                }
                _ => {}
            }
        }
    }

    /// Undoes, the last change first, each even if another failed. What may still come is looked at until it cannot.
    pub(super) async fn carry_out(&mut self, undoer: &dyn Undoer, patience: Patience) {
        self.once(undoer, patience).await;
        while let Some(number) = self.on_its_way()
            && patience.lasts_to(self.late_until())
        {
            sleep(AGAIN_EVERY).await;
            if let Some(undo) = self.undo.iter().rev().nth(number) {
                self.done[number] = one(undoer, undo, patience).await;
            }
        }
    }

    /// Each once.
    async fn once(&mut self, undoer: &dyn Undoer, patience: Patience) {
        self.late_until();
        while let Some(undo) = self.undo.iter().rev().nth(self.done.len()) {
            let outcome = one(undoer, undo, patience).await;
            self.done.push(outcome);
        }
    }

    /// Counted from when the undo began: the request was sent before.
    fn late_until(&mut self) -> Instant {
        *self.late_until.get_or_insert_with(|| Instant::now() + LATE_WITHIN)
    }

    /// What is not done is leaked, for this reason.
    pub(super) fn give_up(&mut self, why: &str) {
        let left = leaked(&self.undo, why).skip(self.done.len()).collect::<Vec<_>>();
        self.done.extend(left);
    }

    /// Which of the outcomes is that of a change that may still come: nobody knows that it was made, and it was not seen.
    fn on_its_way(&self) -> Option<usize> {
        let may_come = |(undo, outcome): (&Undo, &UndoOutcome)| match undo {
            Undo::Delete { .. } => matches!(outcome, UndoOutcome::TargetGone { .. }),
            // Its undo was a write, so that a change of what was before is refused.
            Undo::Restore { by: Some(_), .. } => false,
            Undo::Restore { by: None, .. } => outcome.is_clean(),
            Undo::Deleted { .. } => false,
            // It was there: its deletion may still come.
            Undo::Recreate { .. } => matches!(outcome, UndoOutcome::Reverted),
        };
        if self.applied { None } else { self.undo.iter().rev().zip(&self.done).position(may_come) }
    }

    fn is_clean(&self) -> bool {
        self.done.iter().all(UndoOutcome::is_clean)
    }
}

impl OpenEntry {
    /// All of it, for this reason.
    pub(super) fn leaked(&self, why: &str) -> Vec<UndoOutcome> {
        leaked(&self.undo, why).collect()
    }
}

fn leaked(undo: &[Undo], why: &str) -> impl Iterator<Item = UndoOutcome> {
    undo.iter().rev().map(move |undo| UndoOutcome::Leaked { why: format!("{undo}: {why}") })
}

/// One undo. It may panic, and others are still to be done.
async fn one(undoer: &dyn Undoer, undo: &Undo, patience: Patience) -> UndoOutcome {
    let leaked = |why: &str| UndoOutcome::Leaked { why: format!("{undo}: {why}") };
    let undoing = AssertUnwindSafe(async { undoer.undo(undo).await }).catch_unwind();
    let ended = match patience {
        Patience::None => undoing.now_or_never().ok_or("it waits, and a drop cannot"),
        Patience::Once => Ok(undoing.await),
        Patience::Until(end) => timeout_at(end, undoing).await.map_err(|_| "it did not end in time"),
    };
    match ended {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => leaked("it panicked"),
        Err(why) => leaked(why),
    }
}

/// What keeps entries, and how they ended.
pub(super) trait Book: Send {
    /// Those that are not settled, oldest first.
    fn open(&self) -> Vec<OpenEntry>;

    /// Writes down how the undos of one ended. What did not end clean stays open.
    fn settle(&mut self, entry: EntryId, outcomes: &[UndoOutcome]) -> Result<(), LedgerError>;
}

/// What came of undoing all that a book holds open.
#[derive(Default)]
pub(super) struct Undone {
    /// The entries, in the order in which they came to their end, and how the undos of each ended, the last change first.
    pub(super) entries: Vec<(OpenEntry, Vec<UndoOutcome>)>,
    /// The first thing that could not be written down.
    pub(super) unwritten: Option<LedgerError>,
}

/// Undoes the open entries of a book, the newest first, each even if another failed.
pub(super) async fn undo_all(book: &mut impl Book, undoer: &dyn Undoer, patience: Patience) -> Undone {
    let mut undone = Undone::default();
    let late_until = Instant::now() + LATE_WITHIN;
    let (mut failed, mut kept) = (BTreeMap::new(), BTreeMap::new());
    loop {
        // Others must not wait for what may come, but for places that are kept for it.
        let mut waits = false;
        for entry in book.open().into_iter().rev() {
            if let Some(why) = kept_by(entry.entry, &entry.undo, &book.open()) {
                kept.insert(entry.entry, (entry, why));
                continue;
            }
            kept.remove(&entry.entry);
            if failed.contains_key(&entry.entry) && !patience.allows_another_attempt() {
                continue;
            }
            let mut undoing = Undoing::of(entry.undo.clone(), entry.applied);
            undoing.once(undoer, patience).await;
            if undoing.on_its_way().is_some() && patience.lasts_to(late_until) {
                waits = true;
            } else if undoing.is_clean() {
                failed.remove(&entry.entry);
                undone.settle(book, entry, undoing.done);
            } else {
                failed.insert(entry.entry, (entry, undoing.done));
            }
        }
        if !(waits || !failed.is_empty() && patience.allows_another_attempt()) {
            break;
        }
        sleep(AGAIN_EVERY).await;
    }
    for (number, (entry, why)) in kept {
        let outcomes = entry.leaked(&why);
        failed.insert(number, (entry, outcomes));
    }
    for (entry, outcomes) in failed.into_values().rev() {
        undone.settle(book, entry, outcomes);
    }
    undone
}

impl Undone {
    fn settle(&mut self, book: &mut impl Book, entry: OpenEntry, outcomes: Vec<UndoOutcome>) {
        if let Err(error) = book.settle(entry.entry, &outcomes) {
            self.unwritten.get_or_insert(error);
        }
        self.entries.push((entry, outcomes));
    }

    /// Each undo by itself.
    pub(super) fn undos(&self) -> impl Iterator<Item = (&Undo, &UndoOutcome)> {
        self.entries.iter().flat_map(|(entry, outcomes)| entry.undo.iter().rev().zip(outcomes))
    }
}
