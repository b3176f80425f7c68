//! The shop: three services that call each other, as in lab4 of the Chaos Toolkit demos.
//!
//! What the services do is in [`services`](crate::services); this puts them onto a cluster. They ignore SIGTERM, as the
//! first process of a container does that has no handler for it: each serves until its grace period is over. Set-up
//! for tests and examples: `#[steadfast::test(setup = steadfast::shop)]`.

use std::time::Duration;

use serde_json::{Value, json};

use super::kind::Images;
use super::{Cluster, ClusterError, monitoring};
use crate::lab::Net;
use crate::services::{Place, SERVICES, service};

/// The image of the shop; its argument says which service it is: `front`, `middle` or `back`.
pub const SHOP_IMAGE: &str = "steadfast-shop:1";

/// Front's port on the node.
pub const SHOP_NODE_PORT: u16 = 30080;

/// How long the shop may take to get ready.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);

/// Puts the shop into namespace `default` and waits until all of it is ready and, on a kind cluster, scraped.
///
/// # Errors
/// The cluster refuses a manifest, or the shop does not get so far within a minute.
pub async fn shop(cluster: &Cluster) -> Result<(), ClusterError> {
    shop_in(cluster, "default").await
}

/// As [`shop`], in another namespace, which is there. Several shops do not mix: counters of
/// [`Namespace::prometheus`](super::Namespace::prometheus) are those of its namespace. Only the front of `default` has a
/// node port; others are reached by [`Namespace::port_of_service`](super::Namespace::port_of_service).
///
/// # Errors
/// As [`shop`].
pub async fn shop_in(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    shop_image(cluster).await?;
    if cluster.kind_name().is_some() {
        monitoring::prometheus(cluster).await?;
    }
    for (name, port, _) in SERVICES {
        for manifest in manifests(namespace, name, port) {
            cluster.apply(&manifest).await?;
        }
    }
    let names = SERVICES.map(|(name, ..)| name);
    cluster.wait_for_deployments(namespace, &names, READY_WITHIN).await?;
    if cluster.kind_name().is_some() {
        monitoring::scrape(cluster, namespace).await?;
    }
    Ok(())
}

/// Brings the shop's image to the cluster, for pods of a test's own: the lab is told what it runs, a kind cluster gets
/// it built from this package's source; elsewhere it is to be there.
///
/// # Errors
/// The image cannot be built or loaded.
pub async fn shop_image(cluster: &Cluster) -> Result<(), ClusterError> {
    if let Ok(lab) = cluster.lab() {
        lab.scratch_program(SHOP_IMAGE, run);
    }
    if let Some(kind) = cluster.kind_name() {
        Images::of(kind).shop().await?;
    }
    Ok(())
}

fn manifests(namespace: &str, name: &str, port: u16) -> [Value; 2] {
    let labels = json!({"app": name});
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let container = json!({
        "name": name, "image": SHOP_IMAGE, "imagePullPolicy": "IfNotPresent", "args": [name],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
    });
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": port.to_string()});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    });
    let mut service_port = json!({"name": "http", "port": port, "targetPort": "http"});
    let mut spec = json!({"selector": labels});
    if name == "front" && namespace == "default" {
        spec["type"] = json!("NodePort");
        service_port["nodePort"] = json!(SHOP_NODE_PORT);
    }
    spec["ports"] = json!([service_port]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    [deployment, service]
}

impl Place for Net {
    fn env(&self, name: &str) -> Option<String> {
        Net::env(self, name).map(str::to_owned)
    }

    fn log(&self, line: String) {
        Net::log(self, line);
    }

    async fn get(&self, url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        Net::get(self, url, timeout).await.map(|answer| answer.body.to_vec()).map_err(|error| error.to_string())
    }
}

/// Runs the service that the container's argument names.
async fn run(net: Net) -> i32 {
    let wanted = net.args().first().map(String::as_str).unwrap_or_default();
    match service(wanted, net.clone()) {
        Ok((port, router)) => net.serve_on(&[port], router).await,
        Err(error) => {
            net.log(error);
            1
        }
    }
}
