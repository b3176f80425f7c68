//! Every fault: it lands, it is seen, it is undone, and what it changed is as it was. All of it was seen on 1.34.4.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Value, json};
use steadfast::experiment::{Armed, Environment, ExperimentError, Mark};
use steadfast::journal::{FaultEnd, FaultRecord, Reason, SightingTime};
use steadfast::kubernetes::ObjectPatch;
use steadfast::prelude::*;
use steadfast::process::exited;
use steadfast::rollback::{ORIGINAL_ANNOTATION, UndoOutcome};

use crate::support::{Place, deployment, reference};

/// A hypothesis that holds whatever happens to the cluster.
fn holds() -> Hypothesis {
    Hypothesis::new("a program runs").check(process::run("true").expect(exited(0)))
}

/// An object without what every write changes, and without what its controller says of it.
fn kept(object: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(object).expect("it serialises");
    let metadata = value["metadata"].as_object_mut().expect("metadata");
    for field in ["resourceVersion", "generation", "managedFields"] {
        metadata.remove(field);
    }
    value.as_object_mut().expect("an object").remove("status");
    value
}

async fn refusal(fault: impl Fault) -> String {
    fault.resolve().await.expect_err("it is refused").to_string()
}

/// It was seen to be off, on, on while the hypothesis was judged, and off again (`stays`: what it did stays done); each
/// look is there as data, and so is how each undo ended.
fn assert_seen_and_undone(journal: &Journal, stays: bool) -> &FaultRecord {
    use SightingTime::{After, AfterHypothesis, Before, BeforeHypothesis, Landed};
    let fault = &journal.faults[0];
    assert!(fault.proved, "it was seen: {}", journal.summary());
    let times: Vec<_> = fault.sightings.iter().map(|sighting| sighting.when).collect();
    assert_eq!(times, [Before, Landed, BeforeHypothesis, AfterHypothesis, After], "{}", journal.summary());
    let stored = serde_json::to_value(fault).expect("it serialises");
    for (number, sighting) in fault.sightings.iter().enumerate() {
        assert!(sighting.as_expected, "{}", journal.summary());
        let stored = &stored["sightings"][number];
        assert!(stored["probed"].as_str().is_some_and(|probed| !probed.is_empty()), "what was looked at: {stored}");
        assert!(stored["seen"].as_object().is_some_and(|seen| !seen.is_empty()), "what was found, as data: {stored}");
        assert!(stored["at"].is_string(), "when: {stored}");
    }
    let seen = |number: usize| &stored["sightings"][number]["seen"];
    assert_ne!(seen(0), seen(1), "off and on are told apart: {stored}");
    assert_eq!(seen(0) == seen(4), !stays, "{stored}");
    assert!(!fault.undo.is_empty() && fault.is_undone(), "{}", journal.summary());
    fault
}

fn assert_undone(journal: &Journal) {
    assert_seen_and_undone(journal, false);
}

/// A policy that denies is seen by a pod that connects, on its way in as on its way out.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn denials_land_and_are_undone(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    for name in ["back", "other"] {
        let _: Deployment = place.create(deployment(name, 1)).await?;
    }
    place.rolled_out("back", 1).await;
    let pods = cluster.namespace(&place.name).pods("app=back");
    for denial in [pods.deny_ingress(), pods.deny_egress()] {
        let journal = Experiment::new("cut off", holds()).inject(denial).run(&cluster).await?;
        journal.assert_verdict(Met);
        assert_undone(&journal);
    }
    let policies: Api<NetworkPolicy> = place.api();
    assert_eq!(policies.list(&ListParams::default()).await?.items.len(), 0);
    place.end().await
}

