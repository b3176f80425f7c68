//! Config maps, secrets, leases, events, nodes, and who may do what.

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{metadata, names, network};
use crate::lab::resource::EVENTS;

/// The data of a config map or a secret, in bytes.
const DATA_LIMIT: usize = 1024 * 1024;

const RBAC: &str = "rbac.authorization.k8s.io";

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_none_or(Vec::is_empty)
}

/// The bytes that base64 stands for.
fn decoded(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

pub(super) fn config_map(map: &Value, errors: &mut Errors) {
    let mut bytes = 0;
    for field in ["data", "binaryData"] {
        let path = Path::Root.at(field);
        for (key, value) in map[field].as_object().into_iter().flatten() {
            errors.each(&path.key(key), key, names::config_key(key));
            if field == "data" && !map["binaryData"][key].is_null() {
                errors.invalid_text(&path.key(key), key, "duplicate of key present in binaryData");
            }
            let value = value.as_str().unwrap_or_default();
            bytes += if field == "data" { value.len() } else { decoded(value) };
        }
    }
    if bytes > DATA_LIMIT {
        // The real server names the place so.
        errors.add("FieldValueTooLong", "[]", format!("Too long: may not be more than {DATA_LIMIT} bytes"));
    }
}

pub(super) fn secret(secret: &Value, errors: &mut Errors) {
    let path = Path::Root.at("data");
    let mut bytes = 0;
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        errors.each(&path.key(key), key, names::config_key(key));
        bytes += decoded(value.as_str().unwrap_or_default());
    }
    if bytes > DATA_LIMIT {
        errors.too_long(&path, DATA_LIMIT);
    }
    let mut needs = |keys: &[&str]| {
        for key in keys.iter().filter(|key| secret["data"][**key].is_null()) {
            errors.required(&path.key(key), "");
        }
    };
    match text(secret, "type") {
        "kubernetes.io/tls" => needs(&["tls.crt", "tls.key"]),
        "kubernetes.io/dockerconfigjson" => needs(&[".dockerconfigjson"]),
        "kubernetes.io/dockercfg" => needs(&[".dockercfg"]),
        "kubernetes.io/ssh-auth" => needs(&["ssh-privatekey"]),
        "kubernetes.io/basic-auth" => {
            // Either of the two is enough.
            let keys = ["username", "password"];
            if keys.iter().all(|key| secret["data"][*key].is_null()) {
                needs(&keys);
            }
        }
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if text(&secret["metadata"]["annotations"], name).is_empty() {
                let path = Path::Root.at("metadata");
                errors.required(&path.at("annotations").key(name), "");
            }
        }
        _ => {}
    }
}

pub(super) fn lease(lease: &Value, errors: &mut Errors) {
    let (spec, path) = (&lease["spec"], Path::Root.at("spec"));
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64()
        && seconds <= 0
    {
        errors.invalid(&path.at("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    errors.at_least(&path.at("leaseTransitions"), &spec["leaseTransitions"], 0);
}

pub(super) fn event(event: &Value, errors: &mut Errors) {
    let root = Path::Root;
    let about = text(&event["involvedObject"], "namespace");
    let namespace = text(&event["metadata"], "namespace");
    // An event about what lies in no namespace lies in the default one.
    if about != namespace && !(about.is_empty() && namespace == "default") {
        let path = root.at("involvedObject");
        errors.invalid_text(&path.at("namespace"), about, "does not match event.namespace");
    }
    if event["eventTime"].is_null() {
        if !errors.is_empty() {
            return;
        }
    } else {
        let component = text(event, "reportingComponent");
        if component.is_empty() {
            errors.required(&root.at("reportingComponent"), "");
        }
        errors.each(&root.at("reportingComponent"), component, names::qualified(component));
        for field in ["reportingInstance", "action", "reason"] {
            if text(event, field).is_empty() {
                errors.required(&root.at(field), "");
            }
        }
        errors.one_of(&root.at("type"), &event["type"], &["Normal", "Warning"]);
    }
    metadata::validate(&EVENTS, &event["metadata"], errors);
}

pub(super) fn node(node: &Value, errors: &mut Errors) {
    let path = Path::Root.at("metadata");
    let path = path.at("taints");
    for (index, taint) in node["spec"]["taints"].as_array().into_iter().flatten().enumerate() {
        let path = path.item(index);
        errors.each(&path.at("key"), text(taint, "key"), names::qualified(text(taint, "key")));
        errors.each(&path.at("value"), text(taint, "value"), names::label_value(text(taint, "value")));
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        match text(taint, "effect") {
            "" => errors.required(&path.at("effect"), ""),
            _ => errors.one_of(&path.at("effect"), &taint["effect"], &known),
        }
    }
    if let Some(cidr) = node["spec"]["podCIDR"].as_str() {
        network::is_cidr(cidr, &Path::Root.at("spec").at("podCIDRs").item(0), errors);
    }
}

pub(super) fn role(role: &Value, cluster: bool, errors: &mut Errors) {
    for (index, rule) in role["rules"].as_array().into_iter().flatten().enumerate() {
        let path = Path::Root.at("rules");
        let path = path.item(index);
        if is_empty(&rule["verbs"]) {
            errors.required(&path.at("verbs"), "verbs must contain at least one value");
        }
        let urls = &rule["nonResourceURLs"];
        if !is_empty(urls) {
            if !cluster {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.invalid(&path.at("nonResourceURLs"), urls, why);
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|field| !is_empty(&rule[*field])) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&path.at("nonResourceURLs"), urls, why);
            }
            continue;
        }
        if is_empty(&rule["apiGroups"]) {
            errors.required(&path.at("apiGroups"), "resource rules must supply at least one api group");
        }
        if is_empty(&rule["resources"]) {
            errors.required(&path.at("resources"), "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn binding(binding: &Value, cluster: bool, errors: &mut Errors) {
    let (role, path) = (&binding["roleRef"], Path::Root.at("roleRef"));
    errors.one_of(&path.at("apiGroup"), &role["apiGroup"], &[RBAC]);
    let kinds: &[&str] = if cluster { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
    if !kinds.contains(&text(role, "kind")) {
        errors.not_supported(&path.at("kind"), json!(text(role, "kind")), kinds);
    }
    match text(role, "name") {
        "" => errors.required(&path.at("name"), ""),
        name => errors.each(&path.at("name"), name, names::path_segment(name)),
    }
    for (index, subject) in binding["subjects"].as_array().into_iter().flatten().enumerate() {
        let path = Path::Root.at("subjects");
        let path = path.item(index);
        let (name, group) = (text(subject, "name"), &subject["apiGroup"]);
        if name.is_empty() {
            errors.required(&path.at("name"), "");
        }
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.each(&path.at("name"), name, names::subdomain(name));
                }
                errors.one_of(&path.at("apiGroup"), group, &[""]);
                if cluster && text(subject, "namespace").is_empty() {
                    errors.required(&path.at("namespace"), "");
                }
            }
            "User" | "Group" => errors.one_of(&path.at("apiGroup"), group, &[RBAC]),
            kind => errors.not_supported(&path.at("kind"), json!(kind), &["ServiceAccount", "User", "Group"]),
        }
    }
}
