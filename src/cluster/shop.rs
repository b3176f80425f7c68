//! The shop: three services that call each other, as in lab4 of the Chaos Toolkit demos.
//!
//! `front` calls `middle` with a time-out of 1 s, `middle` calls `back` with one of 1.5 s: so front always gives up
//! first. On a time-out or an error they still answer 200, with the last value that they saw, and count
//! `failed_call_total`. A service finds the next one by its name in the pod's own namespace, or where `MIDDLE_URL` or
//! `BACK_URL` says. It ignores SIGTERM, as the first process of a container does that has no handler for it: it
//! serves until its grace period is over. Set-up for tests and examples: `#[steadfast::test(setup = steadfast::shop)]`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};

use super::Cluster;
use crate::lab::Net;

/// The image of the shop; its argument says which service it is: `front`, `middle` or `back`.
pub const SHOP_IMAGE: &str = "steadfast-shop:1";

/// The service that another one calls, its port, and the time-out.
type Calls = (&'static str, u16, Duration);

/// The services: name, port, and the service that each calls within a time-out.
const SERVICES: [(&str, u16, Option<Calls>); 3] = [
    ("front", 8000, Some(("middle", 8001, Duration::from_millis(1000)))),
    ("middle", 8001, Some(("back", 8002, Duration::from_millis(1500)))),
    ("back", 8002, None),
];

/// Front's port on the node.
pub const SHOP_NODE_PORT: u16 = 30080;

/// How long the shop may take to get ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Puts the shop into namespace `default` and waits until all of it is ready.
///
/// # Errors
/// The cluster refuses a manifest, or the shop does not get ready within a minute.
pub async fn shop(cluster: &Cluster) -> crate::Result {
    if let Ok(lab) = cluster.lab() {
        lab.scratch_program(SHOP_IMAGE, run);
    }
    for (name, port, _) in SERVICES {
        for manifest in manifests("default", name, port) {
            cluster.apply(&manifest).await?;
        }
    }
    let names = SERVICES.map(|(name, ..)| name);
    Ok(cluster.wait_for_deployments("default", &names, READY_WITHIN).await?)
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
    if name == "front" {
        spec["type"] = json!("NodePort");
        service_port["nodePort"] = json!(SHOP_NODE_PORT);
    }
    spec["ports"] = json!([service_port]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    [deployment, service]
}

/// One running service of the shop.
#[derive(Clone)]
struct Shop {
    net: Net,
    name: &'static str,
    calls: Option<Calls>,
    /// Where the next service is.
    url: String,
    counters: Arc<Mutex<Counters>>,
}

#[derive(Default)]
struct Counters {
    requests: BTreeMap<&'static str, u64>,
    failed: u64,
    last: u64,
}

/// Runs the service that the argument names.
async fn run(net: Net) -> i32 {
    let wanted = net.args().first().map(String::as_str).unwrap_or_default();
    let Some(&(name, port, calls)) = SERVICES.iter().find(|(service, ..)| *service == wanted) else {
        net.log(format!("no service {wanted:?}; give front, middle or back"));
        return 1;
    };
    let url = calls.map_or(String::new(), |(next, port, _)| {
        let named = net.env(&format!("{}_URL", next.to_uppercase()));
        named.map_or_else(|| format!("http://{next}:{port}/"), str::to_owned)
    });
    let shop = Shop { net: net.clone(), name, calls, url, counters: Arc::default() };
    net.serve_on(&[port], router(shop)).await
}

fn router(shop: Shop) -> Router {
    Router::new()
        .route("/", get(answer))
        .route("/health", get(async || "ok"))
        .route("/metrics", get(metrics))
        .with_state(shop)
}

impl Shop {
    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number, asked for down the line if this is not the last service.
    async fn value(&self) -> Result<u64, String> {
        let Some((next, _, timeout)) = self.calls else {
            return Ok(self.counters().last + 1);
        };
        let answer = self.net.get(&self.url, timeout).await.map_err(|e| e.to_string())?;
        let body: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        body["value"].as_u64().ok_or_else(|| format!("{next} answered without a value"))
    }
}

async fn answer(State(shop): State<Shop>) -> impl IntoResponse {
    shop.net.log(format!("{} GET /", shop.name));
    let value = shop.value().await;
    let mut counters = shop.counters();
    *counters.requests.entry("/").or_default() += 1;
    let body = match value {
        Ok(value) => {
            counters.last = value;
            json!({"service": shop.name, "value": value})
        }
        Err(error) => {
            counters.failed += 1;
            json!({"service": shop.name, "value": counters.last, "error": error})
        }
    };
    drop(counters);
    axum::Json(body)
}

async fn metrics(State(shop): State<Shop>) -> impl IntoResponse {
    let counters = shop.counters();
    let mut text = String::from("# TYPE http_requests counter\n# HELP http_requests Requests answered.\n");
    for (path, count) in &counters.requests {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "http_requests_total{{path=\"{path}\"}} {count}");
    }
    text.push_str("# TYPE failed_call counter\n# HELP failed_call Calls that got no answer in time.\n");
    // The series does not exist before the first failure, as with most client libraries.
    if let (Some((next, ..)), true) = (shop.calls, counters.failed > 0) {
        let _ = writeln!(text, "failed_call_total{{to=\"{next}\"}} {}", counters.failed);
    }
    text.push_str("# EOF\n");
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