/// Replicas go and come; between the two the original lies on the object.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_scale_lands_and_is_undone(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 2)).await?;
    let before = kept(&place.rolled_out("back", 2).await);
    let (api, sets): (Api<Deployment>, Api<ReplicaSet>) = (place.api(), place.api());
    let marked = async move || -> Result<bool, kube::Error> {
        let sets = sets.list(&ListParams::default()).await?.items;
        Ok(sets.iter().any(|set| set.annotations().contains_key(ORIGINAL_ANNOTATION)))
    };
    let look = marked.clone();
    let journal = Experiment::new("scaled to nothing", holds())
        .inject(cluster.namespace(&place.name).deployment("back").scale(0))
        .act_with("look", async move |_| {
            let now = api.get("back").await?;
            assert_eq!(now.spec.and_then(|spec| spec.replicas), Some(0));
            assert!(now.metadata.annotations.unwrap_or_default().contains_key(ORIGINAL_ANNOTATION));
            assert!(look().await?, "the cluster copies annotations");
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert_undone(&journal);
    assert_eq!(kept(&place.rolled_out("back", 2).await), before);
    assert!(!marked().await?, "a rollout undone would bring it back");
    place.end().await
}

/// What GitOps writes back in the middle is its own, and ends the fault early.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_scale_that_is_reverted_has_ended_early(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    place.rolled_out("back", 1).await;
    let api: Api<Deployment> = place.api();
    let journal = Experiment::new("reverted", holds())
        .inject(cluster.namespace(&place.name).deployment("back").scale(0))
        .act_with("GitOps reverts it", async move |_| {
            let desired = Patch::Merge(json!({"spec": {"replicas": 1}}));
            api.patch("back", &PatchParams::default(), &desired).await?;
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Inconclusive);
    assert!(matches!(&journal.reason, Some(Reason::FaultEndedEarly { .. })), "{}", journal.summary());
    assert!(matches!(journal.faults[0].end, FaultEnd::Early { .. }), "{}", journal.summary());
    let after = place.rolled_out("back", 1).await;
    assert!(!after.metadata.annotations.unwrap_or_default().contains_key(ORIGINAL_ANNOTATION), "nothing of it is left");
    place.end().await
}

/// A selector that takes nothing leaves the service without endpoints.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_blackhole_lands_and_is_undone(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    let service = json!({
        "metadata": {"name": "back"},
        "spec": {"selector": {"app": "back"}, "ports": [{"port": 80, "targetPort": 8002}]},
    });
    let before = kept(&place.create::<Service>(service).await?);
    place.rolled_out("back", 1).await;
    let api: Api<Service> = place.api();
    let look = api.clone();
    let journal = Experiment::new("nobody there", holds())
        .inject(cluster.namespace(&place.name).service("back").blackhole())
        .act_with("look", async move |_| {
            let selector = look.get("back").await?.spec.and_then(|spec| spec.selector).unwrap_or_default();
            assert_eq!(selector.len(), 2, "one key more: {selector:?}");
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert_undone(&journal);
    assert_eq!(kept(&api.get("back").await?), before);

    let bare = json!({"metadata": {"name": "bare"}, "spec": {"ports": [{"port": 80}]}});
    let _: Service = place.create(bare).await?;
    let error = refusal(cluster.namespace(&place.name).service("bare").blackhole()).await;
    assert!(error.contains("has no selector"), "{error}");
    place.end().await
}

/// Deleted pods are replaced by others; nothing is brought back.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn deleted_pods_are_replaced(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 2)).await?;
    place.rolled_out("back", 2).await;
    let before = place.pods("app=back").await;
    let pods = cluster.namespace(&place.name).pods("app=back").at_most_percent(100);
    let journal = Experiment::new("deleted", holds()).inject(pods.delete().grace(secs(0))).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_seen_and_undone(&journal, true);
    let undo = &journal.faults[0].undo;
    assert_eq!(undo.len(), 2);
    assert!(undo.iter().all(|u| matches!(u.outcome, UndoOutcome::TargetGone { .. })), "{}", journal.summary());
    place.rolled_out("back", 2).await;
    let after = place.pods("app=back").await;
    let old: Vec<_> = before.iter().map(|pod| pod.metadata.uid.clone()).collect();
    assert!(after.iter().all(|pod| !old.contains(&pod.metadata.uid) || pod.metadata.deletion_timestamp.is_some()));
    place.end().await
}

