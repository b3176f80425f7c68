//! Prometheus: what the shop's metrics say while something is cut off.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use steadfast::prelude::*;

use crate::support::object;

/// Judges one hypothesis, without a method.
async fn judged(cluster: &Cluster, hypothesis: Hypothesis) -> Result<Verdict, steadfast::Error> {
    let journal = Experiment::new("a look", hypothesis).without_recovery().run(cluster).await?;
    Ok(journal.verdict)
}

/// Waits until each pod of the shop was scraped; what a counter did before that nobody can know.
async fn scraped(cluster: &Cluster, namespace: &str) -> steadfast::Result {
    let prometheus = cluster.namespace(namespace).prometheus();
    let up = ["front", "middle", "back"].into_iter().fold(Hypothesis::new("up"), |hypothesis, job| {
        hypothesis
            .check(prometheus.query(&format!("min(up{{namespace={namespace:?},job={job:?}}})")).expect(at_least(1.0)))
    });
    let experiment = Experiment::new("a look", up).baseline_within(secs(30)).without_recovery();
    experiment.run(cluster).await?.assert_verdict(Met);
    Ok(())
}

/// Seen with Prometheus 2.42: each pod of the shop is scraped and up, under the name of its service.
#[steadfast::test(setup = steadfast::shop)]
async fn the_shop_is_scraped(cluster: Cluster) -> steadfast::Result {
    scraped(&cluster, "default").await
}

/// Seen on 1.34.4: with back cut off, front goes on answering, both callers count failures, and the labelled series
/// are born with the first of them.
#[steadfast::test(setup = steadfast::shop)]
async fn who_counts_when_back_is_cut_off(cluster: Cluster) -> steadfast::Result {
    scraped(&cluster, "default").await?;
    let shop = cluster.namespace("default");
    let front = shop.service("front").url("/");
    let counter =
        |job: &str, to: &str| shop.prometheus().counter("failed_call_total").label("job", job).label("to", to);
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client(), "default");
    let deny = json!({"metadata": {"name": "cut"}, "spec": {"podSelector": {"matchLabels": {"app": "back"}}, "policyTypes": ["Ingress"]}});
    policies.create(&PostParams::default(), &object(deny)).await?;
    let traffic = load::get(&front).per_second(5).lasting(secs(6)).named("traffic");
    let counted = Hypothesis::new("both count")
        .check(http::get(&front).expect(status(200)))
        .check(counter("front", "middle").growth().expect(at_least(1.0)))
        .check(counter("middle", "back").growth().expect(at_least(1.0)));
    let journal = Experiment::new("who counts", counted)
        .hypothesis_strategy(HypothesisStrategy::AfterMethodOnly)
        .background(&traffic)
        .without_recovery()
        .run(&cluster)
        .await;
    policies.delete("cut", &DeleteParams::default()).await?;
    journal?.assert_verdict(Met);
    Ok(())
}

/// Seen with Prometheus 2.42: a query that selects nothing is no number, and so no verdict.
#[steadfast::test(setup = steadfast::shop)]
async fn nothing_is_no_number(cluster: Cluster) -> steadfast::Result {
    let prometheus = cluster.namespace("default").prometheus();
    let nothing = Hypothesis::new("nothing").check(prometheus.query("no_such_metric").expect(at_most(1.0)));
    assert_eq!(judged(&cluster, nothing).await?, Verdict::Inconclusive);
    Ok(())
}

/// Seen with Prometheus 2.42: of two shops in two namespaces each has counters of its own.
#[steadfast::test(setup = steadfast::shop)]
async fn two_shops_do_not_mix(cluster: Cluster) -> steadfast::Result {
    let (well, cut_off) = (cluster.namespace("default"), cluster.own_namespace("shop").await?);
    steadfast::cluster::shop_in(&cluster, cut_off.name()).await?;
    for namespace in [well.name(), cut_off.name()] {
        scraped(&cluster, namespace).await?;
    }
    let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client(), cut_off.name());
    let deny = json!({"metadata": {"name": "cut"}, "spec": {"podSelector": {"matchLabels": {"app": "back"}}, "policyTypes": ["Ingress"]}});
    policies.create(&PostParams::default(), &object(deny)).await?;
    let fronts = [well.port_of_service("front", 8000).await?, cut_off.port_of_service("front", 8000).await?];
    let [to_well, to_cut_off] = fronts.each_ref().map(|front| load::get(front.url("/")).per_second(5).lasting(secs(6)));
    let failed = |of: &steadfast::cluster::Namespace| {
        of.prometheus().counter("failed_call_total").label("job", "front").growth()
    };
    let only_one = Hypothesis::new("only one shop counts failures")
        .check(failed(&well).expect(at_most(0.0)))
        .check(failed(&cut_off).expect(at_least(1.0)));
    let journal = Experiment::new("two shops", only_one)
        .hypothesis_strategy(HypothesisStrategy::AfterMethodOnly)
        .background(&to_well.named("to the one that is well"))
        .background(&to_cut_off.named("to the one that is cut off"))
        .without_recovery()
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    Ok(cut_off.delete().await?)
}
