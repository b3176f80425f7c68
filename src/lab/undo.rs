//! Undoing on the lab: plain calls, so that a `Drop` can do it.

use std::future::ready;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::resource::Resource;
use super::status::Status;
use super::store::{Object, Part, Preconditions, Store};
use crate::rollback::{
    InDrop, MARK, Next, ORIGINAL_ANNOTATION, ObjectRef, Original, Standing, Undo, UndoOutcome, Undoer, Writes, decide,
    home, moved, remade, standing,
};

/// A claim, or the end of what is on its way out, and what follows from it.
const WRITES: usize = 2;

/// Carries out undos on the lab's store. Its futures never wait.
#[derive(Clone, Debug)]
pub struct LabUndoer {
    store: Store,
}

impl LabUndoer {
    /// An undoer for these objects.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    fn resource(&self, object: &ObjectRef) -> Option<&'static Resource> {
        let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
        self.store.kind(group, version, &object.resource)
    }

    fn find(&self, object: &ObjectRef) -> Option<(&'static Resource, Object)> {
        let resource = self.resource(object)?;
        Some((resource, self.store.find(resource, object.namespace.as_deref().unwrap_or_default(), &object.name)?))
    }

    fn carry_out(&self, undo: &Undo) -> UndoOutcome {
        let object = undo.object();
        let done = self.once(undo).transpose();
        done.unwrap_or_else(|| Ok(UndoOutcome::Leaked { why: format!("{object} takes no mark") }))
            .unwrap_or_else(|status| UndoOutcome::Leaked { why: format!("{object}: {status}") })
    }

    /// `None` if it comes to no end. Nobody writes in between: these calls are plain ones.
    fn once(&self, undo: &Undo) -> Result<Option<UndoOutcome>, Status> {
        let object = undo.object();
        let namespace = object.namespace.as_deref().unwrap_or_default();
        for _ in 0..WRITES {
            let found = self.find(object);
            let next = decide(undo, found.as_ref().map(|(_, found)| &**found));
            let Some((resource, found)) = found else {
                return Ok(match next {
                    Next::End(outcome) => Some(outcome),
                    Next::Create(manifest) => Some(self.create(undo, namespace, manifest)?),
                    _ => None,
                });
            };
            match next {
                Next::End(outcome) => {
                    self.clear_copies(undo);
                    return Ok(Some(outcome));
                }
                Next::Delete { .. } => return self.delete(resource, namespace, object, &found).map(Some),
                Next::Finish { .. } => match self.delete(resource, namespace, object, &found)? {
                    UndoOutcome::Reverted => {}
                    held => return Ok(Some(held)),
                },
                // Only where there is none.
                Next::Create(_) => return Ok(None),
                Next::Claim(writes) => self.write(resource, namespace, object, &writes).map(drop)?,
                Next::Restore(restoring) => {
                    let after = self.write(resource, namespace, object, &restoring.writes)?;
                    self.clear_copies(undo);
                    return Ok(Some(restoring.ended(undo, &after)));
                }
            }
        }
        Ok(None)
    }

    /// Of what has lost its mark no copies of that are to stay: a Deployment's annotations are copied to its sets.
    fn clear_copies(&self, undo: &Undo) {
        let Undo::Restore { uid, by: Some(by), .. } = undo else { return };
        for (kind, set) in self.store.dependents(uid) {
            let copy = set["metadata"]["annotations"][ORIGINAL_ANNOTATION].as_str().map(Original::read);
            if !copy.is_some_and(|copy| copy.is_ok_and(|copy| copy.by == *by)) {
                continue;
            }
            let text = |field: &str| set["metadata"][field].as_str().unwrap_or_default();
            // It may have gone meanwhile, and the copy with it.
            let _ = self.store.modify(kind, text("namespace"), text("name"), Part::Main, false, |before| {
                let mut after = before.clone();
                put(&mut after, MARK, None);
                Ok(after)
            });
        }
    }

    /// Why the place of what is to be made again is another one by now, or going.
    fn moved(&self, undo: &Undo) -> Option<String> {
        let found = self.find(&home(undo)?);
        moved(undo, found.as_ref().map(|(_, found)| &**found))
    }

    fn create(&self, undo: &Undo, namespace: &str, manifest: Value) -> Result<UndoOutcome, Status> {
        if let Some(proof) = self.moved(undo) {
            return Ok(UndoOutcome::TargetGone { proof });
        }
        let object = undo.object();
        let Some(resource) = self.resource(object) else {
            return Ok(UndoOutcome::Leaked { why: format!("{object}: its kind is not served any more") });
        };
        let made = self.store.create(resource, namespace, manifest, false)?;
        Ok(remade(undo, &made))
    }

    fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        object: &ObjectRef,
        found: &Value,
    ) -> Result<UndoOutcome, Status> {
        let uid = found["metadata"]["uid"].as_str().map(str::to_owned);
        let preconditions = Preconditions { uid, resource_version: None };
        self.store.delete(resource, namespace, &object.name, &preconditions, Some(0), false)?;
        Ok(match self.store.find(resource, namespace, &object.name) {
            None => UndoOutcome::Reverted,
            // It takes the cluster several seconds, and nothing can stop it.
            Some(_) if object.kind == "Namespace" => {
                UndoOutcome::TargetGone { proof: format!("{object} is being deleted") }
            }
            Some(held) => {
                let why = format!("{object} is held by its finalizers {}", held["metadata"]["finalizers"]);
                UndoOutcome::Unverified { why }
            }
        })
    }

    fn write(
        &self,
        resource: &'static Resource,
        namespace: &str,
        object: &ObjectRef,
        writes: &Writes,
    ) -> Result<Object, Status> {
        self.store.modify(resource, namespace, &object.name, Part::Main, false, |before| {
            let mut after = before.clone();
            for (pointer, value) in writes {
                put(&mut after, pointer, value.clone());
            }
            if after.pointer("/metadata/annotations").is_some_and(|all| *all == json!({})) {
                put(&mut after, "/metadata/annotations", None);
            }
            Ok(after)
        })?;
        self.store.get(resource, namespace, &object.name)
    }
}

/// Sets or removes the value at a JSON pointer, making the maps on the way.
fn put(object: &mut Value, pointer: &str, value: Option<Value>) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let unescaped = |key: &str| key.replace("~1", "/").replace("~0", "~");
    let mut at = object;
    for key in parent.split('/').skip(1) {
        at = match at {
            Value::Array(items) => match key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            other => &mut other[unescaped(key)],
        };
    }
    match (at, value) {
        (Value::Array(items), Some(value)) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = value;
            }
        }
        (Value::Object(map), None) => drop(map.remove(&unescaped(key))),
        (map, Some(value)) => map[unescaped(key)] = value,
        (_, None) => {}
    }
}

impl Undoer for LabUndoer {
    fn undo<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, UndoOutcome> {
        Box::pin(ready(self.carry_out(undo)))
    }

    fn stands<'a>(&'a self, undo: &'a Undo) -> BoxFuture<'a, Result<Standing, String>> {
        let found = self.find(undo.object());
        if found.is_none()
            && let Some(by) = self.moved(undo)
        {
            return Box::pin(ready(Ok(Standing::Gone { by })));
        }
        Box::pin(ready(Ok(standing(undo, found.as_ref().map(|(_, found)| &**found)))))
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Inline
    }
}
