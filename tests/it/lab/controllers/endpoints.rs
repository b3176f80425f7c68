//! Endpoints and EndpointSlices. Expectations were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, name, pause};

fn pod(name: &str, container: Value, more: Value) -> Value {
    let mut container = container;
    container["name"] = json!("c");
    let mut spec = json!({"containers": [container], "terminationGracePeriodSeconds": 2});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": spec})
}

fn service(more: Value) -> Value {
    let mut spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": "web", "labels": {"team": "shop"}}, "spec": spec})
}

fn never_ready() -> Value {
    json!({"image": "idle:1", "readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1}})
}

async fn slices(api: &Api) -> Vec<Value> {
    api.list("discovery.k8s.io/v1/endpointslices?labelSelector=kubernetes.io/service-name=web").await
}

#[steadfast::test(needs = "embedded")]
async fn a_pod_that_has_ended_is_no_endpoint(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("services", service(json!({}))).await;
    // Without its arguments the witness ends at once, with code 2.
    let ends = json!({"image": steadfast::kubernetes::WITNESS_IMAGE});
    api.create("pods", pod("a", ends, json!({"restartPolicy": "Never"}))).await;
    pause(secs(5)).await;
    let ended = api.get("pods/a").await;
    assert_eq!(ended["status"]["phase"], "Failed");
    assert!(ended["status"]["podIP"].is_string(), "it keeps its address: {}", ended["status"]);
    assert!(slices(&api).await[0]["endpoints"].as_array().is_none_or(Vec::is_empty));
    assert!(api.get("endpoints/web").await.get("subsets").is_none());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_probe_waits_as_long_as_it_says(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    cluster.lab()?.image("slow:1", |_| {
        let answer = async || tokio::time::sleep(secs(3)).await;
        axum::Router::new().route("/", axum::routing::get(answer))
    });
    for (name, timeout) in [("hasty", 2), ("patient", 4)] {
        let probe = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5, "timeoutSeconds": timeout});
        let container = json!({"image": "slow:1", "ports": [{"containerPort": 8080}], "readinessProbe": probe});
        api.create("pods", pod(name, container, json!({}))).await;
    }
    pause(secs(20)).await;
    let ready =
        async |name: &str| api.get(&format!("pods/{name}")).await["status"]["containerStatuses"][0]["ready"].clone();
    assert_eq!((ready("hasty").await, ready("patient").await), (json!(false), json!(true)));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn ready_and_waiting_pods_are_told_apart(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let made = api.create("services", service(json!({}))).await;
    pause(millis(50)).await;
    let none = slices(&api).await.remove(0);
    assert_eq!((&none["ports"], &none["endpoints"]), (&Value::Null, &Value::Null));
    let empty = api.get("endpoints/web").await;
    assert!(empty.get("subsets").is_none());
    assert_eq!(empty["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"], "endpoint-controller");

    api.create("pods", pod("a", json!({"image": "idle:1"}), json!({}))).await;
    api.create("pods", pod("b", never_ready(), json!({}))).await;
    pause(secs(5)).await;
    let all = slices(&api).await;
    assert_eq!(all.len(), 1);
    let slice = &all[0];
    assert_eq!(name(slice), name(&none), "the empty one is used");
    assert!(name(slice).starts_with("web-"));
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io");
    assert_eq!(labels["team"], "shop");
    let owner = &slice["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Service"), &made["metadata"]["uid"]));
    assert_eq!(slice["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    let conditions: Vec<_> = slice["endpoints"].as_array().unwrap().iter().map(|e| e["conditions"].clone()).collect();
    let of = |ready: bool, serving: bool, terminating: bool| json!({"ready": ready, "serving": serving, "terminating": terminating});
    assert_eq!(conditions, [of(true, true, false), of(false, false, false)]);
    let subset = api.get("endpoints/web").await["subsets"][0].clone();
    assert_eq!(subset["addresses"][0]["targetRef"]["name"], "a");
    assert_eq!(subset["notReadyAddresses"][0]["targetRef"]["name"], "b");
    assert_eq!(subset["ports"], json!([{"port": 80, "protocol": "TCP"}]));

    for pod in ["a", "b"] {
        api.delete(&format!("pods/{pod}"), json!({})).await;
    }
    pause(secs(5)).await;
    assert!(api.get("endpoints/web").await.get("subsets").is_none());
    api.delete("services/web", json!({})).await;
    pause(secs(1)).await;
    assert!(api.gone("endpoints/web").await && slices(&api).await.is_empty());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_named_port_is_each_pods_own(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("services", service(json!({"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}))).await;
    for (name, port) in [("a", 8080), ("b", 9090), ("c", 8080)] {
        let container = json!({"image": "idle:1", "ports": [{"name": "web", "containerPort": port}]});
        api.create("pods", pod(name, container, json!({}))).await;
    }
    pause(secs(3)).await;
    let mut seen: Vec<_> = slices(&api)
        .await
        .iter()
        .map(|slice| (slice["ports"][0]["port"].as_u64().unwrap(), slice["endpoints"].as_array().unwrap().len()))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(8080, 2), (9090, 1)]);
    assert_eq!(api.get("endpoints/web").await["subsets"].as_array().unwrap().len(), 2);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_headless_service_names_its_pods_and_may_publish_all(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"clusterIP": "None", "publishNotReadyAddresses": true});
    api.create("services", service(more)).await;
    api.create("pods", pod("a", never_ready(), json!({"hostname": "first", "subdomain": "web"}))).await;
    pause(secs(4)).await;
    let slice = slices(&api).await.remove(0);
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(slice["endpoints"][0]["hostname"], "first");
    assert_eq!(slice["endpoints"][0]["conditions"], json!({"ready": true, "serving": false, "terminating": false}));
    assert_eq!(api.get("endpoints/web").await["subsets"][0]["addresses"][0]["hostname"], "first");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn what_has_no_selector_is_left_alone(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("services", json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})).await;
    let own =
        json!({"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]}]});
    let own = api.create("endpoints", own).await;
    pause(secs(2)).await;
    assert_eq!(api.get("endpoints/web").await["subsets"], own["subsets"]);
    assert!(slices(&api).await.is_empty());
    Ok(())
}
