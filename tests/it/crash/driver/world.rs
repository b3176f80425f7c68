//! The cluster that the drivers work on, and what is to be seen of them in it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use steadfast::lab::resource::{DEPLOYMENTS, JOBS, LEASES, NETWORK_POLICIES, NODES, PODS, Resource, SERVICES};
use steadfast::lab::store::{Deletion, Object, Store};
use steadfast::prelude::*;
use steadfast::rollback::{ORIGINAL_ANNOTATION, OWNER_LABEL};

use super::decoy::Decoy;
use super::plans::Kind;

/// Two sets of pods with a service each.
pub async fn prepare(cluster: &Cluster) -> steadfast::Result {
    let lab = cluster.lab()?;
    lab.image("app:1", |_| axum::Router::new().route("/health", axum::routing::get(async || "ok")));
    let (deployments, services) =
        (Api::default_namespaced(cluster.client()), Api::default_namespaced(cluster.client()));
    for app in ["front", "back"] {
        let container = json!({"name": "c", "image": "app:1", "ports": [{"containerPort": 8000, "protocol": "TCP"}]});
        let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
        let template = json!({"metadata": {"labels": {"app": app}}, "spec": spec});
        let selector = json!({"matchLabels": {"app": app}});
        let spec = json!({"replicas": 2, "selector": selector, "template": template});
        let _: Deployment = create(&deployments, json!({"metadata": {"name": app}, "spec": spec})).await?;
        let spec = json!({"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8000}]});
        let _: Service = create(&services, json!({"metadata": {"name": app}, "spec": spec})).await?;
    }
    tokio::time::sleep(secs(1)).await;
    let ready = |deployment: &Object| deployment["status"]["readyReplicas"] == 2;
    assert!(lab.store().list(&DEPLOYMENTS, None).0.iter().all(ready), "the pods are there");
    Ok(())
}

async fn create<K>(api: &Api<K>, object: Value) -> steadfast::Result<K>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).expect("an object");
    Ok(api.create(&PostParams::default(), &object).await?)
}

pub fn store(cluster: &Cluster) -> Store {
    cluster.lab().expect("the lab").store().clone()
}

/// The kinds of what faults and their witnesses create.
pub fn kinds_created(store: &Store) -> [&'static Resource; 3] {
    let chaos = store.kind("chaos-mesh.org", "v1alpha1", "networkchaos").expect("the lab serves it");
    [&NETWORK_POLICIES, chaos, &PODS]
}

/// The kinds of what faults change.
pub const KINDS_CHANGED: [&Resource; 3] = [&DEPLOYMENTS, &SERVICES, &NODES];

/// What faults and witnesses have created and is still there, but for a decoy.
pub fn created(cluster: &Cluster, decoy: Option<&Decoy>) -> Vec<Object> {
    let store = store(cluster);
    let all = kinds_created(&store).into_iter().flat_map(|kind| store.list(kind, None).0);
    let ours = |object: &Object| !object["metadata"]["labels"][OWNER_LABEL].is_null();
    all.filter(|object| ours(object) && !decoy.is_some_and(|decoy| decoy.is(object))).collect()
}

/// Deletes what faults have created, but for their witnesses.
pub fn rob(cluster: &Cluster) {
    let store = store(cluster);
    for kind in kinds_created(&store) {
        for object in store.list(kind, None).0.iter().filter(|object| kind_of(object).is_some()) {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            store.remove(kind, &text("namespace"), &text("name"), &Deletion::default()).expect("it was there");
        }
    }
}

/// What faults have changed and is still so, but for a decoy.
pub fn changed(cluster: &Cluster, decoy: Option<&Decoy>) -> Vec<Object> {
    let store = store(cluster);
    let all = KINDS_CHANGED.into_iter().flat_map(|kind| store.list(kind, None).0);
    all.filter(|object| is_changed(object) && !decoy.is_some_and(|decoy| decoy.is(object))).collect()
}

/// Whether it carries old values, or others than it was made with.
fn is_changed(object: &Value) -> bool {
    let spec = &object["spec"];
    let other = match object["kind"].as_str() {
        Some("Deployment") => spec["replicas"] != 2,
        Some("Service") => spec["selector"].as_object().is_some_and(|selector| selector.len() > 1),
        _ => !spec["unschedulable"].is_null(),
    };
    other || !object["metadata"]["annotations"][ORIGINAL_ANNOTATION].is_null()
}

/// Which fault, or its witness, an object is of.
pub fn kind_of(object: &Value) -> Option<Kind> {
    let spec = &object["spec"];
    match (object["kind"].as_str()?, spec["policyTypes"][0].as_str(), spec["action"].as_str()) {
        (_, Some("Ingress"), _) => Some(Kind::DenyIngress),
        (_, Some("Egress"), _) => Some(Kind::DenyEgress),
        (_, _, Some("delay")) => Some(Kind::Latency),
        (_, _, Some("loss")) => Some(Kind::Loss),
        ("Deployment", ..) => Some(Kind::Scale),
        ("Service", ..) => Some(Kind::Blackhole),
        ("Node", ..) => Some(Kind::Cordon),
        _ => None,
    }
}