/// Pods that went by themselves between the look and the deletion: nothing was done, so nothing is proved.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_deletion_that_deletes_nothing_fails(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    place.rolled_out("back", 1).await;
    let delete = cluster.namespace(&place.name).pods("app=back").at_most_percent(100).delete();
    let mark = Mark { run: "r".into(), owner: "o".into(), at: cluster.clock().now(), switches: vec![] };
    let Armed { apply, .. } = delete.arm(&mark).await?;
    let pods: Api<Pod> = place.api();
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default().labels("app=back")).await?;
    let error = apply().await.expect_err("there was none left of those").to_string();
    assert!(error.contains("none of the pods") && error.contains("had gone"), "{error}");
    place.end().await
}

/// A pod that nothing would bring back is deleted only where that is said.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn bare_pods_are_not_deleted_by_accident(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut pod = crate::support::template("bare", "back");
    pod["metadata"]["name"] = json!("bare");
    let _: Pod = place.create(pod).await?;
    let pods = cluster.namespace(&place.name).pods("app=bare").at_most_percent(100);
    let error = refusal(pods.delete()).await;
    assert!(error.contains("bare") && error.contains(".allow_bare()"), "{error}");
    let journal =
        Experiment::new("bare", holds()).inject(pods.delete().grace(secs(0)).allow_bare()).run(&cluster).await?;
    assert_seen_and_undone(&journal, true);
    place.gone::<Pod>(secs(30), "bare").await;
    place.end().await
}

/// A node without what changes by itself: what the kubelet reports, and when the taints were set.
fn kept_node(node: &Node) -> Value {
    let mut value = kept(node);
    for taint in value["spec"]["taints"].as_array_mut().into_iter().flatten() {
        taint.as_object_mut().expect("a taint").remove("timeAdded");
    }
    value
}

/// A cordoned node takes no new pods, and is as before when it is uncordoned.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_cordon_lands_and_is_undone(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let nodes: Api<Node> = Api::all(cluster.client());
    let name = nodes.list(&ListParams::default()).await?.items.remove(0).metadata.name.unwrap_or_default();
    let before = kept_node(&nodes.get(&name).await?);
    let (look, node, pods) = (nodes.clone(), name.clone(), place.api::<Pod>());
    let again = cluster.node(&name).cordon();
    let journal = Experiment::new("cordoned", holds())
        .inject(cluster.node(&name).cordon())
        .act_with("look", async move |_| {
            let spec = look.get(&node).await?.spec.unwrap_or_default();
            assert_eq!(spec.unschedulable, Some(true));
            let error = refusal(again.clone()).await;
            assert!(error.contains("it is cordoned already"), "{error}");
            let mut pod = crate::support::template("late", "back");
            pod["metadata"]["name"] = json!("late");
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
            pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
            Ok(())
        })
        .pause(secs(3))
        .act_with("it found no place", {
            let pods = place.api::<Pod>();
            async move |_| {
                let late = pods.get("late").await?;
                assert_eq!(late.spec.unwrap_or_default().node_name, None);
                let conditions = late.status.and_then(|status| status.conditions).unwrap_or_default();
                let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled").expect("it was tried");
                assert_eq!(scheduled.reason.as_deref(), Some("Unschedulable"), "{scheduled:?}");
                Ok(())
            }
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert_undone(&journal);
    let pods: Api<Pod> = place.api();
    let placed = async || pods.get("late").await.expect("it is there").spec.and_then(|spec| spec.node_name);
    assert_eq!(place.eventually(secs(60), "the pod finds its place", placed).await, name);
    assert_eq!(kept_node(&nodes.get(&name).await?), before);
    place.end().await
}

/// Policies add up: what one denies and another allows is allowed. The fault is still there, but bites no more.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_second_policy_that_allows_what_is_denied_ends_the_fault_early(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    let _: Deployment = place.create(deployment("other", 1)).await?;
    place.rolled_out("back", 1).await;
    let policies: Api<NetworkPolicy> = place.api();
    let journal = Experiment::new("opened again", holds())
        .inject(cluster.namespace(&place.name).pods("app=back").deny_ingress())
        .act_with("somebody allows it", async move |_| {
            let spec = json!({"podSelector": {"matchLabels": {"app": "back"}}, "ingress": [{}]});
            let allow = serde_json::from_value(json!({"metadata": {"name": "allow"}, "spec": spec}))?;
            policies.create(&PostParams::default(), &allow).await?;
            Ok(())
        })
        .pause(secs(3))
        .run(&cluster)
        .await?;
    assert!(journal.faults[0].proved, "it was on: {}", journal.summary());
    journal.assert_verdict(Inconclusive);
    let Some(Reason::FaultEndedEarly { by, .. }) = &journal.reason else { panic!("{}", journal.summary()) };
    assert!(by.contains("still there, but without effect"), "{by}");
    assert!(matches!(journal.faults[0].end, FaultEnd::Early { .. }), "{}", journal.summary());
    place.end().await
}

