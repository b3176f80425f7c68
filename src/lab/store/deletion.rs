//! Deletion: preconditions, grace periods, finalizers, propagation, and namespaces that end.
//!
//! The steps are those of the API server's generic store: a pod on a node is marked and left to its kubelet, an
//! object that finalizers hold is marked and left to them, everything else goes at once.

use std::time::Duration;

use serde_json::{Value, json};

use super::keys::{Spot, seconds};
use super::{ChangeKind, Object, State, Store, put};
use crate::clock::{Timestamp, later};
use crate::lab::resource::{CUSTOM_RESOURCE_DEFINITIONS, EVENTS, JOBS, NAMESPACES, PODS, Resource};
use crate::lab::status::Status;

/// The finalizer of an owner that waits for its dependents to go.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of an owner that waits for its dependents to be let go.
pub(crate) const ORPHAN: &str = "orphan";

/// The grace period of a pod that names none, in seconds.
const POD_GRACE: i64 = 30;

/// Conditions of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only this version of it.
    pub resource_version: Option<String>,
}

/// What becomes of the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go after the owner.
    Background,
    /// They go before the owner.
    Foreground,
    /// They stay, and forget the owner.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// Only if these hold.
    pub preconditions: Preconditions,
    /// Seconds for a pod to end in; without, what the pod says itself.
    pub grace: Option<i64>,
    /// What becomes of the dependents; without, what its finalizers or its kind say.
    pub propagation: Option<Propagation>,
    /// Only say what would be.
    pub dry_run: bool,
}

/// What a delete did.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object as it is now, or as it was at last.
    pub object: Object,
    /// Whether it is gone; otherwise it is marked, and a finalizer or a kubelet holds it.
    pub gone: bool,
}

