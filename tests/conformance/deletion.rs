//! Deletion: finalizers, owners, namespaces, grace.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PropagationPolicy};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use steadfast::prelude::*;

use crate::support::{Place, refused, template};

fn owned_by<K: Resource<DynamicType = ()>>(owner: &K) -> Value {
    json!([{
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "name": owner.name_any(), "uid": owner.uid(),
        "blockOwnerDeletion": true,
    }])
}

async fn child(place: &Place, owner: &ConfigMap) -> Result<ConfigMap, kube::Error> {
    place.create(json!({"metadata": {"name": "child", "ownerReferences": owned_by(owner)}})).await
}

/// Seen on 1.34.4: marked, held, and gone with its last finalizer; meanwhile no finalizer may be added.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn finalizers_hold(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let _: ConfigMap = place.create(json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})).await?;
    let held = maps.delete("m", &DeleteParams::default()).await?.left().expect("the object itself");
    assert!(held.metadata.deletion_timestamp.is_some());
    let finalizers = async |list: Value| {
        maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": list}}))).await
    };
    let more = refused(finalizers(json!(["example.com/hold", "example.com/more"])).await);
    assert_eq!(more.code, 422);
    assert!(more.message.contains("no new finalizers can be added if the object is being deleted"), "{}", more.message);
    let again = refused(place.map("m", json!({})).await);
    assert_eq!(again.message, r#"object is being deleted: configmaps "m" already exists"#);
    finalizers(json!(null)).await?;
    assert!(maps.get_opt("m").await?.is_none());
    place.end().await
}

/// Seen on 1.34.4: in the background the owner goes at once and its children after it.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn children_go_after_their_owner(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let owner = place.map("owner", json!({})).await?;
    child(&place, &owner).await?;
    maps.delete("owner", &DeleteParams::background()).await?;
    assert!(maps.get_opt("owner").await?.is_none());
    place.gone::<ConfigMap>(secs(10), "child").await;
    place.end().await
}

/// Seen on 1.34.4: in the foreground the owner waits for the children that block it.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_owner_waits_in_the_foreground(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let owner = place.map("owner", json!({})).await?;
    child(&place, &owner).await?;
    let hold = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    maps.patch("child", &PatchParams::default(), &hold(json!(["example.com/hold"]))).await?;
    maps.delete("owner", &DeleteParams::foreground()).await?;
    let marked = async || maps.get("child").await.expect("held").metadata.deletion_timestamp.map(drop);
    place.eventually(secs(10), "the child is marked", marked).await;
    assert_eq!(maps.get("owner").await?.metadata.finalizers, Some(vec!["foregroundDeletion".to_owned()]));
    maps.patch("child", &PatchParams::default(), &hold(json!(null))).await?;
    place.gone::<ConfigMap>(secs(10), "owner").await;
    place.end().await
}

/// Seen on 1.34.4: orphans lose the reference and stay; a reference to another uid collects.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn orphans_stay_and_strangers_children_go(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let maps: Api<ConfigMap> = place.api();
    let owner = place.map("owner", json!({})).await?;
    child(&place, &owner).await?;
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    maps.delete("owner", &orphan).await?;
    place.gone::<ConfigMap>(secs(10), "owner").await;
    assert_eq!(maps.get("child").await?.metadata.owner_references, None);
    let mut references = owned_by(&place.map("other", json!({})).await?);
    references[0]["uid"] = json!("11111111-1111-1111-1111-111111111111");
    let _: ConfigMap = place.create(json!({"metadata": {"name": "lost", "ownerReferences": references}})).await?;
    place.gone::<ConfigMap>(secs(10), "lost").await;
    place.end().await
}

