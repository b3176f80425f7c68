//! Requests as they go over the wire.

use ::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use steadfast::prelude::Cluster;

/// Code and body of the answer; a body that is no JSON as a string.
pub async fn ask(cluster: &Cluster, request: &str, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let mut builder = Request::builder().method(method).uri(path).header("content-type", content);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = builder.body(kube::client::Body::from(body)).expect("a request");
    let response = cluster.client().send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
