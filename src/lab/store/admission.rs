//! What the API server fills in and refuses when an object is created.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Store;
use crate::kubernetes::Selector;
use crate::lab::resource::{DEPLOYMENTS, NETWORK_POLICIES, PODS, Resource, SERVICES};
use crate::lab::status::Status;

/// Where node ports are taken from.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// Fills in defaults and checks an object that is about to be created.
pub(crate) fn admit(store: &Store, resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request(format!("the body is no {}", resource.kind)));
    }
    for (field, expected) in [("kind", resource.kind.to_owned()), ("apiVersion", resource.api_version())] {
        if let Some(sent) = object[field].as_str()
            && sent != expected
        {
            let message = format!("the {field} in the data ({sent}) does not match the expected one ({expected})");
            return Err(Status::bad_request(message));
        }
    }
    if let Some(sent) = object["metadata"]["namespace"].as_str()
        && resource.namespaced
        && sent != namespace
    {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    if std::ptr::eq(resource, &PODS) {
        pod(object);
    } else if std::ptr::eq(resource, &DEPLOYMENTS) {
        or(&mut object["spec"]["replicas"], json!(1));
        object["status"] = json!({});
    } else if std::ptr::eq(resource, &NETWORK_POLICIES) {
        policy(object);
    } else if std::ptr::eq(resource, &SERVICES) {
        service(store, resource, object)?;
    }
    validate(resource, object)
}

/// Refuses what the real server refuses and a client would notice.
pub(crate) fn validate(resource: &Resource, object: &Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && !is_subdomain(name) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        let why = format!("Invalid value: {name:?}: {why}");
        return Err(Status::invalid(resource, name, "metadata.name", &why));
    }
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        // A label is right where it could stand in a selector.
        let fits = value.as_str().is_some_and(|value| format!("{key}={value}").parse::<Selector>().is_ok());
        if !fits {
            let why = format!("Invalid value: {key:?}: {value} is no label");
            return Err(Status::invalid(resource, name, "metadata.labels", &why));
        }
    }
    if std::ptr::eq(resource, &DEPLOYMENTS) {
        let selector = Selector::from_json(&object["spec"]["selector"]);
        let takes = selector.is_ok_and(|s| s.matches(&object["spec"]["template"]["metadata"]["labels"]));
        if !takes || object["spec"]["selector"].is_null() {
            let why = "Invalid value: `selector` does not match template `labels`";
            return Err(Status::invalid(resource, name, "spec.template.metadata.labels", why));
        }
    }
    let containers = match resource.plural {
        "pods" => &object["spec"]["containers"],
        "deployments" | "replicasets" => &object["spec"]["template"]["spec"]["containers"],
        _ => return Ok(()),
    };
    if containers.as_array().is_none_or(Vec::is_empty) {
        return Err(Status::invalid(resource, name, "spec.containers", "Required value"));
    }
    Ok(())
}

fn is_subdomain(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253 && name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge)
}

fn or(field: &mut Value, default: Value) {
    if field.is_null() {
        *field = default;
    }
}

fn pod(pod: &mut Value) {
    or(&mut pod["spec"]["terminationGracePeriodSeconds"], json!(30));
    or(&mut pod["spec"]["restartPolicy"], json!("Always"));
    pod["status"] = json!({"phase": "Pending"});
}

/// Without `policyTypes` a policy isolates ingress, and egress only if it has egress rules.
fn policy(policy: &mut Value) {
    if policy["spec"]["policyTypes"].as_array().is_none_or(Vec::is_empty) {
        let egress = policy["spec"]["egress"].as_array().is_some_and(|rules| !rules.is_empty());
        policy["spec"]["policyTypes"] = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    }
    or(&mut policy["spec"]["podSelector"], json!({}));
}

fn service(store: &Store, resource: &Resource, service: &mut Value) -> Result<(), Status> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let (existing, _) = store.list(&SERVICES, None);
    or(&mut service["spec"]["type"], json!("ClusterIP"));
    if service["spec"]["clusterIP"].is_null() {
        let taken: BTreeSet<_> = existing.iter().filter_map(|s| s["spec"]["clusterIP"].as_str()).collect();
        let free = (10_u32..).map(|n| format!("10.96.{}.{}", n / 256 % 256, n % 256));
        let free = free.take(65_000).find(|ip| !taken.contains(ip.as_str()));
        service["spec"]["clusterIP"] = json!(free.unwrap_or_default());
    }
    let ports = existing.iter().filter_map(|s| s["spec"]["ports"].as_array()).flatten();
    let mut taken: BTreeSet<u64> = ports.filter_map(|port| port["nodePort"].as_u64()).collect();
    let node_ports = service["spec"]["type"] == "NodePort";
    for port in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
        or(&mut port["protocol"], json!("TCP"));
        let number = port["port"].clone();
        or(&mut port["targetPort"], number);
        if !node_ports {
            continue;
        }
        match port["nodePort"].as_u64() {
            Some(wanted) if taken.contains(&wanted) => {
                let why = format!("Invalid value: {wanted}: provided port is already allocated");
                return Err(Status::invalid(resource, &name, "spec.ports[0].nodePort", &why));
            }
            Some(wanted) => drop(taken.insert(wanted)),
            None => {
                let free = NODE_PORTS.into_iter().find(|port| !taken.contains(port));
                taken.extend(free);
                port["nodePort"] = json!(free);
            }
        }
    }
    Ok(())
}
