//! The lab, through a client and from outside.

mod admission;
mod controllers;
mod discovery;
mod fabric;
mod fuzz;
mod node;
mod patch;
mod prometheus;
mod table;

use axum::Router;
use axum::routing::get;
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{
    DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use serde_json::json;
use steadfast::prelude::*;

mod access;
mod eviction;
mod raw;
mod reading;
mod switch;
mod writers;

fn config(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": value}})).unwrap()
}

#[steadfast::test(needs = "embedded")]
async fn objects_are_created_changed_and_deleted_as_on_a_real_server(cluster: Cluster) -> steadfast::Result {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    let made = maps.create(&PostParams::default(), &config("a", "1")).await?;
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());
    let again = maps.create(&PostParams::default(), &config("a", "1")).await.unwrap_err();
    assert!(again.to_string().contains(r#"configmaps "a" already exists"#), "{again}");

    let patched = maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
    assert_eq!(patched.data.clone().unwrap()["k"], "2");
    let stale = maps.replace("a", &PostParams::default(), &made).await.unwrap_err();
    assert!(stale.to_string().contains("please apply your changes to the latest version"), "{stale}");
    let same = maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
    assert_eq!(same.metadata.resource_version, patched.metadata.resource_version, "no change, no version");

    let other = DeleteParams {
        preconditions: Some(Preconditions { uid: Some("x".into()), resource_version: None }),
        ..DeleteParams::default()
    };
    let refused = maps.delete("a", &other).await.unwrap_err();
    assert!(refused.to_string().contains("does not match the UID in record"), "{refused}");
    let stale = Preconditions { uid: None, resource_version: made.metadata.resource_version.clone() };
    let stale = DeleteParams { preconditions: Some(stale), ..DeleteParams::default() };
    let error = maps.delete("a", &stale).await.unwrap_err();
    assert!(error.to_string().contains("The object might have been modified"), "{error}");
    maps.delete("a", &DeleteParams::default()).await?;
    let gone = maps.get("a").await.unwrap_err();
    assert!(gone.to_string().contains(r#"configmaps "a" not found"#), "{gone}");
    assert!(maps.get_opt("a").await?.is_none());
    let nowhere: Api<ConfigMap> = Api::namespaced(cluster.client(), "nowhere");
    let error = nowhere.create(&PostParams::default(), &config("a", "1")).await.unwrap_err();
    assert!(error.to_string().contains(r#"namespaces "nowhere" not found"#), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn applies_create_and_merge(cluster: Cluster) -> steadfast::Result {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    for (key, value) in [("a", "1"), ("b", "2")] {
        cluster.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {key: value}})).await?;
    }
    let map = maps.get("m").await?;
    let data: Vec<String> = map.data.unwrap().into_keys().collect();
    assert_eq!(data, ["b"], "what is no longer applied goes");
    let error = cluster.apply(&json!({"kind": "ConfigMap"})).await.unwrap_err().to_string();
    assert!(error.contains("apiVersion"), "{error}");
    let error = cluster
        .apply(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "s"}}))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("failed to find the kind PersistentVolumeClaim of v1"), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn lists_select_and_watches_follow(cluster: Cluster) -> steadfast::Result {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &config(name, "1")).await?;
    }
    let listed = maps.list(&ListParams::default().labels("app in (a,c)")).await?;
    assert_eq!(listed.items.iter().map(|m| m.metadata.name.clone().unwrap()).collect::<Vec<_>>(), ["a", "c"]);
    let page = maps.list(&ListParams::default().limit(2)).await?;
    let rest = maps.list(&ListParams::default().continue_token(page.metadata.continue_.as_deref().unwrap())).await?;
    assert_eq!((page.items.len(), rest.items.len()), (2, 2), "with kube-root-ca.crt");

    let from = listed.metadata.resource_version.unwrap();
    let mut events = maps.watch(&WatchParams::default().labels("app=a").timeout(5), &from).await?.boxed();
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
    maps.patch("b", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}}))).await?;
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"app": "x"}}}))).await?;
    maps.patch("b", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"app": "a"}}}))).await?;
    maps.delete("b", &DeleteParams::default()).await?;
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(match event? {
            WatchEvent::Added(m) => format!("added {}", m.metadata.name.unwrap()),
            WatchEvent::Modified(m) => format!("modified {}", m.metadata.name.unwrap()),
            WatchEvent::Deleted(m) => format!("deleted {}", m.metadata.name.unwrap()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["modified a", "deleted a", "added b", "deleted b"], "leaving a selector is a deletion");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn deployments_scale_and_replace_their_pods(cluster: Cluster) -> steadfast::Result {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let backs = ListParams::default().labels("app=back");
    let scale = |n: u32| Patch::Merge(json!({"spec": {"replicas": n}}));
    deployments.patch("back", &PatchParams::default(), &scale(3)).await?;
    cluster.wait_for_deployments("default", &["back"], secs(30)).await?;
    assert_eq!(pods.list(&backs).await?.items.len(), 3);

    deployments.patch("back", &PatchParams::default(), &scale(1)).await?;
    cluster.wait_for_deployments("default", &["back"], secs(30)).await?;
    tokio::time::sleep(secs(1)).await;
    let left = pods.list(&backs).await?.items;
    assert_eq!(left.len(), 1);
    let name = left[0].metadata.name.clone().unwrap();
    pods.delete(&name, &DeleteParams::default()).await?;
    tokio::time::sleep(secs(5)).await;
    let new = pods.list(&backs).await?.items;
    assert_eq!(new.len(), 1);
    assert_ne!(new[0].metadata.name, Some(name), "another pod took its place");

    deployments.delete("back", &DeleteParams::default()).await?;
    tokio::time::sleep(secs(5)).await;
    assert!(pods.list(&backs).await?.items.is_empty(), "what a Deployment owned goes with it");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_image_that_is_not_known_never_runs(cluster: Cluster) -> steadfast::Result {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nobody/knows:1", "imagePullPolicy": "Never"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    tokio::time::sleep(secs(10)).await;
    let status = pods.get("p").await?.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ErrImageNeverPull"));
    let error = pods.logs("p", &LogParams::default()).await.unwrap_err();
    assert!(error.to_string().contains("waiting to start"), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn own_services_run_as_pods(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.image("orders:1", |net| {
        Router::new().route(
            "/",
            get(move || {
                let net = net.clone();
                async move {
                    net.log("asked");
                    format!("{} in {}", net.env("GREETING").unwrap_or("hello"), net.namespace())
                }
            }),
        )
    });
    let labels = json!({"app": "orders"});
    let container = json!({"name": "c", "image": "orders:1", "ports": [{"containerPort": 9000}], "env": [{"name": "GREETING", "value": "hi"}]});
    cluster.apply(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})).await?;
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders", "namespace": "default"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 9000}]}}))
        .await?;
    cluster.wait_for_deployments("default", &["orders"], secs(10)).await?;
    let shop = cluster.namespace("default");
    let answers = Hypothesis::new("orders greets")
        .check(http::get(shop.service("orders").url("/")).expect(contains("hi in default")));
    Experiment::new("orders", answers).run(&cluster).await?.assert_verdict(Met);
    let logs = shop.pods("app=orders").logs().tail(1).read().await?;
    assert!(logs[0].1.ends_with("asked\n"), "{logs:?}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn denied_hangs_and_nobody_refuses(cluster: Cluster) -> steadfast::Result {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let zero = Patch::Merge(json!({"spec": {"replicas": 0}}));
    deployments.patch("back", &PatchParams::default(), &zero).await?;
    tokio::time::sleep(secs(5)).await;
    let back = cluster.namespace("default").service("back").url("/");
    let refused = Hypothesis::new("back answers").check(http::get(back).expect(status(200)));
    let journal = Experiment::new("x", refused).run(&cluster).await?;
    let phrase = &journal.evaluations[0].checks[0].phrase;
    assert_eq!(phrase, "was no answer (connection refused), expected status 200");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn queries_beyond_lab4_are_answered(cluster: Cluster) -> steadfast::Result {
    let prometheus = cluster.namespace("default").prometheus();
    let front = cluster.namespace("default").service("front").url("/");
    let traffic = load::get(front).per_second(5).lasting(secs(20));
    let journal = Experiment::without_hypothesis("queries")
        .background(&traffic)
        .pause(secs(20))
        .observe(prometheus.query(r#"rate(http_requests_total{job="back",path="/"}[10s] offset 4s)"#))
        .observe(prometheus.query("sum by (job) (up)"))
        .observe(prometheus.query("sum(increase(http_requests_total[10s]))"))
        .observe(prometheus.query("avg(up)"))
        .observe(prometheus.query_range("sum(up)", secs(10), secs(2)))
        .run(&cluster)
        .await?;
    let seen = |n: usize| journal.steps[n].output.clone();
    assert_eq!(seen(2), json!(5.0));
    assert!(seen(3)["inconclusive"]["why"].as_str().unwrap().contains("several series"), "{}", seen(3));
    assert_eq!(seen(4), json!(150.0));
    assert_eq!(seen(5), json!(1.0));
    assert_eq!(seen(6), json!([3.0, 3.0, 3.0, 3.0, 3.0, 3.0]));
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_scraper_keeps_its_connection_and_the_kubelet_passes_policies(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let up = shop.prometheus().query(r#"up{job="back"}"#);
    let journal = Experiment::new("still scraped", Hypothesis::new("back is up").check(up.expect(equals_one)))
        .baseline_within(secs(10))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(30))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    let back = &pods.list(&ListParams::default().labels("app=back")).await?.items[0];
    let ready = back.status.as_ref().unwrap().conditions.as_ref().unwrap().iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    Ok(())
}

fn equals_one(value: &impl steadfast::tolerance::AsNumber) -> bool {
    value.number() == 1.0
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_stale_or_absent_series_is_never_met(cluster: Cluster) -> steadfast::Result {
    let prometheus = cluster.namespace("default").prometheus();
    for (counter, reason) in [
        (prometheus.counter("http_requests_total").label("job", "nobody"), "stale data"),
        (prometheus.counter("never_seen_total"), "no data"),
    ] {
        let check = counter.growth().expect(at_most(0.0));
        let journal = Experiment::new("x", Hypothesis::new("x").check(check)).run(&cluster).await?;
        journal.assert_verdict(Inconclusive);
        assert_eq!(journal.reason.as_ref().map(steadfast::journal::Reason::kind), Some(reason), "{:?}", journal.reason);
    }
    let absent = prometheus.counter("never_seen_total").growth().or_when_absent(0.0).expect(at_most(0.0));
    Experiment::new("x", Hypothesis::new("x").check(absent)).run(&cluster).await?.assert_verdict(Met);
    let short =
        prometheus.counter("http_requests_total").label("job", "front").growth_over(secs(5)).expect(at_most(1e9));
    let journal = Experiment::new("x", Hypothesis::new("x").check(short)).pause(secs(60)).run(&cluster).await?;
    assert_eq!(journal.reason.as_ref().map(steadfast::journal::Reason::kind), Some("window too short"));
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_target_that_is_down_is_never_met(cluster: Cluster) -> steadfast::Result {
    let counter = cluster.namespace("default").prometheus().counter("failed_call_total").label("job", "front");
    let client = cluster.client();
    let journal =
        Experiment::new("x", Hypothesis::new("x").check(counter.growth().or_when_absent(0.0).expect(at_most(0.0))))
            .act_with("front goes", async move |_| {
                let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
                let zero = Patch::Merge(json!({"spec": {"replicas": 0}}));
                deployments.patch("front", &PatchParams::default(), &zero).await?;
                Ok(())
            })
            .run(&cluster)
            .await?;
    journal.assert_verdict(Inconclusive);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_prometheus_that_does_not_answer_as_one_is_unavailable(cluster: Cluster) -> steadfast::Result {
    use axum::http::StatusCode;
    cluster.lab()?.image("broken:1", |_| {
        axum::Router::new()
            .route("/refuses/{*path}", axum::routing::any(async || StatusCode::UNAUTHORIZED))
            .route("/fails/{*path}", axum::routing::any(async || StatusCode::BAD_GATEWAY))
            .route("/chats/{*path}", axum::routing::any(async || "hello"))
    });
    let labels = json!({"app": "broken"});
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "broken", "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "broken:1"}]}}))
        .await?;
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "broken", "namespace": "default"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}))
        .await?;
    tokio::time::sleep(secs(5)).await;

    for (path, why) in [("/refuses", "401"), ("/fails", "502"), ("/chats", "hello")] {
        let base = cluster.namespace("default").service("broken").url(path);
        let prometheus = steadfast::prometheus::Prometheus::new(base);
        for check in [
            Hypothesis::new("a query").check(prometheus.query("up").expect(at_least(0.0))),
            Hypothesis::new("a growth")
                .check(prometheus.counter("up").growth().or_when_absent(0.0).expect(at_most(0.0))),
        ] {
            let journal = Experiment::new("x", check).run(&cluster).await?;
            journal.assert_verdict(Inconclusive);
            let reason = journal.reason.as_ref().expect("an inconclusive verdict has its reason");
            assert_eq!(reason.kind(), "unavailable");
            assert!(reason.to_string().contains(why), "{reason}");
        }
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn logs_are_cut_as_asked(cluster: Cluster) -> steadfast::Result {
    let container =
        json!({"name": "c", "image": steadfast::kubernetes::WITNESS_IMAGE, "args": ["connect", "127.0.0.1:1"]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w", "namespace": "default"},
        "spec": {"containers": [container]}});
    cluster.apply(&pod).await?;
    tokio::time::sleep(secs(30)).await;
    let log = async |query: &str| {
        let path = format!("GET /api/v1/namespaces/default/pods/w/log?{query}");
        let (code, text) = raw::ask(&cluster, &path, &[], serde_json::Value::Null).await;
        assert_eq!(code, 200, "{text}");
        text.as_str().expect("text").to_owned()
    };
    // One line about every 100 ms.
    let all = log("").await;
    let count = |text: &str| text.lines().count();
    assert!(count(&all) > 200 && all.starts_with("1 refused\n2 refused\n"), "{all}");
    let recent = log("sinceSeconds=5").await;
    assert!((40..=55).contains(&count(&recent)) && all.ends_with(&recent), "{recent}");
    let last = log("tailLines=3").await;
    assert!(count(&last) == 3 && all.ends_with(&last), "{last}");
    assert_eq!(log("tailLines=0").await, "");
    assert_eq!(log("limitBytes=15").await, all[..15]);
    let stamped = log("timestamps=true&tailLines=1").await;
    let (time, line) = stamped.split_once(' ').expect("a time");
    assert!(
        all.ends_with(line) && time.len() == "2026-01-01T00:00:00.000000000Z".len() && time.ends_with('Z'),
        "{stamped}"
    );
    let since = format!("sinceTime={}", &time[..19]) + "Z";
    assert!((1..=11).contains(&count(&log(&since).await)), "{since}");
    Ok(())
}
