//! The dead-man's switch of a run: a Job that nobody feeds any more takes the fault with it. Seen on Kubernetes
//! 1.34.4: the fault is gone 4.0 to 4.5 s after a Job with a deadline of 4 s was made.

use serde_json::{Value, json};
use steadfast::prelude::*;

use super::raw::ask;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

/// A switch that falls after so many seconds, and a policy that it owns.
async fn armed(cluster: &Cluster, seconds: u64) {
    let container = json!({"name": "never", "image": "none:1"});
    let spec = json!({
        "parallelism": 0, "activeDeadlineSeconds": seconds, "ttlSecondsAfterFinished": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    });
    let job = json!({"metadata": {"name": "switch"}, "spec": spec});
    let (code, job) = ask(cluster, &format!("POST {JOBS}"), &[], job).await;
    assert_eq!(code, 201, "{job}");
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "switch", "uid": job["metadata"]["uid"]});
    let spec = json!({"podSelector": {"matchLabels": {"app": "back"}}, "policyTypes": ["Ingress"]});
    let policy = json!({"metadata": {"name": "fault", "ownerReferences": [owner]}, "spec": spec});
    assert_eq!(ask(cluster, &format!("POST {POLICIES}"), &[], policy).await.0, 201);
}

async fn standing(cluster: &Cluster) -> (bool, bool) {
    let job = ask(cluster, &format!("GET {JOBS}/switch"), &[], Value::Null).await.0 == 200;
    let policy = ask(cluster, &format!("GET {POLICIES}/fault"), &[], Value::Null).await.0 == 200;
    (job, policy)
}

#[steadfast::test(needs = "embedded")]
async fn without_a_heartbeat_the_fault_goes(cluster: Cluster) -> steadfast::Result {
    armed(&cluster, 4).await;
    tokio::time::sleep(millis(3_900)).await;
    assert_eq!(standing(&cluster).await, (true, true));
    tokio::time::sleep(millis(600)).await;
    assert_eq!(standing(&cluster).await, (false, false));
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn heartbeats_hold_the_fault_as_long_as_they_come(cluster: Cluster) -> steadfast::Result {
    armed(&cluster, 4).await;
    for beat in 1..=10_u64 {
        tokio::time::sleep(secs(2)).await;
        assert_eq!(standing(&cluster).await, (true, true), "after {} s", 2 * beat);
        let patch = json!({"spec": {"activeDeadlineSeconds": 2 * beat + 4}});
        let (code, job) = ask(&cluster, &format!("PATCH {JOBS}/switch"), &[], patch).await;
        assert_eq!((code, &job["metadata"]["generation"]), (200, &json!(beat + 1)));
    }
    tokio::time::sleep(millis(3_900)).await;
    assert_eq!(standing(&cluster).await, (true, true));
    tokio::time::sleep(millis(600)).await;
    assert_eq!(standing(&cluster).await, (false, false), "the last beat was 4.5 s ago");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_run_that_ends_takes_its_switch_by_background_deletion(cluster: Cluster) -> steadfast::Result {
    armed(&cluster, 600).await;
    let background = json!({"propagationPolicy": "Background"});
    let (code, answer) = ask(&cluster, &format!("DELETE {JOBS}/switch"), &[], background).await;
    assert_eq!((code, &answer["status"]), (200, &json!("Success")), "{answer}");
    tokio::time::sleep(secs(1)).await;
    assert_eq!(standing(&cluster).await, (false, false));
    Ok(())
}

/// The default of Jobs is to orphan: a plain delete disarms the switch and leaves the fault.
#[steadfast::test(needs = "embedded")]
async fn a_plain_delete_leaves_the_fault(cluster: Cluster) -> steadfast::Result {
    armed(&cluster, 4).await;
    let (code, answer) = ask(&cluster, &format!("DELETE {JOBS}/switch"), &[], Value::Null).await;
    assert_eq!((code, &answer["metadata"]["finalizers"]), (200, &json!(["orphan"])), "{answer}");
    tokio::time::sleep(secs(10)).await;
    assert_eq!(standing(&cluster).await, (false, true));
    let (_, policy) = ask(&cluster, &format!("GET {POLICIES}/fault"), &[], Value::Null).await;
    assert_eq!(policy["metadata"].get("ownerReferences"), None, "{policy}");
    Ok(())
}
