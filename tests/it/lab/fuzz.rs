//! Requests that no client makes: whatever comes, the API answers, and a failure is a `Status` or Prometheus' error.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};
use steadfast::prelude::*;
use steadfast::transport::{Address, Request};

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"];

const PATHS: [&str; 30] = [
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/a",
    "/api/v1/namespaces/default/pods/a/log",
    "/api/v1/namespaces/default/pods/a/eviction",
    "/api/v1/namespaces/default/pods/a/binding",
    "/api/v1/namespaces/default/pods/a/exec",
    "/api/v1/namespaces/default/configmaps/a",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/api/v1/namespaces/default/bindings",
    "/api/v1/namespaces/a/finalize",
    "/api/v1/namespaces",
    "/api/v1/events",
    "/apis/apps/v1/namespaces/default/deployments/a",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/batch/v1/namespaces/default/jobs",
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/openapi/v2",
    "/openapi/v3/apis/apps/v1",
    "/api",
    "/version",
    "/%ff%fe/%00",
];

const HEADERS: [&str; 13] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "if-match",
    "if-none-match",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-%zz",
    "user-agent",
    "range",
    "upgrade",
];

const VALUES: [&str; 14] = [
    "",
    "*/*",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
    "application/yaml",
    "text/html;q=0.9,;;==",
    "Bearer a.b.c",
    "Basic !!!",
    "gzip, deflate;q=nan",
    "system:serviceaccount:default:default",
    "system:masters",
    "a",
    "\u{e4}\u{f6}",
];

const CONTENTS: [&str; 10] = [
    "application/json",
    "application/json; charset=\"",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "/;",
];

/// What stands in the queries of requests; those that make an answer wait are left out.
pub(super) const KEYS: [&str; 25] = [
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "labelSelector",
    "fieldSelector",
    "watch",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "dryRun",
    "fieldManager",
    "force",
    "fieldValidation",
    "gracePeriodSeconds",
    "propagationPolicy",
    "tailLines",
    "limitBytes",
    "sinceSeconds",
    "sinceTime",
    "previous",
    "%00",
    "includeObject",
    "container",
    "pretty",
    "orphanDependents",
];

/// A text as it may stand in a query: random bytes, and numbers at the ends of their ranges.
fn value() -> impl Strategy<Value = String> {
    let bytes = vec(any::<u8>(), 0..24).prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02X}")).collect());
    let numbers = prop::sample::select(vec![
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "1e400",
        "NaN",
        "-0",
        "0x10",
        "%",
        "%zz",
        "999999999999y",
        "9999-12-31T23:59:59Z",
        "-9999-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
    ]);
    prop_oneof![bytes, numbers.prop_map(str::to_owned)]
}

fn query(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec((prop::sample::select(keys), value()), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join("&")
    })
}

/// Random bytes, JSON of extremes, nests, and protobuf that is none.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let garbage = vec(any::<u8>(), 0..200);
    let protobuf = vec(any::<u8>(), 0..200).prop_map(|bytes| [b"k8s\0".as_slice(), &bytes].concat());
    let nests = ("(\\[|\\{\"a\":|\\{\"metadata\":\\{\"labels\":|- |a: \\[|\"|&a \\*a )", 1..20_000_usize)
        .prop_map(|(opening, times)| opening.repeat(times).into_bytes());
    let extremes = prop::sample::select(vec![
        r#"{"metadata": {"name": "a"}, "spec": {"replicas": 99999999999999999999999}}"#,
        r#"{"metadata": {"name": "a", "generation": -1e400}, "data": {"a": "\ud800"}}"#,
        r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1e300}}"#,
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"activeDeadlineSeconds": 9223372036854775807, "terminationGracePeriodSeconds": 9223372036854775807, "containers": [{"name": "c", "image": "app:1", "readinessProbe": {"periodSeconds": 2147483647, "initialDelaySeconds": 2147483647, "tcpSocket": {"port": 1}}}]}}"#,
        r#"{"metadata": {"name": "a", "creationTimestamp": "9999-12-31T23:59:59Z", "deletionGracePeriodSeconds": 9223372036854775807}}"#,
        r#"[{"op": "add", "path": "/metadata/99999999999999999999", "value": 1}, {"op": "copy", "from": "", "path": "/a"}]"#,
        r#"[{"op": "test", "path": "/~2"}, {"op": "remove", "path": ""}]"#,
        r#"{"$patch": "replace", "$retainKeys": 1, "$setElementOrder/containers": [[]]}"#,
        r#"{"spec": {"deleteOptions": null}, "deleteOptions": {"gracePeriodSeconds": -9223372036854775808}}"#,
        r#"{"spec": {"expirationSeconds": 9223372036854775807, "audiences": [1]}}"#,
        r#"{"spec": {"minAvailable": "99999999999999999999%"}, "metadata": {"name": "a"}}"#,
        r#"{"spec": {"replicas": 9223372036854775807}, "metadata": {"name": "a"}}"#,
    ]);
    prop_oneof![garbage, protobuf, nests, extremes.prop_map(|text| text.as_bytes().to_vec())]
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let value = prop_oneof![
        prop::sample::select(VALUES.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..16),
    ];
    (prop::sample::select(HEADERS.to_vec()), value)
}

