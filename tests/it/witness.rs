//! What a witness proves, and whom it leaves alone.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use steadfast::BoxError;
use steadfast::experiment::{Applied, Armed, Mark, Proof, Targets};
use steadfast::journal::Reason;
use steadfast::kubernetes::{DenyTraffic, WITNESS_IMAGE};
use steadfast::lab::fabric::Fabric;
use steadfast::prelude::*;

use crate::support::{front_answers, left_behind};

/// A denial at whose application the target's listener dies.
struct AndTheTargetDies {
    cut: DenyTraffic,
    fabric: Fabric,
    target: Ipv4Addr,
}

impl Fault for AndTheTargetDies {
    fn describe(&self) -> String {
        self.cut.describe()
    }

    fn resolve(&self) -> BoxFuture<'_, Result<Targets, BoxError>> {
        self.cut.resolve()
    }

    fn arm<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Armed, BoxError>> {
        Box::pin(async move {
            let Armed { undo, apply } = self.cut.arm(mark).await?;
            let (fabric, target) = (self.fabric.clone(), self.target);
            let apply = Box::new(move || -> BoxFuture<'static, Applied> {
                // It takes the place of the pod's own, and goes.
                drop(fabric.listen(target, 8002));
                apply()
            });
            Ok(Armed { undo, apply })
        })
    }

    fn witness<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<Proof, BoxError>> {
        Fault::witness(&self.cut, mark)
    }
}

async fn pods_of(cluster: &Cluster, app: &str) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
    pods.list(&ListParams::default().labels(&format!("app={app}"))).await.expect("a list").items
}

/// A connection that is refused has found its way: nobody denied it.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_target_that_died_proves_no_policy(cluster: Cluster) -> steadfast::Result {
    let fabric = cluster.lab()?.fabric().clone();
    fabric.enforce_policies(false);
    let target = pods_of(&cluster, "back").await[0].status.as_ref().and_then(|s| s.pod_ip.clone()).expect("it has one");
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let fault = AndTheTargetDies { cut, fabric, target: target.parse().expect("an address") };
    let journal = Experiment::new("dead", front_answers(&cluster)).inject(fault).run(&cluster).await?;
    assert!(!journal.faults[0].proved, "{}", journal.summary());
    journal.assert_verdict(Inconclusive);
    let Some(Reason::FaultNotProved { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
    for part in ["refused", "the target itself may be dead", "`.witness(check)`"] {
        assert!(why.contains(part), "{part:?} in {why}");
    }
    Ok(())
}

/// What runs pods labelled `app` by a controller of this kind, with the witness' image.
async fn controlled(cluster: &Cluster, api_version: &str, kind: &str, app: &str) -> steadfast::Result {
    let template = json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"restartPolicy": if kind == "Job" { "Never" } else { "Always" }, "containers": [{
            "name": "c", "image": WITNESS_IMAGE, "args": ["listen", "7007"], "ports": [{"containerPort": 7007}],
        }]},
    });
    let mut spec = json!({"template": template});
    if kind != "Job" {
        spec["selector"] = json!({"matchLabels": {"app": app}});
    }
    let metadata = json!({"name": app, "namespace": "default"});
    let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec});
    cluster.apply(&object).await?;
    cluster.clock().sleep(secs(5)).await;
    assert_eq!(pods_of(cluster, app).await.len(), 1, "{kind}");
    Ok(())
}

/// It carries the labels of its targets, and a controller takes every pod of its labels for its own.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn no_controller_adopts_a_witness(cluster: Cluster) -> steadfast::Result {
    for (api_version, kind, app, proved) in [
        ("apps/v1", "DaemonSet", "each", false),
        ("apps/v1", "ReplicaSet", "bare", false),
        ("batch/v1", "Job", "once", true),
        ("apps/v1", "Deployment", "usual", true),
    ] {
        controlled(&cluster, api_version, kind, app).await?;
        let uids = async || -> Vec<Value> {
            pods_of(&cluster, app)
                .await
                .into_iter()
                .map(|pod| json!([pod.metadata.uid, pod.metadata.owner_references]))
                .collect()
        };
        let before = uids().await;
        let cut = cluster.namespace("default").pods(&format!("app={app}")).deny_egress();
        let looked = async move |count: usize, pods: Vec<Pod>| assert_eq!(pods.len(), count, "{kind}");
        let during = cluster.clone();
        let journal = Experiment::new(kind, front_answers(&cluster))
            .inject(cut)
            .pause(secs(5))
            .act_with("the pods are as many as they were", async move |_| {
                looked(1 + usize::from(proved), pods_of(&during, app).await).await;
                Ok(())
            })
            .run(&cluster)
            .await?;
        assert_eq!(journal.faults[0].proved, proved, "{kind}: {}", journal.summary());
        if !proved {
            let Some(Reason::FaultNotProved { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
            assert!(why.contains("would take a witness of its labels for its own"), "{why}");
        }
        assert_eq!(uids().await, before, "{kind}");
    }
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

/// One target that cannot be reached anyway says nothing about those that can.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_witness_connects_to_a_target_that_is_ready(cluster: Cluster) -> steadfast::Result {
    let pod = |name: &str, args: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "two"}},
            "spec": {"containers": [{
                "name": "c", "image": WITNESS_IMAGE, "args": args, "ports": [{"containerPort": 7007}],
                "readinessProbe": {"tcpSocket": {"port": 7007}, "periodSeconds": 1},
            }]},
        })
    };
    cluster.apply(&pod("a", json!(["connect", "10.0.0.1:1"]))).await?;
    cluster.apply(&pod("b", json!(["listen", "7007"]))).await?;
    cluster.clock().sleep(Duration::from_secs(5)).await;
    let cut = cluster.namespace("default").pods("app=two").deny_ingress();
    let journal = Experiment::new("one is ready", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    assert!(journal.faults[0].proved, "{}", journal.summary());
    Ok(())
}
