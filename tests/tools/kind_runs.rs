//! Experiments of the kind trials, each in a process of its own: what a user's test would be.

use std::process::{Command, ExitCode};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use steadfast::prelude::*;
use steadfast::process::exited;

/// Which one this process is to run.
pub const RUN: &str = "STEADFAST_KIND_TRIAL";

/// Runs it, and ends as a failed test does if it fails.
pub fn main(run: &str) -> ExitCode {
    let done = steadfast::cluster::run_test(run, async |cluster| match run {
        "nothing-enforced" => nothing_enforced(cluster).await,
        "deleted" => deleted(cluster).await,
        "prepared" => prepared(cluster).await,
        "killed" => killed(cluster).await,
        other => Err(steadfast::Error::from(format!("no run {other:?}"))),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A hypothesis that always holds: whatever the verdict is, it is not for its sake.
fn holds() -> Hypothesis {
    Hypothesis::new("a program runs").check(process::run("true").expect(exited(0)))
}

/// A pod to be cut off.
async fn target(cluster: &Cluster) -> steadfast::Result {
    let container = json!({
        "name": "back", "image": steadfast::cluster::SHOP_IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["back"],
        "ports": [{"containerPort": 8002}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8002}, "periodSeconds": 1},
    });
    let template = json!({"metadata": {"labels": {"app": "back"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}});
    cluster
        .apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "back", "namespace": "default"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "back"}}, "template": template},
        }))
        .await?;
    Ok(cluster.wait_for_deployments("default", &["back"], secs(60)).await?)
}

fn cut(cluster: &Cluster) -> impl Fault + use<> {
    cluster.namespace("default").pods("app=back").at_most_percent(100).deny_ingress()
}

/// Switches the enforcing agent of kind's network off or on; its last pod takes its rules along.
async fn enforce(cluster: &Cluster, on: bool) -> Result<(), kube::Error> {
    let sets: Api<DaemonSet> = Api::namespaced(cluster.client(), "kube-system");
    let nobody = if on { Value::Null } else { json!("nobody") };
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"steadfast.dev/runs-here": nobody}}}}});
    sets.patch("kindnet", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "kube-system");
    let running = ListParams::default().labels("app=kindnet");
    while pods.list(&running).await?.items.is_empty() == on {
        cluster.clock().sleep(std::time::Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn nothing_enforced(cluster: Cluster) -> steadfast::Result {
    target(&cluster).await?;
    enforce(&cluster, false).await?;
    let run = Experiment::new("nothing is enforced", holds()).inject(cut(&cluster)).run(&cluster).await;
    enforce(&cluster, true).await?;
    let journal = run?;
    println!("{}", journal.summary());
    journal.assert_verdict(Inconclusive);
    Ok(())
}

async fn deleted(cluster: Cluster) -> steadfast::Result {
    target(&cluster).await?;
    let name = cluster.kind_name().unwrap_or_default().to_owned();
    let journal = Experiment::new("the cluster goes", holds())
        .inject(cut(&cluster))
        .act_with("somebody deletes the cluster", async move |_| {
            // Not the user's own kubeconfig, which kind would clean up otherwise.
            let kubeconfig = Cluster::kind(&name).kubeconfig()?;
            let arguments = ["delete", "cluster", "--name", &name, "--kubeconfig"];
            let deleted = Command::new("kind").args(arguments).arg(kubeconfig).output()?;
            if deleted.status.success() { Ok(()) } else { Err(format!("{deleted:?}").into()) }
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    Ok(())
}

/// What a run to be killed has on.
pub const FAULT: &str = "STEADFAST_KIND_TRIAL_FAULT";

/// Every kind of fault that a real cluster has.
pub const FAULTS: &[&str] = &["cut-off", "cut-off-outwards", "scaled", "blackholed", "cordoned", "pods-deleted"];

/// For each fault a namespace of its name with a Deployment and a Service.
async fn prepared(cluster: Cluster) -> steadfast::Result {
    steadfast::cluster::shop_image(&cluster).await?;
    for namespace in FAULTS {
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await?;
        let container = json!({
            "name": "app", "image": steadfast::cluster::SHOP_IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["back"],
            "ports": [{"containerPort": 8002}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8002}, "periodSeconds": 1},
        });
        let pod = json!({"metadata": {"labels": {"app": "app"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}});
        cluster
            .apply(&json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": namespace},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": pod},
            }))
            .await?;
        cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "app", "namespace": namespace},
                "spec": {"selector": {"app": "app"}, "ports": [{"port": 80, "targetPort": 8002}]},
            }))
            .await?;
        cluster.wait_for_deployments(namespace, &["app"], secs(120)).await?;
    }
    Ok(())
}

/// A run with one fault, proved, held for a while and undone; it is killed at some instant of that.
async fn killed(cluster: Cluster) -> steadfast::Result {
    let fault = std::env::var(FAULT).unwrap_or_default();
    let here = cluster.namespace(&fault);
    let all = here.pods("app=app").at_most_percent(100);
    let experiment = Experiment::new("killed", holds());
    let experiment = match fault.as_str() {
        "cut-off" => experiment.inject(all.deny_ingress()),
        "cut-off-outwards" => experiment.inject(all.deny_egress()),
        "scaled" => experiment.inject(here.deployment("app").scale(0)),
        "blackholed" => experiment.inject(here.service("app").blackhole()),
        "pods-deleted" => experiment.inject(all.delete().grace(secs(0))),
        "cordoned" => {
            let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client());
            let node = nodes.list(&ListParams::default()).await?.items.remove(0).metadata.name.unwrap_or_default();
            experiment.inject(cluster.node(&node).cordon())
        }
        other => return Err(steadfast::Error::from(format!("no fault {other:?}"))),
    };
    experiment.pause(secs(2)).run(&cluster).await?.assert_verdict(Met);
    Ok(())
}
