//! Undoing on the lab: plain calls, so that a `Drop` can do it.

use std::future::ready;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::resource::Resource;
use super::status::Status;
use super::store::{Part, Preconditions, Store};
use crate::rollback::{
    Field, InDrop, ORIGINAL_ANNOTATION, OWNER_LABEL, ObjectRef, Standing, Undo, UndoOutcome, Undoer,
};

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

    fn carry_out(&self, undo: &Undo) -> UndoOutcome {
        let object = undo.object();
        let Some(resource) = self.resource(object) else {
            return UndoOutcome::TargetGone { proof: format!("the lab has no {}", object.resource) };
        };
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let Some(found) = self.store.find(resource, namespace, &object.name) else {
            return UndoOutcome::TargetGone { proof: format!("{object} is not found") };
        };
        if let Some(proof) = not_meant(undo, &found) {
            return UndoOutcome::TargetGone { proof };
        }
        let done = match undo {
            Undo::Delete { .. } => self.delete(resource, namespace, object, &found),
            Undo::Restore { fields, .. } => self.restore(resource, namespace, object, fields),
            // Only looks: what was deleted is not brought back.
            Undo::Deleted { .. } if found["metadata"]["deletionTimestamp"].is_null() => Ok(UndoOutcome::Reverted),
            Undo::Deleted { .. } => Ok(UndoOutcome::TargetGone { proof: format!("{object} is being deleted") }),
        };
        done.unwrap_or_else(|status| UndoOutcome::Leaked { why: format!("{object}: {status}") })
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

    /// What somebody else has changed since is theirs, and nothing of the fault is left in it.
    fn restore(
        &self,
        resource: &'static Resource,
        namespace: &str,
        object: &ObjectRef,
        fields: &[Field],
    ) -> Result<UndoOutcome, Status> {
        let mut superseded = Vec::new();
        self.store.modify(resource, namespace, &object.name, Part::Main, false, |before| {
            let mut after = before.clone();
            for field in fields {
                let now = before.pointer(&field.pointer);
                if now == field.set.as_ref() || now == field.was.as_ref() {
                    put(&mut after, &field.pointer, field.was.clone());
                } else {
                    superseded.push(field.pointer.clone());
                }
            }
            // By pointer: an index would make what is not there.
            if let Some(annotations) = after.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                annotations.remove(ORIGINAL_ANNOTATION);
                if annotations.is_empty() {
                    put(&mut after, "/metadata/annotations", None);
                }
            }
            Ok(after)
        })?;
        if superseded.len() == fields.len() && !fields.is_empty() {
            let proof = format!("{} of {object} was changed by somebody else since", superseded.join(", "));
            return Ok(UndoOutcome::TargetGone { proof });
        }
        let after = self.store.get(resource, namespace, &object.name)?;
        let wrong = fields
            .iter()
            .find(|field| !superseded.contains(&field.pointer) && after.pointer(&field.pointer) != field.was.as_ref());
        Ok(match wrong {
            None => UndoOutcome::Reverted,
            Some(field) => {
                UndoOutcome::Unverified { why: format!("{} of {object} did not take its old value", field.pointer) }
            }
        })
    }

    fn standing(&self, undo: &Undo) -> Standing {
        let object = undo.object();
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let found = self.resource(object).and_then(|resource| self.store.find(resource, namespace, &object.name));
        if let Undo::Deleted { uid, .. } = undo {
            let still = |found: &Value| {
                found["metadata"]["uid"] == uid.as_str() && found["metadata"]["deletionTimestamp"].is_null()
            };
            return match found.is_some_and(|found| still(&found)) {
                true => Standing::Gone { by: format!("{object} is still there") },
                false => Standing::Stands { uid: uid.clone() },
            };
        }
        let Some(found) = found else { return Standing::Gone { by: format!("{object} was deleted") } };
        if let Some(by) = not_meant(undo, &found) {
            return Standing::Gone { by };
        }
        if !found["metadata"]["deletionTimestamp"].is_null() {
            return Standing::Gone { by: format!("{object} is being deleted") };
        }
        if let Undo::Restore { fields, .. } = undo
            && let Some(field) = fields.iter().find(|f| found.pointer(&f.pointer) != f.set.as_ref())
        {
            return Standing::Gone { by: format!("{} of {object} was changed", field.pointer) };
        }
        Standing::Stands { uid: found["metadata"]["uid"].as_str().unwrap_or_default().to_owned() }
    }
}

/// Why an object that was found is not the one that the undo means.
fn not_meant(undo: &Undo, found: &Value) -> Option<String> {
    let object = undo.object();
    let (wanted, owner) = match undo {
        Undo::Delete { uid, owner, .. } => (uid.as_deref(), Some(owner.as_str())),
        Undo::Restore { uid, .. } | Undo::Deleted { uid, .. } => (Some(uid.as_str()), None),
    };
    let label = found["metadata"]["labels"][OWNER_LABEL].as_str();
    if owner.is_some() && label != owner {
        return Some(format!("{object} is not ours: its label {OWNER_LABEL} is {label:?}"));
    }
    let other = wanted.is_some_and(|wanted| found["metadata"]["uid"].as_str() != Some(wanted));
    other.then(|| format!("{object} is another object of that name by now"))
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
        Box::pin(ready(Ok(self.standing(undo))))
    }

    fn in_drop(&self) -> InDrop {
        InDrop::Inline
    }
}
