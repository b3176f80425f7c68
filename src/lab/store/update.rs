//! Changes of what is there: no lost update, fixed identity, generations.

use serde_json::{Value, json};

use super::deletion::{finalizers_of, released};
use super::keys::Spot;
use super::{ChangeKind, Object, Store, put};
use crate::lab::resource::{DEPLOYMENTS, ENDPOINT_SLICES, NAMESPACES, PODS, Resource};
use crate::lab::status::Status;

/// What part of an object a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status alone.
    Status,
    /// The status and the annotations: what a status write changes of a Deployment, without a new generation.
    StatusAndAnnotations,
    /// The finalizers in a namespace's spec.
    Finalizers,
    /// All of a pod, by its binding to a node.
    Binding,
}

/// What a write does not change, whatever the client sends.
const FIXED: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

impl Store {
    /// Replaces a part of an object. Where `object` names a resourceVersion it must be the newest. A write that
    /// changes nothing makes no new version.
    ///
    /// # Errors
    /// 404 if there is none, 409 if it has changed since.
    pub fn update(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        object: Value,
        dry_run: bool,
    ) -> Result<Object, Status> {
        self.modify(resource, namespace, name, part, dry_run, |_| Ok(object))
    }

    /// Changes a part of an object under the store's lock, so that no other write comes between.
    /// `change` gets the object as it is and returns it as it should be.
    ///
    /// # Errors
    /// As [`update`](Self::update), and what `change` returns.
    pub fn modify(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        dry_run: bool,
        change: impl FnOnce(&Value) -> Result<Value, Status>,
    ) -> Result<Object, Status> {
        let mut state = self.lock();
        let spot = Spot::new(resource, namespace, name);
        let before = state.get(resource, &spot)?;
        let mut after = change(&before)?;
        ensure_object(&mut after, resource)?;
        let (old, new) = (&before["metadata"], &after["metadata"]);
        check_version(resource, name, old, new)?;
        if let Some(wanted) = new.get("uid").and_then(Value::as_str).filter(|uid| !uid.is_empty())
            && old["uid"].as_str() != Some(wanted)
        {
            return Err(other_uid(resource, &spot, wanted, old["uid"].as_str().unwrap_or_default()));
        }
        after = match part {
            Part::Status => with(&with(&before, &after, "/status"), &after, "/metadata/managedFields"),
            Part::StatusAndAnnotations => with(&with(&before, &after, "/status"), &after, "/metadata/annotations"),
            Part::Finalizers => with(&before, &after, "/spec/finalizers"),
            Part::Binding => after,
            Part::Main => {
                let keeps_status = resource.has("status");
                if keeps_status && after.get("status") != before.get("status") {
                    put(&mut after, "status", before.get("status").cloned());
                }
                if resource.is(&NAMESPACES) {
                    after = with(&after, &before, "/spec/finalizers");
                }
                after
            }
        };
        after["apiVersion"] = before["apiVersion"].clone();
        after["kind"] = before["kind"].clone();
        for fixed in FIXED {
            put(&mut after["metadata"], fixed, old.get(fixed).cloned());
        }
        if after == *before {
            return Ok(before);
        }
        check_finalizers(resource, name, &before, &after)?;
        if resource.generation && part == Part::Main && is_new_generation(resource, &before, &after) {
            after["metadata"]["generation"] = json!(old["generation"].as_u64().unwrap_or(0) + 1);
        }
        if dry_run {
            return Ok(Object::new(after));
        }
        let kind = if released(&after, resource) { ChangeKind::Deleted } else { ChangeKind::Modified };
        Ok(self.commit(&mut state, kind, resource, spot, after))
    }
}

/// Refuses what is no object, and gives it metadata.
pub(super) fn ensure_object(object: &mut Value, resource: &Resource) -> Result<(), Status> {
    let bad = |what: &str| Status::bad_request(format!("{what} is no object of kind {}", resource.kind));
    if !object.is_object() {
        return Err(bad("the body"));
    }
    match &mut object["metadata"] {
        Value::Object(_) => Ok(()),
        empty @ Value::Null => {
            *empty = json!({});
            Ok(())
        }
        _ => Err(bad("what the body calls metadata")),
    }
}

fn check_version(resource: &Resource, name: &str, old: &Value, new: &Value) -> Result<(), Status> {
    let versions = (old["resourceVersion"].as_str(), new.get("resourceVersion").and_then(Value::as_str));
    match versions {
        (Some(stored), Some(wanted)) if stored != wanted && !wanted.is_empty() && wanted != "0" => {
            Err(Status::conflict(resource, name))
        }
        _ => Ok(()),
    }
}

fn other_uid(resource: &Resource, spot: &Spot, wanted: &str, stored: &str) -> Status {
    let place = [resource.group, resource.plural, &spot.namespace, &spot.name];
    let key: Vec<&str> = place.into_iter().filter(|piece| !piece.is_empty()).collect();
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {stored}",
        key.join("/")
    );
    let mut status = Status::conflict(resource, &spot.name);
    let what = resource.qualified_plural();
    status.message = format!("Operation cannot be fulfilled on {what} {:?}: {why}", spot.name);
    status
}

/// `into` with the value at a pointer taken from `from`; the pointer's parent is an object in both, or absent.
fn with(into: &Value, from: &Value, pointer: &str) -> Value {
    let mut whole = into.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    let value = from.pointer(pointer).cloned();
    match whole.pointer_mut(parent) {
        Some(parent) => put(parent, key, value),
        None => {
            if let (Some(value), Some(parent)) = (value, parent.strip_prefix('/')) {
                whole[parent] = json!({key: value});
            }
        }
    }
    whole
}

fn check_finalizers(resource: &Resource, name: &str, before: &Value, after: &Value) -> Result<(), Status> {
    if before["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let had = finalizers_of(before);
    let mut new: Vec<String> =
        finalizers_of(after).into_iter().filter(|f| !had.contains(f)).map(|f| format!("{f:?}")).collect();
    if new.is_empty() {
        return Ok(());
    }
    new.sort_unstable();
    let new = new.join(", ");
    let why = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{new}}}"
    );
    let mut status = Status::invalid(resource, name, "metadata.finalizers", &why);
    if let Some(cause) = status.details.as_mut().and_then(|details| details.pointer_mut("/causes/0/reason")) {
        *cause = json!("FieldValueForbidden");
    }
    Err(status)
}

/// Whether the change is one that controllers have to observe.
fn is_new_generation(resource: &Resource, before: &Value, after: &Value) -> bool {
    let differs = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    if resource.custom || resource.is(&ENDPOINT_SLICES) {
        let rest = |object: &Value| {
            let mut rest = object.clone();
            put(&mut rest, "metadata", None);
            if resource.has("status") {
                put(&mut rest, "status", None);
            }
            rest
        };
        return rest(before) != rest(after);
    }
    if resource.is(&PODS) && before["spec"]["nodeName"].is_null() && !after["spec"]["nodeName"].is_null() {
        // Binding a pod to a node is no new generation.
        let mut bound = before["spec"].clone();
        put(&mut bound, "nodeName", after["spec"].get("nodeName").cloned());
        return bound != after["spec"];
    }
    differs("/spec") || (resource.is(&DEPLOYMENTS) && differs("/metadata/annotations"))
}
