//! Lists, watches and deletion, as requests see them.

use futures_util::StreamExt;
use futures_util::io::AsyncBufReadExt;
use serde_json::{Value, json};
use steadfast::prelude::*;

use super::raw::ask;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(cluster: &Cluster, name: &str, labels: Value) -> Value {
    let map = json!({"metadata": {"name": name, "labels": labels}});
    let (code, made) = ask(cluster, &format!("POST {MAPS}"), &[], map).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn get(cluster: &Cluster, query: &str) -> (u16, Value) {
    ask(cluster, &format!("GET {MAPS}?{query}"), &[], Value::Null).await
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// The events of a watch until it ends.
async fn events(cluster: &Cluster, query: &str) -> Vec<Value> {
    let request = ::http::Request::get(format!("{MAPS}?watch=1&{query}")).body(Vec::new()).unwrap();
    let lines = cluster.client().request_stream(request).await.unwrap().lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect().await
}

fn kinds(events: &[Value]) -> Vec<(&str, &str)> {
    let text = |value| Value::as_str(value).unwrap_or_default();
    events.iter().map(|event| (text(&event["type"]), text(&event["object"]["metadata"]["name"]))).collect()
}

#[steadfast::test(needs = "embedded")]
async fn later_pages_and_exact_lists_show_the_past(cluster: Cluster) -> steadfast::Result {
    for name in ["a", "b", "c"] {
        make(&cluster, name, json!({"set": "x"})).await;
    }
    let (_, one) = get(&cluster, "labelSelector=set%3Dx&limit=2").await;
    assert_eq!((names(&one), one["metadata"].get("remainingItemCount")), (vec!["a", "b"], None));
    make(&cluster, "d", json!({"set": "x"})).await;
    ask(&cluster, &format!("DELETE {MAPS}/c"), &[], Value::Null).await;
    let token = one["metadata"]["continue"].as_str().unwrap();
    let (_, two) = get(&cluster, &format!("labelSelector=set%3Dx&limit=2&continue={token}")).await;
    assert_eq!((names(&two), version(&two)), (vec!["c"], version(&one)));
    assert!(two["metadata"].get("continue").is_none(), "{two}");
    let exact = format!("labelSelector=set%3Dx&resourceVersionMatch=Exact&resourceVersion={}", version(&one));
    assert_eq!(names(&get(&cluster, &exact).await.1), ["a", "b", "c"]);
    assert_eq!(names(&get(&cluster, "labelSelector=set%3Dx").await.1), ["a", "b", "d"]);

    let (code, left) = get(&cluster, "limit=1").await;
    assert_eq!((code, left["metadata"]["remainingItemCount"].as_u64().is_some()), (200, true));
    for (query, code, message) in [
        ("limit=1&continue=nonsense", 400, "invalid continue token: continue key is not valid: "),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410, "The resourceVersion for the provided list is too old."),
        ("resourceVersion=99999999", 504, "Timeout: Too large resource version: 99999999, current: "),
        ("resourceVersionMatch=Exact", 422, "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden"),
        ("limit=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("fieldSelector=data.k%3Dv", 400, "\"data.k\" is not a known field selector: only \"metadata.name\""),
    ] {
        let (told, status) = get(&cluster, query).await;
        assert!(told == code && status["message"].as_str().unwrap().starts_with(message), "{query}: {told} {status}");
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_watch_tells_what_enters_and_leaves_and_how_far_it_has_come(cluster: Cluster) -> steadfast::Result {
    let made = make(&cluster, "a", json!({"w": "1"})).await;
    let patch = |labels: Value| json!({"metadata": {"labels": labels}});
    ask(&cluster, &format!("PATCH {MAPS}/a"), &[], patch(json!({"more": "1"}))).await;
    let (_, left) = ask(&cluster, &format!("PATCH {MAPS}/a"), &[], patch(json!({"w": "2"}))).await;
    ask(&cluster, &format!("PATCH {MAPS}/a"), &[], patch(json!({"w": "1"}))).await;
    ask(&cluster, &format!("DELETE {MAPS}/a"), &[], Value::Null).await;
    let query = format!("labelSelector=w%3D1&timeoutSeconds=1&resourceVersion={}", version(&made));
    let told = events(&cluster, &query).await;
    assert_eq!(kinds(&told), [("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]);
    assert_eq!(told[1]["object"]["metadata"]["labels"]["w"], "1", "it leaves with its old labels");
    assert_eq!(version(&told[1]["object"]), version(&left), "and with the new version");

    let ancient = events(&cluster, "resourceVersion=1&timeoutSeconds=1").await;
    assert_eq!((ancient.len(), &ancient[0]["type"], &ancient[0]["object"]["code"]), (1, &json!("ERROR"), &json!(410)));

    // What the selector hides is enough for a bookmark, two seconds before the end.
    let other = cluster.clone();
    let writes = async move {
        tokio::time::sleep(secs(1)).await;
        make(&other, "hidden", json!({})).await
    };
    let query = format!(
        "labelSelector=none&allowWatchBookmarks=true&timeoutSeconds=6&resourceVersion={}",
        cluster.lab()?.store().version()
    );
    let (told, hidden) = tokio::join!(events(&cluster, &query), writes);
    assert_eq!(kinds(&told), [("BOOKMARK", "")]);
    assert!(version(&told[0]["object"]) >= version(&hidden));

    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dhidden";
    let told = events(&cluster, query).await;
    assert_eq!(kinds(&told), [("ADDED", "hidden"), ("BOOKMARK", "")]);
    assert_eq!(told[1]["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn finalizers_hold_what_is_deleted(cluster: Cluster) -> steadfast::Result {
    let map = json!({"metadata": {"name": "f", "finalizers": ["a.example.com/b"]}});
    ask(&cluster, &format!("POST {MAPS}"), &[], map.clone()).await;
    let path = format!("{MAPS}/f");
    let (code, marked) = ask(&cluster, &format!("DELETE {path}"), &[], Value::Null).await;
    assert_eq!((code, &marked["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(0)));
    let (_, again) = ask(&cluster, &format!("DELETE {path}"), &[], Value::Null).await;
    assert_eq!(again, marked, "a second delete changes nothing");
    let (code, status) = ask(&cluster, &format!("POST {MAPS}"), &[], map).await;
    assert_eq!((code, &status["message"]), (409, &json!("object is being deleted: configmaps \"f\" already exists")));
    let more = json!({"metadata": {"finalizers": ["a.example.com/b", "c.example.com/d"]}});
    let (code, status) = ask(&cluster, &format!("PATCH {path}"), &[], more).await;
    let why = "no new finalizers can be added if the object is being deleted, found new finalizers []string{\"c.example.com/d\"}";
    assert!(code == 422 && status["message"].as_str().unwrap().ends_with(why), "{status}");
    let (code, _) = ask(&cluster, &format!("PATCH {path}"), &[], json!({"metadata": {"finalizers": null}})).await;
    assert_eq!((code, ask(&cluster, &format!("GET {path}"), &[], Value::Null).await.0), (200, 404));
    for (body, code, message) in [
        (json!({"propagationPolicy": "Sometimes"}), 422, "propagationPolicy: Unsupported value: \"Sometimes\""),
        (json!({"gracePeriodSeconds": "x"}), 500, "json: cannot unmarshal string"),
        (json!({"kind": "Nope"}), 500, "no kind \"Nope\" is registered"),
    ] {
        let (told, status) = ask(&cluster, &format!("DELETE {path}"), &[], body).await;
        assert!(told == code && status["message"].as_str().unwrap().contains(message), "{told} {status}");
    }
    Ok(())
}
