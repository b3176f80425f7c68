//! Pods and their containers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{metadata, names};
use crate::lab::store::admission::quantity::{self, canonical};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What a pod can tell a container of itself.
const FIELDS: [&str; 10] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.podIP",
    "status.podIPs",
];

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[][..], Vec::as_slice)
}

pub(super) fn validate(pod: &Value, errors: &mut Errors) {
    spec(&pod["spec"], &Path::Root.at("spec"), errors);
}

/// A pod's spec, or a template's.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let volumes = volumes(spec, &path.at("volumes"), errors);
    let containers = list(spec, "containers");
    if containers.is_empty() {
        errors.required(&path.at("containers"), "");
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut host_ports: BTreeSet<String> = BTreeSet::new();
    for (index, one) in containers.iter().enumerate() {
        let path = path.at("containers");
        let path = path.item(index);
        container(one, &volumes, &path, false, &mut host_ports, errors);
        if !names.insert(text(one, "name")) && !text(one, "name").is_empty() {
            errors.duplicate(&path.at("name"), &one["name"]);
        }
    }
    for (index, one) in list(spec, "initContainers").iter().enumerate() {
        let path = path.at("initContainers");
        let path = path.item(index);
        container(one, &volumes, &path, text(one, "restartPolicy") != "Always", &mut host_ports, errors);
        if !names.insert(text(one, "name")) && !text(one, "name").is_empty() {
            errors.duplicate(&path.at("name"), &one["name"]);
        }
    }
    errors.one_of(&path.at("restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"]);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&path.at("dnsPolicy"), &spec["dnsPolicy"], &policies);
    metadata::labels(&spec["nodeSelector"], &path.at("nodeSelector"), errors);
    let security = &spec["securityContext"];
    for id in ["fsGroup", "runAsUser", "runAsGroup"] {
        if let Some(number) = security[id].as_i64() {
            errors.between(&path.at("securityContext").at(id), number, 0, i64::from(i32::MAX));
        }
    }
    for name in ["serviceAccountName", "nodeName"] {
        if let Some(value) = spec[name].as_str() {
            errors.each(&path.at(name), value, names::subdomain(value));
        }
    }
    affinity(&spec["affinity"], &path.at("affinity"), errors);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        errors.between(&path.at("activeDeadlineSeconds"), seconds, 1, i64::from(i32::MAX));
    }
    for name in ["hostname", "subdomain"] {
        if let Some(value) = spec[name].as_str() {
            errors.each(&path.at(name), value, names::label(value));
        }
    }
    tolerations(list(spec, "tolerations"), &path.at("tolerations"), errors);
    host_aliases(list(spec, "hostAliases"), &path.at("hostAliases"), errors);
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        errors.each(&path.at("readinessGates").item(index).at("conditionType"), kind, names::qualified(kind));
    }
    spread(list(spec, "topologySpreadConstraints"), &path.at("topologySpreadConstraints"), errors);
}

/// The names of the volumes.
fn volumes<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.item(index);
        let sources = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        for (index, (kind, source)) in sources.enumerate() {
            let path = path.at(kind);
            if index > 0 {
                errors.forbidden(&path, "may not specify more than 1 volume type");
                continue;
            }
            let needed = match &**kind {
                "configMap" => "name",
                "secret" => "secretName",
                "hostPath" => "path",
                "persistentVolumeClaim" => "claimName",
                _ => continue,
            };
            if text(source, needed).is_empty() {
                errors.required(&path.at(needed), "");
            }
        }
        match text(volume, "name") {
            "" => errors.required(&path.at("name"), ""),
            name => {
                errors.each(&path.at("name"), name, names::label(name));
                if !known.insert(name) {
                    errors.duplicate(&path.at("name"), json!(name));
                }
            }
        }
    }
    known
}

fn container(
    container: &Value,
    volumes: &BTreeSet<&str>,
    path: &Path<'_>,
    initial: bool,
    host_ports: &mut BTreeSet<String>,
    errors: &mut Errors,
) {
    match text(container, "name") {
        "" => errors.required(&path.at("name"), ""),
        name => errors.each(&path.at("name"), name, names::label(name)),
    }
    match text(container, "image") {
        "" => errors.required(&path.at("image"), ""),
        image if image.trim() != image => {
            errors.invalid_text(&path.at("image"), image, "must not have leading or trailing whitespace");
        }
        _ => {}
    }
    let policies = ["File", "FallbackToLogsOnError"];
    errors.one_of(&path.at("terminationMessagePolicy"), &container["terminationMessagePolicy"], &policies);
    ports(list(container, "ports"), &path.at("ports"), host_ports, errors);
    environment(list(container, "env"), &path.at("env"), errors);
    for source in list(container, "envFrom") {
        if source["configMapRef"].is_null() && source["secretRef"].is_null() {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            errors.invalid_text(&path.at("envFrom"), "", why);
        }
    }
    mounts(list(container, "volumeMounts"), volumes, &path.at("volumeMounts"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&path.at("imagePullPolicy"), &container["imagePullPolicy"], &policies);
    resources(&container["resources"], &path.at("resources"), errors);
    security(&container["securityContext"], &path.at("securityContext"), errors);
    if initial {
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if !container[field].is_null() {
                let why = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&path.at(field), why);
            }
        }
        return;
    }
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if !handler.is_null() {
            self::handler(handler, &path.at("lifecycle").at(hook), errors);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[name].is_null() {
            probe(&container[name], &path.at(name), name != "readinessProbe", errors);
        }
    }
}

