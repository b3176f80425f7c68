//! What the journal says of what was undone, and of what was not.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PostParams};
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::experiment::{Applied, Armed, Check, ExperimentError, Finding, Mark, Proof, Scene, Targets, Witness};
use steadfast::journal::FaultEnd;
use steadfast::kubernetes::ObjectPatch;
use steadfast::prelude::*;
use steadfast::rollback::{ORIGINAL_ANNOTATION, ObjectRef, Undo};
use steadfast::tolerance::Judgement;

use crate::support::{front_answers, left_behind, stored_journal};

/// A witness that sees open once, and never answers again.
struct FallsSilent(AtomicUsize);

impl Check for FallsSilent {
    fn describe(&self) -> String {
        "a witness".to_owned()
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            if self.0.fetch_add(1, Ordering::Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
            let judgement = Judgement::of(true, "open", "open", ("open", "denied"));
            Ok(Finding { judgement, evidence: Value::Null })
        })
    }
}

/// A fault of which a part of the witness is made and then held, and nothing else can be.
struct HalfMade {
    maps: Api<ConfigMap>,
}

impl Fault for HalfMade {
    fn describe(&self) -> String {
        "a fault with a witness that cannot be made".into()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        Box::pin(async { Ok(Targets { names: vec!["nothing".into()], ..Targets::default() }) })
    }

    fn arm<'a>(&'a self, _: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async { Err("it is not come to".into()) })
    }

    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            resource: "configmaps".into(),
            namespace: Some("default".into()),
            name: "half".into(),
        };
        let undo = vec![Undo::Delete { object, owner: mark.owner.clone(), uid: None, switch: None }];
        let labels = json!({"steadfast.dev/owner": mark.owner});
        let body = json!({"metadata": {"name": "half", "labels": labels, "finalizers": ["example.com/hold"]}});
        let (maps, body) = (self.maps.clone(), serde_json::from_value(body));
        let apply = Box::new(move || -> BoxFuture<'static, Applied> {
            Box::pin(async move {
                maps.create(&PostParams::default(), &body?).await?;
                Err("the quota is used up".into())
            })
        });
        let check = std::sync::Arc::new(FallsSilent(AtomicUsize::new(0)));
        Box::pin(async {
            Ok(Proof::Witness(Witness { stage: Some(Armed { undo, apply }), check, blind: None, stays: false }))
        })
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_is_dropped_while_it_is_being_proved_is_told_as_undone(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress().witness(FallsSilent(AtomicUsize::new(0)));
    let run = Experiment::new("dropped", front_answers(&cluster)).inject(cut).run(&cluster);
    assert!(tokio::time::timeout(secs(60), run).await.is_err());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    let journal = stored_journal(&cluster, "journal.json");
    assert_eq!(journal.not_undone(), Vec::<String>::new());
    assert_eq!(journal.faults[0].end, FaultEnd::Rollback);
    assert_eq!(journal.faults[0].undo.len(), 1, "{}", journal.summary());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_left_of_a_witness_that_could_not_be_made_is_told(cluster: Cluster) -> steadfast::Result {
    let fault = HalfMade { maps: Api::namespaced(cluster.client(), "default") };
    let error = Experiment::new("half", front_answers(&cluster)).inject(fault).run(&cluster).await.unwrap_err();
    let ExperimentError::NotUndone { journal } = &error else { panic!("{error}") };
    assert!(
        error.to_string().contains("delete configmap default/half") && error.to_string().contains("example.com/hold")
    );
    let text = journal.summary();
    assert!(text.contains("the quota is used up"), "why it came to that: {text}");
    Ok(())
}

/// The replicas are as before; that their pods do not get ready is another matter.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_undone_but_not_back_is_not_called_a_failed_rollback(cluster: Cluster) -> steadfast::Result {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let error = Experiment::new("a bad rollout meanwhile", front_answers(&cluster))
        .inject(cluster.namespace("default").deployment("back").scale(0))
        .act_with("another image", async move |_| {
            let image =
                json!({"spec": {"template": {"spec": {"containers": [{"name": "back", "image": "nowhere:1"}]}}}});
            deployments.patch("back", &Default::default(), &Patch::Strategic(image)).await?;
            Ok(())
        })
        .run(&cluster)
        .await
        .unwrap_err()
        .to_string();
    assert!(!error.contains("a fault may be left"), "{error}");
    for part in [
        "everything is undone",
        "scale deployment back in default to 0",
        "0 ready",
        "restore /spec/replicas of deployment default/back: reverted",
    ] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn pods_that_are_slow_to_get_ready_are_given_time(cluster: Cluster) -> steadfast::Result {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "default");
    let probe = json!({"httpGet": {"path": "/health", "port": "http"}, "initialDelaySeconds": 30, "periodSeconds": 1});
    let slow = json!({"spec": {"template": {"spec": {"containers": [{"name": "back", "readinessProbe": probe}]}}}});
    deployments.patch("back", &Default::default(), &Patch::Strategic(slow)).await?;
    cluster.wait_for_deployments("default", &["back"], secs(120)).await?;
    let scale = cluster.namespace("default").deployment("back").scale(0);
    let experiment = |scale| Experiment::new("slow", front_answers(&cluster)).inject(scale).run(&cluster);
    let error = experiment(scale.clone()).await.unwrap_err();
    assert!(matches!(error, ExperimentError::NotBack { .. }), "{error}");
    assert!(error.to_string().contains("`.ready_within(..)`"), "{error}");
    cluster.wait_for_deployments("default", &["back"], secs(120)).await?;
    experiment(scale.ready_within(secs(60))).await?.assert_verdict(Met);
    Ok(())
}

/// Whoever takes the mark away keeps the undo from putting the old value back: a person has to, who finds it in the ledger.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn an_old_value_that_is_a_secret_is_in_nothing_that_is_told_of_a_leak(cluster: Cluster) -> steadfast::Result {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    let data = json!({"metadata": {"name": "till"}, "data": {"DB_PASSWORD": "brass-lantern", "LEVEL": "info"}});
    maps.create(&PostParams::default(), &serde_json::from_value(data)?).await?;
    let object = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        resource: "configmaps".into(),
        namespace: Some("default".into()),
        name: "till".into(),
    };
    let change = json!({"data": {"DB_PASSWORD": "rusty-anchor", "LEVEL": "debug"}});
    let error = Experiment::new("another password", front_answers(&cluster))
        .inject(cluster.kubernetes().change_object(object, ObjectPatch::Merge(change)))
        .act_with("take the mark away", async move |_| {
            let unmarked = json!({"metadata": {"annotations": {ORIGINAL_ANNOTATION: null}}});
            maps.patch("till", &Default::default(), &Patch::Merge(unmarked)).await?;
            Ok(())
        })
        .run(&cluster)
        .await
        .unwrap_err();
    let ExperimentError::NotUndone { journal } = &error else { panic!("{error}") };
    let stored = stored_journal(&cluster, "journal.json").to_json();
    let told = [error.to_string(), journal.summary(), journal.to_json(), stored, journal.report_html()];
    for told in &told {
        assert!(told.contains("/data/DB_PASSWORD"), "what is left is told: {told}");
        assert!(!told.contains("brass-lantern") && !told.contains("rusty-anchor"), "{told}");
    }
    Ok(())
}
