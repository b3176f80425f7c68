//! PodDisruptionBudgets: how many pods may be evicted now.
//!
//! As kube-controller-manager's disruption controller. With `maxUnavailable`, or a percentage, the expected number of
//! pods is what their controllers ask for: a pod without a controller that scales makes the budget allow nothing.
//! With a number as `minAvailable` it is the pods that are there. Percentages round up. An eviction that the API
//! server has let through counts as a pod that is going until the pod has gone, at most 2 min.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::events::{Event, Recorder};
use super::objects::{
    active, condition, controller_of, count, finished, is_ready, names, replicas, scaled, set_status, stamp, uid,
};
use super::{Controller, Key};
use crate::clock::{Timestamp, later};
use crate::kubernetes::Selector;
use crate::lab::resource::{DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS, Resource, STATEFUL_SETS};
use crate::lab::store::{Change, Object, Store, seconds};

/// How long an eviction may take until the pod is marked for deletion.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

const SOURCE: &str = "controllermanager";

pub(super) struct Disruption {
    events: Recorder,
}

impl Disruption {
    pub(super) fn new(events: Recorder) -> Self {
        Self { events }
    }
}

impl Disruption {
    /// What cannot be worked out allows nothing.
    fn fail(&self, store: &Store, budget: &Object, why: &str) {
        let message = format!("Failed to calculate the number of expected pods: {why}");
        self.events.record(budget, &Event::warning(SOURCE, "CalculateExpectedPodCountFailed", message));
        let mut status = budget["status"].clone();
        for (field, default) in [("currentHealthy", 0), ("desiredHealthy", 0), ("expectedPods", 0)] {
            if status[field].is_null() {
                status[field] = json!(default);
            }
        }
        status["disruptionsAllowed"] = json!(0);
        status["conditions"] = conditions(budget, "SyncFailed", why, self.events.now());
        set_status(store, &POD_DISRUPTION_BUDGETS, budget, status);
    }
}

impl Controller for Disruption {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        if change.resource.is(&POD_DISRUPTION_BUDGETS) {
            into.insert(Key::of(&change.object));
            return;
        }
        let scales = [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS].iter().any(|kind| change.resource.is(kind));
        if !scales && !change.resource.is(&PODS) {
            return;
        }
        for budget in store.list(&POD_DISRUPTION_BUDGETS, Some(names(&change.object).0)).0 {
            let selector = selector(&budget);
            let takes = |object: &Object| selector.as_ref().is_some_and(|s| s.matches(&object["metadata"]["labels"]));
            // A workload may have labels of its own; what it asks for may change any budget of its namespace.
            if scales || change.before.iter().chain([&change.object]).any(takes) {
                into.insert(Key::of(&budget));
            }
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let budget = store.find(&POD_DISRUPTION_BUDGETS, &key.namespace, &key.name)?;
        let now = self.events.now();
        let mut pods = store.list(&PODS, Some(&key.namespace)).0;
        let selector = selector(&budget);
        pods.retain(|pod| selector.as_ref().is_some_and(|selector| selector.matches(&pod["metadata"]["labels"])));
        if pods.is_empty() && budget["status"]["observedGeneration"] != budget["metadata"]["generation"] {
            self.events.record(&budget, &Event::normal(SOURCE, "NoPods", "No matching pods found"));
        }
        let (disrupted, again) = disrupted(&budget, &pods, now);
        let healthy = pods.iter().filter(|pod| active(pod) && is_ready(pod) && !disrupted.contains_key(names(pod).1));
        let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
        let by_number = matches!(budget["spec"].get("minAvailable"), Some(Value::Number(_)));
        if !by_number && pods.iter().any(|pod| controller_of(pod).is_none()) {
            let selector = selector.map(|selector| selector.to_string()).unwrap_or_default();
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            self.events.record(&budget, &Event::warning(SOURCE, "UnmanagedPods", message));
        }
        let (expected, desired) = match expected(store, &budget, &pods) {
            Ok(numbers) => numbers,
            Err(why) => {
                self.fail(store, &budget, &why);
                return None;
            }
        };
        let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
        let mut status = json!({
            "observedGeneration": budget["metadata"]["generation"], "expectedPods": expected,
            "desiredHealthy": desired, "currentHealthy": healthy, "disruptionsAllowed": allowed,
        });
        if !disrupted.is_empty() {
            status["disruptedPods"] = Value::Object(disrupted);
        }
        let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
        status["conditions"] = conditions(&budget, reason, "", now);
        let before = &budget["status"];
        let fields = ["observedGeneration", "expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"];
        let same = fields.iter().all(|field| before[*field] == status[*field])
            && before.get("disruptedPods") == status.get("disruptedPods")
            && condition(before, "DisruptionAllowed").is_some_and(|c| c["reason"] == reason);
        if !same {
            set_status(store, &POD_DISRUPTION_BUDGETS, &budget, status);
        }
        again
    }
}

