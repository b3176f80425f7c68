//! What the API server fills in where the client says nothing.
//!
//! [`fill`] is what every write gets; [`begin`] is what a new object gets besides. As observed on Kubernetes 1.34.

mod network;
mod pod;
mod workloads;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::lab::resource::Resource;

pub(super) use network::{allocate, carry_over};
pub(super) use pod::{qos_class, toleration_seconds};
pub(super) use workloads::own_job_pods;

/// Sets a field that is absent.
fn or(holder: &mut Map<String, Value>, field: &str, value: impl FnOnce() -> Value) {
    if !holder.contains_key(field) {
        holder.insert(field.to_owned(), value());
    }
}

/// Sets a number that is absent or zero.
fn or_nonzero(holder: &mut Map<String, Value>, field: &str, value: i64) {
    if holder.get(field).is_none_or(|there| there == 0) {
        holder.insert(field.to_owned(), json!(value));
    }
}

/// The map in a field, made where it is absent; nothing if something else is there.
fn inner<'a>(holder: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    holder.entry(field).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

/// The maps in a list.
fn maps<'a>(holder: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let items = holder.get_mut(field).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The map in a field, if it is there.
fn there<'a>(holder: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Map<String, Value>> {
    holder.get_mut(field).and_then(Value::as_object_mut)
}

/// Fills in an object of a built-in kind.
pub(super) fn fill(resource: &Resource, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    match (resource.group, resource.kind) {
        ("", "Pod") => {
            if let Some(spec) = inner(object, "spec") {
                pod::spec(spec);
                pod::own(spec);
            }
        }
        ("apps", "Deployment") => workloads::deployment(object),
        ("apps", "ReplicaSet") => workloads::replica_set(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("batch", "Job") => workloads::job(object),
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::autoscaler(object),
        ("", "Service") => network::service(object),
        ("", "Endpoints") => network::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(object),
        ("", "Secret") => secret(object),
        ("", "Event") => event(object),
        ("", "Namespace") => namespace(object),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => or(object, "rules", || Value::Null),
        ("rbac.authorization.k8s.io", _) => binding(object),
        ("apiextensions.k8s.io", _) => definition(object),
        ("coordination.k8s.io", _) => {
            if let Some(spec) = inner(object, "spec") {
                // They belong to coordinated election, which is off.
                spec.remove("strategy");
                spec.remove("preferredHolder");
            }
        }
        ("policy", _) | ("", "Node") => {
            inner(object, "spec");
        }
        _ => {}
    }
}

/// Sets what a new object begins with: its status, whatever the client says of it.
pub(super) fn begin(resource: &Resource, object: &mut Value) {
    let status = match (resource.group, resource.kind) {
        ("", "Pod") => json!({"phase": "Pending", "qosClass": qos_class(&object["spec"])}),
        ("apps", "Deployment") | ("batch", "Job") => json!({}),
        ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"availableReplicas": 0, "replicas": 0}),
        ("apps", "DaemonSet") => {
            object["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = json!("1");
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
        }
        ("", "Service") => json!({"loadBalancer": {}}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("policy", "PodDisruptionBudget") => {
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
        }
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"currentMetrics": null, "desiredReplicas": 0}),
        ("apiextensions.k8s.io", _) => {
            let versions = object["spec"]["versions"].as_array().into_iter().flatten();
            let stored: Vec<&Value> =
                versions.filter(|version| version["storage"] == true).map(|v| &v["name"]).collect();
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": stored.first().map(|name| [name])})
        }
        _ => return,
    };
    object["status"] = status;
}

fn secret(secret: &mut Map<String, Value>) {
    or(secret, "type", || json!("Opaque"));
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    if let Some(data) = inner(secret, "data") {
        for (key, text) in texts {
            data.insert(key, json!(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
    }
}

fn event(event: &mut Map<String, Value>) {
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        or(event, time, || Value::Null);
    }
    for text in ["reportingComponent", "reportingInstance"] {
        or(event, text, || json!(""));
    }
    for map in ["source", "involvedObject"] {
        inner(event, map);
    }
}

fn namespace(namespace: &mut Map<String, Value>) {
    inner(namespace, "spec");
    if let Some(metadata) = inner(namespace, "metadata") {
        let name = metadata.get("name").cloned();
        if let (Some(name), Some(labels)) = (name, inner(metadata, "labels")) {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        }
    }
}

fn binding(binding: &mut Map<String, Value>) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(role) = inner(binding, "roleRef") {
        or(role, "apiGroup", || json!(GROUP));
    }
    for subject in maps(binding, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            or(subject, "apiGroup", || json!(GROUP));
        }
    }
}

