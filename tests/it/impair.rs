//! Faults of the network that the lab alone has: exact in virtual time.

use std::time::Duration;

use serde_json::{Value, json};
use steadfast::journal::Reason;
use steadfast::prelude::*;
use steadfast::transport::SharedTransport;
use tokio::time::Instant;

use crate::support::{front_answers, left_behind, objects};

/// How long it takes to connect to a service of the shop.
async fn connecting(cluster: &Cluster, service: &str) -> Duration {
    use steadfast::experiment::Environment;
    time(&cluster.transport(), cluster, service).await
}

async fn time(transport: &SharedTransport, cluster: &Cluster, service: &str) -> Duration {
    let address = cluster.namespace("default").service(service).url("/");
    let began = Instant::now();
    drop(transport.connect(&address).await.expect("it opens"));
    began.elapsed()
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn latency_lands_is_exact_and_is_undone(cluster: Cluster) -> steadfast::Result {
    let before = objects(&cluster);
    assert_eq!(connecting(&cluster, "back").await, millis(1));
    let of = cluster.clone();
    let journal = Experiment::new("slow back", front_answers(&cluster))
        .inject(cluster.namespace("default").pods("app=back").latency(millis(100)))
        .act_with("measure", async move |scene| {
            assert_eq!(time(&scene.transport, &of, "back").await, millis(101), "the answer takes so much longer");
            assert_eq!(time(&scene.transport, &of, "front").await, millis(1), "others are as before");
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved, "{}", journal.summary());
    let seen: Vec<_> = journal.faults[0].sightings.iter().map(|sighting| sighting.seen["in_time"].clone()).collect();
    assert_eq!(json!(seen), json!([true, false, false, false, true]), "before, landed, twice at the judgement, after");
    assert_eq!(connecting(&cluster, "back").await, millis(1));
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    assert_eq!(objects(&cluster), before, "the store is what it was");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn loss_lands_and_is_undone(cluster: Cluster) -> steadfast::Result {
    for percent in [10, 100] {
        let lossy = cluster.namespace("default").pods("app in (back)").loss(percent).lasting(secs(5));
        let journal = Experiment::new("lossy back", front_answers(&cluster)).inject(lossy).run(&cluster).await?;
        assert!(journal.faults[0].proved, "{percent} %: {}", journal.summary());
        assert!(journal.faults[0].undo.iter().all(|undo| undo.outcome.is_clean()), "{}", journal.summary());
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    Ok(())
}

/// An object of the kind.
fn chaos(spec: Value) -> Value {
    let metadata = json!({"name": "slow", "namespace": "default"});
    json!({"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos", "metadata": metadata, "spec": spec})
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn an_object_is_on_while_it_is_there_whoever_made_it(cluster: Cluster) -> steadfast::Result {
    let selector = json!({"namespaces": ["default"], "labelSelectors": {"app": "back"}});
    let delay = |latency: &str, direction: &str| {
        let delay = json!({"latency": latency});
        chaos(json!({"action": "delay", "mode": "all", "direction": direction, "selector": selector, "delay": delay}))
    };
    for (object, took) in [(delay("40ms", "to"), 41), (delay("1s", "from"), 1_001), (delay("20ms", "both"), 41)] {
        cluster.apply(&object).await?;
        tokio::time::sleep(millis(1)).await;
        assert_eq!(connecting(&cluster, "back").await, millis(took), "{object}");
    }
    let kind = cluster.lab()?.store().kind("chaos-mesh.org", "v1alpha1", "networkchaos").expect("it is served");
    let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(
        cluster.client(),
        "default",
        &kube::core::ApiResource::from_gvk_with_plural(
            &kube::core::GroupVersionKind::gvk(kind.group, kind.version, kind.kind),
            kind.plural,
        ),
    );
    api.delete("slow", &Default::default()).await?;
    tokio::time::sleep(millis(1)).await;
    assert_eq!(connecting(&cluster, "back").await, millis(1));

    for (spec, names) in [
        (json!({"action": "corrupt", "mode": "all", "selector": {}}), "spec.action"),
        (json!({"action": "loss", "mode": "one", "selector": {}}), "spec.mode"),
        (json!({"action": "loss", "mode": "all", "selector": {}, "loss": {"loss": "101"}}), "spec.loss.loss"),
        (json!({"action": "delay", "mode": "all", "selector": {}, "delay": {"latency": "-1ms"}}), "spec.delay.latency"),
    ] {
        let error = cluster.apply(&chaos(spec)).await.expect_err("it is refused");
        let error = format!("{error} {:?}", error);
        assert!(error.contains(names), "{names}: {error}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_cannot_be_seen_or_is_no_impairment_is_said(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    for fault in
        [shop.pods("app=back").loss(0), shop.pods("app=back").loss(101), shop.pods("app=back").latency(secs(0))]
    {
        let error = fault.resolve().await.expect_err("it is refused").to_string();
        assert!(error.contains("at least 5 ms"), "{error}");
    }
    let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::namespaced(cluster.client(), "default");
    services.delete("back", &Default::default()).await?;
    let unseen = shop.pods("app=back").latency(millis(50));
    let journal = Experiment::new("unseen", front_answers(&cluster)).inject(unseen).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    let Some(Reason::FaultNotProved { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
    assert!(why.contains("no service leads to the pods"), "{why}");
    Ok(())
}