/// The pods that a budget is for: an empty selector takes all of the namespace, none takes nothing.
fn selector(budget: &Value) -> Option<Selector> {
    let selector = &budget["spec"]["selector"];
    if selector.is_null() { None } else { Selector::from_json(selector).ok() }
}

/// How many pods there should be, and how many of them healthy.
fn expected(store: &Store, budget: &Value, pods: &[Object]) -> Result<(i64, i64), String> {
    let spec = &budget["spec"];
    if !spec["maxUnavailable"].is_null() {
        let expected = wanted(store, pods)?;
        let unavailable = scaled(&spec["maxUnavailable"], expected, true).unwrap_or(0);
        return Ok((expected, (expected - unavailable).max(0)));
    }
    match &spec["minAvailable"] {
        Value::Null => Ok((0, 0)),
        percent @ Value::String(_) => {
            let expected = wanted(store, pods)?;
            Ok((expected, scaled(percent, expected, true).unwrap_or(0)))
        }
        number => {
            let there = i64::try_from(pods.len()).unwrap_or(i64::MAX);
            Ok((there, count(number)))
        }
    }
}

/// What the pods' controllers ask for, each counted once.
fn wanted(store: &Store, pods: &[Object]) -> Result<i64, String> {
    let mut asked: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods {
        if let Some((owner, replicas)) = scale_of(store, pod)? {
            asked.insert(owner, replicas);
        }
    }
    Ok(asked.values().sum())
}

/// A pod's scaling controller, by uid, and what it asks for. `None` for a pod without any controller: it is not
/// expected.
fn scale_of(store: &Store, pod: &Value) -> Result<Option<(String, i64)>, String> {
    let Some(reference) = controller_of(pod) else { return Ok(None) };
    let namespace = names(pod).0;
    let owner = |resource: &'static Resource, reference: &Value| {
        let name = reference["name"].as_str().unwrap_or_default();
        store.find(resource, namespace, name).filter(|owner| reference["uid"] == uid(owner))
    };
    let missing = || format!("found no controllers for pod {:?}", names(pod).1);
    match reference["kind"].as_str() {
        Some("ReplicaSet") => {
            let set = owner(&REPLICA_SETS, reference).ok_or_else(missing)?;
            let above = controller_of(&set).filter(|above| above["kind"] == DEPLOYMENTS.kind);
            let top = above.and_then(|above| owner(&DEPLOYMENTS, above)).unwrap_or(set);
            Ok(Some((uid(&top).to_owned(), replicas(&top))))
        }
        Some("StatefulSet") => {
            let set = owner(&STATEFUL_SETS, reference).ok_or_else(missing)?;
            Ok(Some((uid(&set).to_owned(), replicas(&set))))
        }
        kind => {
            let fits = |k: &&Resource| Some(k.kind) == kind && reference["apiVersion"] == k.api_version().as_str();
            let known = store.kinds().into_iter().find(fits).ok_or_else(missing)?;
            Err(format!("{} does not implement the scale subresource", known.qualified_plural()))
        }
    }
}

/// The evicted pods that have not gone yet, and when the first of them is given up.
fn disrupted(budget: &Value, pods: &[Object], now: Timestamp) -> (Map<String, Value>, Option<Timestamp>) {
    let mut left = Map::new();
    let mut again: Option<Timestamp> = None;
    for (name, at) in budget["status"]["disruptedPods"].as_object().into_iter().flatten() {
        let there = pods.iter().any(|pod| names(pod).1 == name && active(pod) && !finished(pod));
        let until = stamp(at).map_or(now, |at| later(at, DELETION_TIMEOUT));
        if there && until > now {
            left.insert(name.clone(), at.clone());
            again = Some(again.map_or(until, |other| other.min(until)));
        }
    }
    (left, again)
}

fn conditions(budget: &Value, reason: &str, message: &str, now: Timestamp) -> Value {
    let status = if reason == "SufficientPods" { "True" } else { "False" };
    let before = condition(&budget["status"], "DisruptionAllowed").filter(|c| c["status"] == status);
    let since = before.map_or_else(|| json!(seconds(now)), |before| before["lastTransitionTime"].clone());
    json!([{
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": message,
        "observedGeneration": budget["metadata"]["generation"], "lastTransitionTime": since,
    }])
}
