//! Alerts as checks, on the lab's Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use serde_json::json;
use steadfast::experiment::HypothesisStrategy;
use steadfast::journal::{Ended, Reason};
use steadfast::lab::AlertRule;
use steadfast::prelude::*;
use steadfast::prometheus::{Alert, Prometheus};

/// A gauge `lever` that follows a number, scraped with the rules' evaluations, and the alert `Pulled` on it.
pub async fn lever(cluster: &Cluster) -> steadfast::Result<(Arc<AtomicU64>, Alert)> {
    let pulled = Arc::new(AtomicU64::new(0));
    let lab = cluster.lab()?;
    let shown = pulled.clone();
    lab.image("lever:1", move |_| {
        let shown = shown.clone();
        let page =
            async move || format!("lever {}\npair{{n=\"1\"}} 1\npair{{n=\"2\"}} 1\n", shown.load(Ordering::Relaxed));
        Router::new().route("/metrics", get(page))
    });
    let metadata = json!({"name": "lever", "namespace": "default", "labels": {"app": "lever"},
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}});
    let spec = json!({"containers": [{"name": "c", "image": "lever:1"}]});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await?;
    lab.alert(AlertRule::new("Pulled", "lever > 0").label("severity", "page"))?;
    tokio::time::sleep(secs(10)).await;
    Ok((pulled, cluster.namespace("default").prometheus().alert("Pulled")))
}

/// Pulls the lever for so long, then waits.
fn pulls(experiment: Experiment, lever: &Arc<AtomicU64>, seconds: u64) -> Experiment {
    let (on, off) = (lever.clone(), lever.clone());
    let pull = move |lever: &AtomicU64, to| lever.store(to, Ordering::Relaxed);
    experiment
        .act_with("pull", async move |_| {
            pull(&on, 1);
            Ok(())
        })
        .pause(secs(seconds))
        .act_with("let go", async move |_| {
            pull(&off, 0);
            Ok(())
        })
        .pause(secs(10))
}

