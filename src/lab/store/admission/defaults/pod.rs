//! Pods and templates of pods.

use serde_json::{Map, Value, json};

use super::{inner, maps, or, or_nonzero, there};

/// Seconds that a pod stays on a node that is not ready or not reachable.
const TOLERATED: i64 = 300;

/// What a pod and a template share.
pub(super) fn spec(spec: &mut Map<String, Value>) {
    or(spec, "restartPolicy", || json!("Always"));
    or(spec, "dnsPolicy", || json!("ClusterFirst"));
    or(spec, "schedulerName", || json!("default-scheduler"));
    or(spec, "terminationGracePeriodSeconds", || json!(30));
    inner(spec, "securityContext");
    if let Some(name) = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned() {
        spec.insert("serviceAccountName".to_owned(), name.clone());
        spec.insert("serviceAccount".to_owned(), name);
    }
    let on_host = spec.get("hostNetwork") == Some(&json!(true));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in maps(spec, list) {
            self::container(container, on_host);
        }
    }
    for volume in maps(spec, "volumes") {
        self::volume(volume);
    }
    for constraint in maps(spec, "topologySpreadConstraints") {
        or(constraint, "whenUnsatisfiable", || json!("DoNotSchedule"));
    }
}

/// What only a pod has.
pub(super) fn own(spec: &mut Map<String, Value>) {
    or(spec, "enableServiceLinks", || json!(true));
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for list in ["initContainers", "containers"] {
        for container in maps(spec, list) {
            let Some(resources) = there(container, "resources") else { continue };
            let Some(Value::Object(limits)) = resources.get("limits").cloned() else { continue };
            if let Some(requests) = inner(resources, "requests") {
                for (name, limit) in limits {
                    requests.entry(name).or_insert(limit);
                }
            }
        }
    }
}

fn container(container: &mut Map<String, Value>, on_host: bool) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = pull_policy(image);
    or(container, "imagePullPolicy", || json!(policy));
    or(container, "terminationMessagePath", || json!("/dev/termination-log"));
    or(container, "terminationMessagePolicy", || json!("File"));
    inner(container, "resources");
    for port in maps(container, "ports") {
        or(port, "protocol", || json!("TCP"));
        if let Some(number) = port.get("containerPort").cloned().filter(|_| on_host) {
            or(port, "hostPort", || number);
        }
    }
    for variable in maps(container, "env") {
        if let Some(field) = there(variable, "valueFrom").and_then(|from| there(from, "fieldRef")) {
            or(field, "apiVersion", || json!("v1"));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = there(container, name) else { continue };
        for (field, value) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            or_nonzero(probe, field, value);
        }
        get(probe);
        if let Some(grpc) = there(probe, "grpc") {
            or(grpc, "service", || json!(""));
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(hook) = there(container, "lifecycle").and_then(|lifecycle| there(lifecycle, hook)) {
            get(hook);
        }
    }
}

/// `latest`, named or not, is pulled each time.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map(|(_, tag)| tag);
    if name.contains('@') || tag.is_some_and(|tag| tag != "latest") { "IfNotPresent" } else { "Always" }
}

fn get(handler: &mut Map<String, Value>) {
    if let Some(get) = there(handler, "httpGet") {
        or(get, "path", || json!("/"));
        or(get, "scheme", || json!("HTTP"));
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = there(volume, source) {
            or(source, "defaultMode", || json!(420));
            for item in maps(source, "items") {
                reference(item);
            }
            for source in maps(source, "sources") {
                if let Some(token) = there(source, "serviceAccountToken") {
                    or_nonzero(token, "expirationSeconds", 3600);
                }
                if let Some(downward) = there(source, "downwardAPI") {
                    maps(downward, "items").for_each(reference);
                }
            }
        }
    }
    if let Some(path) = there(volume, "hostPath") {
        or(path, "type", || json!(""));
    }
}

fn reference(item: &mut Map<String, Value>) {
    if let Some(field) = there(item, "fieldRef") {
        or(field, "apiVersion", || json!("v1"));
    }
}

/// A pod stays for a while on a node that is not ready, unless it says otherwise.
pub(in crate::lab::store::admission) fn toleration_seconds(spec: &mut Map<String, Value>) {
    const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let there = spec.get("tolerations").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let tolerates = |key: &str| {
        there.iter().any(|toleration| {
            let of = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (of == key || of.is_empty()) && matches!(effect, "" | "NoExecute")
        })
    };
    let missing: Vec<Value> = KEYS
        .into_iter()
        .filter(|key| !tolerates(key))
        .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED}))
        .collect();
    if !missing.is_empty()
        && let Some(list) = spec.entry("tolerations").or_insert_with(|| json!([])).as_array_mut()
    {
        list.extend(missing);
    }
}

/// What a pod is promised: all it may use, some of it, or nothing.
pub(in crate::lab::store::admission) fn qos_class(spec: &Value) -> &'static str {
    let lists = ["initContainers", "containers"].map(|list| spec[list].as_array().map_or(&[][..], Vec::as_slice));
    let (mut guaranteed, mut asks) = (true, false);
    for container in lists.into_iter().flatten() {
        let of = |field: &str, name: &str| {
            container["resources"][field][name].as_str().filter(|amount| *amount != "0").map(str::to_owned)
        };
        for name in ["cpu", "memory"] {
            let (request, limit) = (of("requests", name), of("limits", name));
            asks |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (asks, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
