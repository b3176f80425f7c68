//! The Prometheus of a kind cluster, which the lab has by itself: one for all shops.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::shop::READY_WITHIN;
use super::{Cluster, ClusterError, KindError};
use crate::experiment::Environment;
use crate::kubernetes::KubernetesError;
use crate::services::SERVICES;
use crate::transport::Request;

/// Its image.
const IMAGE: &str = "prom/prometheus:v2.42.0";

/// What it is made of.
const MANIFESTS: &str = include_str!("../../fixtures/prometheus.yaml");

/// Where it is.
const NAMESPACE: &str = "steadfast-monitoring";

/// What it scrapes: a key for each namespace.
const TARGETS: &str = "prometheus-targets";

/// How often it is asked whether it scrapes.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Every how many questions the kubelet is told again that the targets have changed.
const TELL_AGAIN: u32 = 8;

/// Puts it onto the cluster.
pub(super) async fn prometheus(cluster: &Cluster) -> Result<(), ClusterError> {
    // An image that is not on this machine the node may still get from its registry.
    match cluster.load_image(IMAGE).await {
        Ok(()) | Err(ClusterError::Kind(KindError::ImageMissing { .. })) => {}
        Err(error) => return Err(error),
    }
    cluster.apply_yaml(MANIFESTS).await?;
    cluster.wait_for_deployments(NAMESPACE, &["prometheus"], READY_WITHIN).await
}

/// Has it scrape the shop of a namespace, and waits until it does.
pub(super) async fn scrape(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    let version = write_targets(cluster, namespace).await?;
    let deadline = cluster.clock().elapsed() + READY_WITHIN;
    let prometheus = loop {
        match cluster.namespace(NAMESPACE).port_of_service("prometheus", 9090).await {
            Ok(port) => break port,
            // A pod is an endpoint a moment after it is ready.
            Err(_) if cluster.clock().elapsed() < deadline => cluster.clock().sleep(ASK_EVERY).await,
            Err(error) => return Err(error),
        }
    };
    let query = format!("count(up{{namespace={namespace:?}, job=~\"front|middle|back\"}} == 1)");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", &query).finish();
    let request = Request::new(Method::GET, prometheus.url(&format!("api/v1/query?{query}")));
    for asked in 0_u32.. {
        let answer = cluster.transport().send(&request).await;
        let body: Value = answer.ok().and_then(|a| serde_json::from_slice(&a.body).ok()).unwrap_or_default();
        let up = body.pointer("/data/result/0/value/1").and_then(Value::as_str).unwrap_or("0");
        if up == SERVICES.len().to_string() {
            break;
        }
        if cluster.clock().elapsed() >= deadline {
            let of = SERVICES.len();
            let why =
                format!("after {READY_WITHIN:?} Prometheus scrapes {up} of {of} services of namespace {namespace}");
            return Err(ClusterError::NotScraped { why, namespace: NAMESPACE });
        }
        if asked % TELL_AGAIN == 0 {
            tell_kubelet(cluster, &format!("{version}-{asked}")).await?;
        }
        cluster.clock().sleep(ASK_EVERY).await;
    }
    Ok(())
}

/// Adds the targets of a namespace, and takes out those of namespaces that have gone. The version of the list.
async fn write_targets(cluster: &Cluster, namespace: &str) -> Result<String, KubernetesError> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), NAMESPACE);
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let doing = |what: &str| KubernetesError::api(format!("{what} configmap {NAMESPACE}/{TARGETS}"));
    let written = maps.get(TARGETS).await.map_err(doing("read"))?.data.unwrap_or_default();
    let live = namespaces.list(&ListParams::default()).await.map_err(KubernetesError::api("list the namespaces"))?;
    let live: BTreeSet<String> = live.into_iter().filter_map(|namespace| namespace.metadata.name).collect();
    let gone = written.into_keys().filter(|key| key.strip_suffix(".json").is_none_or(|name| !live.contains(name)));
    let mut data: Map<String, Value> = gone.map(|key| (key, Value::Null)).collect();
    let targets = SERVICES.map(|(name, port, _)| {
        let target = format!("{name}.{namespace}.svc.cluster.local:{port}");
        json!({"targets": [target], "labels": {"job": name, "namespace": namespace}})
    });
    data.insert(format!("{namespace}.json"), json!(json!(targets).to_string()));
    // A merge patch changes its own keys alone: set-ups of several namespaces do not disturb each other.
    let patch = Patch::Merge(json!({"data": data}));
    let after = maps.patch(TARGETS, &PatchParams::default(), &patch).await.map_err(doing("write"))?;
    Ok(after.metadata.resource_version.unwrap_or_default())
}

/// The kubelet brings a changed map into a pod when it looks at the pod: every minute by itself, at once when the pod
/// has changed.
async fn tell_kubelet(cluster: &Cluster, version: &str) -> Result<(), KubernetesError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let doing = || KubernetesError::api(format!("annotate the pods of namespace {NAMESPACE}"));
    let annotations = json!({"metadata": {"annotations": {"steadfast.dev/targets": version}}});
    for pod in pods.list(&ListParams::default().labels("app=prometheus")).await.map_err(doing())? {
        let name = pod.metadata.name.unwrap_or_default();
        pods.patch(&name, &PatchParams::default(), &Patch::Merge(&annotations)).await.map_err(doing())?;
    }
    Ok(())
}
