//! ReplicaSets keep so many pods of their template.
//!
//! Pods are adopted and let go by their labels. Who goes first when there are too many is kube-controller-manager's
//! order: pods without a node, pending, not ready, cheap to delete, crowded on their node, ready since a shorter
//! time, often restarted, young. The real one makes pods in batches of 1, 2, 4…; here all are made at once, up to the
//! first that is refused. A pod is available `minReadySeconds` after its Ready condition.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::events::{Event, Recorder};
use super::objects::{
    Retries, active, annotation, available_at, claim, condition, controlled_by, controller_of, count, create, deleting,
    is_ready, names, owners_of, pod_of, remove, replicas, selector, set_counts, set_status, stamp, uid,
};
use super::{Controller, Key};
use crate::clock::Timestamp;
use crate::kubernetes::Selector;
use crate::lab::resource::{PODS, REPLICA_SETS};
use crate::lab::status::Status;
use crate::lab::store::{Change, Object, Store, seconds};

const SOURCE: &str = "replicaset-controller";

pub(super) struct ReplicaSets {
    events: Recorder,
    retries: Retries,
}

impl ReplicaSets {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events, retries: Retries::default() }
    }

    /// Makes or ends pods; what was refused is the set's failure.
    fn manage(&self, store: &Store, set: &Object, pods: &[Object]) -> Option<(&'static str, Status)> {
        let (namespace, name) = names(set);
        let wanted = usize::try_from(replicas(set)).unwrap_or(0);
        for _ in pods.len()..wanted {
            let mut pod = pod_of(&set["spec"]["template"], set);
            pod["metadata"]["generateName"] = json!(format!("{name}-"));
            match create(store, &PODS, namespace, pod) {
                Ok(pod) => {
                    let message = format!("Created pod: {}", names(&pod).1);
                    self.events.record(set, &Event::normal(SOURCE, "SuccessfulCreate", message));
                }
                Err(refused) => {
                    let message = format!("Error creating: {}", refused.message);
                    self.events.record(set, &Event::warning(SOURCE, "FailedCreate", message));
                    return Some(("FailedCreate", refused));
                }
            }
        }
        let surplus = pods.len().saturating_sub(wanted);
        if surplus > 0 {
            for pod in going_first(store, set, pods, self.events.now()).into_iter().take(surplus) {
                if remove(store, &PODS, &pod) {
                    let message = format!("Deleted pod: {}", names(&pod).1);
                    self.events.record(set, &Event::normal(SOURCE, "SuccessfulDelete", message));
                }
            }
        }
        None
    }
}

impl Controller for ReplicaSets {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&REPLICA_SETS) {
            into.insert(Key::of(&change.object));
        } else if change.resource.is(&PODS) {
            owners_of(store, change, &REPLICA_SETS, into);
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(set) = store.find(&REPLICA_SETS, &key.namespace, &key.name) else {
            self.retries.succeeded(key);
            return None;
        };
        let selector = selector(&set)?;
        let pods = claim(store, &PODS, &set, &selector, active);
        let failure = if deleting(&set) { None } else { self.manage(store, &set, &pods) };
        let now = self.events.now();
        let min_ready = count(&set["spec"]["minReadySeconds"]);
        let available = pods.iter().filter_map(|pod| available_at(pod, min_ready));
        let (there, coming): (Vec<_>, Vec<_>) = available.partition(|at| *at <= now);
        set_status(store, &REPLICA_SETS, &set, status(&set, &pods, there.len(), failure.as_ref(), now));
        let again = match failure {
            Some(_) => Some(self.retries.failed(key, now)),
            None => {
                self.retries.succeeded(key);
                None
            }
        };
        coming.into_iter().chain(again).min()
    }
}

