//! The garbage collector: an object goes when all of its owners have gone.

use std::collections::BTreeSet;

use super::objects::names;
use crate::lab::resource::{ALL, NAMESPACES};
use crate::lab::store::{Preconditions, Store};

pub(super) fn reconcile(store: &Store) {
    let all = store.dump();
    let alive: BTreeSet<&str> = all.iter().filter_map(|object| object["metadata"]["uid"].as_str()).collect();
    for resource in ALL.iter().filter(|resource| !std::ptr::eq(**resource, &NAMESPACES)) {
        for object in store.list(resource, None).0 {
            let Some(owners) = object["metadata"]["ownerReferences"].as_array().filter(|owners| !owners.is_empty())
            else {
                continue;
            };
            let orphan = owners.iter().all(|owner| owner["uid"].as_str().is_none_or(|uid| !alive.contains(uid)));
            if orphan && object["metadata"]["deletionTimestamp"].is_null() {
                let (namespace, name) = names(&object);
                let uid = object["metadata"]["uid"].as_str().map(str::to_owned);
                let preconditions = Preconditions { uid, resource_version: None };
                // Somebody else may have been faster.
                let _ = store.delete(resource, namespace, name, &preconditions, None, false);
            }
        }
    }
}