impl Store {
    /// Deletes an object as [`remove`](Self::remove) does, with the default propagation. Returns its last state.
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
        let grace = grace.map(|grace| i64::try_from(grace).unwrap_or(i64::MAX));
        // Only a person who deletes a Job without saying more means to keep its pods.
        let propagation = resource.is(&JOBS).then_some(Propagation::Background);
        let how = Deletion { preconditions: preconditions.clone(), grace, propagation, dry_run };
        self.remove(resource, namespace, name, &how).map(|deleted| deleted.object)
    }

    /// Deletes an object: at once; or, if a finalizer holds it or it is a pod with a grace period on a node, by
    /// marking it.
    ///
    /// # Errors
    /// 404 if there is none, 409 if a precondition does not hold.
    pub fn remove(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        how: &Deletion,
    ) -> Result<Deleted, Status> {
        let mut state = self.lock();
        let spot = Spot::new(resource, namespace, name);
        let before = state.get(resource, &spot)?;
        check(&before, resource, name, &how.preconditions)?;
        if resource.is(&NAMESPACES) {
            return Ok(self.remove_namespace(&mut state, spot, &before, how));
        }
        if resource.is(&CUSTOM_RESOURCE_DEFINITIONS) {
            return Ok(self.remove_definition(&mut state, spot, &before, how));
        }
        let mut after = (*before).clone();
        if resource.is(&PODS) {
            match grace(&before, how.grace) {
                Grace::Pending => return Ok(Deleted { object: before, gone: false }),
                Grace::Until(from, seconds) => {
                    let end = later(from, whole(seconds));
                    mark(&mut after, end, seconds);
                }
                Grace::From(seconds) => {
                    let end = later(self.clock.now(), whole(seconds));
                    mark(&mut after, end, seconds);
                }
            }
        }
        let finalizers = finalizers_for(resource, &before, how.propagation);
        let held = !finalizers.is_empty();
        if finalizers != finalizers_of(&before) {
            put(&mut after["metadata"], "finalizers", held.then(|| json!(finalizers)));
        }
        if held && after["metadata"]["deletionTimestamp"].is_null() {
            mark(&mut after, self.clock.now(), 0);
        }
        let waits = after["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds > 0);
        let gone = !(held || resource.is(&PODS) && waits);
        if how.dry_run {
            return Ok(Deleted { object: Object::new(after), gone });
        }
        let object = if after == *before {
            before
        } else {
            self.commit(&mut state, ChangeKind::Modified, resource, spot.clone(), after)
        };
        if !gone {
            return Ok(Deleted { object, gone });
        }
        let object = self.commit(&mut state, ChangeKind::Deleted, resource, spot, (*object).clone());
        Ok(Deleted { object, gone })
    }

    fn remove_namespace(&self, state: &mut State, spot: Spot, before: &Object, how: &Deletion) -> Deleted {
        let finalized = before["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        let mut after = (**before).clone();
        if before["metadata"]["deletionTimestamp"].is_null() {
            after["metadata"]["deletionTimestamp"] = json!(seconds(self.clock.now()));
            after["status"]["phase"] = json!("Terminating");
        }
        let gone = finalized && finalizers_of(before).is_empty();
        if how.dry_run || (after == **before && !gone) {
            return Deleted { object: Object::new(after), gone };
        }
        let kind = if gone { ChangeKind::Deleted } else { ChangeKind::Modified };
        Deleted { object: self.commit(state, kind, &NAMESPACES, spot, after), gone }
    }
}

impl State {
    /// Refuses a new object where its namespace does not exist or is being deleted.
    pub(super) fn admits(&self, resource: &'static Resource, namespace: &str, name: &str) -> Result<(), Status> {
        if !resource.namespaced {
            return Ok(());
        }
        let Some(found) = self.find(&NAMESPACES, &Spot::new(&NAMESPACES, "", namespace)) else {
            return Err(Status::not_found(&NAMESPACES, namespace));
        };
        if found["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Status::forbidden(resource, name, &why);
        if let Some(details) = &mut status.details {
            let message = format!("namespace {namespace} is being terminated");
            let cause = json!({"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"});
            details["causes"] = json!([cause]);
        }
        Err(status)
    }
}

/// A new namespace is held by its own finalizer, which the namespace controller removes when it is empty.
pub(super) fn prepare_namespace(namespace: &mut Value) {
    let finalizers = &mut namespace["spec"]["finalizers"];
    let named = finalizers.as_array().is_some_and(|all| all.iter().any(|finalizer| finalizer == "kubernetes"));
    if !named {
        match finalizers.as_array_mut() {
            Some(all) => all.push(json!("kubernetes")),
            None => *finalizers = json!(["kubernetes"]),
        }
    }
    namespace["status"] = json!({"phase": "Active"});
}

/// Whether an object that is marked for deletion is held by nothing any more.
pub(super) fn released(object: &Value, resource: &Resource) -> bool {
    let metadata = &object["metadata"];
    let emptied = !resource.is(&NAMESPACES) || object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    !metadata["deletionTimestamp"].is_null()
        && finalizers_of(object).is_empty()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && emptied
}

/// The finalizers of an object.
pub(super) fn finalizers_of(object: &Value) -> Vec<&str> {
    let finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    finalizers.filter_map(Value::as_str).collect()
}

/// What the grace period of a pod becomes.
enum Grace {
    /// It is running out already, and is not to be shortened.
    Pending,
    /// It began then and is so many seconds long.
    Until(Timestamp, i64),
    /// It begins now and is so many seconds long.
    From(i64),
}

fn whole(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn grace(pod: &Value, asked: Option<i64>) -> Grace {
    let metadata = &pod["metadata"];
    if let Some(end) = metadata["deletionTimestamp"].as_str().and_then(|end| end.parse::<Timestamp>().ok()) {
        let running = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        return match asked {
            Some(shorter) if shorter < running => {
                let shorter = shorter.max(0);
                // A period that no calendar holds has no beginning either.
                end.checked_sub(whole(running)).map_or(Grace::From(shorter), |began| Grace::Until(began, shorter))
            }
            _ => Grace::Pending,
        };
    }
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if ended || pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return Grace::From(0);
    }
    let wanted = asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(POD_GRACE);
    // A negative period is one second, as on the real server.
    Grace::From(if wanted < 0 { 1 } else { wanted })
}

fn mark(object: &mut Value, end: Timestamp, grace: i64) {
    let metadata = &mut object["metadata"];
    if metadata["deletionTimestamp"].is_null()
        && let Some(generation) = metadata.get("generation").and_then(Value::as_u64)
    {
        metadata["generation"] = json!(generation + 1);
    }
    metadata["deletionTimestamp"] = json!(seconds(end));
    metadata["deletionGracePeriodSeconds"] = json!(grace);
}

/// The finalizers that a delete leaves an object with.
fn finalizers_for<'a>(resource: &Resource, object: &'a Value, asked: Option<Propagation>) -> Vec<&'a str> {
    let has = finalizers_of(object);
    if resource.is(&EVENTS) {
        return has;
    }
    let by_finalizer = has.iter().find_map(|finalizer| match *finalizer {
        ORPHAN => Some(Propagation::Orphan),
        FOREGROUND => Some(Propagation::Foreground),
        _ => None,
    });
    let by_kind = if resource.is(&JOBS) { Propagation::Orphan } else { Propagation::Background };
    let wanted = asked.or(by_finalizer).unwrap_or(by_kind);
    let others = has.iter().copied().filter(|finalizer| ![ORPHAN, FOREGROUND].contains(finalizer));
    let own = match wanted {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    // Their order is kept where they are the same ones.
    let mut all: Vec<&str> = others.chain(own).collect();
    if all.len() == has.len() && has.iter().all(|finalizer| all.contains(finalizer)) {
        all = has;
    }
    all
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
