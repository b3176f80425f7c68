//! What every object's metadata has to be.

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::names;
use crate::lab::resource::Resource;

/// All annotations of an object, keys and values, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Finalizers without a domain that everybody knows.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "foregroundDeletion", "orphan"];

/// Whether names of this kind fit.
pub(in crate::lab::store) fn name_faults(resource: &Resource, name: &str) -> Vec<String> {
    match (resource.group, resource.kind) {
        ("", "Namespace") | ("apps", "StatefulSet") => names::label(name),
        ("", "Service") => names::label_1035(name),
        ("", "Event") | ("policy", "PodDisruptionBudget") | ("rbac.authorization.k8s.io", _) => {
            names::path_segment(name)
        }
        _ => names::subdomain(name),
    }
}

pub(in crate::lab::store) fn validate(resource: &Resource, metadata: &Value, errors: &mut Errors) {
    let path = Path::Root.at("metadata");
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let prefix = text("generateName");
    if !prefix.is_empty() {
        // The suffix will be there: a hyphen at the end is none.
        let prefix_name = prefix.strip_suffix('-').unwrap_or(prefix);
        errors.each(&path.at("generateName"), prefix, name_faults(resource, prefix_name));
    }
    match text("name") {
        "" => errors.required(&path.at("name"), "name or generateName is required"),
        // Events of old clients have names that are hard to make fit.
        name => errors.each(&path.at("name"), name, name_faults(resource, name)),
    }
    errors.at_least(&path.at("generation"), &metadata["generation"], 0);
    labels(&metadata["labels"], &path.at("labels"), errors);
    annotations(&metadata["annotations"], &path.at("annotations"), errors);
    owners(&metadata["ownerReferences"], &path.at("ownerReferences"), errors);
    finalizers(&metadata["finalizers"], &path.at("finalizers"), errors);
}

pub(super) fn labels(labels: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        errors.each(path, key, names::qualified(key));
        let value = value.as_str().unwrap_or_default();
        errors.each(path, value, names::label_value(value));
    }
}

fn annotations(annotations: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        errors.each(path, key, names::qualified(&key.to_lowercase()));
        bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if bytes > ANNOTATIONS_LIMIT {
        errors.too_long(path, ANNOTATIONS_LIMIT);
    }
}

fn owners(owners: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut controllers = 0;
    for owner in owners.as_array().into_iter().flatten() {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let version = text("apiVersion");
        if version.is_empty() || version.split('/').count() > 2 || version.ends_with('/') {
            errors.invalid_text(&path.at("apiVersion"), version, "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.invalid_text(&path.at(field), "", "must not be empty");
            }
        }
        if (version, text("kind")) == ("v1", "Event") {
            errors.invalid(path, owner_json(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let all: Vec<String> = owners.as_array().into_iter().flatten().map(owner_json).collect();
        let named = |owner: &&Value| owner["controller"] == true;
        let names: Vec<String> = owners
            .as_array()
            .into_iter()
            .flatten()
            .filter(named)
            .map(|owner| format!("{}/{}", text_of(owner, "kind"), text_of(owner, "name")))
            .collect();
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            names[0], names[1]
        );
        errors.invalid(path, format!("[{}]", all.join(",")), &why);
    }
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// An owner reference in the order of its Go struct.
fn owner_json(owner: &Value) -> String {
    let mut fields = Vec::new();
    for field in ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"] {
        if let Some(value) = owner.get(field) {
            fields.push(format!("\"{field}\":{value}"));
        }
    }
    format!("{{{}}}", fields.join(","))
}

fn finalizers(finalizers: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list: Vec<&str> = finalizers.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (index, finalizer) in list.iter().enumerate() {
        let faults = names::qualified(finalizer);
        if faults.is_empty() && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid_text(&path.item(index), finalizer, why);
        }
        errors.each(path, finalizer, faults);
    }
    if list.contains(&"orphan") && list.contains(&"foregroundDeletion") {
        errors.invalid(path, json!(list), "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// What a write may not change.
pub(in crate::lab::store) fn validate_update(before: &Value, after: &Value, errors: &mut Errors) {
    let path = Path::Root.at("metadata");
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        // A field that is left out is filled in from what is stored.
        if let Some(sent) = after.get(field).filter(|sent| !sent.is_null())
            && sent != &before[field]
        {
            errors.invalid(&path.at(field), sent, "field is immutable");
        }
    }
}
