//! StatefulSets and DaemonSets. Expectations were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, is_ready, name, pause, workload};

const SETS: &str = "apps/v1/statefulsets";
const DAEMONS: &str = "apps/v1/daemonsets";

/// Ready two seconds after its start.
fn slow(image: &str) -> Value {
    json!({"name": "c", "image": image, "readinessProbe": {
        "httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 2, "periodSeconds": 1,
    }})
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [slow(image)]}}}})
}

fn images(pods: &[Value]) -> Vec<&str> {
    pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap()).collect()
}

#[steadfast::test(needs = "embedded")]
async fn a_set_grows_and_shrinks_in_order(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create(SETS, workload("StatefulSet", "db", slow("web:1"), json!({"replicas": 3, "serviceName": "db"}))).await;
    let mut most = 0;
    for _ in 0..150 {
        pause(millis(100)).await;
        let pods = api.pods("app=db").await;
        let waiting = pods.iter().filter(|pod| !is_ready(pod)).count();
        assert!(waiting <= 1, "one after the other");
        assert!(pods.len() >= most);
        most = pods.len();
    }
    let pods = api.pods("app=db").await;
    assert_eq!(pods.iter().map(name).collect::<Vec<_>>(), ["db-0", "db-1", "db-2"]);
    let set = api.get("apps/v1/statefulsets/db").await;
    let revision = set["status"]["currentRevision"].clone();
    assert_eq!(
        set["status"],
        json!({
            "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3,
            "updatedReplicas": 3, "currentRevision": revision, "updateRevision": revision, "collisionCount": 0,
        })
    );
    let labels = &pods[1]["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(labels["controller-revision-hash"], revision);
    assert_eq!((&pods[1]["spec"]["hostname"], &pods[1]["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    assert!(
        api.told("db").await.contains(&"SuccessfulCreate: create Pod db-2 in StatefulSet db successful".to_owned())
    );

    let uid = pods[1]["metadata"]["uid"].clone();
    api.delete("pods/db-1", json!({})).await;
    pause(secs(8)).await;
    let again = api.get("pods/db-1").await;
    assert!(again["metadata"]["uid"] != uid && is_ready(&again), "the name stays");

    api.patch("apps/v1/statefulsets/db", json!({"spec": {"replicas": 1}})).await;
    pause(millis(300)).await;
    assert!(api.get("pods/db-1").await["metadata"]["deletionTimestamp"].is_null(), "the last goes first");
    pause(secs(10)).await;
    assert_eq!(api.pods("app=db").await.iter().map(name).collect::<Vec<_>>(), ["db-0"]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_update_goes_from_the_last_to_the_partition(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let partition = |n: u32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": n}});
    let more = json!({"replicas": 3, "serviceName": "db", "updateStrategy": partition(1)});
    api.create(SETS, workload("StatefulSet", "db", slow("web:1"), more)).await;
    pause(secs(15)).await;
    api.patch("apps/v1/statefulsets/db", image("web:2")).await;
    pause(secs(3)).await;
    assert_eq!(images(&api.pods("app=db").await)[..2], ["web:1", "web:1"], "the last goes first");
    pause(secs(20)).await;
    assert_eq!(images(&api.pods("app=db").await), ["web:1", "web:2", "web:2"]);
    let status = api.get("apps/v1/statefulsets/db").await["status"].clone();
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(1), &json!(2)));
    assert_ne!(status["currentRevision"], status["updateRevision"]);

    api.delete("pods/db-0", json!({})).await;
    pause(secs(10)).await;
    assert_eq!(images(&api.pods("app=db").await)[0], "web:1", "below the partition it stays what it was");
    api.patch("apps/v1/statefulsets/db", json!({"spec": {"updateStrategy": partition(0)}})).await;
    pause(secs(15)).await;
    assert_eq!(images(&api.pods("app=db").await), ["web:2", "web:2", "web:2"]);
    let status = api.get("apps/v1/statefulsets/db").await["status"].clone();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    let mut numbers: Vec<_> =
        api.list("apps/v1/controllerrevisions").await.iter().map(|r| r["revision"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_parallel_set_waits_for_nobody_and_on_delete_for_people(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let more = json!({"replicas": 3, "serviceName": "db", "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"}});
    api.create(SETS, workload("StatefulSet", "db", slow("web:1"), more)).await;
    pause(millis(100)).await;
    assert_eq!(api.pods("app=db").await.len(), 3);
    pause(secs(5)).await;
    api.patch("apps/v1/statefulsets/db", image("web:2")).await;
    pause(secs(10)).await;
    assert_eq!(images(&api.pods("app=db").await), ["web:1", "web:1", "web:1"]);
    api.delete("pods/db-1", json!({})).await;
    pause(secs(8)).await;
    assert_eq!(images(&api.pods("app=db").await), ["web:1", "web:2", "web:1"]);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn each_node_has_its_pod(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create(DAEMONS, workload("DaemonSet", "agent", slow("web:1"), json!({}))).await;
    pause(secs(5)).await;
    let pods = api.pods("app=agent").await;
    assert_eq!(pods.len(), 1);
    assert!(name(&pods[0]).starts_with("agent-"));
    let status = api.get("apps/v1/daemonsets/agent").await["status"].clone();
    assert_eq!(
        status,
        json!({
            "observedGeneration": 1, "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0,
            "numberReady": 1, "updatedNumberScheduled": 1, "numberAvailable": 1,
        })
    );
    let tolerates = pods[0]["spec"]["tolerations"].as_array().unwrap();
    assert!(tolerates.iter().any(|t| t["key"] == "node.kubernetes.io/unschedulable"), "a cordoned node takes it");

    api.patch("apps/v1/daemonsets/agent", image("web:2")).await;
    pause(secs(8)).await;
    let updated = api.pods("app=agent").await;
    assert_eq!(images(&updated), ["web:2"]);
    assert_ne!(
        pods[0]["metadata"]["labels"]["controller-revision-hash"],
        updated[0]["metadata"]["labels"]["controller-revision-hash"]
    );
    assert_eq!(api.list("apps/v1/controllerrevisions").await.len(), 2);

    let select = json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "ssd"}}}}});
    api.patch("apps/v1/daemonsets/agent", select).await;
    pause(secs(5)).await;
    assert!(api.pods("app=agent").await.is_empty(), "no node has the label");
    let status = api.get("apps/v1/daemonsets/agent").await["status"].clone();
    assert_eq!(status["desiredNumberScheduled"], 0);
    Ok(())
}
