//! The lab's objects: a synchronous store behind one lock.
//!
//! Everything in the lab reads and writes here: the API service is a thin skin over it, controllers react to its
//! changes, the fabric reads policies from it, and a guard's `Drop` undoes by a plain call. It promises what the
//! real API server does: one growing resourceVersion over all objects, changes in that order, no lost update.

pub(crate) mod admission;
pub(crate) mod apply;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::resource::{ALL, NAMESPACES, PODS, Resource};
use super::status::Status;
use crate::clock::{Clock, Seed, Timestamp};

/// How many changes are kept for watches that begin in the past; an older one is answered 410.
const LOG_LENGTH: usize = 10_000;

/// The letters of generated names, as Kubernetes has them.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// An object. Shared, never changed in place.
pub type Object = Arc<Value>;

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

/// One entry of the watch log.
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

/// Conditions of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
}

/// What part of an object a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status.
    Main,
    /// The status alone.
    Status,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Key, Object>,
    kinds: BTreeMap<(&'static str, &'static str), &'static Resource>,
    log: VecDeque<Change>,
    version: u64,
    uids: fastrand::Rng,
    names: fastrand::Rng,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group: &'static str,
    plural: &'static str,
    namespace: String,
    name: String,
}

impl Key {
    fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        Self { group: resource.group, plural: resource.plural, namespace: namespace.into(), name: name.into() }
    }
}

/// The store. Cheap to clone; all clones hold the same objects.
#[derive(Clone, Debug)]
pub struct Store {
    state: Arc<Mutex<State>>,
    newest: watch::Sender<u64>,
    clock: Clock,
}