fn request() -> impl Strategy<Value = Asked> {
    let content = prop::sample::select(CONTENTS.to_vec()).prop_map(|text| ("content-type", text.as_bytes().to_vec()));
    let parts = (
        prop::sample::select(METHODS.to_vec()),
        prop::sample::select(PATHS.to_vec()),
        query(&KEYS),
        vec(header(), 0..3),
        content,
        body(),
    );
    parts.prop_map(|(method, path, query, mut headers, content, body)| {
        headers.push(content);
        // A watch that does not say lasts half an hour.
        Asked { method, path: format!("{path}?timeoutSeconds=1&{query}"), headers, body }
    })
}

fn headers(asked: &Asked) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        let pair = (HeaderName::try_from(*name), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = pair {
            headers.append(name, value);
        }
    }
    headers
}

/// Code, media type and body of the API server's answer; `None` for what is no request at all.
async fn ask(cluster: &Cluster, asked: &Asked) -> Option<(u16, String, Vec<u8>)> {
    let uri: Uri = asked.path.parse().ok()?;
    let mut request = ::http::Request::new(kube::client::Body::from(asked.body.clone()));
    *request.method_mut() = Method::from_bytes(asked.method.as_bytes()).ok()?;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(asked);
    let response = cluster.client().send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let media = response.headers().get("content-type").and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.to_owned();
    let collected = tokio::time::timeout(secs(10), response.into_body().collect()).await;
    let bytes = collected.map(|body| body.expect("a body").to_bytes().to_vec()).unwrap_or_default();
    Some((code, media, bytes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_the_api_panic(all in vec(request(), 1..24)) {
        crate::support::on_the_lab(async |cluster| {
            for asked in &all {
                let Some((code, media, bytes)) = ask(&cluster, asked).await else { continue };
                let text = String::from_utf8_lossy(&bytes);
                // Filters before the API proper answer with plain text, as the real ones.
                let plain = text == "404 page not found\n" || text.starts_with("Internal Server Error: ");
                if code < 400 || media.starts_with("text/plain") && plain {
                    continue;
                }
                let is_status = match media.as_str() {
                    "application/vnd.kubernetes.protobuf" => bytes.starts_with(b"k8s\0"),
                    "application/yaml" => text.contains("kind: Status"),
                    _ => {
                        let told: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                        told["kind"] == "Status" && told["code"] == code && told["status"] == "Failure"
                    }
                };
                assert!(is_status, "{asked:?}: {code} {media} {text}");
            }
            // Whatever was stored, the cluster goes on.
            cluster.clock().sleep(secs(60)).await;
            let labels = json!({"after": "all"});
            let container = json!({"name": "c", "image": steadfast::kubernetes::WITNESS_IMAGE, "args": ["listen", "7007"]});
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "after", "namespace": "default"},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            });
            cluster.apply(&deployment).await.expect("the API still works");
            cluster.wait_for_deployments("default", &["after"], secs(60)).await.expect("the controllers still work");
            Ok(())
        });
    }

    #[test]
    fn no_request_makes_prometheus_panic(all in vec(question(), 1..24)) {
        crate::support::on_the_lab(async |cluster| {
            steadfast::shop(&cluster).await?;
            let transport = cluster.lab()?.transport();
            for asked in &all {
                let Ok(address) = format!("http://localhost:9090{}", asked.path).parse::<Address>() else { continue };
                let method = Method::from_bytes(asked.method.as_bytes()).expect("a method");
                let mut request = Request::new(method, address);
                request.headers = headers(asked);
                request.body = asked.body.clone().into();
                let answer = transport.send(&request).await.expect("an answer");
                let text = String::from_utf8_lossy(&answer.body);
                let api = asked.path.starts_with("/api/v1/");
                if !api || [204, 404, 405].contains(&answer.status) || text.starts_with("snappy") {
                    continue;
                }
                let told: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                let right = match answer.status {
                    200 => told["status"] == "success",
                    400 | 422 | 500 | 503 => told["status"] == "error" && told["error"].as_str().is_some_and(|why| !why.is_empty()),
                    _ => false,
                };
                assert!(right, "{asked:?}: {} {text}", answer.status);
            }
            Ok(())
        });
    }
}

