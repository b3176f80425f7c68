//! EndpointSlices follow the readiness of pods.

use serde_json::{Value, json};

use super::objects::{is_ready, names};
use crate::kubernetes::Selector;
use crate::lab::controllers::kubelet::NODE_NAME;
use crate::lab::resource::{ENDPOINT_SLICES, PODS, SERVICES};
use crate::lab::store::{Object, Part, Store};

pub(super) fn reconcile(store: &Store) {
    for service in store.list(&SERVICES, None).0 {
        if service["spec"]["selector"].as_object().is_some_and(|selector| !selector.is_empty()) {
            reconcile_service(store, &service);
        }
    }
}

fn reconcile_service(store: &Store, service: &Object) {
    let (namespace, name) = names(service);
    let selector = Selector::from_json(&json!({"matchLabels": service["spec"]["selector"]})).unwrap_or_default();
    let (mut pods, _) = store.list(&PODS, Some(namespace));
    pods.retain(|pod| {
        let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        selector.matches(&pod["metadata"]["labels"]) && pod["status"]["podIP"].is_string() && !finished
    });
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
            let ready = is_ready(pod) && !terminating;
            let (_, name) = names(pod);
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": ready, "serving": is_ready(pod), "terminating": terminating},
                "nodeName": NODE_NAME,
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": pod["metadata"]["uid"]},
            })
        })
        .collect();
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports: Vec<Value> = ports
        .filter_map(|port| {
            let target = target(&port["targetPort"], pods.first())?;
            Some(json!({"name": port["name"].as_str().unwrap_or_default(), "port": target, "protocol": port["protocol"]}))
        })
        .collect();
    let slice_name = format!("{name}-lab");
    let wanted = |mut slice: Value| {
        slice["addressType"] = json!("IPv4");
        slice["endpoints"] = json!(endpoints);
        slice["ports"] = json!(ports);
        slice
    };
    if store.find(&ENDPOINT_SLICES, namespace, &slice_name).is_some() {
        let _ = store
            .modify(&ENDPOINT_SLICES, namespace, &slice_name, Part::Main, false, |before| Ok(wanted(before.clone())));
        return;
    }
    let owner = json!({"apiVersion": "v1", "kind": "Service", "name": name, "uid": service["metadata"]["uid"], "controller": true});
    let slice = json!({"metadata": {
        "name": slice_name, "labels": {"kubernetes.io/service-name": name}, "ownerReferences": [owner],
    }});
    // The namespace may be gone by now; then there is nothing to make.
    let _ = store.create(&ENDPOINT_SLICES, namespace, wanted(slice), false);
}

/// The number of a target port; a named one is that of the first pod.
fn target(port: &Value, pod: Option<&Object>) -> Option<u64> {
    let Value::String(name) = port else { return port.as_u64() };
    let containers = pod?["spec"]["containers"].as_array()?;
    let mut ports = containers.iter().filter_map(|c| c["ports"].as_array()).flatten();
    ports.find(|p| p["name"] == name.as_str())?["containerPort"].as_u64()
}