#[steadfast::test(needs = "embedded")]
async fn an_alert_that_came_and_went_has_fired(cluster: Cluster) -> steadfast::Result {
    let (lever, alert) = lever(&cluster).await?;
    for (check, pulled, verdict) in [
        (alert.stays_silent(), 6, Deviated),
        (alert.clone().label("severity", "page").stays_silent(), 6, Deviated),
        (alert.clone().matching("severity", "pa.*").is_firing(), 6, Met),
        (alert.clone().matching("severity", "p").is_firing(), 6, Deviated),
        // Prometheus takes a lone brace for itself.
        (alert.clone().matching("severity", "page|{none}").stays_silent(), 6, Deviated),
        (alert.clone().label("app", "none").stays_silent(), 6, Met),
        (alert.stays_silent(), 0, Met),
        (alert.is_firing(), 0, Deviated),
    ] {
        let experiment = pulls(Experiment::new("x", Hypothesis::new("x").check(check)), &lever, pulled);
        let journal = experiment.run(&cluster).await?;
        journal.assert_verdict(verdict);
        let check = &journal.evaluations[1].checks[0];
        let fired = check.evidence["fired"] == true;
        assert_eq!(check.relation, if fired { "fired" } else { "silent" });
        if fired {
            let labels = &check.evidence["alerts"][0];
            assert_eq!((&labels["severity"], &labels["namespace"]), (&json!("page"), &json!("default")));
            let since: steadfast::clock::Timestamp = check.evidence["since"].as_str().unwrap().parse().unwrap();
            let pulled = journal.steps[0].started.unwrap();
            let took = since.duration_since(pulled).as_secs_f64();
            assert!(took > 0.0 && took <= 4.1, "a scrape and an evaluation: {took}");
        }
        assert_eq!(journal.recovered, if check.check.contains("fires") { NotJudged } else { Met });
        tokio::time::sleep(secs(10)).await;
    }
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn its_rule_is_evaluated_after_the_method(cluster: Cluster) -> steadfast::Result {
    let (_, alert) = lever(&cluster).await?;
    let journal =
        Experiment::new("x", Hypothesis::new("x").check(alert.stays_silent())).pause(millis(10)).run(&cluster).await?;
    journal.assert_verdict(Met);
    let under = &journal.evaluations[1];
    let evaluated: steadfast::clock::Timestamp =
        under.checks[0].evidence["evaluated"].as_str().unwrap().parse().unwrap();
    assert!(evaluated > under.started, "{evaluated} {}", under.started);
    assert!(under.ended.duration_since(under.started).as_secs_f64() <= 2.6);
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn one_that_fires_before_the_method_misses_the_gate(cluster: Cluster) -> steadfast::Result {
    let (lever, alert) = lever(&cluster).await?;
    lever.store(1, Ordering::Relaxed);
    tokio::time::sleep(secs(6)).await;
    let journal = Experiment::new("x", Hypothesis::new("x").check(alert.stays_silent())).run(&cluster).await?;
    assert_eq!(journal.ended, Ended::GateMissed);
    let phrase = &journal.evaluations[0].checks[0].phrase;
    assert!(phrase.starts_with("was firing: {") && phrase.ends_with("expected silence"), "{phrase}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn an_alert_that_nobody_can_raise_is_no_silence(cluster: Cluster) -> steadfast::Result {
    let (_, alert) = lever(&cluster).await?;
    cluster.lab()?.alert(AlertRule::new("Broken", "pair * on() pair"))?;
    tokio::time::sleep(secs(4)).await;
    let prometheus = cluster.namespace("default").prometheus();
    for (check, kind, part) in [
        (
            prometheus.alert("Puled").stays_silent(),
            "no data",
            "there is no alerting rule \"Puled\"; near it are Pulled, Broken",
        ),
        (alert.clone().label("severity", "ticket").stays_silent(), "no data", "other labels: {severity=\"page\"}"),
        (prometheus.alert("Broken").stays_silent(), "unavailable", "its rule fails: found duplicate series"),
        (Prometheus::new("http://localhost:9090/nowhere").alert("Pulled").stays_silent(), "unavailable", "status 404"),
    ] {
        let experiment = Experiment::new("x", Hypothesis::new("x").check(check))
            .hypothesis_strategy(HypothesisStrategy::AfterMethodOnly);
        let journal = experiment.without_recovery().run(&cluster).await?;
        journal.assert_verdict(Inconclusive);
        let reason: &Reason = journal.reason.as_ref().expect("a reason");
        assert_eq!(reason.kind(), kind);
        assert!(reason.to_string().contains(part), "{reason}");
    }
    let error = Experiment::new("x", Hypothesis::new("x").check(alert.clone().label("a-b", "1").stays_silent()));
    let error = error.plan(&cluster).await.expect_err("it does not parse").to_string();
    assert!(error.contains("a-b") && error.contains("tests/it/alerts.rs:"), "{error}");
    let error = Experiment::new("x", Hypothesis::new("x").check(alert.clone().matching("a", "(").stays_silent()));
    let error = error.plan(&cluster).await.expect_err("it is no pattern").to_string();
    assert!(error.contains("\"(\""), "{error}");
    Ok(())
}

#[steadfast::test(needs = "embedded")]
async fn continuously_it_is_seen_whenever_it_fires(cluster: Cluster) -> steadfast::Result {
    let (lever, alert) = lever(&cluster).await?;
    let hypothesis = Hypothesis::new("x").check(alert.stays_silent());
    // The looks are far apart: it comes and goes between two of them.
    let experiment = Experiment::new("x", hypothesis)
        .hypothesis_strategy(HypothesisStrategy::DuringMethodOnly)
        .watch_every(secs(15));
    pulls(experiment, &lever, 4).pause(secs(2)).run(&cluster).await?.assert_verdict(Deviated);
    Ok(())
}
