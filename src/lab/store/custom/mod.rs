//! Custom kinds: what a CustomResourceDefinition declares, from its names to its objects' end.
//!
//! The store acts on definitions by itself, in the same write: a new definition is accepted and served at once, a
//! deleted one takes its objects with it. Rules in `x-kubernetes-validations` (CEL) are kept and not evaluated.

mod check;
mod definition;
mod schema;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex::Regex;
use serde_json::{Value, json};

use super::deletion::Deletion;
use super::keys::{Spot, kind_key};
use super::kinds::Shelf;
use super::{ChangeKind, Deleted, Object, State, Store, put, seconds};
use crate::lab::resource::{CUSTOM_RESOURCE_DEFINITIONS, Resource};

pub(super) use check::validate;
pub(super) use definition::{validate as validate_definition, validate_update as validate_definition_update, warnings};
pub(super) use schema::{fill, prune};

/// What holds a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// One version of a custom kind, as its definition has it.
#[derive(Debug)]
pub(crate) struct Version {
    /// The structural schema.
    pub(super) schema: Value,
    /// The schema of the version that is stored, where that is another.
    pub(super) stored: Option<Value>,
    /// The patterns in the schema that can be read.
    pub(super) patterns: BTreeMap<String, Regex>,
}

/// The versions of all custom kinds, by group, plural and version.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    known: Arc<Mutex<Known>>,
}

type Known = BTreeMap<(String, String, String), Arc<Version>>;

impl Versions {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[][..], Vec::as_slice)
}

impl Store {
    /// What a custom kind's definition says of its version; nothing of a built-in kind. It may be called under the
    /// store's lock.
    pub(crate) fn custom(&self, resource: &Resource) -> Option<Arc<Version>> {
        let key = (resource.group.to_owned(), resource.plural.to_owned(), resource.version.to_owned());
        self.versions.lock().get(&key).cloned()
    }

    /// Serves a kind by the `spec` of a definition, without one.
    pub(in crate::lab) fn serve_kind(&self, spec: &Value) {
        self.serve(&mut self.lock(), spec);
    }

    /// Follows a change of a definition, or the end of a custom object.
    pub(super) fn follow(&self, state: &mut State, kind: ChangeKind, resource: &'static Resource, object: &Object) {
        if resource.is(&CUSTOM_RESOURCE_DEFINITIONS) {
            if kind == ChangeKind::Deleted {
                self.forget(state, object);
            } else if object["metadata"]["deletionTimestamp"].is_null() {
                self.accept(state, object);
            }
        } else if resource.custom && kind == ChangeKind::Deleted {
            let spot = Spot::new(&CUSTOM_RESOURCE_DEFINITIONS, "", &resource.qualified_plural());
            if let Some(definition) = state.find(&CUSTOM_RESOURCE_DEFINITIONS, &spot).cloned() {
                self.end(state, &spot, &definition);
            }
        }
    }

    /// Serves what a definition declares, and says so in its status.
    fn accept(&self, state: &mut State, definition: &Object) {
        let spec = &definition["spec"];
        let conflict = conflict(state, definition);
        let now = seconds(self.clock.now());
        let mut after = (**definition).clone();
        let status = &mut after["status"];
        if conflict.is_none() {
            status["acceptedNames"] = spec["names"].clone();
            self.serve(state, spec);
        }
        let (names, established) = match &conflict {
            None => {
                let names = ("True", "NoConflicts", "no conflicts found".to_owned());
                (names, ("True", "InitialNamesAccepted", "the initial names have been accepted"))
            }
            Some((reason, message)) => {
                (("False", *reason, message.clone()), ("False", "NotAccepted", "not all names are accepted"))
            }
        };
        condition(status, "NamesAccepted", names.0, names.1, &names.2, &now);
        condition(status, "Established", established.0, established.1, established.2, &now);
        let stored = list(spec, "versions").iter().find(|version| version["storage"] == true);
        if let Some(stored) = stored.map(|version| version["name"].clone())
            && let Some(versions) = status["storedVersions"].as_array_mut()
            && !versions.contains(&stored)
        {
            versions.push(stored);
        }
        if after != **definition {
            let spot = Spot::new(&CUSTOM_RESOURCE_DEFINITIONS, "", text(&definition["metadata"], "name"));
            self.commit(state, ChangeKind::Modified, &CUSTOM_RESOURCE_DEFINITIONS, spot, after);
        }
    }