fn definition(definition: &mut Map<String, Value>) {
    let Some(spec) = inner(definition, "spec") else { return };
    or(spec, "conversion", || json!({"strategy": "None"}));
    // `false` is what nothing means.
    if spec.get("preserveUnknownFields") == Some(&json!(false)) {
        spec.remove("preserveUnknownFields");
    }
    let Some(names) = inner(spec, "names") else { return };
    let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) else { return };
    or(names, "singular", || json!(kind.to_lowercase()));
    or(names, "listKind", || json!(format!("{kind}List")));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{begin, fill};
    use crate::lab::resource::{
        CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, JOBS, NAMESPACES, NETWORK_POLICIES, PODS, ROLE_BINDINGS, Resource,
        SECRETS, SERVICES, STATEFUL_SETS,
    };

    fn new(resource: &Resource, mut object: Value) -> Value {
        fill(resource, &mut object);
        begin(resource, &mut object);
        object
    }

    #[test]
    fn a_deployment_rolls_by_quarters_and_its_pods_restart() {
        let spec = json!({"template": {"spec": {"containers": [{"name": "c", "image": "x:1"}]}}});
        let made = new(&DEPLOYMENTS, json!({"spec": spec, "status": {"replicas": 3}}));
        let container = json!({
            "name": "c", "image": "x:1", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        let pod = json!({
            "containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        });
        let rolling = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
        let wanted = json!({
            "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {}, "spec": pod},
        });
        assert_eq!((&made["spec"], &made["status"]), (&wanted, &json!({})));
        let recreated = new(&DEPLOYMENTS, json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}));
        assert_eq!(recreated["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(recreated["spec"]["replicas"], 0);
    }

    #[test]
    fn a_pod_is_told_how_to_pull_and_probe() {
        let probe = json!({"httpGet": {"port": 80}});
        let containers = json!([
            {"name": "a", "image": "x", "readinessProbe": probe},
            {"name": "b", "image": "host:5000/x@sha256:0", "resources": {"limits": {"cpu": "1"}}},
            {"name": "c", "image": "host:5000/x", "ports": [{"containerPort": 80}]},
        ]);
        let made = new(&PODS, json!({"spec": {"containers": containers}}));
        let policies: Vec<&Value> =
            made["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["imagePullPolicy"]).collect();
        assert_eq!(policies, ["Always", "IfNotPresent", "Always"]);
        let wanted = json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
            "successThreshold": 1, "failureThreshold": 3,
        });
        assert_eq!(made["spec"]["containers"][0]["readinessProbe"], wanted);
        assert_eq!(made["spec"]["containers"][1]["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(made["spec"]["containers"][2]["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
        assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
        assert_eq!(made["spec"]["enableServiceLinks"], true);
    }

    #[test]
    fn a_job_runs_once_unless_it_says_how_many_at_a_time() {
        assert_eq!(new(&JOBS, json!({"spec": {}}))["spec"]["completions"], 1);
        let parallel = new(&JOBS, json!({"spec": {"parallelism": 2}}));
        assert_eq!((&parallel["spec"]["completions"], &parallel["spec"]["parallelism"]), (&Value::Null, &json!(2)));
        assert_eq!(parallel["spec"]["podReplacementPolicy"], "TerminatingOrFailed");
    }

    #[test]
    fn other_kinds_have_theirs() {
        let service = new(&SERVICES, json!({"spec": {"ports": [{"port": 80}]}}));
        assert_eq!(service["spec"]["ports"], json!([{"port": 80, "targetPort": 80, "protocol": "TCP"}]));
        assert_eq!(service["spec"]["internalTrafficPolicy"], "Cluster");
        let policy = new(&NETWORK_POLICIES, json!({"spec": {"egress": [{}]}}));
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let secret = new(&SECRETS, json!({"stringData": {"a": "me"}, "data": {"a": "eA==", "b": "eA=="}}));
        assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "bWU=", "b": "eA=="}}));
        let namespace = new(&NAMESPACES, json!({"metadata": {"name": "n"}}));
        assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
        let binding = new(
            &ROLE_BINDINGS,
            json!({"roleRef": {"kind": "Role"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]}),
        );
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io"}, {"kind": "ServiceAccount"}])
        );
        let set = new(&STATEFUL_SETS, json!({"spec": {}}));
        assert_eq!(set["spec"]["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
        let names =
            json!({"names": {"kind": "Gear", "plural": "gears"}, "versions": [{"name": "v1", "storage": true}]});
        let definition = new(&CUSTOM_RESOURCE_DEFINITIONS, json!({"spec": names}));
        assert_eq!(definition["spec"]["names"]["listKind"], "GearList");
        assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
    }
}
