//! Safeguards, and the end of a method at its first deviation.

use std::time::Duration;

use futures_util::future::BoxFuture;
use steadfast::clock::Timestamp;
use steadfast::experiment::{Check, ExperimentError, Finding, Phase};
use steadfast::journal::{Ended, FaultEnd, Reason, StepStatus};
use steadfast::lab::AlertRule;
use steadfast::prelude::*;
use steadfast::prometheus::Prometheus;
use steadfast::tolerance::Judgement;

use crate::support::{front_answers, left_behind, stored_journal};

fn cut_back(cluster: &Cluster) -> impl Fault + use<> {
    cluster.namespace("default").pods("app=back").deny_ingress()
}

/// What a look of a [`Script`] comes to.
#[derive(Clone, Copy, Debug)]
enum Act {
    Holds,
    Breaks,
    Unknown,
    Fails,
    Hangs,
    NotHere,
}

/// A check that goes by the seconds since the method began; before that it holds.
struct Script(fn(f64) -> Act);

impl Check for Script {
    fn describe(&self) -> String {
        "a script".to_owned()
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, steadfast::BoxError>> {
        let method_started = match scene.phase {
            Phase::Safeguard { method_started } => method_started,
            Phase::Watch { method_started } => Some(method_started),
            _ => None,
        };
        let act = method_started.map_or(Act::Holds, |started| (self.0)(after(started, scene.clock.now())));
        let unknown = Reason::NoData { what: "a script".into(), why: "it is mute".into() };
        let of = move |met| Judgement::of(met, format!("{act:?}"), "that it holds", ("held", "broke"));
        Box::pin(async move {
            let judgement = match act {
                Act::Holds | Act::Breaks => of(matches!(act, Act::Holds)),
                Act::Unknown => Judgement::inconclusive(unknown, "that it holds"),
                Act::Fails => return Err("it tripped".into()),
                Act::Hangs => std::future::pending().await,
                Act::NotHere => Judgement::not_applicable("that it holds"),
            };
            Ok(Finding { judgement, evidence: serde_json::json!({"act": format!("{act:?}")}) })
        })
    }
}

/// What a script does, the kind of the reason, and a part of it.
type Case = (fn(f64) -> Act, &'static str, &'static str);

/// Seconds between two instants.
fn after(first: Timestamp, then: Timestamp) -> f64 {
    then.duration_since(first).as_secs_f64()
}

/// From the beginning of the method.
fn method_began(journal: &Journal) -> Timestamp {
    journal.steps[0].started.expect("it began")
}

fn undo_requested(journal: &Journal) -> Timestamp {
    journal.faults[0].window.undo_requested.expect("it was undone")
}

/// A fault for an hour beside one safeguard.
async fn an_hour(cluster: &Cluster, safeguard: Safeguard) -> Result<Journal, ExperimentError> {
    let experiment = Experiment::new("an hour", front_answers(cluster)).safeguard(safeguard);
    experiment.inject(cut_back(cluster)).pause(secs(3600)).run(cluster).await
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn an_alert_stops_the_experiment(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.alert(AlertRule::new("CallsFail", "rate(failed_call_total[10s]) > 0").label("severity", "page"))?;
    let shop = cluster.namespace("default");
    let traffic = load::get(shop.service("front").url("/")).per_second(10).lasting(secs(3600)).named("traffic");
    let page = shop.prometheus().alert("CallsFail").label("severity", "page");
    let journal = Experiment::new("back is cut off until somebody would be paged", front_answers(&cluster))
        .safeguard(Safeguard::new(page.stays_silent()).every(secs(1)))
        .background(&traffic)
        .inject(cut_back(&cluster))
        .pause(secs(3600))
        .act_with("never", async |_| panic!("it was stopped before"))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Inconclusive);
    let record = &journal.safeguards[0];
    let breach = record.broken.as_ref().expect("it was broken");
    // Of the alert itself, as the server has it.
    let fired: Timestamp = breach.look.evidence["since"].as_str().expect("it is known").parse().unwrap();
    let late = after(fired, undo_requested(&journal));
    assert!((0.0..=1.01).contains(&late), "one look after it: {late}\n{}", journal.summary());
    assert_eq!(breach.look.evidence["alerts"][0]["severity"], "page");
    let held = record.held_at.expect("it held before");
    assert!(held < fired && fired <= breach.since && breach.since <= breach.at, "{}", journal.summary());
    let Some(Reason::SafeguardBroken { check, since, phrase }) = &journal.reason else {
        panic!("{:?}", journal.reason)
    };
    let outcomes: Vec<_> = record.looked.iter().map(|look| look.outcome.as_str()).collect();
    let first_met = outcomes.iter().position(|outcome| *outcome == "met").expect("it held before");
    let last = outcomes.len() - 1;
    assert_eq!(u64::try_from(outcomes.len()).ok(), Some(record.looks), "few enough for each to be kept");
    assert!(outcomes[first_met..last].iter().all(|outcome| *outcome == "met"), "{outcomes:?}");
    let (before, end) = (&record.looked[last - 1], &record.looked[last]);
    assert_eq!((before.at, end.at, end.outcome.as_str()), (held, breach.since, "not-met"));
    assert_eq!(&end.phrase, phrase);
    assert_eq!((check, since), (&record.check, &breach.since.to_string()));
    assert!(phrase.contains("was firing since") && phrase.contains("severity=\"page\""), "{phrase}");
    let summary = journal.summary();
    let told = format!(
        "broken since {}: {phrase}; it stopped the run at {}.",
        journal.offset(breach.since),
        journal.offset(breach.at)
    );
    assert!(summary.contains(&told), "{told}\n{summary}");
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    let stored = Journal::read(journal.path().expect("it is stored"))?;
    assert_eq!(stored.safeguards, journal.safeguards);
    steadfast::assert_journal!(journal);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_not_safe_before_the_method_is_not_begun(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.alert(AlertRule::new("AllIsWell", "up >= 0"))?;
    cluster.lab()?.alert(AlertRule::new("Fires", "up >= 0"))?;
    tokio::time::sleep(secs(6)).await;
    let prometheus = cluster.namespace("default").prometheus();
    let nowhere = Prometheus::new("http://localhost:9090/nowhere");
    for (check, kind, part) in [
        (prometheus.alert("Fires").stays_silent(), "safeguard broken", "was firing: {"),
        (prometheus.alert("Fires").label("severity", "none").is_firing(), "safeguard broken", "was silent"),
        (nowhere.alert("Fires").stays_silent(), "safeguard unknown", "status 404"),
        (prometheus.alert("Fire").stays_silent(), "safeguard unknown", "near it are Fires"),
    ] {
        let journal = an_hour(&cluster, check.into()).await?;
        journal.assert_verdict(Inconclusive);
        assert!(journal.faults.is_empty() && journal.evaluations.is_empty(), "{}", journal.summary());
        assert_eq!(journal.steps[0].status, StepStatus::NotRun);
        assert!(matches!(&journal.ended, Ended::Stopped { by } if by.contains("the safeguard alert Fire")));
        let reason = journal.reason.as_ref().expect("a reason");
        assert!(reason.kind() == kind && reason.to_string().contains(part), "{reason}");
    }
    // One that fires while all is well has to go on doing so.
    let journal = Experiment::new("watched", front_answers(&cluster))
        .safeguard(prometheus.alert("AllIsWell").is_firing())
        .inject(cut_back(&cluster))
        .pause(secs(30))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Met);
    let record = &journal.safeguards[0];
    assert!(record.broken.is_none() && record.unknown == 0 && record.looks > 15, "{record:?}");
    assert!(journal.stable().contains("safeguard alert AllIsWell: that it fires: held\n"), "{}", journal.stable());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_safeguard_that_is_broken_or_not_known_stops_at_once(cluster: Cluster) -> steadfast::Result {
    let cases: [Case; 4] = [
        (|t| if t < 20.5 { Act::Holds } else { Act::Breaks }, "safeguard broken", "was Breaks, expected that it holds"),
        (|t| if t < 20.5 { Act::Holds } else { Act::Unknown }, "safeguard unknown", "it is mute"),
        (|t| if t < 20.5 { Act::Holds } else { Act::Fails }, "safeguard unknown", "it failed: it tripped"),
        (|t| if t < 20.5 { Act::Holds } else { Act::NotHere }, "safeguard unknown", "no check applies as a safeguard"),
    ];
    for (script, kind, part) in cases {
        let journal = an_hour(&cluster, Safeguard::new(Script(script)).every(secs(1))).await?;
        journal.assert_verdict(Inconclusive);
        let at = after(method_began(&journal), undo_requested(&journal));
        assert_eq!(format!("{at:.2}"), "21.00", "{}", journal.summary());
        let reason = journal.reason.as_ref().expect("a reason");
        assert!(reason.kind() == kind && reason.to_string().contains(part), "{reason}");
        let ended = Ended::Stopped { by: "the safeguard a script".into() };
        assert_eq!((&journal.ended, journal.recovered), (&ended, Met), "{}", journal.summary());
        assert_eq!(journal.steps[1].status, StepStatus::Stopped);
        assert_eq!(journal.faults[0].end, FaultEnd::Rollback);
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_not_known_may_be_borne_for_a_time(cluster: Cluster) -> steadfast::Result {
    // Unknown for 5 s, then well, then unknown for good.
    let script = Script(|t| if (10.0..15.0).contains(&t) || t >= 60.0 { Act::Unknown } else { Act::Holds });
    let journal = an_hour(&cluster, Safeguard::new(script).every(secs(1)).unknown_for(secs(8))).await?;
    let began = method_began(&journal);
    let breach = journal.safeguards[0].broken.as_ref().expect("it was too long");
    let [since, at] = [breach.since, breach.at].map(|at| format!("{:.1}", after(began, at)));
    assert_eq!((since.as_str(), at.as_str(), journal.safeguards[0].unknown), ("60.0", "68.0", 14));
    assert_eq!(after(began, undo_requested(&journal)), after(began, breach.at));
    // Looks that never end are not known either, from when they began.
    let script = Script(|t| if t >= 10.0 { Act::Hangs } else { Act::Holds });
    let journal = an_hour(&cluster, Safeguard::new(script).every(secs(1)).look_within(secs(3))).await?;
    let at = after(method_began(&journal), undo_requested(&journal));
    assert_eq!(format!("{at:.1}"), "13.0", "{}", journal.summary());
    assert!(journal.reason.as_ref().expect("a reason").to_string().contains("it took longer than 3s"));
    // For ever.
    let journal = an_hour(&cluster, Safeguard::new(Script(|_| Act::Unknown)).unknown_for(Duration::MAX)).await?;
    journal.assert_verdict(Met);
    assert!(journal.summary().contains("without evidence), held at"), "{}", journal.summary());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_is_being_made_is_undone_too(cluster: Cluster) -> steadfast::Result {
    // While it is looked for: the policy is there, the witness does not see it.
    cluster.lab()?.fabric().enforce_policies(false);
    let experiment = Experiment::new("half made", front_answers(&cluster));
    let experiment = experiment.safeguard(Safeguard::new(Script(|t| if t > 2.0 { Act::Breaks } else { Act::Holds })));
    let journal = experiment.inject(cut_back(&cluster)).pause(secs(60)).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert_eq!(journal.reason.as_ref().map(Reason::kind), Some("safeguard broken"));
    assert_eq!(
        journal.steps.iter().map(|s| s.status.clone()).collect::<Vec<_>>(),
        [StepStatus::Stopped, StepStatus::NotRun]
    );
    assert!(journal.faults[0].is_undone() && journal.faults[0].end == FaultEnd::Rollback, "{}", journal.summary());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_run_that_is_dropped_beside_a_safeguard_is_undone(cluster: Cluster) -> steadfast::Result {
    // In the middle of a look that never ends.
    let script = Script(|t| if t >= 10.0 { Act::Hangs } else { Act::Holds });
    let run = an_hour(&cluster, Safeguard::new(script).every(secs(1)));
    assert!(tokio::time::timeout(secs(30), run).await.is_err());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    let journal = stored_journal(&cluster, "journal.json");
    assert_eq!((&journal.ended, journal.not_undone()), (&Ended::Cancelled, Vec::new()));
    assert!(journal.safeguards[0].held_at.is_some() && journal.safeguards[0].broken.is_none());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_first_deviation_ends_the_method(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let fresh = Hypothesis::new("front is fresh").check(http::get(front).expect(not(contains("error"))));
    for strategy in [HypothesisStrategy::Continuously, HypothesisStrategy::DuringMethodOnly] {
        let cut = cluster.namespace("default").pods("app=back").deny_ingress();
        let journal = Experiment::new("fails fast", fresh.clone())
            .hypothesis_strategy(strategy)
            .fail_fast()
            .pause(secs(10))
            .inject(cut)
            .pause(secs(3600))
            .run(&cluster)
            .await?;
        journal.assert_verdict(Deviated);
        let looks: Vec<_> = journal.evaluations.iter().filter(|e| e.phase == "during the method").collect();
        let (last, before) = looks.split_last().expect("it was looked at");
        assert!(last.verdict == Deviated && before.iter().all(|look| look.verdict == Met), "{}", journal.summary());
        // The fault bites at once, its proof takes a second.
        assert_eq!(journal.faults[0].window.effective, Some(undo_requested(&journal)), "{}", journal.summary());
        assert!(!journal.evaluations.iter().any(|e| e.phase == "under the fault"));
        assert_eq!(journal.ended, Ended::Stopped { by: "the first deviation".into() });
        assert_eq!(journal.recovered, if strategy == HypothesisStrategy::Continuously { Met } else { NotJudged });
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    let script = Script(|t| if t >= 20.5 { Act::Breaks } else { Act::Holds });
    let journal = Experiment::new("fails fast", Hypothesis::new("x").check(script))
        .hypothesis_strategy(HypothesisStrategy::Continuously)
        .fail_fast()
        .inject(cut_back(&cluster))
        .pause(secs(3600))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Deviated);
    assert_eq!(
        format!("{:.1}", after(method_began(&journal), undo_requested(&journal))),
        "21.0",
        "{}",
        journal.summary()
    );
    let error = Experiment::new("x", fresh).fail_fast().plan(&cluster).await.expect_err("nothing is judged in it");
    let error = error.to_string();
    assert!(error.contains("tests/it/safeguard.rs:") && error.contains("Continuously"), "{error}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_deviation_that_was_seen_stays_one_when_a_safeguard_stops(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let fresh = Hypothesis::new("front is fresh").check(http::get(front).expect(not(contains("error"))));
    let script = Script(|t| if t >= 20.0 { Act::Breaks } else { Act::Holds });
    let journal = Experiment::new("both", fresh)
        .hypothesis_strategy(HypothesisStrategy::Continuously)
        .safeguard(script)
        .inject(cut_back(&cluster))
        .pause(secs(3600))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Deviated);
    assert!(journal.safeguards[0].broken.is_some() && journal.reason.is_none(), "{}", journal.summary());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_plan_shows_safeguards_and_finds_what_is_wrong_with_them(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.alert(AlertRule::new("Fires", "up > 0"))?;
    let alert = cluster.namespace("default").prometheus().alert("Fires");
    let experiment = Experiment::new("x", front_answers(&cluster));
    let watched = experiment.clone().safeguard(Safeguard::new(alert.stays_silent()).unknown_for(secs(30)));
    let plan = watched.plan(&cluster).await?.to_string();
    let told =
        "safeguard: alert Fires: silence\n       note: looked at every 2s; goes on for 30s when it cannot be judged\n";
    assert!(plan.contains(told), "{plan}");
    let error = experiment.safeguard(alert.label("a-b", "1").stays_silent()).plan(&cluster).await;
    let error = error.expect_err("it does not parse").to_string();
    assert!(error.contains("safeguard alert") && error.contains("tests/it/safeguard.rs:"), "{error}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_run_of_ones_own_is_stopped_too(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let run = Run::start("guarded", &cluster).await?;
    let outside = run.inject(shop.pods("app=middle").deny_ingress()).await?;
    let load = load::get(shop.service("front").url("/")).per_second(1).lasting(secs(3600));
    let script = || Script(|t| if t >= 30.0 { Act::Breaks } else { Act::Holds });
    let done = run.guarded(script(), async {
        run.pause(secs(1)).await;
        5
    });
    assert_eq!(done.await?, 5, "what holds is only looked at");
    let work = run.guarded(script(), async {
        let load = run.background(&load);
        let _inside = run.inject(cut_back(&cluster)).await?;
        run.pause(secs(3600)).await;
        load.await.unwrap().unwrap();
        steadfast::Result::Ok(())
    });
    let stopped = work.await.expect_err("it was broken");
    assert!(matches!(&stopped, ExperimentError::Stopped { by: Reason::SafeguardBroken { .. } }), "{stopped}");
    assert_eq!(left_behind(&cluster).len(), 2, "the place alone");
    assert!(matches!(run.inject(cut_back(&cluster)).await, Err(ExperimentError::Stopped { .. })));
    outside.rollback().await?;
    let journal = run.finish().await?;
    journal.assert_verdict(Inconclusive);
    assert_eq!(journal.ended, Ended::Stopped { by: "the safeguard a script".into() });
    let began = method_began(&journal);
    for fault in &journal.faults {
        assert!(
            fault.is_undone() && fault.sightings.last().is_some_and(|last| last.as_expected),
            "{}",
            journal.summary()
        );
        assert!(after(began, fault.window.undo_requested.expect("it was undone")) < 40.0);
    }
    let load = journal.steps.iter().find(|step| step.kind == "background").expect("it was started");
    assert_eq!(load.status, StepStatus::Stopped);
    Ok(())
}

/// What is injected beside the guarded work is no exception, whenever it began.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn nothing_that_is_being_injected_outlives_a_broken_safeguard(cluster: Cluster) -> steadfast::Result {
    for before in [0, 20, 100, 400, 1000] {
        let run = Run::start("beside", &cluster).await?;
        let script = Safeguard::new(Script(|t| if t >= 30.0 { Act::Breaks } else { Act::Holds })).every(millis(10));
        let guarded = run.guarded(script, run.pause(secs(3600)));
        let beside = async {
            cluster.clock().sleep(secs(30).saturating_sub(millis(before))).await;
            run.inject(cut_back(&cluster)).await
        };
        let (stopped, injected) = futures_util::future::join(guarded, beside).await;
        assert!(matches!(stopped, Err(ExperimentError::Stopped { .. })), "{before}");
        assert!(matches!(injected, Err(ExperimentError::Stopped { .. })), "{before}: {:?}", injected.err());
        let journal = run.finish().await?;
        assert!(journal.faults.iter().all(|fault| fault.end == FaultEnd::Rollback), "{}", journal.summary());
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    Ok(())
}

/// What harms goes before all else: neither what is to be done at the end nor a look at one fault holds up the next.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_broken_safeguard_undoes_all_faults_at_once(cluster: Cluster) -> steadfast::Result {
    let script = Script(|t| if t >= 60.0 { Act::Breaks } else { Act::Holds });
    let result = Experiment::new("stopped", front_answers(&cluster))
        .safeguard(script)
        .inject(cluster.namespace("default").deployment("middle").scale(0))
        .inject(cut_back(&cluster))
        .finally_with("takes its time", async |_| std::future::pending().await)
        .pause(secs(3600))
        .run(&cluster)
        .await;
    let Err(ExperimentError::NotUndone { journal }) = result else { panic!("its end went wrong: {result:?}") };
    let stopped = journal.safeguards[0].broken.as_ref().expect("it was broken").at;
    for fault in &journal.faults {
        assert!(fault.is_undone(), "{}", journal.summary());
        let undone = fault.window.undo_requested.expect("it was undone");
        assert!(after(stopped, undone) < 1.0, "{undone}, and it was to stop at {stopped}");
    }
    let error = journal.finally[0].error.as_deref().expect("it did not end");
    assert!(error.contains("took longer than 300s"), "{error}");
    Ok(())
}
