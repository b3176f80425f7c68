//! Deployments roll out their template by ReplicaSets.
//!
//! As in kube-controller-manager: RollingUpdate within `maxSurge` (rounded up) and `maxUnavailable` (rounded down),
//! Recreate, pausing, proportional scaling amid a rollout, revisions as annotations (a template that was there before
//! takes its old set, with the next revision), history up to `revisionHistoryLimit`, and the conditions Available,
//! Progressing and ReplicaFailure with their reasons and texts. A rollout without progress for
//! `progressDeadlineSeconds` (600 by default) turns to `ProgressDeadlineExceeded` one second later, as the real one
//! looks again by whole seconds. Nothing else waits: the real one takes milliseconds.

mod history;
mod rolling;
mod status;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::events::{Event, Recorder};
use super::objects::{
    Retries, annotation, claim, condition, controlled, controlled_by, controller_of, count, create, deleting, edit,
    finished, hash, names, owners_of, remove, replicas, same, scaled, selector, stamp, write,
};
use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::lab::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::lab::store::{Change, Object, Part, Store};

const SOURCE: &str = "deployment-controller";

/// The annotations by which sets and their Deployment tell of a rollout.
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// The label of a set's pods.
const HASH: &str = "pod-template-hash";

pub(super) struct Deployments {
    events: Recorder,
    retries: Retries,
}

impl Deployments {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, retries: Retries::default() }
    }
}

impl Controller for Deployments {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&DEPLOYMENTS) {
            into.insert(Key::of(&change.object));
        } else if change.resource.is(&REPLICA_SETS) {
            owners_of(store, change, &DEPLOYMENTS, into);
        } else if change.resource.is(&PODS) && change.kind == crate::lab::store::ChangeKind::Deleted {
            // Recreate waits for the last old pod.
            let namespace = names(&change.object).0;
            let set = controller_of(&change.object).filter(|owner| owner["kind"] == REPLICA_SETS.kind);
            let set = set.and_then(|owner| store.find(&REPLICA_SETS, namespace, owner["name"].as_str()?));
            if let Some(name) = set.as_deref().and_then(controller_of).and_then(|owner| owner["name"].as_str()) {
                into.insert(Key { namespace: namespace.to_owned(), name: name.to_owned() });
            }
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(deployment) = store.find(&DEPLOYMENTS, &key.namespace, &key.name) else {
            self.retries.succeeded(key);
            return None;
        };
        let selector = selector(&deployment)?;
        let now = self.events.now();
        let mut sets = claim(store, &REPLICA_SETS, &deployment, &selector, |_| true);
        // The oldest first; names decide among those of one second.
        sets.sort_by_key(|set| stamp(&set["metadata"]["creationTimestamp"]));
        let mut rollout = Rollout {
            store,
            events: &self.events,
            now,
            deployment: (*deployment).clone(),
            new: None,
            old: Vec::new(),
            refused: false,
        };
        rollout.sort_out(sets);
        rollout.run();
        if rollout.refused {
            return Some(self.retries.failed(key, now));
        }
        self.retries.succeeded(key);
        rollout.due()
    }
}

/// One look at one Deployment.
struct Rollout<'a> {
    store: &'a Store,
    events: &'a Recorder,
    now: Timestamp,
    /// As it is in the store, with what this look has written.
    deployment: Value,
    /// The set of its template.
    new: Option<Object>,
    /// The others, the oldest first.
    old: Vec<Object>,
    /// Whether a new set was refused.
    refused: bool,
}

