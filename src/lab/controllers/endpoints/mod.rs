//! Endpoints and EndpointSlices follow the readiness of pods.
//!
//! As kube-controller-manager's two controllers: a service with a selector has one Endpoints object of its name and
//! slices of at most 100 endpoints, one for each set of ports (a named port may be another number in another pod).
//! Pods on their way out are no endpoints of Endpoints, and `terminating` ones in slices. With
//! `publishNotReadyAddresses` every pod is ready. Services without a selector are left alone. Only IPv4, and no
//! mirroring of Endpoints that people write. The real ones take some tens of milliseconds, these none.

mod slices;
mod subsets;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::objects::{active, deleting, finished, names, remove};
use super::{Controller, Key};
use crate::clock::{Clock, Timestamp};
use crate::kubernetes::Selector;
use crate::lab::resource::{ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES};
use crate::lab::store::{Change, Object, Store, seconds};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

pub(super) struct Endpoints {
    clock: Clock,
}

impl Endpoints {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl Controller for Endpoints {
    fn affected(&self, store: &Store, change: &Change, into: &mut BTreeSet<Key>) {
        let object = &change.object;
        if change.resource.is(&SERVICES) || change.resource.is(&ENDPOINTS) {
            into.insert(Key::of(object));
        } else if change.resource.is(&ENDPOINT_SLICES) {
            if let Some(service) = object["metadata"]["labels"][SERVICE_NAME].as_str() {
                into.insert(Key { namespace: names(object).0.to_owned(), name: service.to_owned() });
            }
        } else if change.resource.is(&PODS) {
            for service in store.list(&SERVICES, Some(names(object).0)).0 {
                let selector = selector(&service);
                let takes = |pod: &Object| selector.as_ref().is_some_and(|s| s.matches(&pod["metadata"]["labels"]));
                if change.before.iter().chain([object]).any(takes) {
                    into.insert(Key::of(&service));
                }
            }
        }
    }

    fn reconcile(&mut self, store: &Store, key: &Key) -> Option<Timestamp> {
        let Some(service) = store.find(&SERVICES, &key.namespace, &key.name) else {
            if let Some(left) = store.find(&ENDPOINTS, &key.namespace, &key.name)
                && subsets::is_managed(&left)
            {
                remove(store, &ENDPOINTS, &left);
            }
            return None;
        };
        let selector = selector(&service)?;
        if deleting(&service) || service["spec"]["type"] == "ExternalName" {
            return None;
        }
        let mut pods = store.list(&PODS, Some(&key.namespace)).0;
        pods.retain(|pod| selector.matches(&pod["metadata"]["labels"]) && address(pod).is_some() && !finished(pod));
        let now = seconds(self.clock.now());
        subsets::reconcile(store, &service, &pods, &now);
        slices::reconcile(store, &service, &pods, &now);
        None
    }
}

/// What a service selects by; `None` if it selects nothing.
fn selector(service: &Value) -> Option<Selector> {
    let labels = service["spec"]["selector"].as_object().filter(|labels| !labels.is_empty())?;
    Selector::from_json(&json!({"matchLabels": labels})).ok()
}

fn address(pod: &Value) -> Option<&str> {
    pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty())
}

/// The labels of what belongs to a service: its own, and whether it is headless.
fn labels(service: &Value, own: &[(&str, &str)]) -> Map<String, Value> {
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if service["spec"]["clusterIP"] == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    for (key, value) in own {
        labels.insert((*key).to_owned(), json!(value));
    }
    labels
}

/// The name that a pod has below the service's.
fn host_name<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let within = pod["spec"]["subdomain"] == service["metadata"]["name"];
    pod["spec"]["hostname"].as_str().filter(|name| !name.is_empty() && within)
}

/// The number behind a port of the service in a pod.
fn target(port: &Value, pod: &Value) -> Option<u64> {
    let name = match &port["targetPort"] {
        Value::Null => return port["port"].as_u64(),
        Value::String(name) => name,
        number => return number.as_u64(),
    };
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let restartable = |container: &&Value| container["restartPolicy"] == "Always";
    let init = pod["spec"]["initContainers"].as_array().into_iter().flatten().filter(restartable);
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten().chain(init);
    let mut ports = containers.filter_map(|container| container["ports"].as_array()).flatten();
    let fits = |candidate: &&Value| candidate["name"] == name.as_str() && protocol(candidate) == protocol(port);
    ports.find(fits)?["containerPort"].as_u64()
}

fn target_reference(pod: &Value) -> Value {
    let (namespace, name) = names(pod);
    json!({"kind": "Pod", "namespace": namespace, "name": name, "uid": pod["metadata"]["uid"]})
}
