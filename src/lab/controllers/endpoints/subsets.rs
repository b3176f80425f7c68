//! The Endpoints object of a service.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::objects::{edit, is_ready};
use super::{
    ENDPOINTS, Object, Store, TRIGGER_TIME, active, address, host_name, labels, names, target, target_reference,
};

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Whether the controller wrote it.
pub(super) fn is_managed(endpoints: &Value) -> bool {
    endpoints["metadata"]["labels"][MANAGED_BY.0] == MANAGED_BY.1
}

pub(super) fn reconcile(store: &Store, service: &Object, pods: &[Object], now: &str) {
    let (namespace, name) = names(service);
    let subsets = subsets(service, pods);
    let labels = labels(service, &[MANAGED_BY]);
    let fill = |endpoints: &mut Value| {
        endpoints["metadata"]["labels"] = json!(labels);
        endpoints["metadata"]["annotations"][TRIGGER_TIME] = json!(now);
        match (subsets.is_empty(), endpoints.as_object_mut()) {
            (true, Some(endpoints)) => drop(endpoints.remove("subsets")),
            _ => endpoints["subsets"] = json!(subsets),
        }
    };
    match store.find(&ENDPOINTS, namespace, name) {
        None => {
            let mut endpoints = json!({"metadata": {"name": name}});
            fill(&mut endpoints);
            endpoints["metadata"]["annotations"][TRIGGER_TIME] = service["metadata"]["creationTimestamp"].clone();
            // The namespace may be gone by now; then there is nothing to make.
            let _ = store.create(&ENDPOINTS, namespace, endpoints, false);
        }
        Some(there) => {
            let before = there["subsets"].as_array().map(Vec::as_slice).unwrap_or_default();
            if before != subsets || there["metadata"]["labels"] != json!(labels) {
                edit(store, &ENDPOINTS, &there, fill);
            }
        }
    }
}

/// Addresses of the same ports together.
fn subsets(service: &Value, pods: &[Object]) -> Vec<Value> {
    let unready_too = service["spec"]["publishNotReadyAddresses"] == true;
    // By ports; then ready and not ready ones.
    let mut groups: BTreeMap<String, (Vec<Value>, [Vec<&Object>; 2])> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| unready_too || active(pod)) {
        let ports = ports(service, pod);
        let headless_without = service["spec"]["ports"].as_array().is_none_or(Vec::is_empty);
        if ports.is_empty() && !headless_without {
            continue;
        }
        let group = groups.entry(json!(ports).to_string()).or_insert_with(|| (ports, [Vec::new(), Vec::new()]));
        group.1[usize::from(!(unready_too || is_ready(pod)))].push(pod);
    }
    let list = |mut pods: Vec<&Object>| -> Vec<Value> {
        pods.sort_by_key(|pod| address(pod).and_then(|ip| ip.parse::<std::net::Ipv4Addr>().ok()));
        pods.into_iter().map(|pod| of(service, pod)).collect()
    };
    let subset = |(ports, [ready, waiting]): (Vec<Value>, [Vec<&Object>; 2])| {
        let mut subset = json!({});
        for (field, values) in [("addresses", list(ready)), ("notReadyAddresses", list(waiting)), ("ports", ports)] {
            if !values.is_empty() {
                subset[field] = json!(values);
            }
        }
        subset
    };
    groups.into_values().map(subset).collect()
}

fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let mut ports: Vec<Value> = ports
        .filter_map(|port| {
            let mut found = json!({"port": target(port, pod)?, "protocol": port["protocol"].as_str().unwrap_or("TCP")});
            for field in ["name", "appProtocol"] {
                if let Some(text) = port[field].as_str().filter(|text| !text.is_empty()) {
                    found[field] = json!(text);
                }
            }
            Some(found)
        })
        .collect();
    ports.sort_by_key(|port| (port["name"].as_str().unwrap_or_default().to_owned(), port["port"].as_u64()));
    ports
}

fn of(service: &Value, pod: &Value) -> Value {
    let mut endpoint = json!({"ip": address(pod), "targetRef": target_reference(pod)});
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        endpoint["nodeName"] = json!(node);
    }
    if let Some(host) = host_name(service, pod) {
        endpoint["hostname"] = json!(host);
    }
    endpoint
}
