//! What a journal keeps of its run for reports.

use steadfast::journal::{Journal, MetricSeries};
use steadfast::prelude::*;

async fn cut_off(cluster: &Cluster, hypothesis: Hypothesis) -> steadfast::Result<Journal> {
    let shop = cluster.namespace("default");
    let traffic = load::get(shop.service("front").url("/")).per_second(10).lasting(secs(10)).named("traffic");
    let experiment = Experiment::new("back is cut off", hypothesis)
        .background(&traffic)
        .pause(secs(5))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(5))
        .act(shop.pods("app=front").logs().since(secs(10)));
    Ok(experiment.run(cluster).await?)
}

fn last(series: &MetricSeries) -> Option<f64> {
    series.samples.last().and_then(|(_, value)| *value)
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_run_is_kept_over_time(cluster: Cluster) -> steadfast::Result {
    cluster.clock().sleep(secs(20)).await;
    let prometheus = cluster.namespace("default").prometheus();
    let failed = prometheus.counter("failed_call_total").label("job", "front").label("to", "middle");
    let up = prometheus.gauge("up").label("job", "front");
    let answers = prometheus.query("count(up)");
    let hypothesis = Hypothesis::new("all is well")
        .check(failed.growth().expect(at_most(0.0)))
        .check(failed.rate().expect(at_most(0.5)))
        .check(up.value().expect(between(1.0, 2.0)))
        .check(answers.expect(at_least(3.0)));
    let journal = cut_off(&cluster, hypothesis).await?;
    let telemetry = &journal.telemetry;
    assert_eq!(telemetry.missing, [""; 0]);

    let [load] = telemetry.loads.as_slice() else { panic!("one load, and not {:?}", telemetry.loads) };
    assert_eq!(load.load, journal.steps[0].name);
    assert_eq!(load.rows.iter().flat_map(|row| &row.counts).sum::<u64>(), 100, "each request is counted");
    let slow = |row: usize| load.rows[row].latencies_ms.is_some_and(|[median, ..]| median > 900.0);
    assert!(!slow(0) && slow(9), "it is slow when back is cut off, and not before: {:?}", load.rows);

    let of = |query: &str| telemetry.series.iter().find(|series| series.query.starts_with(query)).expect("a series");
    let counter = of("failed_call_total");
    assert!(counter.counter && counter.bounds.is_empty() && counter.checks.len() == 2, "{counter:?}");
    assert_eq!(counter.interval, Some(2.0));
    let grown = journal.evaluations[1].checks[0].evidence["total"].as_f64().expect("a growth");
    assert!(last(counter) >= Some(grown), "the failures of the run are drawn: {counter:?}");
    let up = of("up");
    let bounds: Vec<_> = up.bounds.iter().map(|bound| (bound.value, bound.meaning.as_str())).collect();
    assert_eq!(bounds, [(1.0, "at least 1"), (2.0, "at most 2")]);
    assert!(!up.counter && up.samples.iter().all(|(_, value)| *value == Some(1.0)), "{up:?}");
    assert!(up.samples[0].0 < 0.0, "some time before the run is drawn: {up:?}");
    assert_eq!(last(of("count(up)")), Some(3.0));

    assert!(telemetry.logs[0].source.contains("container front"), "{:?}", telemetry.logs);
    assert!(telemetry.logs[0].lines.iter().all(|line| line.at.is_some() && line.text.ends_with("GET /")));
    let witness = telemetry.cluster_events.iter().any(|event| event.message.contains("container: witness"));
    assert!(witness, "{:?}", telemetry.cluster_events);
    Ok(())
}

/// When an alert fired is kept, and also that one did not.
#[steadfast::test(needs = "embedded")]
async fn alerts_are_kept_over_time(cluster: Cluster) -> steadfast::Result {
    let (lever, alert) = crate::alerts::lever(&cluster).await?;
    let other = alert.clone().label("severity", "ticket");
    let experiment = Experiment::new("pulled", Hypothesis::new("paged").check(alert.is_firing()))
        .act_with("pull", async move |_| {
            lever.store(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })
        .pause(secs(6))
        .safeguard(Safeguard::new(other.stays_silent()).unknown_for(secs(60)));
    let journal = experiment.run(&cluster).await?;
    let [silent, fired] = &journal.telemetry.series[..] else { panic!("{:?}", journal.telemetry) };
    assert_eq!(
        (fired.labels["alertname"].as_str(), fired.checks[0].as_str()),
        ("Pulled", "alert Pulled: that it fires")
    );
    assert!(fired.samples.len() > 1 && fired.samples.iter().all(|(at, value)| *at > 0.0 && *value == Some(1.0)));
    assert!(silent.samples.is_empty() && silent.checks[0].contains("ticket"), "{silent:?}");
    Ok(())
}

/// What cannot be drawn changes no verdict.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_cannot_be_had_is_named(cluster: Cluster) -> steadfast::Result {
    let no_prometheus = steadfast::prometheus::Prometheus::new("http://front.default");
    let front = cluster.namespace("default").service("front").url("/");
    let hypothesis = Hypothesis::new("front answers").check(http::get(&front).expect(status(200)));
    let with_series = hypothesis.clone().check(no_prometheus.gauge("x").value().expect(at_most(1.0)));
    let journal = cut_off(&cluster, with_series).await?;
    let [missing] = journal.telemetry.missing.as_slice() else { panic!("{:?}", journal.telemetry.missing) };
    assert!(missing.contains("value of x") && missing.contains("front.default"), "{missing}");
    assert_eq!(journal.verdict, Inconclusive, "nobody has series at the gate");
    let journal = cut_off(&cluster, hypothesis).await?;
    assert_eq!((journal.verdict, journal.telemetry.missing.len()), (Met, 0));
    Ok(())
}

/// A bound that is no number is no line, and no journal is made unreadable by it.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_bound_at_infinity_is_no_line(cluster: Cluster) -> steadfast::Result {
    cluster.clock().sleep(secs(20)).await;
    let up = || cluster.namespace("default").prometheus().gauge("up").label("job", "front");
    let hypothesis = Hypothesis::new("it is up")
        .check(up().stays(between(1.0, f64::INFINITY)))
        .check(up().value().expect(at_most(f64::INFINITY)));
    let journal = cut_off(&cluster, hypothesis).await?;
    let bounds: Vec<_> =
        journal.telemetry.series.iter().flat_map(|series| &series.bounds).map(|one| one.value).collect();
    assert_eq!(bounds, [1.0]);
    let path = journal.path().expect("it was stored");
    assert_eq!(Journal::read(path)?.verdict, journal.verdict);
    Ok(())
}