fn status(
    set: &Value,
    pods: &[Object],
    available: usize,
    failure: Option<&(&'static str, Status)>,
    now: Timestamp,
) -> Value {
    let template = &set["spec"]["template"]["metadata"]["labels"];
    let labelled = Selector::from_json(&json!({"matchLabels": template})).unwrap_or_default();
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut status = json!({
        "replicas": pods.len(), "observedGeneration": set["metadata"]["generation"],
    });
    let fully = pods.iter().filter(|pod| labelled.matches(&pod["metadata"]["labels"])).count();
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let counts = [("fullyLabeledReplicas", fully), ("readyReplicas", ready), ("availableReplicas", available)];
    set_counts(&mut status, &counts.map(|(field, n)| (field, number(n))));
    if let Some((reason, refused)) = failure {
        let before = condition(&set["status"], "ReplicaFailure").filter(|c| c["reason"] == *reason);
        let new = json!({
            "type": "ReplicaFailure", "status": "True", "reason": reason, "message": refused.message,
            "lastTransitionTime": seconds(now),
        });
        status["conditions"] = json!([before.cloned().unwrap_or(new)]);
    }
    status
}

/// The pods in the order in which they go.
fn going_first(store: &Store, set: &Value, pods: &[Object], now: Timestamp) -> Vec<Object> {
    // Pods of the other sets of the same Deployment crowd a node too.
    let siblings: BTreeSet<String> = match controller_of(set) {
        Some(owner) => {
            let sets = store.list(&REPLICA_SETS, Some(names(set).0)).0;
            let of_owner = |s: &&Object| controller_of(s).is_some_and(|o| o["uid"] == owner["uid"]);
            sets.iter().filter(of_owner).map(|s| uid(s).to_owned()).collect()
        }
        None => BTreeSet::from([uid(set).to_owned()]),
    };
    let mut crowd: BTreeMap<String, usize> = BTreeMap::new();
    for pod in store.list(&PODS, Some(names(set).0)).0 {
        let related =
            controller_of(&pod).and_then(|owner| owner["uid"].as_str()).is_some_and(|uid| siblings.contains(uid));
        if let (true, true, Some(node)) = (related, active(&pod), pod["spec"]["nodeName"].as_str()) {
            *crowd.entry(node.to_owned()).or_default() += 1;
        }
    }
    let crowd_of =
        |pod: &Value| pod["spec"]["nodeName"].as_str().and_then(|node| crowd.get(node)).copied().unwrap_or(0);
    let mut pods = pods.to_vec();
    debug_assert!(pods.iter().all(|pod| controlled_by(pod, set)), "only own pods are counted");
    pods.sort_by(|a, b| goes_before(a, b, (crowd_of(a), crowd_of(b)), now));
    pods
}

fn goes_before(a: &Value, b: &Value, crowds: (usize, usize), now: Timestamp) -> Ordering {
    let assigned = |pod: &Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let phase = |pod: &Value| match pod["status"]["phase"].as_str() {
        Some("Unknown") => 1,
        Some("Running") => 2,
        _ => 0,
    };
    let cost = |pod: &Value| -> i32 {
        annotation(pod, "controller.kubernetes.io/pod-deletion-cost").and_then(|cost| cost.parse().ok()).unwrap_or(0)
    };
    let restarts = |pod: &Value| {
        let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        containers.map(|container| count(&container["restartCount"])).max().unwrap_or(0)
    };
    let ready_since = |pod: &Value| {
        let ready = condition(&pod["status"], "Ready").filter(|condition| condition["status"] == "True")?;
        stamp(&ready["lastTransitionTime"])
    };
    let made = |pod: &Value| stamp(&pod["metadata"]["creationTimestamp"]);
    assigned(a)
        .cmp(&assigned(b))
        .then(phase(a).cmp(&phase(b)))
        .then(is_ready(a).cmp(&is_ready(b)))
        .then(cost(a).cmp(&cost(b)))
        .then(crowds.1.cmp(&crowds.0))
        .then_with(|| younger(ready_since(a), ready_since(b), now).unwrap_or_else(|| uid(a).cmp(uid(b))))
        .then(restarts(b).cmp(&restarts(a)))
        .then_with(|| younger(made(a), made(b), now).unwrap_or_else(|| uid(a).cmp(uid(b))))
        .then_with(|| uid(a).cmp(uid(b)))
}

/// Compares two times by how long ago they are, by powers of two; the younger comes first. `None` where they differ
/// and are about as old: then chance decides, so that not always the newest go.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    let (Some(a), Some(b)) = (a, b) else { return Some(Ordering::Equal) };
    let age = |at: Timestamp| u64::try_from(now.duration_since(at).as_nanos()).unwrap_or(0).checked_ilog2();
    match age(a).cmp(&age(b)) {
        Ordering::Equal => None,
        order => Some(order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n"},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
            ]},
        });
        change(&mut pod);
        pod
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let mut pods = [
            pod("g-oldest", |p| p["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:00:01Z")),
            pod("f-usual", |_| {}),
            pod("e-fresh", |p| p["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T01:00:00Z")),
            pod("d-cheap", |p| {
                p["metadata"]["annotations"] = json!({"controller.kubernetes.io/pod-deletion-cost": "-1"});
            }),
            pod("c-not-ready", |p| p["status"]["conditions"][0]["status"] = json!("False")),
            pod("b-pending", |p| p["status"]["phase"] = json!("Pending")),
            pod("a-nowhere", |p| p["spec"] = json!({})),
        ];
        let now = "2026-01-01T01:00:01Z".parse().expect("a time");
        pods.sort_by(|a, b| goes_before(a, b, (1, 1), now));
        let order: Vec<_> = pods.iter().map(|pod| &names(pod).1[..1]).collect();
        assert_eq!(order.concat(), "abcdefg");
        assert_eq!(goes_before(&pods[5], &pods[6], (1, 2), now), Ordering::Greater, "a crowded node gives first");
    }
}
