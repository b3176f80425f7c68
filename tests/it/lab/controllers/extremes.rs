//! Numbers and times at the ends of their ranges, which clients may write and no clock holds.

use serde_json::json;
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, name, pause, workload};

#[steadfast::test(needs = "embedded")]
async fn controllers_live_on_whatever_numbers_clients_write(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let spec = json!({"containers": [{"name": "c", "image": "idle:1"}], "restartPolicy": "Never",
        "terminationGracePeriodSeconds": i64::MAX});
    let pod = json!({"metadata": {"name": "patient", "labels": {"app": "patient"}}, "spec": spec});
    api.create("pods", pod).await;
    let far = "9999-12-30T00:00:00Z";
    let budget = json!({"metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "patient"}}}});
    api.create("policy/v1/poddisruptionbudgets", budget).await;
    pause(millis(300)).await;
    let status = json!({"status": {"disruptedPods": {"patient": far}}});
    api.patch("policy/v1/poddisruptionbudgets/b/status", status).await;
    pause(millis(300)).await;
    let deleted = api.delete("pods/patient", json!({})).await;
    assert_eq!(deleted["metadata"]["deletionTimestamp"], "9999-12-30T22:00:00Z");
    let shorter = api.delete("pods/patient", json!({"gracePeriodSeconds": i64::MAX - 1})).await;
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], i64::MAX - 1);

    let job = json!({"metadata": {"name": "j"},
        "spec": {"activeDeadlineSeconds": i64::MAX, "ttlSecondsAfterFinished": i32::MAX, "template": {"spec": spec}}});
    api.create("batch/v1/jobs", job).await;
    let container = json!({"image": "idle:1"});
    api.create("apps/v1/deployments", workload("Deployment", "web", container.clone(), json!({}))).await;
    pause(millis(300)).await;
    let set = api.list("apps/v1/replicasets").await.remove(0);
    let annotations = json!({"deployment.kubernetes.io/revision": i64::MAX.to_string()});
    let path = format!("apps/v1/replicasets/{}", name(&set));
    api.patch(&path, json!({"metadata": {"annotations": annotations}})).await;
    let template = json!({"metadata": {"annotations": {"a": "b"}}});
    api.patch("apps/v1/deployments/web", json!({"spec": {"template": template}})).await;
    pause(millis(300)).await;

    let made = workload("Deployment", "after", container, json!({}));
    api.create("apps/v1/deployments", made).await;
    pause(secs(1)).await;
    assert_eq!(api.pods("app=after").await.len(), 1, "the controllers still work");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_watch_may_be_asked_to_last_for_ever(cluster: Cluster) -> steadfast::Result {
    let path = format!("/api/v1/pods?watch=true&timeoutSeconds={}", i64::MAX);
    let request = ::http::Request::get(path).body(kube::client::Body::empty()).expect("a request");
    assert_eq!(cluster.client().send(request).await.expect("an answer").status(), 200);
    Ok(())
}