/// Two runs on one object: the second is refused by what the first has left on it.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_object_that_a_run_has_changed_is_refused(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut changed = deployment("back", 1);
    changed["metadata"]["annotations"] =
        json!({ORIGINAL_ANNOTATION: json!({"run": "dead", "owner": "o", "uid": "u", "fields": []}).to_string()});
    let _: Deployment = place.create(changed).await?;
    place.rolled_out("back", 1).await;
    let ran = Experiment::new("second", holds())
        .inject(cluster.namespace(&place.name).deployment("back").scale(0))
        .run(&cluster)
        .await;
    let told = match ran {
        Ok(journal) => panic!("it should have been refused: {}", journal.summary()),
        Err(ExperimentError::Failed { source, .. }) => source.to_string(),
        Err(other) => panic!("nothing is left, so that nothing else can be wrong: {other}"),
    };
    assert!(told.contains("run dead") && told.contains("steadfast sweep"), "{told}");
    place.end().await
}

/// What others write between the look and the change: their labels are no matter, their replicas are.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_change_is_made_on_what_was_read(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    place.rolled_out("back", 1).await;
    let api: Api<Deployment> = place.api();
    let meanwhile = async |patch: Value| api.patch("back", &PatchParams::default(), &Patch::Merge(patch)).await;
    let scale = cluster.namespace(&place.name).deployment("back").scale(0);
    let mark = Mark { run: "r".into(), owner: "o".into(), at: cluster.clock().now(), switches: vec![] };

    let Armed { undo, apply } = scale.arm(&mark).await?;
    meanwhile(json!({"metadata": {"labels": {"theirs": "kept"}}})).await?;
    apply().await?;
    let changed = api.get("back").await?;
    assert_eq!(changed.spec.and_then(|spec| spec.replicas), Some(0));
    assert_eq!(changed.metadata.labels.unwrap_or_default().get("theirs").map(String::as_str), Some("kept"));
    assert_eq!(cluster.undoer().undo(&undo[0]).await, UndoOutcome::Reverted);
    assert_eq!(cluster.undoer().undo(&undo[0]).await, UndoOutcome::Reverted, "again is as once");

    let Armed { undo, apply } = scale.arm(&mark).await?;
    meanwhile(json!({"spec": {"replicas": 2}})).await?;
    let error = apply().await.expect_err("the undo would put back another number").to_string();
    assert!(error.contains("was changed by somebody else"), "{error}");
    assert!(matches!(cluster.undoer().undo(&undo[0]).await, UndoOutcome::TargetGone { .. }), "theirs is left alone");
    assert_eq!(api.get("back").await?.spec.and_then(|spec| spec.replicas), Some(2));
    place.end().await
}

