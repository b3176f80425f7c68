//! Deployments make ReplicaSets, ReplicaSets make pods.

use serde_json::{Value, json};

use super::events::{Event, Recorder};
use crate::kubernetes::Selector;
use crate::lab::resource::{DEPLOYMENTS, PODS, REPLICA_SETS, Resource};
use crate::lab::store::{Object, Part, Preconditions, Store, admission};

/// The letters of a pod template's hash, as Kubernetes has them.
const HASH_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub(super) fn reconcile(store: &Store, events: &Recorder) {
    for deployment in store.list(&DEPLOYMENTS, None).0 {
        reconcile_deployment(store, &deployment);
    }
    for replica_set in store.list(&REPLICA_SETS, None).0 {
        reconcile_replica_set(store, &replica_set, events);
    }
}

/// The newest template gets all replicas; older ones shrink to nothing once its pods are ready.
fn reconcile_deployment(store: &Store, deployment: &Object) {
    if !deployment["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let (namespace, name) = names(deployment);
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let hash = hash(&deployment["spec"]["template"]);
    let current = format!("{name}-{hash}");
    let owned = owned_by(store, &REPLICA_SETS, deployment);
    if !owned.iter().any(|set| set["metadata"]["name"] == current.as_str()) {
        let mut labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
        labels["pod-template-hash"] = json!(hash);
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"] = labels.clone();
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"]["pod-template-hash"] = json!(hash);
        let set = json!({
            "metadata": {"name": current, "labels": labels, "ownerReferences": [owner(deployment)]},
            "spec": {"replicas": wanted, "selector": selector, "template": template},
            "status": {},
        });
        // The namespace may be gone by now; then there is nothing to make.
        let _ = store.create(&REPLICA_SETS, namespace, set, false);
    }
    let owned = owned_by(store, &REPLICA_SETS, deployment);
    let ready = |set: &Value| set["status"]["readyReplicas"].as_u64().unwrap_or(0);
    let newest_is_ready = owned.iter().any(|set| set["metadata"]["name"] == current.as_str() && ready(set) >= wanted);
    for set in &owned {
        let newest = set["metadata"]["name"] == current.as_str();
        if newest || newest_is_ready {
            scale(store, set, if newest { wanted } else { 0 });
        }
    }
    let sum = |field: &str| owned.iter().map(|set| set["status"][field].as_u64().unwrap_or(0)).sum::<u64>();
    let (replicas, ready) = (sum("replicas"), sum("readyReplicas"));
    let updated = owned.iter().find(|set| set["metadata"]["name"] == current.as_str());
    let updated = updated.map_or(0, |set| set["status"]["replicas"].as_u64().unwrap_or(0));
    let available = json!({
        "type": "Available",
        "status": if ready >= wanted { "True" } else { "False" },
        "reason": if ready >= wanted { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
    });
    let mut status = json!({"observedGeneration": deployment["metadata"]["generation"], "conditions": [available]});
    let counts =
        [("replicas", replicas), ("updatedReplicas", updated), ("readyReplicas", ready), ("availableReplicas", ready)];
    set_counts(&mut status, &counts);
    set_status(store, &DEPLOYMENTS, deployment, status);
}

fn scale(store: &Store, set: &Object, replicas: u64) {
    if set["spec"]["replicas"].as_u64() != Some(replicas) {
        let (namespace, name) = names(set);
        let change = |before: &Value| {
            let mut after = before.clone();
            after["spec"]["replicas"] = json!(replicas);
            Ok(after)
        };
        // It may have been deleted meanwhile; the next round sees.
        let _ = store.modify(&REPLICA_SETS, namespace, name, Part::Main, false, change);
    }
}

fn reconcile_replica_set(store: &Store, set: &Object, events: &Recorder) {
    if !set["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let (namespace, name) = names(set);
    let wanted = usize::try_from(set["spec"]["replicas"].as_u64().unwrap_or(1)).unwrap_or(usize::MAX);
    let selector = Selector::from_json(&set["spec"]["selector"]).unwrap_or_default();
    let pods: Vec<Object> = owned_by(store, &PODS, set)
        .into_iter()
        .filter(|pod| {
            let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            let going = !pod["metadata"]["deletionTimestamp"].is_null();
            selector.matches(&pod["metadata"]["labels"]) && !finished && !going
        })
        .collect();
    for _ in pods.len()..wanted {
        let mut pod = json!({"metadata": set["spec"]["template"]["metadata"].clone(), "spec": set["spec"]["template"]["spec"].clone()});
        pod["metadata"]["generateName"] = json!(format!("{name}-"));
        pod["metadata"]["ownerReferences"] = json!([owner(set)]);
        let admitted = admission::admit(store, &PODS, namespace, &mut pod);
        let source = "replicaset-controller";
        match admitted.and_then(|()| store.create(&PODS, namespace, pod, false)) {
            Ok(pod) => {
                let message = format!("Created pod: {}", names(&pod).1);
                events.record(set, &Event::normal(source, "SuccessfulCreate", message));
            }
            Err(refused) => {
                let message = format!("Error creating: {}", refused.message);
                events.record(set, &Event::warning(source, "FailedCreate", message));
                break;
            }
        }
    }
    // Those that are not ready go first.
    let mut surplus: Vec<&Object> = pods.iter().collect();
    surplus.sort_by_key(|pod| is_ready(pod));
    for pod in surplus.into_iter().take(pods.len().saturating_sub(wanted)) {
        let (namespace, name) = names(pod);
        let _ = store.delete(&PODS, namespace, name, &Preconditions::default(), None, false);
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let mut status = json!({"observedGeneration": set["metadata"]["generation"], "replicas": pods.len().min(wanted)});
    set_counts(&mut status, &[("readyReplicas", ready as u64), ("availableReplicas", ready as u64)]);
    set_status(store, &REPLICA_SETS, set, status);
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.clone().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Counts of nothing are absent, as in the real API.
fn set_counts(status: &mut Value, counts: &[(&str, u64)]) {
    for (field, count) in counts.iter().filter(|(_, count)| *count > 0) {
        status[*field] = json!(count);
    }
}

fn set_status(store: &Store, resource: &'static Resource, object: &Object, status: Value) {
    let (namespace, name) = names(object);
    let change = |before: &Value| {
        let mut after = before.clone();
        after["status"] = status;
        Ok(after)
    };
    // It may have been deleted meanwhile.
    let _ = store.modify(resource, namespace, name, Part::Status, false, change);
}

pub(super) fn names(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default())
}

fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

fn owned_by(store: &Store, resource: &'static Resource, owner: &Value) -> Vec<Object> {
    let (namespace, _) = names(owner);
    let (mut all, _) = store.list(resource, Some(namespace));
    all.retain(|object| {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.clone().any(|reference| reference["uid"] == owner["metadata"]["uid"])
    });
    all
}

/// Ten letters that change with the template.
fn hash(template: &Value) -> String {
    let text = template.to_string();
    let mut bits = u64::from(crc32fast::hash(text.as_bytes())) << 32
        | u64::from(crc32fast::hash(text.as_bytes().split_at(text.len() / 2).1));
    let letters = HASH_LETTERS.len() as u64;
    let mut hash = String::new();
    for _ in 0..10 {
        hash.push(char::from(HASH_LETTERS[usize::try_from(bits % letters).unwrap_or(0)]));
        bits /= letters;
    }
    hash
}
