//! PodDisruptionBudgets. Expectations were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::prelude::*;

use super::{Api, condition, pause, workload};

const BUDGETS: &str = "policy/v1/poddisruptionbudgets";

fn budget(name: &str, app: &str, field: &str, value: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {field: value, "selector": {"matchLabels": {"app": app}}}})
}

async fn numbers(api: &Api, name: &str) -> [i64; 4] {
    let status = api.get(&format!("{BUDGETS}/{name}")).await["status"].clone();
    ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"].map(|f| status[f].as_i64().unwrap())
}

#[steadfast::test(needs = "embedded")]
async fn budgets_count_what_controllers_ask_for(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let web = workload("Deployment", "web", json!({"image": "idle:1"}), json!({"replicas": 3}));
    api.create("apps/v1/deployments", web).await;
    for (name, field, value) in [
        ("half", "minAvailable", json!("50%")),
        ("two", "minAvailable", json!(2)),
        ("one-less", "maxUnavailable", json!(1)),
        ("third-less", "maxUnavailable", json!("30%")),
    ] {
        api.create(BUDGETS, budget(name, "web", field, value)).await;
    }
    api.create(BUDGETS, budget("nobody", "nobody", "minAvailable", json!(1))).await;
    pause(secs(3)).await;
    assert_eq!(numbers(&api, "half").await, [3, 2, 3, 1]);
    assert_eq!(numbers(&api, "two").await, [3, 2, 3, 1]);
    assert_eq!(numbers(&api, "one-less").await, [3, 2, 3, 1]);
    assert_eq!(numbers(&api, "third-less").await, [3, 2, 3, 1], "percentages round up");
    assert_eq!(numbers(&api, "nobody").await, [0, 1, 0, 0]);
    let half = api.get("policy/v1/poddisruptionbudgets/half").await;
    let allowed = condition(&half, "DisruptionAllowed");
    assert_eq!((&allowed["status"], &allowed["reason"]), (&json!("True"), &json!("SufficientPods")));
    assert_eq!((&allowed["message"], &allowed["observedGeneration"]), (&json!(""), &json!(1)));
    assert_eq!(api.told("nobody").await, ["NoPods: No matching pods found"]);

    api.patch("apps/v1/deployments/web", json!({"spec": {"replicas": 1}})).await;
    pause(secs(3)).await;
    assert_eq!(numbers(&api, "half").await, [1, 1, 1, 0]);
    let half = api.get("policy/v1/poddisruptionbudgets/half").await;
    assert_eq!(condition(&half, "DisruptionAllowed")["reason"], "InsufficientPods");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn bare_pods_count_for_a_number_alone(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    for name in ["a", "b"] {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "bare"}},
            "spec": {"containers": [{"name": "c", "image": "idle:1"}]}});
        api.create("pods", pod).await;
    }
    api.create(BUDGETS, budget("number", "bare", "minAvailable", json!(1))).await;
    api.create(BUDGETS, budget("less", "bare", "maxUnavailable", json!(1))).await;
    pause(secs(3)).await;
    assert_eq!(numbers(&api, "number").await, [2, 1, 2, 1]);
    assert_eq!(numbers(&api, "less").await, [0, 0, 2, 0]);
    assert!(api.told("less").await[0].starts_with("UnmanagedPods: Pods selected by this PodDisruptionBudget"));
    Ok(())
}
