//! The lab's objects: a synchronous store behind one lock.
//!
//! Everything in the lab reads and writes here: the API service is a thin skin over it, controllers react to its
//! changes, the fabric reads policies from it, and a guard's `Drop` undoes by a plain call. It promises what the
//! real API server does: one growing resourceVersion over all objects, changes in that order, no lost update.

pub(crate) mod admission;
pub(crate) mod custom;
mod deletion;
mod history;
mod keys;
mod kinds;
mod object;
mod owners;
pub(crate) mod patch;
mod update;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use self::history::FIRST_VERSION;
use self::keys::{KindKey, Spot, kind_key};
use self::kinds::Shelf;
use self::owners::Owners;
use super::resource::{NAMESPACES, Resource};
use super::status::Status;
use crate::clock::{Clock, Seed};

pub use deletion::{Deleted, Deletion, Preconditions, Propagation};
pub use history::{Change, ChangeKind};
pub use keys::seconds;
#[cfg(feature = "cli")]
pub(super) use keys::uid;
pub use kinds::Declared;
pub use object::Object;
pub(crate) use object::{members, write_value};
pub use update::Part;

/// How many seconds a watch lasts that does not say: once to twice the real server's `--min-request-timeout`.
const WATCH_TIMEOUT: Range<u64> = 1800..3600;

#[derive(Debug)]
struct State {
    shelves: BTreeMap<KindKey, Shelf>,
    owners: Owners,
    log: VecDeque<Arc<Change>>,
    /// Changes up to this version are no longer kept.
    compacted: u64,
    version: u64,
    uids: fastrand::Rng,
    names: fastrand::Rng,
    time_outs: fastrand::Rng,
    audits: fastrand::Rng,
}

/// The store. Cheap to clone; all clones hold the same objects.
#[derive(Clone, Debug)]
pub struct Store {
    state: Arc<Mutex<State>>,
    newest: watch::Sender<u64>,
    clock: Clock,
    versions: custom::Versions,
    /// Spreads what is given out to objects that are made at the same time.
    turn: Arc<AtomicU32>,
}

impl State {
    fn find(&self, resource: &'static Resource, spot: &Spot) -> Option<&Object> {
        self.shelves.get(&kind_key(resource))?.objects.get(spot)
    }

    fn get(&self, resource: &'static Resource, spot: &Spot) -> Result<Object, Status> {
        self.find(resource, spot).cloned().ok_or_else(|| Status::not_found(resource, &spot.name))
    }
}

impl Store {
    /// An empty store, with stamps from `clock`, and uids and generated names from `seed`.
    #[must_use]
    pub fn new(clock: Clock, seed: Seed) -> Self {
        let state = State {
            shelves: kinds::built_in(FIRST_VERSION),
            owners: Owners::default(),
            log: VecDeque::new(),
            compacted: FIRST_VERSION,
            version: FIRST_VERSION,
            uids: seed.rng("uid"),
            names: seed.rng("generated name"),
            time_outs: seed.rng("watch time-out"),
            audits: seed.rng("audit id"),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            newest: watch::Sender::new(FIRST_VERSION),
            clock,
            versions: custom::Versions::default(),
            turn: Arc::default(),
        }
    }

    /// The newest version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// The object, if it exists. `namespace` is ignored for kinds without one.
    #[must_use]
    pub fn find(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Object> {
        self.lock().find(resource, &Spot::new(resource, namespace, name)).cloned()
    }

    /// The object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Object, Status> {
        self.lock().get(resource, &Spot::new(resource, namespace, name))
    }

    /// The objects of one kind, of one namespace or of all, in the order of namespace and name; and the version
    /// at which they were all there.
    #[must_use]
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> (Vec<Object>, u64) {
        let state = self.lock();
        let Some(shelf) = state.shelves.get(&kind_key(resource)) else { return (Vec::new(), state.version) };
        let first = Spot::new(resource, namespace.unwrap_or(""), "");
        let items = shelf
            .objects
            .range(first..)
            .take_while(|(spot, _)| namespace.is_none_or(|n| !resource.namespaced || spot.namespace == n))
            .map(|(_, object)| object.clone())
            .collect();
        (items, state.version)
    }

    /// Every object of every kind, by kind, namespace and name: what "nothing is left behind" is checked against.
    #[must_use]
    pub fn dump(&self) -> Vec<Object> {
        self.lock().shelves.values().flat_map(|shelf| shelf.objects.values()).cloned().collect()
    }

