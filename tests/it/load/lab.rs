//! On the lab: virtual time is exact.

use std::time::Duration;

use serde_json::Value;
use steadfast::load::{Outcome, PhasePart, Recording, Schedule, Target};
use steadfast::prelude::*;

use crate::support::front_answers;

fn front(cluster: &Cluster) -> steadfast::transport::Address {
    cluster.namespace("default").service("front").url("/")
}

async fn recorded(cluster: &Cluster, traffic: &load::Load) -> std::sync::Arc<Recording> {
    let experiment = Experiment::without_hypothesis("load").background(traffic);
    let _ = experiment.run(cluster).await.expect("it runs");
    traffic.recording().expect("it ran")
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn ten_a_second_for_ten_seconds_are_a_hundred_at_their_instants(cluster: Cluster) -> steadfast::Result {
    let recording = recorded(&cluster, &load::get(front(&cluster)).per_second(10).lasting(secs(10))).await;
    assert_eq!((recording.hits.len(), recording.planned), (100, Some(100)));
    for (number, hit) in (0..100).zip(&recording.hits) {
        let at = millis(number * 100);
        assert_eq!((hit.number, hit.intended, hit.sent), (number, at, at));
        assert!(hit.first_byte > hit.sent && hit.done >= hit.first_byte && hit.outcome == Outcome::Status(200));
    }
    assert_eq!(recording.connections, 100, "each its own");
    assert_eq!(recording.invalid(), None);
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn a_schedule_is_followed_exactly(cluster: Cluster) -> steadfast::Result {
    let schedule = Schedule::ramp(0, 20, secs(5)).then(Schedule::steps(20, 40, 3, secs(6))).then(Schedule::sine(
        10,
        10,
        secs(4),
        secs(4),
    ));
    let recording = recorded(&cluster, &load::get(front(&cluster)).following(schedule.clone())).await;
    let intended: Vec<_> = recording.hits.iter().map(|hit| (hit.number, hit.intended)).collect();
    assert_eq!(intended, schedule.share(0, 1).collect::<Vec<_>>());
    assert_eq!(recording.hits.len(), 50 + 180 + 40);
    // tokio's clock has whole milliseconds: never before, and less than one after.
    assert!(recording.hits.iter().all(|hit| hit.sent >= hit.intended && hit.lateness() < millis(1)));
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn shares_together_are_the_whole(cluster: Cluster) -> steadfast::Result {
    let traffic = load::get(front(&cluster)).per_second(7).lasting(secs(10)).named("traffic");
    let whole = recorded(&cluster, &traffic).await;
    let mut merged: Option<Recording> = None;
    for k in 0..3 {
        let part = recorded(&cluster, &traffic.clone().share(k, 3)).await;
        assert!(part.hits.iter().all(|hit| hit.number % 3 == k));
        match &mut merged {
            None => merged = Some((*part).clone()),
            Some(merged) => merged.merge(&part).expect("parts of one"),
        }
    }
    let merged = merged.expect("three parts");
    let plan =
        |recording: &Recording| recording.hits.iter().map(|h| (h.number, h.intended, h.sent)).collect::<Vec<_>>();
    assert_eq!(plan(&merged), plan(&whole));
    assert_eq!((merged.planned, merged.rate.to_bits()), (whole.planned, whole.rate.to_bits()));
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn a_fault_divides_a_load_by_the_intended_instant(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let cut = shop.pods("app=front").deny_ingress().lasting(secs(4));
    let name = "deny ingress to pods app=front in default";
    let traffic = load::get(front(&cluster)).per_second(20).lasting(secs(12)).timeout(millis(500)).named("traffic");
    let served = Hypothesis::new("only the fault hurts")
        .check(traffic.before(name).success_ratio().expect(at_least(1.0)))
        .check(traffic.during(name).success_ratio().expect(at_most(0.1)))
        .check(traffic.after(name).success_ratio().expect(at_least(1.0)))
        .check(traffic.after(name).p99().expect(at_most(millis(300))))
        .check(traffic.rate_kept().expect(at_least(1.0)));
    let experiment = Experiment::new("phases", served).background(&traffic).pause(secs(3)).inject(cut).pause(secs(6));
    let journal = experiment.run(&cluster).await?;

    let recording = traffic.recording().expect("it ran");
    let window = &recording.faults[0];
    let (from, to) = (recording.offset(window.requested), recording.offset(window.undone.expect("it is gone")));
    assert!(from >= secs(3) && to >= from + secs(4) && to < secs(12), "{from:?} {to:?}");
    let counted = |from: Duration, to: Duration| {
        recording.hits.iter().filter(|hit| (from..to).contains(&hit.intended)).count() as u64
    };
    let phases = &recording.phases()[0];
    assert_eq!(phases.before.requests(), counted(Duration::ZERO, from));
    assert_eq!(phases.during.requests(), counted(from, to));
    assert_eq!(phases.after.requests(), counted(to, Duration::MAX));
    // Exactly: the cut drops what was intended while it was on, and nothing else.
    let lost = recording.hits.iter().filter(|hit| !hit.outcome.is_success());
    assert!(lost.clone().count() > 60 && lost.clone().all(|hit| (from..to).contains(&hit.intended)));

    let output: &Value = &journal.steps[0].output;
    let told: Vec<_> = output["phases"].as_array().expect("phases").iter().map(|phase| &phase["phase"]).collect();
    assert_eq!(told, ["before", "during", "after"]);
    assert_eq!(output["phases"][1]["fault"], name);
    assert_eq!(output["phases"][1]["outcomes"]["time-out"], lost.count());
    assert_eq!(recording.stats_in(name, PhasePart::During).map(|stats| stats.requests()), Some(counted(from, to)));
    journal.assert_verdict(Met);
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn a_phase_without_requests_or_an_unknown_fault_is_no_evidence(cluster: Cluster) -> steadfast::Result {
    let traffic = load::get(front(&cluster)).per_second(10).lasting(secs(1)).named("traffic");
    let asked = Hypothesis::new("x").check(traffic.during("rain").p95().expect(at_most(millis(1))));
    let journal = Experiment::new("x", asked).background(&traffic).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert!(journal.summary().contains("no fault"), "{}", journal.summary());
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn a_load_that_was_not_run_for_this_judgement_is_no_evidence(cluster: Cluster) -> steadfast::Result {
    let traffic = load::get(front(&cluster)).per_second(10).lasting(secs(1)).named("traffic");
    let fast = || {
        Hypothesis::new("fast")
            .check(http::get(front(&cluster)).expect(status(200)))
            .check(traffic.p95().expect(at_most(secs(9))))
            .check(traffic.rate_kept().expect(at_least(0.5)))
    };
    let forgotten = Experiment::new("x", fast()).pause(secs(1)).run(&cluster).await?;
    forgotten.assert_verdict(Inconclusive);
    assert!(forgotten.summary().contains("make it a step with `.background(..)`"), "{}", forgotten.summary());
    Experiment::new("x", fast()).background(&traffic).run(&cluster).await?.assert_verdict(Met);
    let earlier = Experiment::new("x", fast()).pause(secs(1)).run(&cluster).await?;
    earlier.assert_verdict(Inconclusive);
    assert!(earlier.summary().contains("it was run before this method"), "{}", earlier.summary());
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn a_cap_that_stops_requests_makes_a_load_invalid(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=front").deny_ingress();
    let traffic = load::get(front(&cluster)).per_second(100).lasting(secs(3)).timeout(secs(30)).named("traffic");
    let traffic = traffic.in_flight(10).waiting(20);
    let fast = Hypothesis::new("fast").check(traffic.p50().expect(at_most(millis(300))));
    let journal = Experiment::new("x", fast).inject(cut).background(&traffic).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    let recording = traffic.recording().expect("it ran");
    let sent = recording.hits.len() as u64;
    assert_eq!((sent, recording.not_sent), (30, 270), "those under way, those that waited, and the rest");
    assert!(journal.summary().contains("270 of 300 requests were not sent"), "{}", journal.summary());
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn several_loads_with_several_targets_run_beside_each_other(cluster: Cluster) -> steadfast::Result {
    let front = front(&cluster);
    let mixed = load::targets([
        Target::get(&front).weight(3),
        Target::get(front.with_path("/nowhere")),
        Target::get("http://middle.default/"),
    ]);
    let mixed = mixed.per_second(50).lasting(secs(2));
    let closed = load::get(&front).concurrency(4).lasting(secs(2)).named("closed");
    let experiment = Experiment::without_hypothesis("two").background(&mixed).background(&closed);
    let _ = experiment.run(&cluster).await?;
    let recording = mixed.recording().expect("it ran");
    let outcomes = recording.total().outcomes;
    assert_eq!(outcomes[&Outcome::Status(404)], 20, "{outcomes:?}");
    assert_eq!(recording.hits.len(), 100);
    let closed = closed.recording().expect("it ran");
    let total = closed.total();
    assert!(total.requests() > 8 && total.success_ratio() == 1.0 && closed.planned.is_none());
    // Each is sent when the one before has ended: never more than four at once.
    for hit in &closed.hits {
        let at_once = closed.hits.iter().filter(|other| other.sent <= hit.sent && other.done > hit.sent).count();
        assert!(at_once <= 4, "{at_once} at {:?}", hit.sent);
    }
    Ok(())
}

#[steadfast::test(needs = "embedded", setup = steadfast::shop)]
async fn mistakes_are_found_before_anything_is_run(cluster: Cluster) -> steadfast::Result {
    let front = front(&cluster);
    for (wrong, told) in [
        (load::get(&front).per_second(0), "give a positive number"),
        (load::get(&front).following(Schedule::ramp(0, -1, secs(1))), "give a positive number"),
        (load::get(&front).concurrency(0), "give one at least"),
        (load::get(&front).per_second(1).lasting(millis(0)), "it plans no request"),
        (load::get(&front).lasting(std::time::Duration::MAX), "it has no end"),
        (load::get(&front).concurrency(1).lasting(std::time::Duration::MAX), "it has no end"),
        (load::get(&front).connections(0), "allow one at least"),
        (load::get(&front).share(3, 3), "count from 0"),
        (load::get(&front).header("a b", "c"), "is no header"),
        (load::targets([]), "no target"),
        (load::get("htp:/x"), "malformed URL"),
    ] {
        let experiment = Experiment::new("x", front_answers(&cluster)).background(&wrong);
        let error = experiment.run(&cluster).await.expect_err(told).to_string();
        assert!(error.contains(told), "{error}");
    }
    Ok(())
}
