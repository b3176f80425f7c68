//! The controllers, seen through the API in virtual time.

mod deployments;
mod disruption;
mod endpoints;
mod extremes;
mod garbage;
mod jobs;
mod namespaces;
mod sets;

use std::time::Duration;

use serde_json::{Value, json};
use steadfast::prelude::*;

/// The API of a lab as plain JSON. Paths are those below `/api/v1/namespaces/default/` for kinds of the core group,
/// else `GROUP/VERSION/PLURAL/…` with the same namespace.
pub struct Api {
    client: kube::Client,
}

impl Api {
    /// Also registers the images that the tests run: `web` serves, `idle` does nothing, `exit` ends with its first
    /// argument after as many seconds as its second says.
    pub fn of(cluster: &Cluster) -> Self {
        let lab = cluster.lab().expect("these tests run on the lab");
        lab.image("web:1", |_| axum::Router::new().route("/", axum::routing::get(async || "hi")));
        lab.image("web:2", |_| axum::Router::new().route("/", axum::routing::get(async || "hello")));
        lab.program("idle:1", |_| std::future::pending());
        lab.program("idle:2", |_| std::future::pending());
        lab.program("exit:1", |net| async move {
            let number = |n: usize| net.args().get(n).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(0);
            tokio::time::sleep(secs(number(1))).await;
            i32::try_from(number(0)).unwrap_or(1)
        });
        Self { client: cluster.client() }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.try_call("GET", path, &Value::Null).await.unwrap()
    }

    /// Whether there is none.
    pub async fn gone(&self, path: &str) -> bool {
        match self.try_call("GET", path, &Value::Null).await {
            Ok(_) => false,
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(other) => panic!("{other}"),
        }
    }

    pub async fn create(&self, path: &str, object: Value) -> Value {
        self.try_call("POST", path, &object).await.unwrap()
    }

    /// A merge patch.
    pub async fn patch(&self, path: &str, patch: Value) -> Value {
        self.try_call("PATCH", path, &patch).await.unwrap()
    }

    pub async fn delete(&self, path: &str, options: Value) -> Value {
        self.try_call("DELETE", path, &options).await.unwrap()
    }

    /// The items of a list, by name.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().cloned().unwrap_or_default()
    }

    /// The pods with a label.
    pub async fn pods(&self, selector: &str) -> Vec<Value> {
        self.list(&format!("pods?labelSelector={selector}")).await
    }

    /// What the events about an object say, in order.
    pub async fn told(&self, name: &str) -> Vec<String> {
        let mut events = self.list("events").await;
        events.retain(|event| event["involvedObject"]["name"] == name);
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        events.iter().map(|event| format!("{}: {}", text(event, "reason"), text(event, "message"))).collect()
    }

    pub async fn try_call(&self, method: &str, path: &str, body: &Value) -> kube::Result<Value> {
        let path = match path.split_once('/') {
            Some(_) if path.starts_with('/') => path.to_owned(),
            Some((group, rest))
                if matches!(group, "apps" | "batch" | "policy" | "discovery.k8s.io" | "networking.k8s.io") =>
            {
                let (version, rest) = rest.split_once('/').unwrap();
                format!("/apis/{group}/{version}/namespaces/default/{rest}")
            }
            _ => format!("/api/v1/namespaces/default/{path}"),
        };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            ::http::Request::builder().method(method).uri(path).header("content-type", kind).body(body).unwrap();
        let text = self.client.request_text(request).await?;
        Ok(serde_json::from_str(&text).unwrap())
    }
}

/// A pod template with one container.
pub fn template(app: &str, container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("c");
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
}

/// A workload of pods with the label `app=NAME`.
pub fn workload(kind: &str, name: &str, container: Value, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template(name, container)});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready")["status"] == "True" && pod["metadata"]["deletionTimestamp"].is_null()
}

pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
