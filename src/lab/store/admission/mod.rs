//! What the API server does to an object between reading the body and storing it: it reads it by the kind's model,
//! fills in defaults, and refuses what is not valid.
//!
//! [`create`] and [`update`] are the two ways in: every create, PUT and patch, and every object that a controller
//! makes. `update` reads no objects from the store, so it may be called under the store's lock.

mod body;
mod decode;
mod model;
mod quantity;
mod time;
mod zero;

pub(crate) use body::parse;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Object, Part, Store};
use crate::kubernetes::Selector;
use crate::lab::resource::{DEPLOYMENTS, NETWORK_POLICIES, PODS, Resource, SERVICES};
use crate::lab::status::Status;

/// Where node ports are taken from.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// What to do about fields that a kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and tell.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// What a write needs to know besides the object. One for each request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// From the query's `fieldValidation`.
    validation: FieldValidation,
    /// Keys that came twice in the body, as paths: `metadata.labels.a`.
    duplicates: Vec<String>,
    /// The services there are, for addresses and ports; empty for other kinds.
    services: Vec<Object>,
}

impl FieldValidation {
    /// By the query's value; `options` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    ///
    /// # Errors
    /// 422 for another word.
    pub(crate) fn parse(value: Option<&str>, options: &str) -> Result<Self, Status> {
        match value {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let why =
                    format!("Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
                let message = format!("{options}.meta.k8s.io \"\" is invalid: fieldValidation: {why}");
                let cause = json!({"reason": "FieldValueNotSupported", "message": why, "field": "fieldValidation"});
                let details = json!({"group": "meta.k8s.io", "kind": options, "causes": [cause]});
                Err(Status { details: Some(details), ..Status::new(422, "Invalid", message) })
            }
        }
    }
}

impl Options {
    /// For one write of `resource`.
    pub(crate) fn new(store: &Store, resource: &'static Resource, validation: FieldValidation) -> Self {
        let services = if resource.is(&SERVICES) { store.list(&SERVICES, None).0 } else { Vec::new() };
        Self { validation, duplicates: Vec::new(), services }
    }

    /// With the keys that came twice in the body, as [`parse`] returns them.
    pub(crate) fn with_duplicates(mut self, duplicates: Vec<String>) -> Self {
        self.duplicates = duplicates;
        self
    }
}

/// The object that a create is to store, and warnings for the `Warning` header. What the server writes in any case
/// is set: the name where only `generateName` is given, and the uid; what a client may not set is dropped.
///
/// # Errors
/// 400 for a body that is no such kind, 403 and 422 for what is not allowed.
pub(crate) fn create(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    mut object: Value,
    options: &Options,
) -> Result<(Value, Vec<String>), Status> {
    let _ = store;
    let warnings = model::decode(resource, &mut object, options)?;
    fill(resource, namespace, &mut object, options)?;
    Ok((object, warnings))
}

/// Makes of an object that a controller wants what [`create`] makes of it.
///
/// # Errors
/// As [`create`].
pub(crate) fn admit(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Status> {
    let options = Options::new(store, resource, FieldValidation::Ignore);
    *object = create(store, resource, namespace, object.take(), &options)?.0;
    Ok(())
}

/// What a PUT or a patch makes of `before`, a stored object, and warnings. It does not look at resourceVersions.
///
/// # Errors
/// As [`create`], and 422 for a change of what cannot change.
pub(crate) fn update(
    store: &Store,
    resource: &'static Resource,
    before: &Value,
    mut after: Value,
    part: Part,
    options: &Options,
) -> Result<(Value, Vec<String>), Status> {
    let _ = (store, before);
    let warnings = model::decode(resource, &mut after, options)?;
    if part == Part::Main {
        validate(resource, &after)?;
    }
    Ok((after, warnings))
}

/// Fills in defaults and checks an object that is about to be created.
fn fill(resource: &Resource, namespace: &str, object: &mut Value, options: &Options) -> Result<(), Status> {
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
        service(resource, object, &options.services)?;
    }
    validate(resource, object)
}

/// Refuses what the real server refuses and a client would notice.
fn validate(resource: &Resource, object: &Value) -> Result<(), Status> {
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

fn service(resource: &Resource, service: &mut Value, existing: &[Object]) -> Result<(), Status> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
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
