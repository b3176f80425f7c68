//! What has happened: the change log, for watches and for lists of the past.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::keys::{Spot, kind_key};
use super::{Object, State, Store};
use crate::lab::resource::Resource;
use crate::lab::status::Status;

/// How many changes are kept for watches that begin in the past and for later pages of lists.
pub(super) const LOG_LENGTH: usize = 10_000;

/// The version that a new store begins at. All before it count as compacted, as they are on a real server.
pub(super) const FIRST_VERSION: u64 = 200;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was removed; the object is its last state with the version of the removal.
    Deleted,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that this change made.
    pub version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The kind of object.
    pub resource: &'static Resource,
    /// The object after the change.
    pub object: Object,
    /// The object before it, if there was one: a watch with a selector needs to know that it left.
    pub before: Option<Object>,
}

impl Change {
    pub(crate) fn new(
        version: u64,
        kind: ChangeKind,
        resource: &'static Resource,
        object: Object,
        before: Option<Object>,
    ) -> Self {
        Self { version, kind, resource, object, before }
    }
}

impl State {
    pub(super) fn record(&mut self, change: Change) {
        let version = change.version;
        let change = Arc::new(change);
        if self.log.len() == LOG_LENGTH
            && let Some(oldest) = self.log.pop_front()
        {
            self.compacted = oldest.version;
            if let Some(shelf) = self.shelves.get_mut(&kind_key(oldest.resource)) {
                shelf.log.pop_front();
            }
        }
        if let Some(shelf) = self.shelves.get_mut(&kind_key(change.resource)) {
            shelf.log.push_back(change.clone());
            shelf.newest.send_replace(version);
        }
        self.log.push_back(change);
    }

    fn check_kept(&self, version: u64) -> Result<(), Status> {
        if version < self.compacted {
            let message = format!("too old resource version: {version} ({})", self.compacted);
            return Err(Status::new(410, "Expired", message));
        }
        Ok(())
    }
}

impl Store {
    /// Tells of every change: the receiver's value is the newest version.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Tells of the changes of one kind; ends when the kind is withdrawn. `None` for a kind that is not served.
    #[must_use]
    pub fn subscribe_to(&self, resource: &'static Resource) -> Option<watch::Receiver<u64>> {
        Some(self.lock().shelves.get(&kind_key(resource))?.newest.subscribe())
    }

    /// The changes after `version`, in order.
    ///
    /// # Errors
    /// 410 if some of them are no longer kept.
    pub fn changes_since(&self, version: u64) -> Result<Vec<Arc<Change>>, Status> {
        let state = self.lock();
        state.check_kept(version)?;
        let from = state.log.partition_point(|change| change.version <= version);
        Ok(state.log.range(from..).cloned().collect())
    }

    /// The changes of one kind after `version`, in order, and the newest version of the store.
    ///
    /// # Errors
    /// 410 if some of them are no longer kept.
    pub fn changes_of(&self, resource: &'static Resource, version: u64) -> Result<(Vec<Arc<Change>>, u64), Status> {
        let state = self.lock();
        state.check_kept(version)?;
        let Some(shelf) = state.shelves.get(&kind_key(resource)) else { return Ok((Vec::new(), state.version)) };
        let from = shelf.log.partition_point(|change| change.version <= version);
        Ok((shelf.log.range(from..).cloned().collect(), state.version))
    }

    /// The objects of one kind as they were at `version`, in the order of lists.
    ///
    /// # Errors
    /// 410 if the changes since then are no longer all kept.
    pub fn list_at(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<Vec<Object>, Status> {
        let state = self.lock();
        if version < state.compacted {
            return Err(Status::new(410, "Expired", "The resourceVersion for the provided list is too old."));
        }
        let Some(shelf) = state.shelves.get(&kind_key(resource)) else { return Ok(Vec::new()) };
        // What the later changes made of each object is overlaid by what it was before the first of them.
        let mut then: BTreeMap<Spot, Option<&Object>> = BTreeMap::new();
        for change in shelf.log.iter().rev().take_while(|change| change.version > version) {
            then.insert(spot_of(resource, &change.object), change.before.as_ref());
        }
        let now = shelf.objects.iter().filter(|(spot, _)| !then.contains_key(*spot));
        let now = now.map(|(spot, object)| (spot.clone(), object));
        let mut all: BTreeMap<Spot, &Object> = now.collect();
        all.extend(then.into_iter().filter_map(|(spot, object)| Some((spot, object?))));
        let here = |spot: &Spot| namespace.is_none_or(|n| !resource.namespaced || spot.namespace == n);
        Ok(all.into_iter().filter(|(spot, _)| here(spot)).map(|(_, object)| object.clone()).collect())
    }
}

fn spot_of(resource: &Resource, object: &Object) -> Spot {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    Spot::new(resource, text("namespace"), text("name"))
}
