//! The guards of a document's faults, from one activity to the next.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Failed;
use crate::experiment::FaultGuard;
use crate::kubernetes::Kubernetes;
use crate::rollback::{ObjectRef, Undo};

/// The faults that the activities of a document have injected, by the objects that they made or changed.
#[derive(Default)]
pub(crate) struct Guards(Mutex<State>);

#[derive(Default)]
struct State {
    held: Vec<Held>,
    /// What a guard was on that has ended.
    ended: BTreeSet<ObjectRef>,
}

/// A fault that is on.
struct Held {
    objects: Vec<ObjectRef>,
    /// None where it is only planned.
    guard: Option<FaultGuard>,
    /// Where it is let go of at the end, if it is to be left then.
    left: Option<Kubernetes>,
}

impl Guards {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, objects: Vec<ObjectRef>, guard: Option<FaultGuard>, left: Option<Kubernetes>) {
        let mut state = self.state();
        state.ended.retain(|object| !objects.contains(object));
        state.held.push(Held { objects, guard, left });
    }

    /// Whether a fault of the document has made or changed this object and is still on.
    pub(super) fn holds(&self, object: &ObjectRef) -> bool {
        self.state().held.iter().any(|held| held.objects.contains(object))
    }

    /// Whether a fault of the document was on this object and has been undone.
    pub(super) fn has_undone(&self, object: &ObjectRef) -> bool {
        self.state().ended.contains(object)
    }

    /// The objects that faults of the document were on that have been undone.
    pub(super) fn undone(&self) -> Vec<ObjectRef> {
        self.state().ended.iter().cloned().collect()
    }

    /// The objects that faults of the document are on, in the order of their injection.
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        self.state().held.iter().flat_map(|held| held.objects.clone()).collect()
    }

    /// Those among them that are undone at the end.
    pub(crate) fn to_be_undone(&self) -> Vec<ObjectRef> {
        let state = self.state();
        state.held.iter().filter(|held| held.left.is_none()).flat_map(|held| held.objects.clone()).collect()
    }

    /// Undoes the faults of the document that are on this object, the newest first; false if there are none.
    ///
    /// # Errors
    /// One is not known to be undone.
    pub(super) async fn end(&self, object: &ObjectRef) -> Result<bool, Failed> {
        let mut any = false;
        while let Some(held) = self.take(object) {
            any = true;
            if let Some(guard) = held.guard {
                guard.rollback().await?;
            }
        }
        Ok(any)
    }

    /// For tests: as if no fault had ever ended.
    #[cfg(test)]
    pub(super) fn forget(&self) {
        self.state().ended.clear();
    }

    fn take(&self, object: &ObjectRef) -> Option<Held> {
        let mut state = self.state();
        let number = state.held.iter().rposition(|held| held.objects.contains(object))?;
        let held = state.held.remove(number);
        state.ended.extend(held.objects.iter().cloned());
        Some(held)
    }

    /// Undoes all that are on, the newest first, each even if another failed, but for those that are to be left. Each
    /// restores only where its object still holds what the fault set. What failed, in words.
    pub(crate) async fn undo_all(&self) -> Vec<String> {
        let mut errors = Vec::new();
        loop {
            let Some(Held { objects, guard, left }) = self.state().held.pop() else { return errors };
            let Some(guard) = guard else { continue };
            let Some(kubernetes) = left else {
                errors.extend(guard.rollback().await.err().map(|error| error.to_string()));
                continue;
            };
            let let_go = async move |undos: Vec<Undo>| Ok(kubernetes.let_go(&undos).await?);
            if let Err(why) = guard.leave(let_go).await {
                let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
                errors.push(format!("undone, for it could not be left ({}): {why}", objects.join(", ")));
            }
        }
    }
}