/// The leases and switches of runs.
pub fn holding(cluster: &Cluster) -> Vec<Object> {
    let store = store(cluster);
    [&LEASES, &JOBS].into_iter().flat_map(|kind| store.list(kind, None).0).collect()
}

/// Every object, as it can be compared with a later one.
pub struct Before(BTreeMap<String, Object>);

impl Before {
    pub fn of(cluster: &Cluster) -> Self {
        Self(by_name(cluster))
    }

    /// What differs from it now, object by object. Pods of sets that a fault has emptied or taken pods from come back
    /// under new names: of them so many are compared, by owner, and with them the endpoints of services.
    pub fn differences(&self, cluster: &Cluster, pods_moved: bool, decoy: Option<&Decoy>) -> Vec<String> {
        let now = by_name(cluster);
        let skipped = |object: &Value| decoy.is_some_and(|decoy| decoy.concerns(object));
        let compared = |all: &BTreeMap<String, Object>| {
            let mut told = BTreeMap::new();
            for (name, object) in all.iter().filter(|(_, object)| !skipped(object)) {
                match owner_of_pod(object).filter(|_| pods_moved) {
                    Some(owner) => {
                        let count = told.entry(format!("pods of {owner}")).or_insert_with(|| json!(0));
                        *count = json!(count.as_u64().unwrap_or(0) + u64::from(is_ready(object)));
                    }
                    // Not written since: equal, and most are.
                    None if self.0.get(name) == now.get(name) => {}
                    None => drop(told.insert(name.clone(), essence(object, pods_moved))),
                }
            }
            told
        };
        let (before, now) = (compared(&self.0), compared(&now));
        let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
        let of = |all: &BTreeMap<String, Value>, name: &str| all.get(name).cloned().unwrap_or(Value::Null);
        let mut differences = Vec::new();
        for name in names {
            difference(name, &of(&before, name), &of(&now, name), &mut differences);
        }
        differences
    }
}

/// Where two values differ, as far inside as that can be told.
fn difference(at: &str, before: &Value, now: &Value, into: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                difference(&format!("{at}/{key}"), &before[key], &now[key], into);
            }
        }
        _ if before == now => {}
        _ => into.push(format!("{at}: {before} before, {now} now")),
    }
}

fn by_name(cluster: &Cluster) -> BTreeMap<String, Object> {
    let name = |object: &Object| {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {}/{}",
            text(&object["apiVersion"]),
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"])
        )
    };
    crate::support::objects(cluster).into_iter().map(|object| (name(&object), object)).collect()
}

fn owner_of_pod(object: &Value) -> Option<String> {
    let owner = &object["metadata"]["ownerReferences"][0];
    (object["kind"] == "Pod" && owner["controller"] == true).then(|| format!("{} {}", owner["kind"], owner["name"]))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    ready.any(|condition| condition["status"] == "True") && pod["metadata"]["deletionTimestamp"].is_null()
}

/// An object without what every write changes, and without the instants and words of its conditions.
fn essence(object: &Value, pods_moved: bool) -> Value {
    let mut object = object.clone();
    remove(&mut object["metadata"], &["resourceVersion", "generation", "managedFields"]);
    remove(&mut object["status"], &["observedGeneration"]);
    remove(&mut object["metadata"]["annotations"], &["endpoints.kubernetes.io/last-change-trigger-time"]);
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        for condition in conditions.iter_mut() {
            remove(condition, &["lastTransitionTime", "lastUpdateTime", "lastProbeTime", "message", "reason"]);
        }
        // The newest is the last.
        conditions.sort_by_key(|condition| condition["type"].to_string());
    }
    if pods_moved {
        count_endpoints(&mut object);
    }
    object
}

fn remove(object: &mut Value, fields: &[&str]) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

/// Which pods stand behind a service is told by how many they are.
fn count_endpoints(object: &mut Value) {
    match object["kind"].as_str() {
        Some("EndpointSlice") => {
            let count = object["endpoints"].as_array().map_or(0, Vec::len);
            object["endpoints"] = json!(count);
        }
        Some("Endpoints") => {
            for subset in object["subsets"].as_array_mut().into_iter().flatten() {
                let count = subset["addresses"].as_array().map_or(0, Vec::len);
                subset["addresses"] = json!(count);
            }
        }
        _ => {}
    }
}

/// Whether an object is one of the pods of an app, or what controllers make of them.
pub fn is_of_app(object: &Value, app: &str) -> bool {
    let labels = &object["metadata"]["labels"];
    let named =
        matches!(object["kind"].as_str(), Some("Deployment" | "Endpoints")) && object["metadata"]["name"] == app;
    labels["app"] == app || labels["kubernetes.io/service-name"] == app || named
}
