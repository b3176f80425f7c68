//! The kinds that the store holds: the built-in ones, and those that definitions declare.
//!
//! A kind is held once, whatever version it is asked for in.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use super::history::Change;
use super::keys::{KindKey, Spot, kind_key};
use super::{ChangeKind, Object, Store};
use crate::lab::resource::{ALL, Resource};

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Shelf {
    /// One for each served version, the preferred one first.
    pub(super) served: Vec<&'static Resource>,
    pub(super) objects: BTreeMap<Spot, Object>,
    /// The kept changes of this kind, oldest first.
    pub(super) log: VecDeque<Arc<Change>>,
    /// Tells of changes of this kind: the newest version.
    pub(super) newest: watch::Sender<u64>,
}

impl Shelf {
    pub(super) fn new(served: Vec<&'static Resource>, version: u64) -> Self {
        Self { served, objects: BTreeMap::new(), log: VecDeque::new(), newest: watch::Sender::new(version) }
    }
}

/// The built-in kinds. A kind with several versions is on one shelf.
pub(super) fn built_in(version: u64) -> BTreeMap<KindKey, Shelf> {
    let mut shelves: BTreeMap<KindKey, Shelf> = BTreeMap::new();
    for &resource in ALL {
        shelves.entry(kind_key(resource)).or_insert_with(|| Shelf::new(Vec::new(), version)).served.push(resource);
    }
    shelves
}

/// A kind that a definition declares.
#[derive(Debug)]
pub struct Declared {
    /// One for each served version, the preferred one first; all of the same group and plural.
    pub versions: Vec<&'static Resource>,
}

impl Store {
    /// The kind of a plural in a group and version: a built-in one, or one that a definition declares.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        let state = self.lock();
        let served = &state.shelves.get(&(group, plural))?.served;
        served.iter().copied().find(|resource| resource.version == version)
    }

    /// Every kind in every version that is served, by group and plural, the preferred version first.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static Resource> {
        self.lock().shelves.values().flat_map(|shelf| &shelf.served).copied().collect()
    }

    /// Serves a kind, or serves it in other versions than before. Its objects are kept.
    pub fn declare(&self, declared: Declared) {
        let Some(first) = declared.versions.first() else { return };
        let mut state = self.lock();
        let version = state.version;
        let shelf = state.shelves.entry(kind_key(first)).or_insert_with(|| Shelf::new(Vec::new(), version));
        shelf.served = declared.versions;
    }

    /// Serves a kind no longer. What is left of its objects goes, and its watches end.
    pub fn withdraw(&self, group: &str, plural: &str) {
        let mut state = self.lock();
        let Some(shelf) = state.shelves.get(&(group, plural)) else { return };
        let Some(&resource) = shelf.served.first() else { return };
        let left: Vec<(Spot, Object)> = shelf.objects.iter().map(|(spot, o)| (spot.clone(), o.clone())).collect();
        for (spot, object) in left {
            self.commit(&mut state, ChangeKind::Deleted, resource, spot, (*object).clone());
        }
        state.shelves.remove(&kind_key(resource));
    }
}
