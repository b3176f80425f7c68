//! Every kind of check as a safeguard: that it lets a run pass, that it stops one, or that a plan refuses it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use steadfast::experiment::{Check, ExperimentError};
use steadfast::journal::Reason;
use steadfast::lab::AlertRule;
use steadfast::prelude::*;
use steadfast::process::{exited, run};
use steadfast::prometheus::ratio;

use crate::support::{front_answers, left_behind};

/// How long after its start the metered service turns bad.
const TURNS: Duration = secs(60);

/// Runs a service whose calls fail, become slow and queue up from some time after its start on; the start can be set.
async fn metered(cluster: &Cluster) -> steadfast::Result<Arc<Mutex<Duration>>> {
    let clock = cluster.clock().clone();
    let started = Arc::new(Mutex::new(clock.elapsed()));
    let shared = started.clone();
    let bad_for = move || (clock.elapsed() - *shared.lock().unwrap()).as_secs_f64() - TURNS.as_secs_f64();
    cluster.lab()?.image("metered:1", move |_| {
        let (metrics, health) = (bad_for.clone(), bad_for.clone());
        let status = move || if health() < 0.0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let metrics = get(async move || exposed(metrics()));
        axum::Router::new().route("/metrics", metrics).route("/health", get(async move || status()))
    });
    let labels = json!({"app": "metered"});
    let notes = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "8080"});
    let metadata = json!({"name": "metered", "namespace": "default", "labels": labels, "annotations": notes});
    let spec = json!({"containers": [{"name": "c", "image": "metered:1"}]});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await?;
    let metadata = json!({"name": "metered", "namespace": "default"});
    let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).await?;
    Ok(started)
}

/// Ten calls a second, all of them well until it turns bad, and none of them well from then on.
fn exposed(bad_for: f64) -> String {
    let calls = |seconds: f64| (10.0 * seconds.max(0.0)).floor();
    let (failed, all) = (calls(bad_for), calls(bad_for + TURNS.as_secs_f64()));
    let depth = if bad_for < 0.0 { 5 } else { 50 };
    let mut text = format!("# TYPE calls_total counter\ncalls_total {all}\n# TYPE failed_total counter\n");
    let _ = write!(text, "failed_total {failed}\n# TYPE depth gauge\ndepth {depth}\n# TYPE took_seconds histogram\n");
    for (bound, count) in [("0.1", all - failed), ("1", all), ("+Inf", all)] {
        let _ = writeln!(text, "took_seconds_bucket{{le=\"{bound}\"}} {count}");
    }
    text + &format!("took_seconds_count {all}\ntook_seconds_sum {all}\n")
}

fn of(check: impl Check) -> Safeguard {
    Safeguard::new(check).every(secs(1))
}

