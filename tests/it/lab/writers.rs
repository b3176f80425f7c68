//! Properties of the API: writers never lose each other's updates, and no request makes it panic.

use ::http::Request;
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};
use steadfast::prelude::*;

use super::raw::ask;

/// What one of two writers does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Reads the object.
    Read,
    /// Counts one up from what it read, if the object is still the one that it read.
    Put,
    /// Sets its own key by a merge patch.
    Merge,
    /// Sets its own key by server-side apply.
    Apply,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let kind = prop_oneof![Just(Step::Read), Just(Step::Put), Just(Step::Merge), Just(Step::Apply)];
    (0..2_usize, kind)
}

const MAP: &str = "/api/v1/namespaces/default/configmaps/m";

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_writers_on_one_object_never_lose_an_update(steps in vec(step(), 1..40)) {
        crate::support::on_the_lab(async |cluster| {
            let map = json!({"metadata": {"name": "m"}, "data": {"count": "0"}});
            let (code, made) = ask(&cluster, "POST /api/v1/namespaces/default/configmaps", &[], map).await;
            assert_eq!(code, 201, "{made}");
            let (mut read, mut count) = ([made.clone(), made], 0);
            let mut own: [Vec<(String, String)>; 2] = Default::default();
            for (number, (writer, step)) in steps.iter().copied().enumerate() {
                let value = number.to_string();
                match step {
                    Step::Read => read[writer] = ask(&cluster, &format!("GET {MAP}"), &[], Value::Null).await.1,
                    Step::Put => {
                        let mut next = read[writer].clone();
                        let counted: usize = next["data"]["count"].as_str().unwrap().parse().unwrap();
                        next["data"]["count"] = json!((counted + 1).to_string());
                        match ask(&cluster, &format!("PUT {MAP}"), &[], next).await.0 {
                            200 => count += 1,
                            code => assert_eq!(code, 409),
                        }
                    }
                    Step::Merge => {
                        let patch = json!({"data": {format!("merged-{writer}"): value}});
                        assert_eq!(ask(&cluster, &format!("PATCH {MAP}"), &[], patch).await.0, 200);
                        own[writer].push((format!("merged-{writer}"), value));
                    }
                    Step::Apply => {
                        let data = json!({format!("applied-{writer}"): value});
                        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
                        let path = format!("{MAP}?fieldManager=writer-{writer}");
                        assert_eq!(send(&cluster, "PATCH", &path, "application/apply-patch+yaml", body.to_string()).await.0, 200);
                        own[writer].push((format!("applied-{writer}"), value));
                    }
                }
            }
            let (_, end) = ask(&cluster, &format!("GET {MAP}"), &[], Value::Null).await;
            assert_eq!(end["data"]["count"], count.to_string());
            for own in own {
                let last: std::collections::BTreeMap<_, _> = own.into_iter().collect();
                for (key, value) in last {
                    assert_eq!(end["data"][&key], value, "{key}");
                }
            }
            Ok(())
        });
    }

    #[test]
    fn whatever_is_asked_is_answered_and_a_failure_is_a_status(asked in vec(request(), 1..12)) {
        crate::support::on_the_lab(async |cluster| {
            for (method, path, content, body) in asked {
                let (code, text) = send(&cluster, &method, &path, &content, body.clone()).await;
                let told: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                let known = [200, 201, 202, 204, 400, 403, 404, 405, 406, 409, 410, 415, 422, 500, 504];
                assert!(known.contains(&code), "{method} {path} {content} {body}: {code} {text}");
                if code >= 400 && text != "404 page not found\n" {
                    let right = told["kind"] == "Status" && told["code"] == code && told["status"] == "Failure";
                    assert!(right, "{method} {path} {content} {body}: {code} {text}");
                    let message = told["message"].as_str().unwrap_or_default();
                    assert!(!message.is_empty(), "{method} {path} {content} {body}: {code} {text}");
                }
            }
            Ok(())
        });
    }
}

