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
        other => Err(steadfast::Error::Other(format!("no run {other:?}").into())),
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