/// Each kind of check: one that holds all the time, and one that holds until the service turns bad.
fn pairs(cluster: &Cluster, file: &Path) -> Vec<[Safeguard; 2]> {
    let shop = cluster.namespace("default");
    let prometheus = shop.prometheus();
    let counter = |name: &str| prometheus.counter(name).label("job", "metered");
    let (failed, all) = (counter("failed_total"), counter("calls_total"));
    let depth = || prometheus.gauge("depth").label("job", "metered");
    let took = || prometheus.histogram("took_seconds").label("job", "metered").quantile(0.9);
    let answers = |path| http::get(shop.service("metered").url(path)).expect(status(200));
    let absent = run("test").args(["!", "-e"]).arg(file);
    vec![
        [1e6, 0.0].map(|most| of(failed.growth().expect(at_most(most)))),
        [1e6, 0.0].map(|most| of(failed.growth().each().expect(at_most(most)))),
        [1e6, 0.0].map(|most| of(failed.growth_over(secs(8)).expect(at_most(most)))),
        [1e6, 0.0].map(|most| of(failed.increase().expect(at_most(most)))),
        [1e6, 0.0].map(|most| of(failed.rate().expect(at_most(most)))),
        [1.0, 0.0].map(|most| of(ratio(&failed, &all).expect(at_most(most)))),
        [1.0, 0.1].map(|most| of(took().expect(at_most(most)))),
        [99.0, 9.0].map(|most| of(depth().value().expect(at_most(most)))),
        [99.0, 9.0].map(|most| of(depth().stays(at_most(most)))),
        [99.0, 9.0].map(|most| of(prometheus.query("depth").expect(at_most(most)))),
        ["VeryDeep", "Deep"].map(|name| of(prometheus.alert(name).stays_silent())),
        ["There", "Shallow"].map(|name| of(prometheus.alert(name).is_firing())),
        ["/metrics", "/health"].map(|path| of(answers(path))),
        [run("true"), absent].map(|process| of(process.expect(exited(0)))),
    ]
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn each_kind_of_check_lets_a_run_pass_or_stops_it(cluster: Cluster) -> steadfast::Result {
    for (name, rule) in
        [("VeryDeep", "depth > 99"), ("Deep", "depth > 9"), ("There", "depth > 0"), ("Shallow", "depth < 9")]
    {
        cluster.lab()?.alert(AlertRule::new(name, rule))?;
    }
    let (started, folder) = (metered(&cluster).await?, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("bad");
    for guards in pairs(&cluster, &file) {
        for (guard, breaks) in guards.into_iter().zip([false, true]) {
            *started.lock().unwrap() = cluster.clock().elapsed();
            cluster.clock().sleep(secs(20)).await;
            let bad = file.clone();
            let journal = Experiment::new("guarded", front_answers(&cluster))
                .safeguard(guard)
                .inject(cluster.namespace("default").pods("app=back").deny_ingress())
                .pause(secs(30))
                .act_with("turn bad", async move |_| Ok(std::fs::write(&bad, "")?))
                .pause(secs(40))
                .run(&cluster)
                .await?;
            std::fs::remove_file(&file).expect("it got that far");
            let (record, told) = (&journal.safeguards[0], journal.summary());
            assert_eq!((record.broken.is_some(), record.unknown), (breaks, 0), "{told}");
            assert!(record.held_at > journal.steps[0].started, "it held once the method had begun: {told}");
            let kind = journal.reason.as_ref().map(Reason::kind);
            assert_eq!(
                (journal.verdict, kind),
                if breaks { (Inconclusive, Some("safeguard broken")) } else { (Met, None) }
            );
            assert_eq!(left_behind(&cluster), Vec::<String>::new());
        }
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_only_known_later_is_refused(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let prometheus = shop.prometheus();
    let load = load::get(shop.service("front").url("/")).lasting(secs(10));
    let counter = prometheus.counter("failed_call_total").label("job", "front");
    let gauge = prometheus.gauge("up").label("job", "front");
    for (guard, remedy) in [
        (of(load.p99().expect(at_most(secs(1)))), "a load has its figures when it has ended"),
        (of(load.success_ratio().expect(at_least(0.9))), "`counter(..).growth_over(..)`"),
        (of(load.rate_kept().expect(at_least(0.9))), "`alert(..).stays_silent()`"),
        (of(load.during("x").p50().expect(at_most(secs(1)))), "a load has its figures when it has ended"),
        (of(counter.recovers_within(secs(20))), "it is judged when the faults are over"),
        (of(gauge.recovers_within(secs(20), at_least(1.0))), "`.value()`"),
    ] {
        let experiment = Experiment::new("x", front_answers(&cluster)).background(&load);
        let error = experiment.safeguard(guard.clone()).plan(&cluster).await.expect_err("it can never be judged");
        let told = error.to_string();
        assert!(told.contains("it can be no safeguard: ") && told.contains(remedy), "{told}");
        assert!(told.contains("tests/it/guards.rs:"), "{told}");

        let own = Run::start("guarded", &cluster).await?;
        let refused = own.guarded(guard, async {}).await;
        assert!(matches!(refused, Err(ExperimentError::Invalid { .. })), "{refused:?}");
        drop(own.finish().await?);
    }
    Ok(())
}