/// What is wrong is said before anything is touched, with what there is.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn bad_input_is_refused(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    let here = cluster.namespace(&place.name);
    let error = refusal(here.deployment("bakc").scale(0)).await;
    assert!(error.contains("bakc does not exist; there are: back"), "{error}");
    let error = refusal(here.deployment("back").scale(1)).await;
    assert!(error.contains("it has 1 replicas already"), "{error}");
    let error = refusal(here.service("nobody").blackhole()).await;
    assert!(error.contains("nobody does not exist; there are: none"), "{error}");
    let error = refusal(steadfast::kubernetes::Service::new("default", "front").blackhole()).await;
    assert!(error.contains("belongs to no cluster"), "{error}");
    let error = refusal(cluster.node("elsewhere").cordon()).await;
    assert!(error.contains("node elsewhere does not exist; there are: "), "{error}");
    let system = cluster.namespace("kube-system");
    for error in [
        refusal(system.deployment("coredns").scale(0)).await,
        refusal(system.service("kube-dns").blackhole()).await,
        refusal(system.pods("k8s-app=kube-dns").delete()).await,
    ] {
        assert!(error.contains("faults are refused there"), "{error}");
    }
    let slow = here.pods("app=back").at_most_percent(100).latency(millis(50)).resolve().await;
    match (cluster.kind_name(), slow) {
        (None, slow) => drop(slow?),
        (Some(_), Ok(_)) => panic!("a real cluster has no such fault"),
        (Some(_), Err(error)) => assert!(error.to_string().contains("in the embedded lab only"), "{error}"),
    }
    place.end().await
}

/// An object of a manifest of the user's own, with what it says of itself beside our marks.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_object_is_created_and_deleted_again(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let map = reference(&place, "v1", "ConfigMap", "configmaps", "mine");
    let manifest = json!({"metadata": {"labels": {"a": "b"}}, "data": {"c": "d"}});
    let maps: Api<ConfigMap> = place.api();
    let (look, again) = (maps.clone(), cluster.kubernetes().create_object(map.clone(), manifest.clone()));
    let journal = Experiment::new("created", holds())
        .inject(cluster.kubernetes().create_object(map, manifest))
        .act_with("look", async move |_| {
            let labels = look.get("mine").await?.metadata.labels.unwrap_or_default();
            assert_eq!(labels.get("a").map(String::as_str), Some("b"));
            let error = refusal(again.clone()).await;
            assert!(error.contains("mine exists already: run ") && error.contains("steadfast sweep"), "{error}");
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    assert!(maps.get_opt("mine").await?.is_none());
    place.end().await
}

/// A policy of the user's own is stored whether or not somebody enforces it: its witness sees that, where it can.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_policy_of_any_shape_is_proved_by_a_witness_or_not_at_all(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    place.rolled_out("back", 1).await;
    let policies: Api<NetworkPolicy> = place.api();
    let policy = reference(&place, "networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "mine");
    let of = |from: Value| {
        let selector = json!({"matchLabels": {"app": "back"}});
        let spec = json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{"from": from}]});
        cluster.kubernetes().create_object(policy.clone(), json!({"spec": spec}))
    };
    let only_middle = json!([{"podSelector": {"matchLabels": {"app": "middle"}}}]);
    let journal = Experiment::new("only middle", holds()).inject(of(only_middle)).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    let everybody = json!([{"podSelector": {}}]);
    let journal = Experiment::new("everybody", holds()).inject(of(everybody.clone())).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert!(!journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    assert!(journal.summary().contains("`.witness(check)`"), "{}", journal.summary());
    let believed = of(everybody).trust_without_proof("another test shows it");
    Experiment::new("believed", holds()).inject(believed).run(&cluster).await?.assert_verdict(Met);
    assert!(policies.get_opt("mine").await?.is_none());
    place.end().await
}

