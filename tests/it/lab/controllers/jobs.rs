//! Jobs. Expectations were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, condition, name, pause};

const JOBS: &str = "batch/v1/jobs";

/// A Job whose pods end with `code` after `seconds`.
fn job(name: &str, code: u8, seconds: u32, more: Value) -> Value {
    let container = json!({"name": "c", "image": "exit:1", "args": [code.to_string(), seconds.to_string()]});
    let mut spec = json!({
        "manualSelector": true, "selector": {"matchLabels": {"job-name": name}},
        "template": {
            "metadata": {"labels": {"job-name": name}},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]},
        },
    });
    if more["completions"].is_null() && more["parallelism"].is_null() {
        spec["completions"] = json!(1);
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

async fn pods(api: &Api, name: &str) -> Vec<Value> {
    api.pods(&format!("job-name={name}")).await
}

#[steadfast::test(needs = "embedded")]
async fn a_switch_falls_at_its_second_and_takes_what_it_owns(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"parallelism": 0, "activeDeadlineSeconds": 4, "ttlSecondsAfterFinished": 0});
    let made = api.create(JOBS, job("switch", 0, 0, more)).await;
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "switch", "uid": made["metadata"]["uid"]});
    let policy = json!({"metadata": {"name": "fault", "ownerReferences": [owner]},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    api.create("networking.k8s.io/v1/networkpolicies", policy).await;
    pause(millis(300)).await;
    let status = api.get("batch/v1/jobs/switch").await["status"].clone();
    assert_eq!(status["ready"], 0);
    assert!(status["startTime"].is_string() && status.get("active").is_none(), "{status}");
    // A heartbeat postpones it.
    pause(secs(3)).await;
    api.patch("batch/v1/jobs/switch", json!({"spec": {"activeDeadlineSeconds": 8}})).await;
    pause(millis(4_600)).await;
    assert!(!api.gone("batch/v1/jobs/switch").await, "7.9 s");
    assert!(!api.gone("networking.k8s.io/v1/networkpolicies/fault").await);
    pause(millis(200)).await;
    assert!(api.gone("batch/v1/jobs/switch").await, "8.1 s");
    assert!(api.gone("networking.k8s.io/v1/networkpolicies/fault").await);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_job_completes_with_its_completions(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create(JOBS, job("ok", 0, 3, json!({"completions": 3, "parallelism": 2}))).await;
    pause(secs(2)).await;
    let status = api.get("batch/v1/jobs/ok").await["status"].clone();
    assert_eq!((&status["active"], &status["uncountedTerminatedPods"]), (&json!(2), &json!({})));
    let first = pods(&api, "ok").await;
    assert_eq!(first[0]["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
    pause(secs(15)).await;
    let job = api.get("batch/v1/jobs/ok").await;
    assert_eq!(job["status"]["succeeded"], 3);
    assert!(job["status"].get("active").is_none());
    assert!(job["status"]["completionTime"].is_string());
    for kind in ["SuccessCriteriaMet", "Complete"] {
        let condition = condition(&job, kind);
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("CompletionsReached")));
        assert_eq!(condition["message"], "Reached expected number of succeeded pods");
    }
    let pods = pods(&api, "ok").await;
    assert_eq!(pods.len(), 3, "finished pods stay");
    assert!(pods.iter().all(|pod| pod["metadata"].get("finalizers").is_none()), "they are counted");
    assert!(api.told("ok").await.contains(&"Completed: Job completed".to_owned()));
    api.delete("batch/v1/jobs/ok", json!({"propagationPolicy": "Background"})).await;
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn failed_pods_are_replaced_more_and_more_slowly(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create(JOBS, job("bad", 1, 0, json!({"backoffLimit": 2}))).await;
    for (after, made) in [(5, 1), (8, 2), (14, 2), (8, 3)] {
        pause(secs(after)).await;
        assert_eq!(pods(&api, "bad").await.len(), made);
    }
    pause(secs(3)).await;
    let job = api.get("batch/v1/jobs/bad").await;
    assert_eq!(job["status"]["failed"], 3);
    for kind in ["FailureTarget", "Failed"] {
        assert_eq!(condition(&job, kind)["reason"], "BackoffLimitExceeded");
        assert_eq!(condition(&job, kind)["message"], "Job has reached the specified backoff limit");
    }
    assert!(job["status"].get("completionTime").is_none());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_deadline_ends_the_pods_that_run(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"parallelism": 2, "completions": 3, "activeDeadlineSeconds": 5});
    api.create(JOBS, job("dead", 0, 100, more)).await;
    pause(millis(4_900)).await;
    assert!(condition(&api.get("batch/v1/jobs/dead").await, "FailureTarget").is_null());
    pause(millis(200)).await;
    assert_eq!(condition(&api.get("batch/v1/jobs/dead").await, "FailureTarget")["reason"], "DeadlineExceeded");
    pause(secs(3)).await;
    let job = api.get("batch/v1/jobs/dead").await;
    assert_eq!(condition(&job, "Failed")["message"], "Job was active longer than specified deadline");
    assert_eq!(job["status"]["failed"], 2);
    assert!(pods(&api, "dead").await.is_empty());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn indexes_are_given_out_and_done(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    api.create(JOBS, job("parts", 0, 2, more)).await;
    pause(secs(1)).await;
    let running = pods(&api, "parts").await;
    let label = |pod: &Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].clone();
    assert_eq!(running.iter().map(label).collect::<Vec<_>>(), ["0", "1", "2"]);
    let pod = &running[1];
    assert!(name(pod).starts_with("parts-1-"));
    assert_eq!(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], "1");
    assert_eq!(pod["spec"]["hostname"], "parts-1");
    assert_eq!(
        pod["spec"]["containers"][0]["env"][0],
        json!({
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {
                "apiVersion": "v1", "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']",
            }},
        })
    );
    pause(secs(5)).await;
    let job = api.get("batch/v1/jobs/parts").await;
    assert_eq!((&job["status"]["completedIndexes"], &job["status"]["succeeded"]), (&json!("0-2"), &json!(3)));
    assert_eq!(condition(&job, "Complete")["status"], "True");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn suspending_ends_the_pods_and_counts_none_of_them(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let path = "batch/v1/jobs/long";
    api.create(JOBS, job("long", 0, 100, json!({"parallelism": 2, "completions": 2, "backoffLimit": 0}))).await;
    pause(secs(2)).await;
    assert_eq!(pods(&api, "long").await.len(), 2);
    api.patch(path, json!({"spec": {"suspend": true}})).await;
    pause(secs(3)).await;
    assert!(pods(&api, "long").await.is_empty());
    let job = api.get(path).await;
    assert!(job["status"].get("failed").is_none(), "{}", job["status"]);
    let suspended = condition(&job, "Suspended");
    assert_eq!((&suspended["status"], &suspended["reason"]), (&json!("True"), &json!("JobSuspended")));
    let start = job["status"]["startTime"].clone();
    api.patch(path, json!({"spec": {"suspend": false}})).await;
    pause(secs(3)).await;
    let job = api.get(path).await;
    assert_eq!(condition(&job, "Suspended")["reason"], "JobResumed");
    assert_ne!(job["status"]["startTime"], start, "the deadline counts from the resumption");
    assert_eq!(job["status"]["active"], 2);
    let told = api.told("long").await;
    assert!(told.contains(&"Suspended: Job suspended".to_owned()) && told.contains(&"Resumed: Job resumed".to_owned()));
    api.patch(path, json!({"spec": {"parallelism": 1}})).await;
    pause(secs(3)).await;
    let job = api.get(path).await;
    assert_eq!((&job["status"]["active"], &job["status"]["failed"]), (&json!(1), &Value::Null));
    Ok(())
}
