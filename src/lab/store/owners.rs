//! Who owns whom, by uid.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::keys::{KindKey, Spot};
use super::{Object, State, Store};
use crate::lab::resource::Resource;

/// Where the object of each uid is, and which objects name it as an owner.
#[derive(Debug, Default)]
pub(super) struct Owners {
    alive: BTreeMap<String, (KindKey, Spot)>,
    dependents: BTreeMap<String, BTreeSet<(KindKey, Spot)>>,
}

impl Owners {
    /// Takes note of an object that was, is, or both.
    pub(super) fn note(&mut self, kind: KindKey, spot: &Spot, before: Option<&Value>, after: Option<&Value>) {
        let uid = |object: &Value| object["metadata"]["uid"].as_str().map(str::to_owned);
        if before.and_then(uid) != after.and_then(uid) {
            if let Some(uid) = before.and_then(uid) {
                self.alive.remove(&uid);
            }
            if let Some(uid) = after.and_then(uid) {
                self.alive.insert(uid, (kind, spot.clone()));
            }
        }
        let owners = |object: Option<&Value>| object.map(|object| object["metadata"]["ownerReferences"].clone());
        if before.is_some() && owners(before) == owners(after) {
            return;
        }
        for owner in before.into_iter().flat_map(owner_uids) {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&(kind, spot.clone()));
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
        for owner in after.into_iter().flat_map(owner_uids) {
            self.dependents.entry(owner.to_owned()).or_default().insert((kind, spot.clone()));
        }
    }
}

fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten().filter_map(|owner| owner["uid"].as_str())
}

impl State {
    fn at(&self, (kind, spot): &(KindKey, Spot)) -> Option<(&'static Resource, Object)> {
        let shelf = self.shelves.get(kind)?;
        Some((*shelf.served.first()?, shelf.objects.get(spot)?.clone()))
    }
}

impl Store {
    /// The object with this uid.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<(&'static Resource, Object)> {
        let state = self.lock();
        state.at(state.owners.alive.get(uid)?)
    }

    /// The objects that name this uid among their owners, by kind, namespace and name. The owner may be gone.
    #[must_use]
    pub fn dependents(&self, uid: &str) -> Vec<(&'static Resource, Object)> {
        let state = self.lock();
        let places = state.owners.dependents.get(uid).into_iter().flatten();
        places.filter_map(|place| state.at(place)).collect()
    }
}