/// Each form of a patch comes to fields, of which each is put back.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_object_is_changed_by_each_form_of_a_patch(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let mut service = json!({"metadata": {"name": "s", "labels": {"a": "b", "c": "d"}}});
    service["spec"] =
        json!({"selector": {"app": "back"}, "ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}]});
    let before = kept(&place.create::<Service>(service).await?);
    let mut whole = before.clone();
    whole["metadata"]["labels"] = json!({"a": "x", "e": "f"});
    let target = reference(&place, "v1", "Service", "services", "s");
    let services: Api<Service> = place.api();
    let labels =
        |service: &Service| service.metadata.labels.clone().unwrap_or_default().into_iter().collect::<Vec<_>>();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (patch, expected, ports) in [
        (ObjectPatch::Merge(json!({"metadata": {"labels": {"c": null}}})), vec![pair("a", "b")], 2),
        (
            ObjectPatch::Strategic(json!({"spec": {"ports": [{"port": 82, "name": "new"}]}})),
            vec![pair("a", "b"), pair("c", "d")],
            3,
        ),
        (
            ObjectPatch::Json(json!([{"op": "replace", "path": "/metadata/labels/a", "value": "z"}])),
            vec![pair("a", "z"), pair("c", "d")],
            2,
        ),
        (ObjectPatch::Whole(whole), vec![pair("a", "x"), pair("e", "f")], 2),
    ] {
        let fault = cluster.kubernetes().change_object(target.clone(), patch);
        let (look, again) = (services.clone(), fault.clone());
        let journal = Experiment::new("changed", holds())
            .inject(fault)
            .act_with("look", async move |_| {
                let now = look.get("s").await?;
                assert_eq!(labels(&now), expected);
                assert_eq!(now.spec.and_then(|spec| spec.ports).unwrap_or_default().len(), ports);
                let error = refusal(again.clone()).await;
                assert!(error.contains("already"), "{error}");
                Ok(())
            })
            .run(&cluster)
            .await?;
        journal.assert_verdict(Met);
        assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
        assert_eq!(kept(&services.get("s").await?), before);
    }
    place.end().await
}

/// A Service that is deleted is made again with the address that it had; what nothing brings back is refused.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn an_object_is_deleted_and_made_again(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let spec = json!({"selector": {"app": "back"}, "ports": [{"port": 80}]});
    let before: Service = place.create(json!({"metadata": {"name": "s"}, "spec": spec})).await?;
    let services: Api<Service> = place.api();
    let look = services.clone();
    let target = reference(&place, "v1", "Service", "services", "s");
    let journal = Experiment::new("deleted", holds())
        .inject(cluster.kubernetes().delete_object(target))
        .act_with("look", async move |_| {
            assert!(look.get_opt("s").await?.is_none());
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    assert_eq!(services.get("s").await?.spec, before.spec);
    let _: k8s_openapi::api::core::v1::Secret = place.create(json!({"metadata": {"name": "key"}})).await?;
    let secret = reference(&place, "v1", "Secret", "secrets", "key");
    let error = refusal(cluster.kubernetes().delete_object(secret)).await;
    assert!(error.contains("nothing brings secret") && error.contains("kept in a file"), "{error}");
    place.end().await
}

/// Evicted pods go and come back as others; what a budget keeps is tried again until the time is over.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn pods_are_evicted_as_their_budget_lets_them(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 1)).await?;
    place.rolled_out("back", 1).await;
    let of = |pod: &Pod| {
        let object = reference(&place, "v1", "Pod", "pods", &pod.name_any());
        (object, pod.metadata.uid.clone().unwrap_or_default())
    };
    let before: Vec<_> = place.pods("app=back").await.iter().map(of).collect();
    let error = refusal(cluster.kubernetes().evict(before.clone(), secs(30))).await;
    assert!(error.contains("this would evict 1 of 1 pods") && error.contains("at_most_percent(100)"), "{error}");
    let journal = Experiment::new("evicted", holds())
        .inject(cluster.kubernetes().evict(before.clone(), secs(30)).at_most_percent(100))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved && journal.faults[0].is_undone(), "{}", journal.summary());
    place.rolled_out("back", 1).await;
    let after: Vec<_> = place.pods("app=back").await.iter().map(of).collect();
    assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "back"}}});
    let budget = json!({"metadata": {"name": "keep"}, "spec": spec});
    let _: k8s_openapi::api::policy::v1::PodDisruptionBudget = place.create(budget).await?;
    cluster.clock().sleep(secs(2)).await;
    let ran = Experiment::new("kept", holds())
        .inject(cluster.kubernetes().evict(after.clone(), secs(6)).at_most_percent(100))
        .run(&cluster)
        .await;
    let error = ran.expect_err("it is kept").to_string();
    assert!(error.contains("1 pods could not be evicted within 6s") && error.contains("disruption budget"), "{error}");
    let kept: Vec<_> = place.pods("app=back").await.iter().map(of).collect();
    assert_eq!(kept, after);
    place.end().await
}
