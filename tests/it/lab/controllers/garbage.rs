//! The garbage collector. Expectations were seen on Kubernetes 1.34.4.

use serde_json::{Value, json};
use steadfast::clock::millis;
use steadfast::lab::resource::CONFIG_MAPS;
use steadfast::lab::status::Status;
use steadfast::lab::store::{Deletion, Object, Propagation};
use steadfast::prelude::*;

use super::{Api, name, pause};

fn reference(owner: &Value, block: bool) -> Value {
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block})
}

async fn map(api: &Api, name: &str, metadata: Value) -> Value {
    let mut map = json!({"metadata": metadata});
    map["metadata"]["name"] = json!(name);
    let mut map = api.create("configmaps", map).await;
    map["apiVersion"] = json!("v1");
    map["kind"] = json!("ConfigMap");
    map
}

fn remove(cluster: &Cluster, propagation: Propagation) -> Result<Object, Status> {
    let lab = cluster.lab().expect("these tests run on the lab");
    let how = Deletion { propagation: Some(propagation), ..Deletion::default() };
    lab.store().remove(&CONFIG_MAPS, "default", "owner", &how).map(|deleted| deleted.object)
}

#[steadfast::test(needs = "embedded")]
async fn a_dependent_follows_its_last_owner(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let (one, two) = (map(&api, "one", json!({})).await, map(&api, "two", json!({})).await);
    let both = json!({"ownerReferences": [reference(&one, false), reference(&two, false)]});
    map(&api, "child", both).await;
    api.delete("configmaps/one", json!({})).await;
    pause(millis(100)).await;
    let child = api.get("configmaps/child").await;
    assert_eq!(child["metadata"]["ownerReferences"], json!([reference(&two, false)]), "the dead reference is gone");
    api.delete("configmaps/two", json!({"propagationPolicy": "Background"})).await;
    pause(millis(100)).await;
    assert!(api.gone("configmaps/child").await);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_owner_that_is_not_there_collects(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let mut owner = map(&api, "owner", json!({})).await;
    let mut unknown = reference(&owner, false);
    unknown["apiVersion"] = json!("nobody.example.com/v1");
    owner["metadata"]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    map(&api, "other-uid", json!({"ownerReferences": [reference(&owner, false)]})).await;
    map(&api, "unknown-kind", json!({"ownerReferences": [unknown]})).await;
    pause(secs(1)).await;
    assert!(api.gone("configmaps/other-uid").await);
    assert!(!api.gone("configmaps/unknown-kind").await, "who cannot be looked for is not known to be gone");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_owner_of_no_namespace_owns_in_all(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let mut role = api.create(roles, json!({"metadata": {"name": "owner"}, "rules": []})).await;
    role["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    role["kind"] = json!("ClusterRole");
    map(&api, "child", json!({"ownerReferences": [reference(&role, false)]})).await;
    pause(secs(1)).await;
    assert!(!api.gone("configmaps/child").await);
    api.delete(&format!("{roles}/owner"), json!({})).await;
    pause(secs(1)).await;
    assert!(api.gone("configmaps/child").await);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn foreground_deletion_waits_for_those_that_block(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let owner = map(&api, "owner", json!({})).await;
    let hold = json!(["outside.example.com/hold"]);
    map(&api, "blocks", json!({"ownerReferences": [reference(&owner, true)], "finalizers": hold})).await;
    map(&api, "free", json!({"ownerReferences": [reference(&owner, false)], "finalizers": hold})).await;
    let answer = remove(&cluster, Propagation::Foreground).unwrap();
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    pause(secs(1)).await;
    for child in ["blocks", "free"] {
        let child = api.get(&format!("configmaps/{child}")).await;
        assert!(child["metadata"]["deletionTimestamp"].is_string(), "{child}");
    }
    assert!(!api.gone("configmaps/owner").await);
    api.patch("configmaps/blocks", json!({"metadata": {"finalizers": null}})).await;
    pause(millis(100)).await;
    assert!(api.gone("configmaps/blocks").await);
    assert!(api.gone("configmaps/owner").await, "only what blocks is waited for");
    assert!(!api.gone("configmaps/free").await);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn orphans_forget_their_owner(cluster: Cluster) -> steadfast::Result {
    let api = Api::of(&cluster);
    let owner = map(&api, "owner", json!({})).await;
    map(&api, "child", json!({"ownerReferences": [reference(&owner, true)]})).await;
    remove(&cluster, Propagation::Orphan).unwrap();
    pause(secs(1)).await;
    assert!(api.gone("configmaps/owner").await);
    let child = api.get("configmaps/child").await;
    assert!(child["metadata"].get("ownerReferences").is_none(), "{} keeps no reference", name(&child));
    Ok(())
}