impl Store {
    /// An empty store, with stamps from `clock`, and uids and generated names from `seed`.
    #[must_use]
    pub fn new(clock: Clock, seed: Seed) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            kinds: ALL.iter().map(|kind| ((kind.group, kind.plural), *kind)).collect(),
            log: VecDeque::new(),
            version: 1,
            uids: seed.rng("uid"),
            names: seed.rng("generated name"),
        };
        Self { state: Arc::new(Mutex::new(state)), newest: watch::Sender::new(1), clock }
    }

    /// The newest version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Tells of every change: the receiver's value is the newest version.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The object, if it exists. `namespace` is ignored for kinds without one.
    #[must_use]
    pub fn find(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Object> {
        self.lock().objects.get(&Key::new(resource, namespace, name)).cloned()
    }

    /// The object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<Object, Status> {
        self.find(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))
    }

    /// The objects of one kind, of one namespace or of all, in the order of namespace and name; and the version
    /// at which they were all there.
    #[must_use]
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> (Vec<Object>, u64) {
        let state = self.lock();
        let first = Key::new(resource, namespace.unwrap_or(""), "");
        let items = state
            .objects
            .range(first..)
            .take_while(|(key, _)| key.group == resource.group && key.plural == resource.plural)
            .take_while(|(key, _)| namespace.is_none_or(|n| !resource.namespaced || key.namespace == n))
            .map(|(_, object)| object.clone())
            .collect();
        (items, state.version)
    }

    /// Every object of every kind, by kind, namespace and name: what "nothing is left behind" is checked against.
    #[must_use]
    pub fn dump(&self) -> Vec<Object> {
        self.lock().objects.values().cloned().collect()
    }

    /// Every object with its kind, in the same order.
    #[must_use]
    pub fn everything(&self) -> Vec<(&'static Resource, Object)> {
        let state = self.lock();
        let known = |key: &Key| state.kinds.get(&(key.group, key.plural)).copied();
        state.objects.iter().filter_map(|(key, object)| Some((known(key)?, object.clone()))).collect()
    }

    /// The kind of a plural in a group and version: a built-in one, or one that a definition declares.
    #[must_use]
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        Resource::find(group, version, plural)
    }

    /// Creates an object; uid, name from `generateName`, version and creation time are set here.
    ///
    /// # Errors
    /// 404 for a namespace that does not exist, 409 for a name that does, 422 for no name at all.
    pub fn create(
        &self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Object, Status> {
        let mut state = self.lock();
        if resource.namespaced && !state.objects.contains_key(&Key::new(&NAMESPACES, "", namespace)) {
            return Err(Status::not_found(&NAMESPACES, namespace));
        }
        if object["metadata"].get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            let Some(prefix) = object["metadata"].get("generateName").and_then(Value::as_str).map(str::to_owned) else {
                let why = "Required value: name or generateName is required";
                return Err(Status::invalid(resource, "", "metadata.name", why));
            };
            object["metadata"]["name"] = json!(format!("{prefix}{}", suffix(&mut state.names)));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Key::new(resource, namespace, &name);
        if state.objects.contains_key(&key) {
            return Err(Status::already_exists(resource, &name));
        }
        object["apiVersion"] = json!(resource.api_version());
        object["kind"] = json!(resource.kind);
        if resource.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object["metadata"]["uid"] = json!(uid(&mut state.uids));
        object["metadata"]["creationTimestamp"] = json!(seconds(self.clock.now()));
        if resource.generation {
            object["metadata"]["generation"] = json!(1);
        }
        if dry_run {
            return Ok(Arc::new(object));
        }
        Ok(self.commit(&mut state, ChangeKind::Added, resource, key, object))
    }

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
        self.modify(resource, namespace, name, part, dry_run, |_| Ok(object.clone()))
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
        let key = Key::new(resource, namespace, name);
        let before = state.objects.get(&key).cloned().ok_or_else(|| Status::not_found(resource, name))?;
        let mut after = change(&before)?;
        let (old, new) = (&before["metadata"], &after["metadata"]);
        let versions = (old["resourceVersion"].as_str(), new.get("resourceVersion").and_then(Value::as_str));
        if let (Some(stored), Some(wanted)) = versions
            && stored != wanted
            && !wanted.is_empty()
        {
            return Err(Status::conflict(resource, name));
        }
        if let Some(wanted) = new.get("uid").and_then(Value::as_str)
            && old["uid"].as_str() != Some(wanted)
        {
            return Err(Status::conflict(resource, name));
        }
        after = match part {
            Part::Status => {
                let mut whole = (*before).clone();
                put(&mut whole, "status", after.get("status").cloned());
                whole
            }
            Part::Main => {
                if after.get("status") != before.get("status") && before.get("status").is_some() {
                    put(&mut after, "status", before.get("status").cloned());
                }
                after
            }
        };
        after["apiVersion"] = before["apiVersion"].clone();
        after["kind"] = before["kind"].clone();
        for fixed in
            ["name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp"]
        {
            let value = old.get(fixed).cloned();
            put(&mut after["metadata"], fixed, value);
        }
        if after == *before {
            return Ok(before);
        }
        if resource.generation && part == Part::Main && after.get("spec") != before.get("spec") {
            after["metadata"]["generation"] = json!(old["generation"].as_u64().unwrap_or(0) + 1);
        }
        if dry_run {
            return Ok(Arc::new(after));
        }
        let released = !after["metadata"]["deletionTimestamp"].is_null()
            && !held(&after)
            && after["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) == 0;
        if released {
            return Ok(self.commit(&mut state, ChangeKind::Deleted, resource, key, after));
        }
        Ok(self.commit(&mut state, ChangeKind::Modified, resource, key, after))
    }

    /// Deletes an object: at once; or, if a finalizer holds it or it is a pod with a grace period on a node, by
    /// marking it. Returns its last state.
    ///
    /// # Errors
    /// 404 if there is none, 409 if a precondition does not hold.
    pub fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        preconditions: &Preconditions,
        grace: Option<u64>,
        dry_run: bool,
    ) -> Result<Object, Status> {
        let mut state = self.lock();
        let key = Key::new(resource, namespace, name);
        let before = state.objects.get(&key).cloned().ok_or_else(|| Status::not_found(resource, name))?;
        check(&before, resource, name, preconditions)?;
        if dry_run {
            return Ok(before);
        }
        let grace = if std::ptr::eq(resource, &PODS) && !before["spec"]["nodeName"].is_null() {
            grace.or(before["spec"]["terminationGracePeriodSeconds"].as_u64()).unwrap_or(30)
        } else {
            0
        };
        let mut after = (*before).clone();
        if grace == 0 && !held(&before) {
            return Ok(self.commit(&mut state, ChangeKind::Deleted, resource, key, after));
        }
        if !before["metadata"]["deletionTimestamp"].is_null() {
            return Ok(before);
        }
        let end = self.clock.now() + std::time::Duration::from_secs(grace);
        after["metadata"]["deletionTimestamp"] = json!(seconds(end));
        after["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        Ok(self.commit(&mut state, ChangeKind::Modified, resource, key, after))
    }

    /// The changes after `version`, in order.
    ///
    /// # Errors
    /// 410 if some of them are no longer kept.
    pub fn changes_since(&self, version: u64) -> Result<Vec<Change>, Status> {
        let state = self.lock();
        let oldest = state.log.front().map_or(state.version + 1, |change| change.version);
        if version + 1 < oldest && version < state.version {
            let message = format!("too old resource version: {version} ({})", state.version);
            return Err(Status::new(410, "Expired", message));
        }
        let from = state.log.partition_point(|change| change.version <= version);
        Ok(state.log.range(from..).cloned().collect())
    }

    fn commit(
        &self,
        state: &mut State,
        kind: ChangeKind,
        resource: &'static Resource,
        key: Key,
        mut object: Value,
    ) -> Object {
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Arc::new(object);
        let before = match kind {
            ChangeKind::Deleted => state.objects.remove(&key),
            _ => state.objects.insert(key, object.clone()),
        };
        if state.log.len() == LOG_LENGTH {
            state.log.pop_front();
        }
        state.log.push_back(Change { version, kind, resource, object: object.clone(), before });
        self.newest.send_replace(version);
        object
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves whole objects only: every write is one insert or one remove.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(
    before: &Value,
    resource: &Resource,
    name: &str,
    Preconditions { uid, resource_version }: &Preconditions,
) -> Result<(), Status> {
    let metadata = &before["metadata"];
    if let Some(wanted) = uid
        && metadata["uid"].as_str() != Some(wanted)
    {
        let record = metadata["uid"].as_str().unwrap_or_default();
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({record}). The object might have been deleted and then recreated"
        );
        return Err(Status::precondition(resource, name, &why));
    }
    if let Some(wanted) = resource_version
        && metadata["resourceVersion"].as_str() != Some(wanted)
    {
        let record = metadata["resourceVersion"].as_str().unwrap_or_default();
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({record}). The object might have been modified"
        );
        return Err(Status::precondition(resource, name, &why));
    }
    Ok(())
}

fn held(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(map) = object.as_object_mut() {
        match value {
            Some(value) => map.insert(key.to_owned(), value),
            None => map.remove(key),
        };
    }
}

/// Five letters, as the API server appends to `generateName`.
fn suffix(rng: &mut fastrand::Rng) -> String {
    (0..5).map(|_| char::from(SUFFIX_LETTERS[rng.usize(..SUFFIX_LETTERS.len())])).collect()
}

/// A version 4 uuid.
fn uid(rng: &mut fastrand::Rng) -> String {
    let bits = (rng.u128(..) & !(0xf000 << 64) & !(0b11 << 62)) | (0x4000 << 64) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A stamp as Kubernetes writes it: whole seconds.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