fn ports(ports: &[Value], path: &Path<'_>, host_ports: &mut BTreeSet<String>, errors: &mut Errors) {
    let mut known = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.item(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let faults = names::port_name(name);
            if faults.is_empty() && !known.insert(name) {
                errors.duplicate(&path.at("name"), json!(name));
            }
            errors.each(&path.at("name"), name, faults);
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => errors.required(&path.at("containerPort"), ""),
            Some(number) => errors.between(&path.at("containerPort"), number, 1, 65_535),
        }
        errors.port(&path.at("hostPort"), &port["hostPort"]);
        errors.one_of(&path.at("protocol"), &port["protocol"], &PROTOCOLS);
        if let Some(number) = port["hostPort"].as_i64() {
            let taken = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            let shown = json!(taken);
            if !host_ports.insert(taken) {
                errors.duplicate(&path.at("hostPort"), shown);
            }
        }
    }
}

fn environment(variables: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.item(index);
        match text(variable, "name") {
            "" => errors.required(&path.at("name"), ""),
            name => errors.each(&path.at("name"), name, names::env_name(name)),
        }
        let Some(from) = variable["valueFrom"].as_object() else { continue };
        let path = path.at("valueFrom");
        let source = &variable["valueFrom"];
        if let Some(field) = source["fieldRef"]["fieldPath"].as_str() {
            let path = path.at("fieldRef");
            let of_map = ["metadata.labels['", "metadata.annotations['"].iter().any(|start| field.starts_with(start));
            let known = FIELDS.contains(&field) || field == "status.hostIPs" || (of_map && field.ends_with("']"));
            if field.is_empty() {
                errors.required(&path.at("fieldPath"), "");
            } else if !known {
                let why = format!("error converting fieldPath: field label not supported: {field}");
                errors.invalid_text(&path.at("fieldPath"), field, &why);
            }
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            if from.contains_key(kind) {
                let path = path.at(kind);
                let name = text(&source[kind], "name");
                errors.each(&path.at("name"), name, names::subdomain(name));
                match text(&source[kind], "key") {
                    "" => errors.required(&path.at("key"), ""),
                    key => errors.each(&path.at("key"), key, names::config_key(key)),
                }
            }
        }
        match from.len() {
            0 => {
                let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
                errors.invalid_text(&path, "", why);
            }
            1 if !text(variable, "value").is_empty() => {
                errors.invalid_text(&path, "", "may not be specified when `value` is not empty");
            }
            1 => {}
            _ => errors.invalid_text(&path, "", "may not have more than one field specified at a time"),
        }
    }
}

fn mounts(mounts: &[Value], volumes: &BTreeSet<&str>, path: &Path<'_>, errors: &mut Errors) {
    let mut places = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let path = path.item(index);
        match text(mount, "name") {
            "" => errors.required(&path.at("name"), ""),
            name if !volumes.contains(name) => errors.not_found(&path.at("name"), name),
            _ => {}
        }
        match text(mount, "mountPath") {
            "" => errors.required(&path.at("mountPath"), ""),
            place if !places.insert(place) => errors.invalid_text(&path.at("mountPath"), place, "must be unique"),
            _ => {}
        }
    }
}

