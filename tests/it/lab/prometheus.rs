//! The lab's Prometheus, asked over HTTP. Where the answers were observed: Prometheus 2.42.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::{Method, StatusCode};
use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use steadfast::clock::Timestamp;
use steadfast::lab::{AlertRule, RecordingRule, ScrapeJob};
use steadfast::prelude::*;
use steadfast::transport::{Address, Request};

/// Code and body of the answer; a body that is no JSON as a string.
async fn ask(cluster: &Cluster, method: Method, path: &str) -> (u16, Value) {
    let address: Address = format!("http://localhost:9090{path}").parse().expect("an address");
    let request = Request::new(method, address);
    let answer = cluster.lab().expect("the lab").transport().send(&request).await.expect("an answer");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn data(cluster: &Cluster, path: &str) -> Value {
    let (code, body) = ask(cluster, Method::GET, &format!("/api/v1/{path}")).await;
    assert_eq!((code, &body["status"]), (200, &json!("success")), "{path}: {body}");
    body["data"].clone()
}

async fn query(cluster: &Cluster, expr: &str) -> Vec<Value> {
    let form: String = form_urlencoded(expr);
    let found = data(cluster, &format!("query?query={form}")).await;
    found["result"].as_array().expect("a list").clone()
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A pod that exposes a page, as long as the switch is on; without annotations.
async fn exposing(cluster: &Cluster, page: &'static str) -> Arc<AtomicBool> {
    let on = Arc::new(AtomicBool::new(true));
    let switch = on.clone();
    cluster.lab().expect("the lab").image("pages:1", move |_| {
        let switch = switch.clone();
        let answer = move || {
            let on = switch.load(Ordering::Relaxed);
            async move { if on { page.into_response() } else { StatusCode::SERVICE_UNAVAILABLE.into_response() } }
        };
        Router::new().route("/metrics", get(answer)).route("/huge", get(async || "x 1\n".repeat(1000)))
    });
    let labels = json!({"app": "pages"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pages", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "pages:1"}]}});
    cluster.apply(&pod).await.expect("a pod");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pages", "namespace": "default"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}});
    cluster.apply(&service).await.expect("a service");
    tokio::time::sleep(secs(5)).await;
    on
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn requests_are_answered_or_refused_as_by_the_real_one(cluster: Cluster) -> steadfast::Result {
    tokio::time::sleep(secs(10)).await;
    let found = query(&cluster, "up").await;
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|series| series["value"][1] == "1"), "{found:?}");
    assert_eq!(data(&cluster, "query?query=nope").await, json!({"resultType": "vector", "result": []}));
    assert_eq!(data(&cluster, "label/job/values").await, json!(["back", "front", "middle"]));
    let series = data(&cluster, "series?match[]=up&match[]=nope").await;
    assert_eq!(series.as_array().unwrap().len(), 3);
    let metadata = data(&cluster, "metadata?metric=http_requests_total").await;
    assert_eq!(metadata["http_requests_total"][0]["type"], "counter");

    for (path, code, kind, text) in [
        ("query?query=up[5m", 400, "bad_data", "invalid parameter \"query\": 1:6: parse error: unclosed left bracket"),
        ("query?query=up&time=noon", 400, "bad_data", "cannot parse \"noon\" to a valid timestamp"),
        ("query?query=up&timeout=0", 503, "timeout", "query timed out in query queue"),
        ("query?query=up%20*%20on()%20up", 422, "execution", "many-to-many matching not allowed"),
        ("query_range?query=up&start=1&end=2&step=0", 400, "bad_data", "zero or negative query resolution"),
        (
            "query_range?query=up&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points",
        ),
        ("query_range?query=up[1m]&start=0&end=1&step=1", 400, "bad_data", "invalid expression type \"range vector\""),
        ("query?query=up&lookback_delta=x", 400, "bad_data", "lookback delta duration: cannot parse \"x\""),
        ("query?query=sort_by_label(up)", 422, "execution", "does not evaluate the function \"sort_by_label\""),
        ("series", 400, "bad_data", "no match[] parameter provided"),
        ("series?match[]=%7B%7D", 400, "bad_data", "match[] must contain at least one non-empty matcher"),
        ("label/a-b/values", 400, "bad_data", "invalid label name: \"a-b\""),
        ("rules?type=nope", 400, "bad_data", "not supported value \"nope\""),
        ("metadata?limit=x", 400, "bad_data", "limit must be a number"),
    ] {
        let (got, body) = ask(&cluster, Method::GET, &format!("/api/v1/{path}")).await;
        assert_eq!((got, &body["errorType"]), (code, &json!(kind)), "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(text), "{path}: {body}");
    }
    let none = json!("404 page not found\n");
    assert_eq!(ask(&cluster, Method::GET, "/api/v1/nope").await, (404, none.clone()));
    assert_eq!(ask(&cluster, Method::GET, "/nope").await, (404, none));
    assert_eq!(ask(&cluster, Method::GET, "/api/v1/query/").await.0, 301);
    assert_eq!(ask(&cluster, Method::POST, "/api/v1/query/").await.0, 307);
    assert_eq!(ask(&cluster, Method::PUT, "/api/v1/query").await, (405, json!("Method Not Allowed\n")));
    let (code, body) = ask(&cluster, Method::POST, "/api/v1/admin/tsdb/snapshot").await;
    assert_eq!((code, &body["error"]), (500, &json!("admin APIs disabled")));
    assert_eq!(ask(&cluster, Method::GET, "/-/ready").await, (200, json!("Prometheus Server is Ready.\n")));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_was_before_the_test_can_be_asked_for(cluster: Cluster) -> steadfast::Result {
    let second = |second: i64| Timestamp::from_second(1_767_225_000 + second).expect("a time");
    let labels = [("__name__", "orders_total"), ("job", "shop")];
    let samples = (0..10).map(|n| (second(n * 15), Some(n as f64))).chain([(second(150), None)]);
    cluster.lab()?.backfill(&labels, samples)?;
    let found = query(&cluster, "increase(orders_total[1m] @ 1767225135)").await;
    assert_eq!(found, [json!({"metric": {"job": "shop"}, "value": [found[0]["value"][0], "4"]})]);
    let at = async |more: &str| data(&cluster, &format!("query?query=orders_total&{more}")).await["result"].to_string();
    assert!(at("time=1767225149.9").await.contains("\"9\""));
    assert_eq!(at("time=1767225150").await, "[]", "it has ended");

    cluster.lab()?.backfill(&[("__name__", "orders_total"), ("job", "bar")], [(second(0), Some(1.0))])?;
    assert_eq!(at("time=1767225301").await, "[]", "it is older than five minutes");
    assert!(at("time=1767225301&lookback_delta=10m").await.contains("bar"));
    let late = cluster.lab()?.backfill(&labels, [(second(0), Some(1.0))]).expect_err("it is out of order");
    assert!(late.to_string().contains("{__name__=\"orders_total\", job=\"shop\"}"), "{late}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_pod_that_goes_ends_its_series(cluster: Cluster) -> steadfast::Result {
    tokio::time::sleep(secs(10)).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let back = pods.list(&kube::api::ListParams::default().labels("app=back")).await?.items.remove(0);
    let name = back.metadata.name.unwrap();
    let of_pod = format!("up{{pod=\"{name}\"}}");
    assert_eq!(query(&cluster, &of_pod).await.len(), 1);
    pods.delete(&name, &DeleteParams::default()).await?;
    tokio::time::sleep(secs(40)).await;
    for gone in [
        of_pod.clone(),
        format!("http_requests_total{{pod=\"{name}\"}}"),
        format!("scrape_samples_scraped{{pod=\"{name}\"}}"),
    ] {
        assert!(query(&cluster, &gone).await.is_empty(), "{gone}");
    }
    assert_eq!(query(&cluster, "up{job=\"back\"}").await.len(), 1, "another took its place");
    let raw = query(&cluster, &format!("{of_pod}[5m]")).await;
    assert!(raw[0]["values"].as_array().unwrap().len() >= 3, "what was scraped is still there");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn stated_targets_are_scraped_and_told_of(cluster: Cluster) -> steadfast::Result {
    const PAGE: &str = "# TYPE jobs_total counter\njobs_total{job=\"inner\"} 3\nold 1 1000\n";
    let on = exposing(&cluster, PAGE).await;
    let lab = cluster.lab()?;
    lab.scrape(ScrapeJob::new("pages", ["pages.default:80", "nowhere.default:80"]).label("team", "x").every(secs(1)));
    lab.scrape(ScrapeJob::new("huge", ["pages.default:80"]).path("/huge").body_limit(100));
    tokio::time::sleep(secs(5)).await;
    let found = query(&cluster, "jobs_total").await;
    let wanted = json!({"__name__": "jobs_total", "exported_job": "inner", "job": "pages", "instance": "pages.default:80", "team": "x"});
    assert_eq!(found[0]["metric"], wanted);
    let ups = query(&cluster, "sort(up)").await;
    assert_eq!(ups.iter().map(|up| up["value"][1].as_str().unwrap()).collect::<Vec<_>>(), ["0", "0", "1"]);

    let told = data(&cluster, "targets").await;
    let told = told["activeTargets"].as_array().unwrap();
    let error = |instance: &str, pool: &str| {
        let target = told.iter().find(|t| t["labels"]["instance"] == instance && t["scrapePool"] == pool).unwrap();
        (target["health"].clone(), target["lastError"].clone(), target["scrapeInterval"].clone())
    };
    assert_eq!(error("pages.default:80", "pages"), (json!("up"), json!(""), json!("1s")));
    assert_eq!(error("pages.default:80", "huge"), (json!("down"), json!("body size limit exceeded"), json!("2s")));
    let lookup =
        "Get \"http://nowhere.default:80/metrics\": dial tcp: lookup nowhere.default on 10.96.0.10:53: no such host";
    assert_eq!(error("nowhere.default:80", "pages").1, json!(lookup));
    assert_eq!(data(&cluster, "targets?state=dropped").await["activeTargets"], json!([]));

    on.store(false, Ordering::Relaxed);
    tokio::time::sleep(secs(3)).await;
    assert!(query(&cluster, "jobs_total").await.is_empty(), "a failed scrape ends the series");
    let told = data(&cluster, "targets").await;
    assert!(told.to_string().contains("server returned HTTP status 503 Service Unavailable"), "{told}");
    let gaps = query(&cluster, "up{job=\"pages\",instance=\"pages.default:80\"}[5s]").await;
    let times: Vec<f64> = gaps[0]["values"].as_array().unwrap().iter().map(|v| v[0].as_f64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 0.01), "{times:?}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn alerts_wait_fire_and_go(cluster: Cluster) -> steadfast::Result {
    let on = exposing(&cluster, "x 1\n").await;
    let lab = cluster.lab()?;
    lab.scrape(ScrapeJob::new("pages", ["pages.default:80"]));
    let down = AlertRule::new("Down", "up == 0").lasting(secs(10)).label("severity", "page");
    lab.alert(down.annotation("summary", "{{ $labels.job }} is down"))?;
    lab.record(RecordingRule::new("jobs:up", "sum by (job) (up)"))?;
    assert!(lab.alert(AlertRule::new("Bad", "up ==")).is_err());
    tokio::time::sleep(secs(6)).await;
    assert_eq!(data(&cluster, "alerts").await, json!({"alerts": []}));
    assert_eq!(query(&cluster, "jobs:up").await[0]["value"][1], "1");

    on.store(false, Ordering::Relaxed);
    tokio::time::sleep(secs(6)).await;
    let alerts = data(&cluster, "alerts").await;
    assert_eq!(alerts["alerts"][0]["state"], "pending", "{alerts}");
    tokio::time::sleep(secs(12)).await;
    let rules = data(&cluster, "rules?type=alert").await;
    let rule = &rules["groups"][0]["rules"][0];
    assert_eq!((&rule["state"], &rule["duration"], &rule["health"]), (&json!("firing"), &json!(10), &json!("ok")));
    let labels = json!({"alertname": "Down", "instance": "pages.default:80", "job": "pages", "severity": "page"});
    assert_eq!(rule["alerts"][0]["labels"], labels);
    assert_eq!(rule["alerts"][0]["annotations"]["summary"], "pages is down");
    assert_eq!(rule["alerts"][0]["value"], "0e+00");
    assert_eq!(query(&cluster, "ALERTS{alertstate=\"firing\"}").await.len(), 1);

    on.store(true, Ordering::Relaxed);
    tokio::time::sleep(secs(6)).await;
    assert_eq!(data(&cluster, "alerts").await, json!({"alerts": []}));
    assert!(query(&cluster, "ALERTS").await.is_empty());
    Ok(())
}