    /// Every object with its kind, in the same order.
    pub(crate) fn everything(&self) -> Vec<(&'static Resource, Object)> {
        let state = self.lock();
        let of = |shelf: &Shelf| {
            let kind = shelf.served.first().copied();
            let objects: Vec<_> = shelf.objects.values().filter_map(|o| Some((kind?, o.clone()))).collect();
            objects
        };
        state.shelves.values().flat_map(of).collect()
    }

    /// A uid for an object that is about to be created.
    pub(crate) fn new_uid(&self) -> String {
        keys::uid(&mut self.lock().uids)
    }

    /// A number that nobody had before.
    fn turn(&self) -> u32 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// How long a watch lasts that does not say: 30 to 60 minutes.
    pub(crate) fn watch_timeout(&self) -> Duration {
        Duration::from_secs(self.lock().time_outs.u64(WATCH_TIMEOUT))
    }

    /// An id for one request.
    pub(crate) fn audit_id(&self) -> String {
        keys::uid(&mut self.lock().audits)
    }

    /// A name from a `generateName` that no object has.
    pub(crate) fn generated_name(&self, resource: &'static Resource, namespace: &str, prefix: &str) -> String {
        let mut state = self.lock();
        loop {
            let name = keys::generated(&mut state.names, prefix);
            if state.find(resource, &Spot::new(resource, namespace, &name)).is_none() {
                return name;
            }
        }
    }

    /// Refuses a new object where its namespace does not exist or is being deleted.
    ///
    /// # Errors
    /// 404, 403.
    pub(crate) fn admits(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<(), Status> {
        self.lock().admits(resource, namespace, name)
    }

    /// Creates an object; uid, name from `generateName`, version and creation time are set here.
    ///
    /// # Errors
    /// 404 for a namespace that does not exist, 403 for one that is being deleted, 409 for a name that is taken,
    /// 422 for no name at all.
    pub fn create(
        &self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Object, Status> {
        update::ensure_object(&mut object, resource)?;
        let mut state = self.lock();
        let text = |field: &str| object["metadata"].get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = match (text("name"), text("generateName")) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => keys::generated(&mut state.names, prefix),
            (None, None) => {
                let why = "Required value: name or generateName is required";
                return Err(Status::invalid(resource, "", "metadata.name", why));
            }
        };
        state.admits(resource, namespace, &name)?;
        let spot = Spot::new(resource, namespace, &name);
        if let Some(there) = state.find(resource, &spot) {
            let mut status = Status::already_exists(resource, &name);
            if !there["metadata"]["deletionTimestamp"].is_null() {
                status.message = format!("object is being deleted: {}", status.message);
            }
            return Err(status);
        }
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        object["metadata"]["name"] = json!(name);
        if resource.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        // Admission has given it one; what a controller makes without has none yet.
        if object["metadata"]["uid"].as_str().is_none_or(str::is_empty) {
            object["metadata"]["uid"] = json!(keys::uid(&mut state.uids));
        }
        object["metadata"]["creationTimestamp"] = json!(seconds(self.clock.now()));
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for set_by_deletion in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
                metadata.remove(set_by_deletion);
            }
        }
        if resource.generation {
            object["metadata"]["generation"] = json!(1);
        }
        if resource.is(&NAMESPACES) {
            deletion::prepare_namespace(&mut object);
        }
        if dry_run {
            return Ok(Object::new(object));
        }
        Ok(self.commit(&mut state, ChangeKind::Added, resource, spot, object))
    }

    fn commit(
        &self,
        state: &mut State,
        kind: ChangeKind,
        resource: &'static Resource,
        spot: Spot,
        mut object: Value,
    ) -> Object {
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Object::new(object);
        let Some(shelf) = state.shelves.get_mut(&kind_key(resource)) else { return object };
        let (before, after) = match kind {
            ChangeKind::Deleted => (shelf.objects.remove(&spot), None),
            _ => (shelf.objects.insert(spot.clone(), object.clone()), Some(&*object)),
        };
        state.owners.note(kind_key(resource), &spot, before.as_deref(), after);
        state.record(Change::new(version, kind, resource, object.clone(), before));
        self.newest.send_replace(version);
        self.follow(state, kind, resource, &object);
        object
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole objects only: every write is one insert or one remove.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(key.to_owned(), value),
            None => map.remove(key),
        };
    }
}