fn resources(resources: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in ["limits", "requests"] {
        let path = path.at(field);
        for (name, amount) in resources[field].as_object().into_iter().flatten() {
            let at = path.key(name);
            let faults = names::qualified(name);
            let fits = faults.is_empty();
            errors.each(&at, name, faults);
            let standard = matches!(&**name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
            if fits && !standard && !name.contains('/') {
                errors.invalid_text(&at, name, "must be a standard resource type or fully qualified");
            }
            if !standard && !name.contains('/') {
                errors.invalid_text(&at, name, "must be a standard resource for containers");
            }
            let amount = amount.as_str().unwrap_or_default();
            if quantity::nanos(amount).is_some_and(|amount| amount < 0) {
                errors.invalid_text(&at, amount, "must be greater than or equal to 0");
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let (request, Some(limit)) = (request.as_str().unwrap_or_default(), resources["limits"][name].as_str()) else {
            continue;
        };
        if quantity::nanos(request) > quantity::nanos(limit) {
            let limit = canonical(limit).unwrap_or_default();
            let why = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid_text(&path.at("requests"), request, &why);
        }
    }
}

fn security(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    for id in ["runAsUser", "runAsGroup"] {
        if let Some(number) = context[id].as_i64() {
            errors.between(&path.at(id), number, 0, i64::from(i32::MAX));
        }
    }
    if context["privileged"] == true && context["allowPrivilegeEscalation"] == false {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path, context, why);
    }
}

fn probe(probe: &Value, path: &Path<'_>, once: bool, errors: &mut Errors) {
    handler(probe, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        errors.at_least(&path.at(field), &probe[field], 0);
    }
    if let Some(number) = probe["successThreshold"].as_i64()
        && once
        && number != 1
    {
        errors.invalid(&path.at("successThreshold"), number, "must be 1");
    }
}

fn handler(handler: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = &handler[kind];
        if action.is_null() {
            continue;
        }
        let path = path.at(kind);
        count += 1;
        if count > 1 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" if list(action, "command").is_empty() => errors.required(&path.at("command"), ""),
            "httpGet" => {
                if text(action, "path").is_empty() {
                    errors.required(&path.at("path"), "");
                }
                port(&action["port"], &path.at("port"), errors);
                errors.one_of(&path.at("scheme"), &action["scheme"], &["HTTP", "HTTPS"]);
            }
            "tcpSocket" => port(&action["port"], &path.at("port"), errors),
            "grpc" => errors.port(&path.at("port"), &action["port"]),
            _ => {}
        }
    }
    if count == 0 {
        errors.required(path, "must specify a handler type");
    }
}

/// A port by number or name.
pub(super) fn port(port: &Value, path: &Path<'_>, errors: &mut Errors) {
    match port {
        Value::String(name) => errors.each(path, name, names::port_name(name)),
        number => errors.between(path, number.as_i64().unwrap_or(0), 1, 65_535),
    }
}

fn affinity(affinity: &Value, path: &Path<'_>, errors: &mut Errors) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = path.at(kind);
        let path = path.at("requiredDuringSchedulingIgnoredDuringExecution");
        let terms = list(&affinity[kind], "requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in terms.iter().enumerate() {
            let path = path.item(index);
            super::selector::validate(&term["labelSelector"], &path.at("labelSelector"), errors);
            let key = text(term, "topologyKey");
            if key.is_empty() {
                errors.required(&path.at("topologyKey"), "can not be empty");
            }
            errors.each(&path.at("topologyKey"), key, names::qualified(key));
        }
    }
}

fn tolerations(tolerations: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.item(index);
        let (key, operator, effect) =
            (text(toleration, "key"), text(toleration, "operator"), text(toleration, "effect"));
        if !key.is_empty() {
            errors.each(&path.at("key"), key, names::qualified(key));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid_text(&path.at("operator"), operator, why);
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid_text(&path.at("effect"), effect, why);
        }
        let value = text(toleration, "value");
        match operator {
            "" | "Equal" => errors.each(&path.at("operator"), value, names::label_value(value)),
            "Exists" if value.is_empty() => {}
            "Exists" => {
                errors.invalid_text(&path.at("operator"), value, "value must be empty when `operator` is 'Exists'");
            }
            other => errors.not_supported(&path.at("operator"), json!(other), &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.one_of(&path.at("effect"), &toleration["effect"], &EFFECTS);
        }
    }
}

fn host_aliases(aliases: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (index, alias) in aliases.iter().enumerate() {
        let path = path.item(index);
        super::network::address(text(alias, "ip"), &path.at("ip"), errors);
        for (index, name) in list(alias, "hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            errors.each(&path.at("hostnames").item(index), name, names::subdomain(name));
        }
    }
}

fn spread(constraints: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.item(index);
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.invalid(&path.at("maxSkew"), skew, "must be greater than zero");
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.required(&path.at("topologyKey"), "can not be empty");
        }
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(&path.at("whenUnsatisfiable"), &constraint["whenUnsatisfiable"], &known);
    }
}

/// What is allowed and likely a mistake.
pub(super) fn warnings(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            found.push(format!("spec.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    for (outer, container) in list(spec, "containers").iter().enumerate() {
        let ports = list(container, "ports");
        let key = |port: &Value| (port["containerPort"].clone(), port["protocol"].clone(), port["hostPort"].clone());
        for (index, port) in ports.iter().enumerate() {
            if let Some(first) = ports[..index].iter().position(|other| key(other) == key(port)) {
                let path = format!("spec.containers[{outer}].ports");
                found.push(format!("{path}[{index}]: duplicate port definition with {path}[{first}]"));
            }
        }
    }
    found
}
