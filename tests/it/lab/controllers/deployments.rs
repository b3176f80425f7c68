//! Deployments and their ReplicaSets. Expectations without another word were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, condition, is_ready, name, pause, workload};

const DEPLOYMENTS: &str = "apps/v1/deployments";
const SETS: &str = "apps/v1/replicasets";

/// Ready five seconds after its start.
fn slow(image: &str) -> Value {
    json!({"image": image, "readinessProbe": {
        "httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 5, "periodSeconds": 1,
    }})
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

#[steadfast::test(needs = "embedded")]
async fn a_rollout_keeps_within_surge_and_unavailability(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create(DEPLOYMENTS, workload("Deployment", "web", slow("web:1"), json!({"replicas": 4}))).await;
    pause(secs(10)).await;
    let before = api.get("apps/v1/deployments/web").await;
    assert_eq!(before["status"]["availableReplicas"], 4);
    assert_eq!(condition(&before, "Progressing")["reason"], "NewReplicaSetAvailable");

    let mut next = slow("web:2");
    next["name"] = json!("c");
    api.patch("apps/v1/deployments/web", json!({"spec": {"template": {"spec": {"containers": [next]}}}})).await;
    let (mut least, mut most, mut rounds) = (u64::MAX, 0, 0);
    loop {
        pause(millis(200)).await;
        let pods = api.pods("app=web").await;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
        let there = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).count() as u64;
        (least, most, rounds) = (least.min(ready), most.max(there), rounds + 1);
        let web = api.get("apps/v1/deployments/web").await;
        if condition(&web, "Progressing")["message"].as_str().unwrap().ends_with("has successfully progressed.")
            && web["status"]["updatedReplicas"] == 4
            && web["status"]["replicas"] == 4
        {
            break;
        }
        assert!(rounds < 500, "{web:#}");
    }
    assert_eq!((least, most), (3, 5), "25 % of 4 is one, both ways");
    let told = api.told("web").await;
    let first = name(&api.list(SETS).await[0]).to_owned();
    assert!(
        told.iter()
            .any(|line| line.starts_with("ScalingReplicaSet: Scaled up replica set web-")
                && line.ends_with("from 0 to 4")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.starts_with("ScalingReplicaSet: Scaled down replica set web-") && line.ends_with("to 0")),
        "{told:?} {first}"
    );
    let web = api.get("apps/v1/deployments/web").await;
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    assert_eq!(web["metadata"]["generation"], 2, "the controller's own annotations are no new generation");
    assert_eq!(web["status"]["observedGeneration"], 2);
    assert!(web["status"].get("unavailableReplicas").is_none());
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_rollout_without_progress_is_too_late_at_its_deadline(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"replicas": 3, "progressDeadlineSeconds": 15});
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), more)).await;
    pause(secs(5)).await;
    api.patch("apps/v1/deployments/web", image("nobody/knows:1")).await;
    pause(secs(14)).await;
    let web = api.get("apps/v1/deployments/web").await;
    assert_eq!(condition(&web, "Progressing")["status"], "True");
    pause(secs(3)).await;
    let web = api.get("apps/v1/deployments/web").await;
    let late = condition(&web, "Progressing");
    assert_eq!((&late["status"], &late["reason"]), (&json!("False"), &json!("ProgressDeadlineExceeded")));
    assert!(late["message"].as_str().unwrap().ends_with("has timed out progressing."), "{late}");
    assert_eq!(condition(&web, "Available")["status"], "True");
    let status = &web["status"];
    let counts =
        ["replicas", "updatedReplicas", "readyReplicas", "unavailableReplicas"].map(|field| status[field].clone());
    assert_eq!(json!(counts), json!([4, 1, 3, 1]));

    api.patch("apps/v1/deployments/web", image("idle:1")).await;
    pause(secs(3)).await;
    let web = api.get("apps/v1/deployments/web").await;
    assert_eq!(condition(&web, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(web["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let sets = api.list(SETS).await;
    assert_eq!(sets.len(), 2, "an old template takes its old set");
    let old = sets.iter().find(|set| set["spec"]["replicas"] == 3).unwrap();
    assert_eq!(old["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn recreate_ends_the_old_pods_before_the_new_begin(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"replicas": 2, "strategy": {"type": "Recreate"}});
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), more)).await;
    pause(secs(5)).await;
    let old: Vec<String> = api.pods("app=web").await.iter().map(|pod| name(pod).to_owned()).collect();
    assert_eq!(old.len(), 2);
    api.patch("apps/v1/deployments/web", image("idle:2")).await;
    for _ in 0..100 {
        pause(millis(100)).await;
        let pods = api.pods("app=web").await;
        let olds = pods.iter().filter(|pod| old.contains(&name(pod).to_owned())).count();
        assert!(olds == 0 || olds == pods.len(), "old and new pods side by side");
    }
    let pods = api.pods("app=web").await;
    assert_eq!(pods.iter().filter(|pod| is_ready(pod)).count(), 2);
    let new = api.pods("app=web").await;
    assert!(new.len() == 2 && new.iter().all(|pod| !old.contains(&name(pod).to_owned())), "all are new: {new:?}");
    assert!(new.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "idle:2"), "{new:?}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn pausing_holds_a_rollout_and_scaling_goes_on(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let web = "apps/v1/deployments/web";
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), json!({"replicas": 2}))).await;
    pause(secs(3)).await;
    api.patch(web, json!({"spec": {"paused": true}})).await;
    api.patch(web, image("idle:2")).await;
    api.patch(web, json!({"spec": {"replicas": 3}})).await;
    pause(secs(3)).await;
    assert_eq!(api.list(SETS).await.len(), 1);
    assert_eq!(api.pods("app=web").await.len(), 3);
    let paused = condition(&api.get(web).await, "Progressing").clone();
    assert_eq!((&paused["status"], &paused["reason"]), (&json!("Unknown"), &json!("DeploymentPaused")));
    api.patch(web, json!({"spec": {"paused": false}})).await;
    pause(secs(5)).await;
    assert_eq!(api.list(SETS).await.len(), 2);
    let done = api.get(web).await;
    assert_eq!(condition(&done, "Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(done["status"]["updatedReplicas"], 3);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn the_history_is_as_long_as_its_limit(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let web = "apps/v1/deployments/web";
    let more = json!({"replicas": 0, "revisionHistoryLimit": 2});
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), more)).await;
    for version in 2..7 {
        pause(secs(2)).await;
        api.patch(web, image(&format!("idle:{version}"))).await;
    }
    pause(secs(2)).await;
    let sets = api.list(SETS).await;
    let mut revisions: Vec<_> = sets
        .iter()
        .map(|s| s["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, ["4", "5", "6"]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_scaling_amid_a_rollout_is_shared_out(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let web = "apps/v1/deployments/web";
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    let more = json!({"replicas": 10, "strategy": rolling});
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), more)).await;
    pause(secs(3)).await;
    api.patch(web, image("nobody/knows:1")).await;
    pause(secs(3)).await;
    let sizes = async || {
        let sets = api.list(SETS).await;
        let mut sizes: Vec<_> = sets.iter().map(|set| set["spec"]["replicas"].as_u64().unwrap()).collect();
        sizes.sort_unstable();
        sizes
    };
    // The documentation of Deployments has this very example.
    assert_eq!(sizes().await, [5, 8]);
    api.patch(web, json!({"spec": {"replicas": 15}})).await;
    pause(secs(3)).await;
    assert_eq!(sizes().await, [7, 11]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn availability_waits_for_min_ready_seconds(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"replicas": 1, "minReadySeconds": 10});
    api.create(DEPLOYMENTS, workload("Deployment", "web", json!({"image": "idle:1"}), more)).await;
    pause(secs(8)).await;
    let web = api.get("apps/v1/deployments/web").await;
    assert_eq!((&web["status"]["readyReplicas"], &web["status"]["availableReplicas"]), (&json!(1), &Value::Null));
    assert_eq!(condition(&web, "Available")["reason"], "MinimumReplicasUnavailable");
    pause(secs(5)).await;
    let web = api.get("apps/v1/deployments/web").await;
    assert_eq!(web["status"]["availableReplicas"], 1);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn pods_are_adopted_and_let_go_by_their_labels(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let bare = json!({"metadata": {"name": "bare", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "idle:1"}]}});
    api.create("pods", bare).await;
    let set = workload("ReplicaSet", "web", json!({"image": "idle:1"}), json!({"replicas": 2}));
    let set = api.create(SETS, set).await;
    pause(secs(3)).await;
    let pods = api.pods("app=web").await;
    assert_eq!(pods.len(), 2, "the bare one counts");
    let owner = &api.get("pods/bare").await["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&set["metadata"]["uid"], &json!(true)));

    api.patch("pods/bare", json!({"metadata": {"labels": {"app": "quarantine"}}})).await;
    pause(secs(3)).await;
    assert!(api.get("pods/bare").await["metadata"].get("ownerReferences").is_none());
    assert_eq!(api.pods("app=web").await.len(), 2);
    let set = api.get("apps/v1/replicasets/web").await;
    assert_eq!(
        set["status"],
        json!({
            "replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "observedGeneration": 1,
        })
    );
    let told = api.told("web").await;
    assert_eq!(
        told.iter().filter(|line| line.starts_with("SuccessfulCreate: Created pod: web-")).count(),
        2,
        "{told:?}"
    );

    api.patch("apps/v1/replicasets/web", json!({"spec": {"replicas": 0}})).await;
    pause(secs(3)).await;
    assert_eq!(api.get("apps/v1/replicasets/web").await["status"], json!({"replicas": 0, "observedGeneration": 2}));
    Ok(())
}
