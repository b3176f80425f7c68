//! What an object of each kind has to be, and what of it may change. Paths, reasons and texts are those of
//! Kubernetes 1.34.

mod config;
pub(in crate::lab::store) mod errors;
mod metadata;
pub(in crate::lab::store) mod names;
mod network;
mod pod;
mod pod_update;
mod selector;
mod update;
mod workloads;

use serde_json::Value;

use self::errors::Errors;
use crate::lab::resource::Resource;

pub(in crate::lab::store) use metadata::{validate as metadata, validate_update as metadata_update};
pub(super) use update::validate as update;

/// Looks for faults in an object that is filled in.
pub(super) fn object(resource: &Resource, object: &Value, errors: &mut Errors) {
    match (resource.group, resource.kind) {
        // The real server looks at nothing else of an event's metadata if it is about another namespace.
        ("", "Event") => config::event(object, errors),
        ("apiextensions.k8s.io", _) => crate::lab::store::custom::validate_definition(object, errors),
        _ => {
            metadata(resource, &object["metadata"], errors);
            kind(resource, object, errors);
        }
    }
}

fn kind(resource: &Resource, object: &Value, errors: &mut Errors) {
    match (resource.group, resource.kind) {
        ("", "Pod") => pod::validate(object, errors),
        ("", "Service") => network::service(object, errors),
        ("", "Endpoints") => network::endpoints(object, errors),
        ("", "ConfigMap") => config::config_map(object, errors),
        ("", "Secret") => config::secret(object, errors),
        ("", "Node") => config::node(object, errors),
        ("apps", "Deployment") => workloads::deployment(object, errors),
        ("apps", "ReplicaSet") => workloads::replica_set(object, errors),
        ("apps", "StatefulSet") => workloads::stateful_set(object, errors),
        ("apps", "DaemonSet") => workloads::daemon_set(object, errors),
        ("batch", "Job") => workloads::job(object, errors),
        ("autoscaling", _) => workloads::autoscaler(object, errors),
        ("policy", _) => workloads::budget(object, errors),
        ("networking.k8s.io", _) => network::policy(object, errors),
        ("discovery.k8s.io", _) => network::endpoint_slice(object, errors),
        ("coordination.k8s.io", _) => config::lease(object, errors),
        ("rbac.authorization.k8s.io", kind @ ("Role" | "ClusterRole")) => {
            config::role(object, kind == "ClusterRole", errors);
        }
        ("rbac.authorization.k8s.io", kind) => config::binding(object, kind == "ClusterRoleBinding", errors),
        _ => {}
    }
}

/// What a client should know although it is allowed.
pub(super) fn warnings(resource: &Resource, object: &Value) -> Vec<String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match (resource.group, resource.kind) {
        ("", "Endpoints") => {
            vec!["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()]
        }
        ("", "Pod") => {
            let mut found = hostname_warning(name, "the Pod's hostname");
            found.extend(pod::warnings(&object["spec"]));
            found
        }
        ("apps", "Deployment" | "ReplicaSet") | ("batch", "Job") => hostname_warning(name, "Pod names and hostnames"),
        ("apps", "StatefulSet") if object["spec"]["revisionHistoryLimit"].as_i64().is_some_and(|n| n < 0) => vec![
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        ],
        ("networking.k8s.io", _) => network::policy_warnings(object),
        ("apiextensions.k8s.io", _) => crate::lab::store::custom::warnings(object),
        _ => Vec::new(),
    }
}

fn hostname_warning(name: &str, used_in: &str) -> Vec<String> {
    let faults = names::label(name);
    if faults.is_empty() {
        return Vec::new();
    }
    let why = "which can result in surprising behavior; a DNS label is recommended";
    vec![format!("metadata.name: this is used in {used_in}, {why}: [{}]", faults.join(" "))]
}
