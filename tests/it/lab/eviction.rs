//! Eviction and disruption budgets. Texts and codes were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::prelude::*;

use super::raw::ask;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn pod(cluster: &Cluster, name: &str, app: &str, image: &str) {
    cluster.lab().unwrap().image("idle:1", |_| axum::Router::new());
    let container = json!({"name": "c", "image": image});
    let pod = json!({"metadata": {"name": name, "labels": {"app": app}}, "spec": {"containers": [container]}});
    assert_eq!(ask(cluster, &format!("POST {PODS}"), &[], pod).await.0, 201);
}

/// A budget with that status, as its controller would write it.
async fn budget(cluster: &Cluster, name: &str, app: &str, status: Value) {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": app}}});
    let budget = json!({"metadata": {"name": name}, "spec": spec});
    assert_eq!(ask(cluster, &format!("POST {BUDGETS}"), &[], budget).await.0, 201);
    let (code, body) = ask(cluster, &format!("PATCH {BUDGETS}/{name}/status"), &[], json!({"status": status})).await;
    assert_eq!(code, 200, "{body}");
}

async fn evict(cluster: &Cluster, name: &str, options: Value) -> (u16, Value) {
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"},
        "deleteOptions": options,
    });
    ask(cluster, &format!("POST {PODS}/{name}/eviction"), &[], eviction).await
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

#[steadfast::test(needs = "embedded")]
async fn a_pod_without_a_budget_goes(cluster: Cluster) -> steadfast::Result {
    pod(&cluster, "p", "x", "idle:1").await;
    tokio::time::sleep(secs(3)).await;
    assert_eq!(evict(&cluster, "p", json!({"dryRun": ["All"]})).await, (201, success()));
    let (_, still) = ask(&cluster, &format!("GET {PODS}/p"), &[], json!(null)).await;
    assert!(still["metadata"]["deletionTimestamp"].is_null(), "a dry run changes nothing: {still}");
    assert_eq!(evict(&cluster, "p", json!(null)).await, (201, success()));
    let (_, going) = ask(&cluster, &format!("GET {PODS}/p"), &[], json!(null)).await;
    if going["code"] != 404 {
        assert!(!going["metadata"]["deletionTimestamp"].is_null(), "{going}");
        let target = going["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget");
        assert_eq!(target.unwrap()["reason"], "EvictionByEvictionAPI");
    }
    let (code, body) = evict(&cluster, "none", json!(null)).await;
    assert_eq!((code, body["message"].as_str()), (404, Some(r#"pods "none" not found"#)));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn wrong_requests_are_refused(cluster: Cluster) -> steadfast::Result {
    pod(&cluster, "p", "x", "idle:1").await;
    tokio::time::sleep(secs(3)).await;
    let path = format!("POST {PODS}/p/eviction");
    let (code, body) = ask(&cluster, &path, &[], json!({"metadata": {"name": "other"}})).await;
    assert_eq!((code, body["message"].as_str()), (400, Some("name in URL does not match name in Eviction object")));
    assert_eq!(ask(&cluster, &path.replace("POST", "GET"), &[], json!(null)).await.0, 405);
    let (code, body) = evict(&cluster, "p", json!({"dryRun": ["Some"]})).await;
    assert_eq!((code, &body["details"]["causes"][0]["field"]), (422, &json!("dryRun")));
    let (code, body) = evict(&cluster, "p", json!({"preconditions": {"uid": "abc"}})).await;
    assert_eq!(code, 409, "{body}");
    assert!(body["message"].as_str().unwrap().contains("the UID in the precondition (abc) does not match"), "{body}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_pending_pod_asks_no_budget_and_a_wrong_uid_is_tried_for_ten_seconds(cluster: Cluster) -> steadfast::Result {
    pod(&cluster, "p", "x", "unknown:1").await;
    tokio::time::sleep(secs(3)).await;
    let began = tokio::time::Instant::now();
    let (code, _) = evict(&cluster, "p", json!({"preconditions": {"uid": "abc"}})).await;
    let took = began.elapsed();
    assert_eq!(code, 409);
    assert!(took >= secs(9) && took <= secs(11), "{took:?}");
    budget(&cluster, "b", "x", json!({"observedGeneration": 1, "disruptionsAllowed": 0})).await;
    assert_eq!(evict(&cluster, "p", json!(null)).await, (201, success()));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn two_budgets_are_one_too_many(cluster: Cluster) -> steadfast::Result {
    pod(&cluster, "p", "x", "idle:1").await;
    tokio::time::sleep(secs(3)).await;
    for name in ["a", "b"] {
        budget(&cluster, name, "x", json!({"observedGeneration": 1, "disruptionsAllowed": 1})).await;
    }
    let (code, body) = evict(&cluster, "p", json!(null)).await;
    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((code, body["message"].as_str(), body.get("reason")), (500, Some(why), None));
    Ok(())
}

/// What `kubectl drain` does, with a budget over two pods: one goes, the other only once somewhere else is its
/// replacement.
#[steadfast::test(needs = "embedded")]
async fn a_drain_waits_for_the_budget_and_the_budget_for_a_node(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.image("idle:1", |_| axum::Router::new());
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "idle:1"}]}});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    });
    assert_eq!(ask(&cluster, "POST /apis/apps/v1/namespaces/default/deployments", &[], deployment).await.0, 201);
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}});
    assert_eq!(ask(&cluster, &format!("POST {BUDGETS}"), &[], budget).await.0, 201);
    tokio::time::sleep(secs(10)).await;

    let (_, nodes) = ask(&cluster, "GET /api/v1/nodes", &[], json!(null)).await;
    let node = nodes["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let cordon = async |set: Value| {
        let patch = json!({"spec": {"unschedulable": set}});
        ask(&cluster, &format!("PATCH /api/v1/nodes/{node}"), &[], patch).await.0
    };
    assert_eq!(cordon(json!(true)).await, 200);
    let on_node = format!("GET {PODS}?labelSelector=app%3Dweb&fieldSelector=spec.nodeName%3D{node}");
    let (_, pods) = ask(&cluster, &on_node, &[], json!(null)).await;
    let names: Vec<String> =
        pods["items"].as_array().unwrap().iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 2);

    assert_eq!(evict(&cluster, &names[0], json!(null)).await, (201, success()));
    let why = "The disruption budget web needs 1 healthy pods and has 1 currently";
    let spent = async |why: &str| {
        let (code, body) = evict(&cluster, &names[1], json!(null)).await;
        let causes = json!({"causes": [{"reason": "DisruptionBudget", "message": why}]});
        assert_eq!((code, &body["details"]), (429, &causes));
    };
    // At once: the server counts before the controller does, which still knows two.
    let (_, body) = evict(&cluster, &names[1], json!(null)).await;
    assert_eq!(body["code"], 429, "{body}");
    tokio::time::sleep(secs(60)).await;
    spent(why).await;
    let (_, pods) = ask(&cluster, &format!("GET {PODS}?labelSelector=app%3Dweb"), &[], json!(null)).await;
    let phases: Vec<&Value> = pods["items"].as_array().unwrap().iter().map(|p| &p["status"]["phase"]).collect();
    assert!(phases.contains(&&json!("Pending")), "nothing is scheduled on a cordoned node: {phases:?}");

    assert_eq!(cordon(json!(null)).await, 200);
    tokio::time::sleep(secs(10)).await;
    assert_eq!(evict(&cluster, &names[1], json!(null)).await, (201, success()));
    Ok(())
}