    fn serve(&self, state: &mut State, spec: &Value) {
        let (group, plural) = (text(spec, "group"), text(&spec["names"], "plural"));
        let all = list(spec, "versions");
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        let stored = all.iter().find(|version| version["storage"] == true).map(schema);
        let mut served: Vec<&Value> = all.iter().filter(|version| version["served"] == true).collect();
        served.sort_by(|a, b| schema::by_priority(text(a, "name"), text(b, "name")));
        {
            let mut known = self.versions.lock();
            known.retain(|(of_group, of_plural, _), _| (&**of_group, &**of_plural) != (group, plural));
            for version in &served {
                let own = schema(version);
                let kept = Version {
                    stored: stored.clone().filter(|stored| *stored != own),
                    patterns: schema::patterns(&own),
                    schema: own,
                };
                let key = (group.to_owned(), plural.to_owned(), text(version, "name").to_owned());
                known.insert(key, Arc::new(kept));
            }
        }
        let resources: Vec<&'static Resource> = served.iter().map(|version| resource(spec, version)).collect();
        let Some(first) = resources.first() else {
            self.unserve(state, group, plural);
            return;
        };
        let version = state.version;
        let shelf = state.shelves.entry(kind_key(first)).or_insert_with(|| Shelf::new(Vec::new(), version));
        shelf.served = resources;
    }

    /// Marks a definition, and ends its objects; it goes with the last of them.
    pub(super) fn remove_definition(&self, state: &mut State, spot: Spot, before: &Object, how: &Deletion) -> Deleted {
        if how.dry_run {
            return Deleted { object: before.clone(), gone: false };
        }
        let mut marked = before.clone();
        if before["metadata"]["deletionTimestamp"].is_null() {
            let now = seconds(self.clock.now());
            let mut after = (**before).clone();
            after["metadata"]["deletionTimestamp"] = json!(now);
            match after["metadata"]["finalizers"].as_array_mut() {
                Some(finalizers) => finalizers.push(json!(CLEANUP)),
                None => after["metadata"]["finalizers"] = json!([CLEANUP]),
            }
            let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            condition(&mut after["status"], "Terminating", "True", "InstanceDeletionPending", why, &now);
            marked = self.commit(state, ChangeKind::Modified, &CUSTOM_RESOURCE_DEFINITIONS, spot.clone(), after);
        }
        self.end_objects(state, &marked);
        if let Some(definition) = state.find(&CUSTOM_RESOURCE_DEFINITIONS, &spot).cloned() {
            self.end(state, &spot, &definition);
        }
        Deleted { object: marked, gone: false }
    }

    fn end_objects(&self, state: &mut State, definition: &Value) {
        let (group, plural) = (text(&definition["spec"], "group"), text(&definition["spec"]["names"], "plural"));
        let Some((_, shelf)) = state.shelves.iter().find(|(key, _)| **key == (group, plural)) else { return };
        let Some(&resource) = shelf.served.first() else { return };
        let objects: Vec<(Spot, Object)> = shelf.objects.iter().map(|(spot, o)| (spot.clone(), o.clone())).collect();
        for (spot, object) in objects {
            let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
            let mut last = (*object).clone();
            if !held {
                self.commit(state, ChangeKind::Deleted, resource, spot, last);
            } else if last["metadata"]["deletionTimestamp"].is_null() {
                last["metadata"]["deletionTimestamp"] = json!(seconds(self.clock.now()));
                last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                self.commit(state, ChangeKind::Modified, resource, spot, last);
            }
        }
    }

