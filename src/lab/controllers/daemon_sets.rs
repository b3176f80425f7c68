//! DaemonSets: one pod on each node that takes it.
//!
//! As kube-controller-manager's: a pod is bound to its node by affinity and scheduled as any other, tolerates what
//! nodes are tainted with in trouble (a cordoned node takes it), is replaced when it ends, and is updated node by
//! node within `maxUnavailable`, or when somebody deletes it with OnDelete. `maxSurge` makes no second pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::events::{Event, Recorder};
use super::objects::{
    Retries, annotation, available_at, claim, count, create, deleting, finished, is_ready, names, owners_of, pod_of,
    remove, scaled, selector, set_counts, set_status, uid,
};
use super::revisions::{self, BY_DAEMON_SET};
use super::scheduler::{takes, tolerated};
use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::lab::resource::{DAEMON_SETS, NODES, PODS};
use crate::lab::store::{Change, Object, Store};

const SOURCE: &str = "daemonset-controller";

/// What every daemon pod tolerates: key and effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

pub(super) struct DaemonSets {
    events: Recorder,
    retries: Retries,
}

impl DaemonSets {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, retries: Retries::default() }
    }

    fn end(&self, store: &Store, set: &Object, pod: &Object) {
        if remove(store, &PODS, pod) {
            let message = format!("Deleted pod: {}", names(pod).1);
            self.events.record(set, &Event::normal(SOURCE, "SuccessfulDelete", message));
        }
    }

    /// Ends a pod that has come to its end, so that another takes its place.
    fn end_finished(&self, store: &Store, set: &Object, pod: &Object, node: &str) {
        let (reason, phase) = match pod["status"]["phase"].as_str() {
            Some("Failed") => ("FailedDaemonPod", "failed"),
            _ => ("SucceededDaemonPod", "succeeded"),
        };
        let (namespace, name) = names(pod);
        let message = format!("Found {phase} daemon pod {namespace}/{name} on node {node}, will try to kill it");
        self.events.record(set, &Event::warning(SOURCE, reason, message));
        self.end(store, set, pod);
    }

    /// Ends as many pods of old templates, each with whether it is available, as may be unavailable.
    fn roll(&self, store: &Store, set: &Object, status: &Numbers, old: Vec<(bool, Object)>) {
        let strategy = &set["spec"]["updateStrategy"];
        if strategy["type"] == "OnDelete" {
            return;
        }
        let most = scaled(&strategy["rollingUpdate"]["maxUnavailable"], status.desired, true).unwrap_or(1).max(1);
        let mut unavailable = status.desired - status.available;
        for (available, pod) in old {
            // One that is not available costs nothing.
            if !available || unavailable < most {
                unavailable += i64::from(available);
                self.end(store, set, &pod);
            }
        }
    }

    fn make(&self, store: &Store, set: &Object, hash: &str, node: &str) -> bool {
        match create(store, &PODS, names(set).0, drawn(set, hash, node)) {
            Ok(pod) => {
                let message = format!("Created pod: {}", names(&pod).1);
                self.events.record(set, &Event::normal(SOURCE, "SuccessfulCreate", message));
                true
            }
            Err(refused) => {
                let message = format!("Error creating: {}", refused.message);
                self.events.record(set, &Event::warning(SOURCE, "FailedCreate", message));
                false
            }
        }
    }
}