fn switch(seconds: u64) -> Value {
    let container = json!({"name": "never", "image": "absent:1", "imagePullPolicy": "Never"});
    json!({
        "metadata": {"name": "switch"},
        "spec": {
            "parallelism": 0, "activeDeadlineSeconds": seconds, "ttlSecondsAfterFinished": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    })
}

/// Seen on 1.34.4: the Job fails at its deadline, and it and what it owns are gone within a second or two;
/// a merge patch of the deadline postpones that.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_jobs_deadline_takes_what_it_owns(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let (jobs, policies): (Api<Job>, Api<NetworkPolicy>) = (place.api(), place.api());
    let job: Job = place.create(switch(4)).await?;
    let policy = json!({
        "metadata": {"name": "fault", "ownerReferences": owned_by(&job)}, "spec": {"podSelector": {"matchLabels": {"app": "x"}}},
    });
    let _: NetworkPolicy = place.create(policy).await?;
    cluster.clock().sleep(secs(2)).await;
    jobs.patch("switch", &PatchParams::default(), &Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 8}}))).await?;
    cluster.clock().sleep(secs(4)).await;
    assert!(policies.get_opt("fault").await?.is_some(), "six seconds on, the deadline is at eight");
    place.gone::<NetworkPolicy>(secs(6), "fault").await;
    place.gone::<Job>(secs(1), "switch").await;
    place.end().await
}

/// Seen on 1.34.4: a plain delete of a Job orphans, in the background it takes what it owns along.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_job_orphans_unless_asked(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let (jobs, maps): (Api<Job>, Api<ConfigMap>) = (place.api(), place.api());
    let job: Job = place.create(switch(600)).await?;
    let _: ConfigMap = place.create(json!({"metadata": {"name": "kept", "ownerReferences": owned_by(&job)}})).await?;
    let marked = jobs.delete("switch", &DeleteParams::default()).await?.left().expect("the job itself");
    assert_eq!(marked.metadata.finalizers, Some(vec!["orphan".to_owned()]));
    place.gone::<Job>(secs(10), "switch").await;
    assert_eq!(maps.get("kept").await?.metadata.owner_references, None);
    let job: Job = place.create(switch(600)).await?;
    let _: ConfigMap = place.create(json!({"metadata": {"name": "taken", "ownerReferences": owned_by(&job)}})).await?;
    jobs.delete("switch", &DeleteParams::background()).await?;
    place.gone::<ConfigMap>(secs(10), "taken").await;
    place.end().await
}

/// Seen on 1.34.4: a terminating namespace takes nothing new, and goes with all that is in it.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let (namespaces, maps): (Api<Namespace>, Api<ConfigMap>) = (Api::all(cluster.client()), place.api());
    let _: ConfigMap = place.create(json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})).await?;
    namespaces.delete(&place.name, &DeleteParams::default()).await?;
    let late = refused(place.map("late", json!({})).await);
    assert_eq!((late.code, late.reason.as_str()), (403, "Forbidden"));
    assert!(late.message.ends_with("because it is being terminated"), "{}", late.message);
    let marked = async || maps.get("m").await.expect("held").metadata.deletion_timestamp.map(drop);
    place.eventually(secs(20), "the map is marked", marked).await;
    maps.patch("m", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    let gone = async || namespaces.get_opt(&place.name).await.expect("an answer").is_none().then_some(());
    place.eventually(secs(30), "the namespace goes", gone).await;
    Ok(())
}

/// Seen on 1.34.4: a pod is marked and runs on for its grace; without a node it goes at once.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn pods_have_their_grace(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let pods: Api<Pod> = place.api();
    let mut pod = template("p", "back");
    pod["metadata"]["name"] = json!("p");
    let _: Pod = place.create(pod).await?;
    let running = async || {
        let phase = pods.get("p").await.expect("it is there").status.and_then(|s| s.phase);
        (phase.as_deref() == Some("Running")).then_some(())
    };
    place.eventually(secs(60), "the pod runs", running).await;
    let grace = DeleteParams { grace_period_seconds: Some(3), ..DeleteParams::default() };
    let marked = pods.delete("p", &grace).await?.left().expect("the pod itself");
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(3));
    let left = pods.get("p").await?;
    assert_eq!(left.status.and_then(|s| s.phase).as_deref(), Some("Running"));
    place.gone::<Pod>(secs(15), "p").await;
    let container = json!({"name": "c", "image": "absent:1", "imagePullPolicy": "Never"});
    let _: Pod = place
        .create(
            json!({"metadata": {"name": "q"}, "spec": {"containers": [container], "nodeSelector": {"none": "such"}}}),
        )
        .await?;
    pods.delete("q", &DeleteParams::default()).await?;
    assert!(pods.get_opt("q").await?.is_none());
    place.end().await
}
