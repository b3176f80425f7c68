//! Counters that stop to grow once the faults are over.

use steadfast::prelude::*;

/// What a check makes of front's calls, 50 s of load with back cut off in the 10 s at the start.
async fn judged(cluster: &Cluster, check: impl steadfast::experiment::Check) -> steadfast::Result<Journal> {
    let shop = cluster.namespace("default");
    let traffic = load::get(shop.service("front").url("/")).per_second(10).lasting(secs(50));
    let experiment = Experiment::new("x", Hypothesis::new("x").check(check)).background(&traffic);
    Ok(experiment.inject(shop.pods("app=back").deny_ingress().lasting(secs(10))).run(cluster).await?)
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_counter_that_stops_in_time_has_recovered(cluster: Cluster) -> steadfast::Result {
    let prometheus = cluster.namespace("default").prometheus();
    let failed = prometheus.counter("failed_call_total").label("job", "front");
    let all = prometheus.counter("http_requests_total").label("job", "front");
    let never = failed.clone().label("to", "nowhere");
    for (check, verdict, told) in [
        (failed.recovers_within(secs(20)), Met, "still "),
        (never.recovers_within(secs(20)), Met, "no such series"),
        (all.recovers_within(secs(20)), Deviated, "a growth of "),
    ] {
        let journal = judged(&cluster, check).await?;
        journal.assert_verdict(verdict);
        let check = &journal.evaluations.iter().find(|e| e.phase == "under the fault").expect("judged").checks[0];
        assert!(
            check.phrase.contains(told) && check.phrase.contains("no growth within 20s after the fault"),
            "{check:?}"
        );
        if told == "still " {
            let still = check.evidence["still after seconds"].as_f64().expect("it is told");
            assert!((0.0..=4.0).contains(&still), "its first scrape or its second: {still}");
        }
        assert_eq!(journal.evaluations[0].checks[0].outcome, "not-applicable", "before the method");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_time_that_holds_no_two_scrapes_is_refused(cluster: Cluster) -> steadfast::Result {
    let failed = cluster.namespace("default").prometheus().counter("failed_call_total").label("job", "front");
    tokio::time::sleep(secs(10)).await;
    let plan = Experiment::new("x", Hypothesis::new("x").check(failed.recovers_within(secs(3)))).plan(&cluster).await;
    let error = plan.expect_err("it can never be judged").to_string();
    assert!(error.contains("over 3s never has two samples") && error.contains("use at least 4 s"), "{error}");
    Ok(())
}