/// Code and text of the answer; watches and logs are not followed to their end.
async fn send(cluster: &Cluster, method: &str, path: &str, content: &str, body: String) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let request = request.body(kube::client::Body::from(body.into_bytes())).expect("a request");
    let response = cluster.client().send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let collected = tokio::time::timeout(secs(10), response.into_body().collect()).await;
    let bytes = collected.map(|body| body.expect("a body").to_bytes()).unwrap_or_default();
    (code, String::from_utf8_lossy(&bytes).into_owned())
}

fn request() -> impl Strategy<Value = (String, String, String, String)> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]);
    let content = prop::sample::select(vec![
        "application/json",
        "application/yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "text/plain",
        "",
    ]);
    (method, path(), content, body()).prop_map(|(method, path, content, body)| {
        // The head of a failure has no body to look at.
        let method = if method == "HEAD" { "GET" } else { method };
        (method.to_owned(), path, content.to_owned(), body)
    })
}

fn path() -> impl Strategy<Value = String> {
    let root = prop::sample::select(vec![
        "/api/v1",
        "/apis/apps/v1",
        "/apis/batch/v1",
        "/apis/policy/v1",
        "/apis/none/v1",
        "/api/v1/watch",
        "",
        "/api",
        "/apis",
    ]);
    let place =
        prop::sample::select(vec!["", "/namespaces/default", "/namespaces/none", "/namespaces/default/namespaces/x"]);
    let plural = prop::sample::select(vec![
        "",
        "/pods",
        "/configmaps",
        "/services",
        "/deployments",
        "/jobs",
        "/secrets",
        "/namespaces",
        "/nodes",
        "/nothings",
        "/events",
    ]);
    let name = prop::sample::select(vec!["", "/a", "/default", "/%2e%2e", "/A_b", "//"]);
    let below = prop::sample::select(vec![
        "",
        "",
        "",
        "/status",
        "/scale",
        "/log",
        "/eviction",
        "/binding",
        "/finalize",
        "/token",
        "/x/y/z",
    ]);
    let key = prop::sample::select([&super::fuzz::KEYS[..], &["timeoutSeconds", "follow"]].concat());
    let value = prop_oneof![
        prop::sample::select(vec![
            "",
            "0",
            "1",
            "-1",
            "true",
            "All",
            "Exact",
            "a=b",
            "metadata.name=a",
            "Strict",
            "Orphan"
        ])
        .prop_map(str::to_owned),
        "[a-z0-9%=(),! ]{0,6}".prop_map(|text| text.replace('%', "%25").replace(' ', "%20")),
    ];
    let query = vec((key, value), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        // A watch that does not say lasts half an hour.
        format!("?timeoutSeconds=1&{}", pairs.join("&"))
    });
    (root, place, plural, name, below, query).prop_map(|(root, place, plural, name, below, query)| {
        let path = format!("{root}{place}{plural}{name}{below}");
        format!("{}{query}", if path.is_empty() { "/" } else { &path })
    })
}

fn body() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "default",
            "v1",
            "Pod",
            "ConfigMap",
            "Deployment",
            "Job",
            "\u{e4}",
            "1",
            "All"
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "spec",
        "status",
        "data",
        "replicas",
        "containers",
        "template",
        "selector",
        "matchLabels",
        "finalizers",
        "ownerReferences",
        "uid",
        "resourceVersion",
        "deletionTimestamp",
        "managedFields",
        "generateName",
        "$patch",
        "op",
        "path",
        "value",
        "target",
        "preconditions",
        "gracePeriodSeconds",
        "ports",
        "conditions",
        "stringData",
    ]);
    let value = leaf.prop_recursive(4, 40, 5, move |inner| {
        let map = vec((key.clone(), inner.clone()), 0..5)
            .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
        prop_oneof![3 => map, 1 => vec(inner, 0..4).prop_map(Value::from)]
    });
    let named = value.clone().prop_map(|mut value| {
        if let Some(map) = value.as_object_mut() {
            let metadata = map.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("name".to_owned(), json!("a"));
            }
        }
        value.to_string()
    });
    prop_oneof![3 => named, 2 => value.prop_map(|value| value.to_string()), 1 => ".{0,40}".prop_map(|text| text)]
}
