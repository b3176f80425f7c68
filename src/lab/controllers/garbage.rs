//! The garbage collector: an object goes when all of its owners have gone.
//!
//! As the real one: an owner is the object of the reference's kind, name and uid, in the same namespace or in none.
//! Where another owner lives the dead references are taken away. Foreground deletion waits for the dependents that
//! block their owner, orphaning lets all dependents go. A reference to a kind that is not served, or from an object of
//! no namespace into one, is left alone. Events are never collected. It looks only at what a change concerns, by uid,
//! and without delay; the real one needs some tens of milliseconds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::{deleting, edit, names, release, uid};
use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::lab::resource::{EVENTS, Resource};
use crate::lab::store::{Change, ChangeKind, Deletion, Object, Preconditions, Propagation, Store};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(super) struct Garbage;

/// A key is an object's uid.
fn key(uid: &str) -> Key {
    Key { namespace: String::new(), name: uid.to_owned() }
}

impl Controller for Garbage {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&EVENTS) {
            return;
        }
        let object = &change.object;
        let same = |of: fn(&Value) -> &Value| change.before.as_ref().is_some_and(|before| of(before) == of(object));
        let gone = change.kind == ChangeKind::Deleted;
        let same_owners = same(|o| &o["metadata"]["ownerReferences"]) && !gone;
        let same_fate =
            same(|o| &o["metadata"]["deletionTimestamp"]) && same(|o| &o["metadata"]["finalizers"]) && !gone;
        if !same_owners {
            for object in change.before.iter().chain([object]) {
                into.extend(references(object).map(|owner| key(owner["uid"].as_str().unwrap_or_default())));
            }
        }
        if gone || (!same_fate && deleting(object)) {
            into.extend(store.dependents(uid(object)).iter().map(|(_, dependent)| key(uid(dependent))));
        }
        if !gone && (!same_owners || !same_fate) {
            into.insert(key(uid(object)));
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let (resource, object) = store.by_uid(&key.name)?;
        if !deleting(&object) {
            collect(store, resource, &object);
        } else if has_finalizer(&object, ORPHAN) {
            let_go(store, resource, &object);
        } else if has_finalizer(&object, FOREGROUND) {
            finish(store, resource, &object);
        }
        None
    }
}

/// What has become of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    /// It goes when its dependents have.
    Waits,
    Gone,
    /// It cannot be looked for.
    Unknown,
}

fn collect(store: &Store, resource: &'static Resource, object: &Object) {
    let fates: Vec<(&str, Fate)> = references(object)
        .map(|owner| (owner["uid"].as_str().unwrap_or_default(), fate(store, resource, object, owner)))
        .collect();
    let any = |fate: Fate| fates.iter().any(|(_, other)| *other == fate);
    if fates.is_empty() || any(Fate::Unknown) {
        return;
    }
    if any(Fate::Lives) {
        if any(Fate::Gone) || any(Fate::Waits) {
            edit(store, resource, object, |object| {
                for (owner, _) in fates.iter().filter(|(_, fate)| *fate != Fate::Lives) {
                    release(object, owner);
                }
            });
        }
        return;
    }
    let propagation = if any(Fate::Waits) && !store.dependents(uid(object)).is_empty() {
        Propagation::Foreground
    } else if has_finalizer(object, ORPHAN) {
        Propagation::Orphan
    } else if has_finalizer(object, FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let (namespace, name) = names(object);
    let preconditions = Preconditions { uid: Some(uid(object).to_owned()), resource_version: None };
    let how = Deletion { preconditions, propagation: Some(propagation), ..Deletion::default() };
    // Somebody else may have been faster.
    let _ = store.remove(resource, namespace, name, &how);
}

fn fate(store: &Store, resource: &Resource, object: &Value, owner: &Value) -> Fate {
    let kinds = store.kinds();
    let fits = |kind: &&&Resource| owner["kind"] == kind.kind && owner["apiVersion"] == kind.api_version().as_str();
    let Some(kind) = kinds.iter().find(fits) else { return Fate::Unknown };
    if kind.namespaced && !resource.namespaced {
        return Fate::Unknown;
    }
    let found = store.find(kind, names(object).0, owner["name"].as_str().unwrap_or_default());
    match found.filter(|found| owner["uid"] == uid(found)) {
        None => Fate::Gone,
        Some(found) if deleting(&found) && has_finalizer(&found, FOREGROUND) => Fate::Waits,
        Some(_) => Fate::Lives,
    }
}

/// Takes the owner from its dependents, and then lets it go.
fn let_go(store: &Store, resource: &'static Resource, owner: &Object) {
    for (kind, dependent) in store.dependents(uid(owner)) {
        edit(store, kind, &dependent, |dependent| release(dependent, uid(owner)));
    }
    remove_finalizer(store, resource, owner, ORPHAN);
}

/// Lets an owner go that no dependent blocks any more.
fn finish(store: &Store, resource: &'static Resource, owner: &Object) {
    let blocks =
        |dependent: &Value| references(dependent).any(|r| r["uid"] == uid(owner) && r["blockOwnerDeletion"] == true);
    if !store.dependents(uid(owner)).iter().any(|(_, dependent)| blocks(dependent)) {
        remove_finalizer(store, resource, owner, FOREGROUND);
    }
}

fn remove_finalizer(store: &Store, resource: &'static Resource, object: &Object, finalizer: &str) {
    edit(store, resource, object, |object| {
        let metadata = &mut object["metadata"];
        let mut left = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        left.retain(|other| other != finalizer);
        if !left.is_empty() {
            metadata["finalizers"] = json!(left);
        } else if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("finalizers");
        }
    });
}

fn references(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|other| other == finalizer))
}