impl Controller for DaemonSets {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&DAEMON_SETS) {
            into.insert(Key::of(&change.object));
        } else if change.resource.is(&PODS) {
            owners_of(store, change, &DAEMON_SETS, into);
        } else if change.resource.is(&NODES) {
            let of = |field: &str| {
                change.before.as_ref().map(|before| before.pointer(field) == change.object.pointer(field))
            };
            if of("/spec") != Some(true) || of("/metadata/labels") != Some(true) {
                into.extend(store.list(&DAEMON_SETS, None).0.iter().map(|set| Key::of(set)));
            }
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(set) = store.find(&DAEMON_SETS, &key.namespace, &key.name) else {
            self.retries.succeeded(key);
            return None;
        };
        let selector = selector(&set)?;
        let now = self.events.now();
        let pods = claim(store, &PODS, &set, &selector, |_| true);
        let mut by_node: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for pod in pods {
            by_node.entry(node_of(&pod).unwrap_or_default().to_owned()).or_default().push(pod);
        }
        if deleting(&set) {
            return None;
        }
        let (mut status, mut refused) = (Numbers::default(), false);
        let revisions = revisions::sync(store, &set, BY_DAEMON_SET);
        let newest = revisions.last().map(|revision| revision["metadata"]["labels"][BY_DAEMON_SET].clone());
        let hash = newest.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let min_ready = count(&set["spec"]["minReadySeconds"]);
        let mut coming = Vec::new();
        let mut old = Vec::new();
        for node in store.list(&NODES, None).0 {
            let name = names(&node).1;
            let (runs, stays) = wanted_on(&drawn(&set, &hash, name), &node);
            let mut there = by_node.remove(name).unwrap_or_default();
            there.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
            let (ended, mut there): (Vec<_>, Vec<_>) = there.into_iter().partition(|pod| finished(pod));
            for pod in ended.iter().filter(|pod| !deleting(pod)) {
                self.end_finished(store, &set, pod, name);
            }
            status.misscheduled += i64::from(!runs && !there.is_empty());
            if !stays {
                for pod in there.iter().filter(|pod| !deleting(pod)) {
                    self.end(store, &set, pod);
                }
            }
            if !runs {
                continue;
            }
            status.desired += 1;
            if there.is_empty() && ended.is_empty() {
                refused |= !self.make(store, &set, &hash, name);
                continue;
            }
            for pod in there.drain(1.min(there.len())..).filter(|pod| !deleting(pod)) {
                self.end(store, &set, &pod);
            }
            let Some(pod) = there.pop() else { continue };
            status.current += 1;
            let updated = pod["metadata"]["labels"][BY_DAEMON_SET] == hash.as_str();
            let available = available_at(&pod, min_ready).filter(|_| !deleting(&pod));
            coming.extend(available.filter(|at| *at > now));
            let available = available.is_some_and(|at| at <= now);
            status.ready += i64::from(is_ready(&pod));
            status.available += i64::from(available);
            status.updated += i64::from(updated);
            if !updated && !deleting(&pod) {
                old.push((available, pod));
            }
        }
        // What is left is for nodes that are gone.
        for pod in by_node.into_values().flatten().filter(|pod| !deleting(pod)) {
            self.end(store, &set, &pod);
        }
        self.roll(store, &set, &status, old);
        revisions::clean_up(store, &set, &revisions, |revision| {
            let hash = &revision["metadata"]["labels"][BY_DAEMON_SET];
            Some(hash) == newest.as_ref()
                || store
                    .dependents(uid(&set))
                    .iter()
                    .any(|(kind, pod)| kind.is(&PODS) && pod["metadata"]["labels"][BY_DAEMON_SET] == *hash)
        });
        set_status(store, &DAEMON_SETS, &set, status.json(&set));
        if refused {
            coming.push(self.retries.failed(key, now));
        } else {
            self.retries.succeeded(key);
        }
        coming.into_iter().min()
    }
}

#[derive(Debug, Default)]
struct Numbers {
    desired: i64,
    current: i64,
    misscheduled: i64,
    ready: i64,
    available: i64,
    updated: i64,
}

impl Numbers {
    fn json(&self, set: &Value) -> Value {
        let mut status = json!({
            "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": self.desired,
            "currentNumberScheduled": self.current, "numberMisscheduled": self.misscheduled, "numberReady": self.ready,
        });
        set_counts(
            &mut status,
            &[
                ("updatedNumberScheduled", self.updated),
                ("numberAvailable", self.available),
                ("numberUnavailable", self.desired - self.available),
            ],
        );
        status
    }
}

/// The node that a pod is on, or is bound to.
fn node_of(pod: &Value) -> Option<&str> {
    let bound = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    bound.or_else(|| pod.pointer(terms)?.as_str())
}

/// The set's pod for a node.
fn drawn(set: &Object, hash: &str, node: &str) -> Value {
    let mut pod = pod_of(&set["spec"]["template"], set);
    pod["metadata"]["generateName"] = json!(format!("{}-", names(set).1));
    pod["metadata"]["labels"][BY_DAEMON_SET] = json!(hash);
    let generation = annotation(set, "deprecated.daemonset.template.generation").map(str::to_owned);
    let generation = generation.unwrap_or_else(|| count(&set["metadata"]["generation"]).to_string());
    pod["metadata"]["labels"]["pod-template-generation"] = json!(generation);
    let tolerations = &mut pod["spec"]["tolerations"];
    let mut all = tolerations.as_array().cloned().unwrap_or_default();
    all.extend(TOLERATED.iter().map(|(key, effect)| json!({"key": key, "effect": effect, "operator": "Exists"})));
    *tolerations = json!(all);
    let only = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let required = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"].as_array_mut() {
        Some(terms) => {
            for term in terms {
                term["matchFields"] = only.clone();
            }
        }
        None => *required = json!({"nodeSelectorTerms": [{"matchFields": only}]}),
    }
    pod
}

/// Whether a pod is to run on a node, and whether one that is there may stay.
fn wanted_on(pod: &Value, node: &Value) -> (bool, bool) {
    let selects = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let mut selects = selects.map(|(key, value)| node["metadata"]["labels"].get(key) == Some(value));
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let mut terms = pod.pointer(terms).and_then(Value::as_array).into_iter().flatten();
    let named = pod["spec"]["nodeName"].as_str().is_none_or(|name| node["metadata"]["name"] == name);
    if !named || !selects.all(|fits| fits) || !terms.any(|term| takes(term, node)) {
        return (false, false);
    }
    let tolerations = pod["spec"]["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut fits = (true, true);
    for taint in taints.filter(|taint| !tolerations.iter().any(|toleration| tolerated(toleration, taint))) {
        match taint["effect"].as_str() {
            Some("NoExecute") => fits = (false, false),
            Some("NoSchedule") => fits.0 = false,
            _ => {}
        }
    }
    fits
}
