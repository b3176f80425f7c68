//! The EndpointSlices of a service.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::objects::{edit, is_ready, owner_reference, uid};
use super::{
    ENDPOINT_SLICES, MANAGED_BY, Object, SERVICE_NAME, SLICE_CONTROLLER, Store, TRIGGER_TIME, address, deleting,
    host_name, labels, names, remove, target, target_reference,
};

/// How many endpoints a slice holds at most.
const MOST: usize = 100;

/// What a slice is to hold; `None` for the one that stands where there is no endpoint.
type Content = Option<(Vec<Value>, Vec<Value>)>;

pub(super) fn reconcile(store: &Store, service: &Object, pods: &[Object], now: &str) {
    let (namespace, name) = names(service);
    let own = labels(service, &[(SERVICE_NAME, name), (MANAGED_BY, SLICE_CONTROLLER)]);
    let mut there = store.list(&ENDPOINT_SLICES, Some(namespace)).0;
    there.retain(|slice| {
        let labels = &slice["metadata"]["labels"];
        labels[SERVICE_NAME] == name && labels[MANAGED_BY] == SLICE_CONTROLLER && !deleting(slice)
    });
    // A slice of a service that was there before is the collector's.
    let ours = |slice: &Object| slice["metadata"]["ownerReferences"][0]["uid"] == uid(service);
    there.retain(ours);
    let mut left: Vec<Content> = wanted(service, pods);
    let mut spare = Vec::new();
    // First slices of the same ports, so that each keeps what it had.
    for slice in there {
        let same_ports = |content: &Content| match content {
            Some((ports, _)) => slice["ports"].as_array() == Some(ports),
            None => slice["ports"].is_null(),
        };
        match left.iter().position(same_ports) {
            Some(number) => update(store, &slice, left.remove(number), &own, now),
            None => spare.push(slice),
        }
    }
    for content in left {
        // One that would go takes the place of one that would be made.
        if let Some(slice) = spare.pop() {
            update(store, &slice, content, &own, now);
            continue;
        }
        let mut slice = json!({
            "metadata": {
                "generateName": format!("{name}-"), "labels": own, "ownerReferences": [owner_reference(service)],
                "annotations": {TRIGGER_TIME: service["metadata"]["creationTimestamp"]},
            },
            "addressType": "IPv4",
        });
        fill(&mut slice, content);
        // The namespace may be gone by now; then there is nothing to make.
        let _ = store.create(&ENDPOINT_SLICES, namespace, slice, false);
    }
    for slice in spare {
        remove(store, &ENDPOINT_SLICES, &slice);
    }
}

fn update(store: &Store, slice: &Object, content: Content, labels: &serde_json::Map<String, Value>, now: &str) {
    let mut wanted = (**slice).clone();
    wanted["metadata"]["labels"] = json!(labels);
    fill(&mut wanted, content);
    if wanted != **slice {
        wanted["metadata"]["annotations"][TRIGGER_TIME] = json!(now);
        edit(store, &ENDPOINT_SLICES, slice, |slice| *slice = wanted);
    }
}

fn fill(slice: &mut Value, content: Content) {
    let (ports, endpoints) = content.map_or((Value::Null, Value::Null), |(ports, all)| (json!(ports), json!(all)));
    slice["ports"] = ports;
    slice["endpoints"] = endpoints;
}

/// The slices that there should be: at least one.
fn wanted(service: &Value, pods: &[Object]) -> Vec<Content> {
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        let ports = ports(service, pod);
        let group = groups.entry(json!(ports).to_string()).or_insert_with(|| (ports, Vec::new()));
        group.1.push(endpoint(service, pod));
    }
    let mut slices: Vec<Content> = Vec::new();
    for (ports, endpoints) in groups.into_values() {
        slices.extend(endpoints.chunks(MOST).map(|chunk| Some((ports.clone(), chunk.to_vec()))));
    }
    if slices.is_empty() {
        slices.push(None);
    }
    slices
}

fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let of = |port: &Value| {
        let name = port["name"].as_str().unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let mut found = json!({"name": name, "port": target(port, pod)?, "protocol": protocol});
        if let Some(protocol) = port["appProtocol"].as_str() {
            found["appProtocol"] = json!(protocol);
        }
        Some(found)
    };
    ports.filter_map(of).collect()
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let terminating = deleting(pod);
    let serving = is_ready(pod);
    let ready = service["spec"]["publishNotReadyAddresses"] == true || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [address(pod)],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": target_reference(pod),
    });
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        endpoint["nodeName"] = json!(node);
    }
    if let Some(host) = host_name(service, pod) {
        endpoint["hostname"] = json!(host);
    }
    endpoint
}
