//! What of an object cannot change.

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{pod_update, selector};
use crate::lab::resource::Resource;

const IMMUTABLE: &str = "field is immutable";

/// Looks for changes that are not allowed. `after` is filled in.
pub(in crate::lab::store::admission) fn validate(
    resource: &Resource,
    before: &Value,
    after: &Value,
    errors: &mut Errors,
) {
    let (old, new, path) = (&before["spec"], &after["spec"], Path::Root.at("spec"));
    match (resource.group, resource.kind) {
        ("", "Pod") => pod_update::validate(before, after, errors),
        ("", "Service") => service(old, new, errors),
        ("", "ConfigMap") if before["immutable"] == true => {
            frozen(before, after, &["data", "binaryData"], errors);
        }
        ("", "Secret") => {
            if before["type"] != after["type"] {
                errors.invalid(&Path::Root.at("type"), &after["type"], IMMUTABLE);
            }
            if before["immutable"] == true {
                frozen(before, after, &["data"], errors);
            }
        }
        ("apps", "StatefulSet") => stateful_set(old, new, errors),
        ("apps", _) if old["selector"] != new["selector"] => {
            errors.invalid(&path.at("selector"), selector::shown(&new["selector"]), IMMUTABLE);
        }
        ("batch", "Job") => job(before, after, errors),
        ("discovery.k8s.io", _) if before["addressType"] != after["addressType"] => {
            errors.invalid(&Path::Root.at("addressType"), &after["addressType"], IMMUTABLE);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let role = &after["roleRef"];
            if &before["roleRef"] != role {
                let (group, kind, name) = (&role["apiGroup"], &role["kind"], &role["name"]);
                let shown = format!("{{\"APIGroup\":{group},\"Kind\":{kind},\"Name\":{name}}}");
                errors.invalid(&Path::Root.at("roleRef"), shown, "cannot change roleRef");
            }
        }
        _ => {}
    }
}

fn frozen(before: &Value, after: &Value, fields: &[&str], errors: &mut Errors) {
    let why = "field is immutable when `immutable` is set";
    if after["immutable"] != true {
        errors.forbidden(&Path::Root.at("immutable"), why);
    }
    for field in fields.iter().filter(|field| before[**field] != after[**field]) {
        errors.forbidden(&Path::Root.at(field), why);
    }
}

fn service(old: &Value, new: &Value, errors: &mut Errors) {
    let external = |spec: &Value| spec["type"] == "ExternalName";
    if external(old) || external(new) {
        return;
    }
    let path = Path::Root.at("spec");
    let first = |spec: &Value| spec["clusterIPs"][0].clone();
    let old_ip = if old["clusterIPs"].is_null() { old["clusterIP"].clone() } else { first(old) };
    // Either of the two may be the one that was changed.
    let changed = [new["clusterIP"].clone(), first(new)].into_iter().find(|ip| *ip != old_ip);
    if let Some(ip) = changed.filter(|_| !old_ip.is_null()) {
        errors.invalid(&path.at("clusterIPs").item(0), json!([ip]), "may not change once set");
    }
}

/// What of a stateful set may change.
const STATEFUL_SET_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

fn stateful_set(old: &Value, new: &Value, errors: &mut Errors) {
    let rest = |spec: &Value| {
        let mut rest = spec.clone();
        if let Some(rest) = rest.as_object_mut() {
            rest.retain(|field, _| !STATEFUL_SET_MUTABLE.contains(&&**field));
        }
        rest
    };
    if rest(old) != rest(new) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.forbidden(&Path::Root.at("spec"), why);
    }
}

fn job(before: &Value, after: &Value, errors: &mut Errors) {
    let (old, new, path) = (&before["spec"], &after["spec"], Path::Root.at("spec"));
    // An indexed job may grow and shrink together with its parallelism.
    let elastic = new["completionMode"] == "Indexed" && new["completions"] == new["parallelism"];
    if old["completions"] != new["completions"] && !elastic {
        errors.invalid(&path.at("completions"), &new["completions"], IMMUTABLE);
    }
    if old["selector"] != new["selector"] {
        errors.invalid(&path.at("selector"), selector::shown(&new["selector"]), IMMUTABLE);
    }
    // Where a job's pods may run is open while it has never started.
    let held = old["suspend"] == true && before["status"]["startTime"].is_null();
    let rest = |template: &Value| {
        let mut rest = template.clone();
        if held {
            if let Some(spec) = rest["spec"].as_object_mut() {
                for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
                    spec.remove(field);
                }
            }
            if let Some(metadata) = rest["metadata"].as_object_mut() {
                metadata.remove("labels");
                metadata.remove("annotations");
            }
        }
        rest
    };
    if rest(&old["template"]) != rest(&new["template"]) {
        errors.invalid(&path.at("template"), &new["template"], IMMUTABLE);
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"] {
        if old[field] != new[field] {
            errors.invalid(&path.at(field), &new[field], IMMUTABLE);
        }
    }
}