    /// Lets a marked definition go, once it has no objects.
    fn end(&self, state: &mut State, spot: &Spot, definition: &Object) {
        if definition["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let (group, plural) = (text(&definition["spec"], "group"), text(&definition["spec"]["names"], "plural"));
        let shelf = state.shelves.iter().find(|(key, _)| **key == (group, plural));
        if shelf.is_some_and(|(_, shelf)| !shelf.objects.is_empty()) {
            return;
        }
        let mut after = (**definition).clone();
        let Some(finalizers) = after["metadata"]["finalizers"].as_array_mut() else { return };
        finalizers.retain(|finalizer| finalizer != CLEANUP);
        let kind = if finalizers.is_empty() { ChangeKind::Deleted } else { ChangeKind::Modified };
        if finalizers.is_empty() {
            put(&mut after["metadata"], "finalizers", None);
        }
        self.commit(state, kind, &CUSTOM_RESOURCE_DEFINITIONS, spot.clone(), after);
    }

    fn forget(&self, state: &mut State, definition: &Value) {
        let (group, plural) = (text(&definition["spec"], "group"), text(&definition["spec"]["names"], "plural"));
        // One that was never accepted may share its names with one that was.
        if text(&definition["status"]["acceptedNames"], "plural") == plural {
            self.end_objects(state, definition);
            self.unserve(state, group, plural);
        }
    }

    fn unserve(&self, state: &mut State, group: &str, plural: &str) {
        let key = |of: &(String, String, String)| (&*of.0, &*of.1) != (group, plural);
        self.versions.lock().retain(|of, _| key(of));
        state.shelves.retain(|of, _| *of != (group, plural));
    }
}

/// The resource of one version.
fn resource(spec: &Value, version: &Value) -> &'static Resource {
    let names = &spec["names"];
    let mut subresources: Vec<&'static str> = Vec::new();
    for subresource in ["scale", "status"] {
        if !version["subresources"][subresource].is_null() {
            subresources.push(subresource);
        }
    }
    Resource::declared(
        [text(spec, "group"), text(version, "name"), text(names, "kind"), text(names, "plural")],
        list(names, "shortNames").iter().filter_map(Value::as_str),
        list(names, "categories").iter().filter_map(Value::as_str),
        text(spec, "scope") == "Namespaced",
        &subresources,
    )
}

/// Why the names of a definition cannot be had: another of its group has them.
fn conflict(state: &State, definition: &Value) -> Option<(&'static str, String)> {
    let own = &definition["spec"]["names"];
    let others = state.shelves.get(&kind_key(&CUSTOM_RESOURCE_DEFINITIONS))?.objects.values();
    for other in others {
        let same_group = other["spec"]["group"] == definition["spec"]["group"];
        if !same_group || other["metadata"]["name"] == definition["metadata"]["name"] {
            continue;
        }
        let accepted = &other["status"]["acceptedNames"];
        let pairs = [("kind", "KindConflict"), ("listKind", "ListKindConflict"), ("singular", "SingularConflict")];
        for (field, reason) in pairs {
            if !text(own, field).is_empty() && own[field] == accepted[field] {
                return Some((reason, format!("{:?} is already in use", text(own, field))));
            }
        }
        for name in list(own, "shortNames") {
            if list(accepted, "shortNames").contains(name) {
                return Some(("ShortNamesConflict", format!("{name} is already in use")));
            }
        }
    }
    None
}

/// Sets a condition; its time is that of its last change of status.
fn condition(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let old = conditions.iter_mut().find(|condition| condition["type"] == kind);
    let mut new =
        json!({"lastTransitionTime": now, "message": message, "reason": reason, "status": value, "type": kind});
    match old {
        Some(old) => {
            if old["status"] == value {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
                // Once established, a kind says what it said first.
                if kind == "Established" {
                    return;
                }
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}
