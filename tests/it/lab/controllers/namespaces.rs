//! Namespaces. Expectations were seen on Kubernetes 1.34.4.

use serde_json::json;
use steadfast::clock::millis;
use steadfast::prelude::*;

use super::{Api, condition, pause};

#[steadfast::test(needs = "embedded")]
async fn a_namespace_has_an_account_and_the_certificates_map(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    pause(millis(10)).await;
    for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
        let path = format!("/api/v1/namespaces/shop/{path}");
        assert!(!api.gone(&path).await, "{path}");
        api.delete(&path, json!({})).await;
        pause(millis(10)).await;
        assert!(!api.gone(&path).await, "{path} comes back");
    }
    let map = api.get("/api/v1/namespaces/shop/configmaps/kube-root-ca.crt").await;
    assert_ne!(map["data"]["ca.crt"], "", "readers want some text");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_deleted_namespace_is_emptied_after_five_seconds(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    api.create("/api/v1/namespaces/shop/configmaps", json!({"metadata": {"name": "m"}})).await;
    let answer = api.delete("/api/v1/namespaces/shop", json!({})).await;
    assert_eq!(answer["status"]["phase"], "Terminating");
    let refused = api.try_call("POST", "/api/v1/namespaces/shop/configmaps", &json!({"metadata": {"name": "n"}})).await;
    assert!(refused.unwrap_err().to_string().contains("because it is being terminated"));
    pause(millis(4_900)).await;
    assert!(!api.gone("/api/v1/namespaces/shop/configmaps/m").await);
    pause(millis(200)).await;
    assert!(api.gone("/api/v1/namespaces/shop").await);
    assert!(api.gone("/api/v1/namespaces/shop/configmaps/m").await);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn a_namespace_waits_for_pods_and_then_for_finalizers(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    api.create("/api/v1/namespaces", json!({"metadata": {"name": "shop"}})).await;
    let held = json!({"metadata": {"name": "m", "finalizers": ["outside.example.com/hold"]}});
    api.create("/api/v1/namespaces/shop/configmaps", held).await;
    let pod = json!({"metadata": {"name": "p", "finalizers": ["outside.example.com/hold"]},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "idle:1"}]}});
    api.create("/api/v1/namespaces/shop/pods", pod).await;
    pause(secs(2)).await;
    api.delete("/api/v1/namespaces/shop", json!({})).await;
    pause(secs(6)).await;
    let (map, pod) = ("/api/v1/namespaces/shop/configmaps/m", "/api/v1/namespaces/shop/pods/p");
    assert!(api.get(pod).await["metadata"]["deletionTimestamp"].is_string());
    assert!(api.get(map).await["metadata"]["deletionTimestamp"].is_null(), "pods go first");
    api.patch(pod, json!({"metadata": {"finalizers": null}})).await;
    pause(secs(20)).await;
    assert!(api.gone(pod).await);
    assert!(api.get(map).await["metadata"]["deletionTimestamp"].is_string());
    let shop = api.get("/api/v1/namespaces/shop").await;
    assert_eq!(
        condition(&shop, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        condition(&shop, "NamespaceFinalizersRemaining")["message"],
        "Some content in the namespace has finalizers remaining: outside.example.com/hold in 1 resource instances"
    );
    api.patch(map, json!({"metadata": {"finalizers": null}})).await;
    pause(secs(9)).await;
    assert!(api.gone("/api/v1/namespaces/shop").await);
    Ok(())
}