impl Rollout<'_> {
    fn run(&mut self) {
        if deleting(&self.deployment) {
            self.sync_revision(false);
            return self.write_counts();
        }
        self.note_pausing();
        if self.deployment["spec"]["paused"] == true || self.is_scaling() {
            self.sync_revision(false);
            self.scale_in_proportion();
            if self.deployment["spec"]["paused"] == true {
                self.clean_up();
            }
            return self.write_counts();
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            return self.recreate();
        }
        self.sync_revision(true);
        if self.refused {
            return;
        }
        if self.scale_new_up() || self.scale_old_down() {
            return self.write_progress();
        }
        if self.is_complete() {
            self.clean_up();
        }
        self.write_progress();
    }

    fn recreate(&mut self) {
        self.sync_revision(false);
        let mut scaled_down = false;
        for number in 0..self.old.len() {
            if replicas(&self.old[number]) > 0 {
                self.scale(Which::Old(number), 0);
                scaled_down = true;
            }
        }
        if !scaled_down && !self.old_pods_run() {
            if self.new.is_none() {
                self.sync_revision(true);
                if self.refused {
                    return;
                }
            }
            self.scale(Which::New, replicas(&self.deployment));
            if self.is_complete() {
                self.clean_up();
            }
        }
        self.write_progress();
    }

    /// Whether pods of another template are not at their end, those on their way out included.
    fn old_pods_run(&self) -> bool {
        if self.old.iter().any(|set| count(&set["status"]["replicas"]) > 0) {
            return true;
        }
        let pods = self.old.iter().flat_map(|set| controlled(self.store, &PODS, set));
        pods.into_iter().any(|pod| !finished(&pod))
    }

    /// Tells the set of the template from the others.
    fn sort_out(&mut self, sets: Vec<Object>) {
        let template = &self.deployment["spec"]["template"];
        let hash = hash(template, self.deployment["status"]["collisionCount"].as_i64());
        let fits = |set: &Value| set["metadata"]["labels"][HASH] == hash.as_str() || is_of(set, template);
        let new = sets.iter().position(|set| fits(set));
        for (number, set) in sets.into_iter().enumerate() {
            if Some(number) == new {
                self.new = Some(set);
            } else {
                self.old.push(set);
            }
        }
    }

    /// How many replicas there may be beyond those asked for, and how many may be missing.
    fn fenceposts(&self) -> (i64, i64) {
        let strategy = &self.deployment["spec"]["strategy"];
        if strategy["type"] == "Recreate" {
            return (0, 0);
        }
        let wanted = replicas(&self.deployment);
        let of = |field: &str, up: bool| {
            let value = &strategy["rollingUpdate"][field];
            let value = if value.is_null() { json!("25%") } else { value.clone() };
            scaled(&value, wanted, up).unwrap_or(0)
        };
        match (of("maxSurge", true), of("maxUnavailable", false)) {
            // Both nothing would be a rollout that never moves.
            (0, 0) => (0, 1),
            posts => posts,
        }
    }

    fn max_surge(&self) -> i64 {
        self.fenceposts().0
    }

    fn max_unavailable(&self) -> i64 {
        let wanted = replicas(&self.deployment);
        if wanted == 0 { 0 } else { self.fenceposts().1.min(wanted) }
    }

    fn all(&self) -> impl Iterator<Item = &Object> {
        self.old.iter().chain(&self.new)
    }

    fn set(&self, which: Which) -> Option<&Object> {
        match which {
            Which::New => self.new.as_ref(),
            Which::Old(number) => self.old.get(number),
        }
    }

    /// Scales a set, and notes on it how many the Deployment asks for. Whether the number changed.
    fn scale(&mut self, which: Which, to: i64) -> bool {
        let Some(set) = self.set(which).cloned() else { return false };
        let from = replicas(&set);
        let wanted = replicas(&self.deployment);
        let notes = [(DESIRED, wanted.to_string()), (MAXIMUM, (wanted + self.max_surge()).to_string())];
        let noted = notes.iter().all(|(key, value)| annotation(&set, key) == Some(value));
        if from == to && noted {
            return false;
        }
        let edited = edit(self.store, &REPLICA_SETS, &set, |set| {
            set["spec"]["replicas"] = json!(to);
            for (key, value) in notes {
                set["metadata"]["annotations"][key] = json!(value);
            }
        });
        let Some(edited) = edited else { return false };
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {from} to {to}", names(&set).1);
            self.events.record(&self.deployment, &Event::normal(SOURCE, "ScalingReplicaSet", message));
        }
        match which {
            Which::New => self.new = Some(edited),
            Which::Old(number) => self.old[number] = edited,
        }
        from != to
    }

    /// Writes the status, and the annotations with it: that makes no new generation.
    fn write(&mut self, status: Value) {
        let annotations = self.deployment["metadata"]["annotations"].clone();
        let written = write(self.store, &DEPLOYMENTS, &self.deployment, Part::StatusAndAnnotations, |deployment| {
            deployment["status"] = status;
            if let Some(revision) = annotations.get(REVISION) {
                deployment["metadata"]["annotations"][REVISION] = revision.clone();
            }
        });
        if let Some(written) = written {
            self.deployment = (*written).clone();
        }
    }
}

/// One of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    New,
    Old(usize),
}

/// Whether a set's template is that one, but for the hash.
fn is_of(set: &Value, template: &Value) -> bool {
    let mut of_set = set["spec"]["template"].clone();
    if let Some(labels) = of_set["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    same(&of_set, template)
}
