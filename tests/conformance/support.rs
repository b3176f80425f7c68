//! A namespace of its own for each case, and waiting.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use steadfast::prelude::*;
use steadfast::rollback::ObjectRef;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A namespace that one case has for itself.
pub struct Place {
    /// Where it lies.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

/// The answer to a raw request: its code and its body.
pub type Answer = (u16, Value);

impl Place {
    /// A new namespace. Ended by [`Place::end`]; a case that fails leaves it for people to look at.
    pub async fn new(cluster: &Cluster) -> Result<Self, steadfast::Error> {
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        let body = object(json!({"metadata": {"generateName": "conformance-"}}));
        let name = namespaces.create(&PostParams::default(), &body).await?.metadata.name.unwrap_or_default();
        Ok(Self { cluster: cluster.clone(), name })
    }

    /// Deletes the namespace, without waiting for it.
    pub async fn end(self) -> steadfast::Result {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The objects of a kind in it.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        <K as Resource>::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client(), &self.name)
    }

    /// Creates an object of JSON.
    pub async fn create<K>(&self, value: Value) -> Result<K, kube::Error>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + serde::Serialize,
        <K as Resource>::DynamicType: Default,
    {
        self.api().create(&PostParams::default(), &object(value)).await
    }

    /// A ConfigMap with one key.
    pub async fn map(&self, name: &str, labels: Value) -> Result<ConfigMap, kube::Error> {
        self.create(json!({"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}})).await
    }

    /// A raw request below the namespace: `POST configmaps?dryRun=All`, group and version as in the path.
    pub async fn raw(&self, method: &str, base: &str, rest: &str, content: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let uri = format!("{base}/namespaces/{}/{rest}", self.name);
        raw(&self.cluster.client(), method, &uri, content, body, &[]).await
    }

    /// Waits until `look` finds something; fails with `what` after `within`.
    pub async fn eventually<T>(&self, within: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let clock = self.cluster.clock().clone();
        let end = clock.elapsed() + within;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(clock.elapsed() < end, "not within {within:?}: {what}");
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until an object has gone.
    pub async fn gone<K>(&self, within: Duration, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        <K as Resource>::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        let what = format!("{name} goes");
        self.eventually(within, &what, async || api.get_opt(name).await.expect("an answer").is_none().then_some(()))
            .await;
    }

    /// The pods that a selector matches.
    pub async fn pods(&self, selector: &str) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default().labels(selector)).await.expect("a list").items
    }

    /// Waits until a Deployment has exactly this many pods, all of them new and ready.
    pub async fn rolled_out(&self, name: &str, replicas: i32) -> Deployment {
        let api: Api<Deployment> = self.api();
        let what = format!("deployment {name} has {replicas} ready replicas");
        let settled = async || {
            let found = api.get(name).await.expect("it is there");
            let status = found.status.clone().unwrap_or_default();
            let current = status.observed_generation == found.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
            (current && counts.iter().all(|count| count.unwrap_or(0) == replicas)).then_some(found)
        };
        self.eventually(Duration::from_secs(60), &what, settled).await
    }
}

/// An object of a place, as undos and faults name it.
pub fn reference(place: &Place, api_version: &str, kind: &str, resource: &str, name: &str) -> ObjectRef {
    let (api_version, kind, resource) = (api_version.into(), kind.into(), resource.into());
    ObjectRef { api_version, kind, resource, namespace: Some(place.name.clone()), name: name.into() }
}

/// A typed object of JSON.
pub fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("a body of that kind")
}

/// A request as no typed client makes it.
pub async fn raw(
    client: &Client,
    method: &str,
    uri: &str,
    content: &str,
    body: String,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = ::http::Request::builder().method(method).uri(uri).header("content-type", content);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client.send(request.body(body.into_bytes().into()).expect("a request")).await.expect("an answer");
    let code = answer.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
    (
        code,
        serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
    )
}

/// The answer's `Status`, from a call that the server refused.
pub fn refused<T: Debug>(answer: Result<T, kube::Error>) -> kube::core::Status {
    match answer {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("the server should have refused: {other:?}"),
    }
}

/// The pod template of one of the shop's services.
pub fn template(app: &str, role: &str) -> Value {
    let port = match role {
        "front" => 8000,
        "middle" => 8001,
        _ => 8002,
    };
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": steadfast::cluster::SHOP_IMAGE, "imagePullPolicy": "IfNotPresent", "args": [role],
                "ports": [{"name": "http", "containerPort": port}],
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
            }],
        },
    })
}

/// A Deployment of `back`.
pub fn deployment(name: &str, replicas: u32) -> Value {
    let selector = json!({"matchLabels": {"app": name}});
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": selector, "template": template(name, "back")},
    })
}

/// The names of objects, in their order.
pub fn names<K: Resource>(objects: &[K]) -> Vec<String> {
    objects.iter().map(|object| object.meta().name.clone().unwrap_or_default()).collect()
}