fn question() -> impl Strategy<Value = Asked> {
    let path = prop::sample::select(vec![
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/format_query",
        "/api/v1/series",
        "/api/v1/labels",
        "/api/v1/label/job/values",
        "/api/v1/label/%ff/values",
        "/api/v1/targets",
        "/api/v1/targets/metadata",
        "/api/v1/metadata",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/status/tsdb",
        "/api/v1/read",
        "/api/v1/admin/tsdb/delete_series",
        "/federate",
        "/metrics",
    ]);
    let expression = prop::sample::select(vec![
        "up",
        "rate(up[1m])",
        "up offset 9223372036854775807ms",
        "up @ 9e18",
        "max_over_time(up[290y:1ms])",
        "((((((((((((((((((((up))))))))))))))))))))",
        "1e400",
        "-(-(-(-1)))",
        "quantile(NaN, up)",
        "topk(1e300, up)",
        "topk(-Inf, up)",
        "up{job=~\"(((((a*)*)*)*)*)*\"}",
        "label_replace(up, \"a\", \"$9\", \"job\", \"(.*)\")",
        "vector(1) / 0 % 0 ^ -1",
        "days_in_month(vector(1e300))",
        "predict_linear(up[1m], 1e300)",
        "histogram_quantile(2, up)",
        "count_values(\"\", up)",
        "round(up, 0)",
        "clamp(up, NaN, 1)",
        "minute(vector(-9e18))",
    ]);
    let expression =
        prop_oneof![3 => expression.prop_map(|text| text.bytes().map(|b| format!("%{b:02X}")).collect()), 1 => value()];
    let keys = &["start", "end", "step", "time", "timeout", "limit", "match[]", "stats", "lookback_delta"];
    let moment = prop_oneof![
        prop::sample::select(vec![
            "0",
            "1",
            "1700000000",
            "15s",
            "9223372036854775",
            "-9223372036854775",
            "9e18",
            "1e-9"
        ])
        .prop_map(str::to_owned),
        value(),
    ];
    let times = vec((prop::sample::select(keys.to_vec()), moment), 0..5);
    // Without CONNECT: a tunnel has no path.
    let methods: Vec<&str> = METHODS.into_iter().filter(|method| *method != "CONNECT").collect();
    let method = prop::sample::select(methods);
    let content = prop_oneof![Just("application/x-www-form-urlencoded"), Just("multipart/form-data"), Just("")];
    (method, path, expression, times, content, body(), any::<bool>()).prop_map(
        |(method, path, expression, times, content, garbage, in_body)| {
            let mut form = format!("query={expression}&match[]={expression}");
            for (key, value) in times {
                form += &format!("&{key}={value}");
            }
            let headers = vec![("content-type", content.as_bytes().to_vec())];
            match in_body {
                true => Asked { method, path: path.to_owned(), headers, body: form.into_bytes() },
                false => Asked { method, path: format!("{path}?{form}"), headers, body: garbage },
            }
        },
    )
}

#[steadfast::test(needs = "embedded")]
async fn a_body_of_more_than_three_mebibytes_is_refused(cluster: Cluster) -> steadfast::Result {
    let map = |length: usize| {
        let fill = "x".repeat(length);
        let body = json!({"metadata": {"name": "big", "annotations": {}}, "kind": "ConfigMap", "apiVersion": "v1", "spare": fill});
        Asked {
            method: "POST",
            path: "/api/v1/namespaces/default/configmaps".into(),
            headers: vec![("content-type", b"application/json".to_vec())],
            body: body.to_string().into_bytes(),
        }
    };
    let (code, _, body) = ask(&cluster, &map(3 * 1024 * 1024)).await.expect("an answer");
    let told: Value = serde_json::from_slice(&body)?;
    assert_eq!((code, &told["reason"]), (413, &json!("RequestEntityTooLarge")), "{told}");
    let (code, _, body) = ask(&cluster, &map(3 * 1024 * 1024 - 200)).await.expect("an answer");
    assert_eq!(code, 201, "{}", String::from_utf8_lossy(&body));
    Ok(())
}
