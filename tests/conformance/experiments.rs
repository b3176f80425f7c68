//! Experiments while others use the cluster too.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams};
use steadfast::journal::{FaultEnd, Reason};
use steadfast::prelude::*;
use steadfast::process::exited;

use crate::support::{Place, deployment};

/// What the engine labels its objects with.
const OWNED: &str = "steadfast.dev/owner";

/// Seen on 1.34.4: a policy that another client deletes is missed when it is read back, before and after the hypothesis
/// is judged under it; the hypothesis, which holds all the time, is no ground for a verdict then.
#[steadfast::test(setup = steadfast::cluster::shop_image)]
async fn a_policy_that_another_client_deletes_has_ended_early(cluster: Cluster) -> steadfast::Result {
    let place = Place::new(&cluster).await?;
    let _: Deployment = place.create(deployment("back", 2)).await?;
    place.rolled_out("back", 2).await;
    let holds = Hypothesis::new("a program runs").check(process::run("true").expect(exited(0)));
    let policies: Api<NetworkPolicy> = place.api();
    let ours = ListParams::default().labels(OWNED);
    let (others, selector) = (policies.clone(), ours.clone());
    let journal = Experiment::new("meddled with", holds)
        .inject(cluster.namespace(&place.name).pods("app=back").at_most_percent(100).deny_ingress())
        .act_with("another client deletes the policy", async move |_| {
            let found = others.list(&selector).await?;
            assert_eq!(found.items.len(), 1, "the fault is on");
            for policy in found {
                others.delete(&policy.metadata.name.unwrap_or_default(), &DeleteParams::default()).await?;
            }
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Inconclusive);
    assert!(journal.faults[0].proved, "it was on: {}", journal.summary());
    assert!(matches!(&journal.reason, Some(Reason::FaultEndedEarly { .. })), "{}", journal.summary());
    assert!(matches!(journal.faults[0].end, FaultEnd::Early { .. }), "{}", journal.summary());
    assert!(policies.list(&ours).await?.items.is_empty(), "no policy is left");
    let witnesses: Api<Pod> = place.api();
    assert!(witnesses.list(&ours).await?.items.is_empty(), "no witness is left");
    place.end().await
}
