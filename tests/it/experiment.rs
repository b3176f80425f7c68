//! The engine's rules.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use steadfast::experiment::{Check, ExperimentError, Finding, HypothesisStrategy, RollbackStrategy, Scene};
use steadfast::journal::{Ended, FaultEnd, Reason, StepStatus};
use steadfast::prelude::*;
use steadfast::rollback::{ObjectRef, Undo};
use steadfast::tolerance::Judgement;

use crate::support::{front_answers, left_behind, objects, stored_journal};

fn cut_back(cluster: &Cluster) -> impl Fault + use<> {
    cluster.namespace("default").pods("app=back").deny_ingress()
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_holds_under_a_proved_fault_is_met(cluster: Cluster) -> steadfast::Result {
    let journal =
        Experiment::new("front answers", front_answers(&cluster)).inject(cut_back(&cluster)).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_eq!(journal.recovered, Met);
    assert!(journal.faults[0].proved);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_policy_that_is_not_enforced_is_no_proof(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.fabric().enforce_policies(false);
    let journal =
        Experiment::new("front answers", front_answers(&cluster)).inject(cut_back(&cluster)).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    let Some(Reason::FaultNotProved { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
    assert!(why.contains("the network plug-in may not enforce NetworkPolicies"), "{why}");
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn egress_is_proved_by_a_witness_with_the_targets_labels(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=middle").deny_egress();
    let journal = Experiment::new("front answers", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert!(journal.faults[0].proved, "{}", journal.summary());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn an_own_witness_or_trust_takes_the_place_of_the_pod(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let fresh = http::get(shop.service("front").url("/")).expect(not(contains("error")));
    let cut = shop.pods("app=back").deny_ingress().witness(fresh);
    let journal = Experiment::new("own witness", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_eq!(journal.faults[0].undo.len(), 1, "no witness pod was made");

    let cut = shop.pods("app=back").deny_ingress().trust_without_proof("seen last week");
    let journal = Experiment::new("trusted", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_eq!(journal.faults[0].trusted.as_deref(), Some("seen last week"));
    assert!(journal.stable().contains("trusted without proof"));
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_method_does_not_run_when_the_hypothesis_does_not_hold_before(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let teapot = Hypothesis::new("front is a teapot").check(http::get(front).expect(status(418)));
    let before = objects(&cluster);
    let journal = Experiment::new("teapot", teapot).inject(cut_back(&cluster)).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert_eq!(journal.ended, Ended::GateMissed);
    let Some(Reason::GateMissed { phrase, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
    assert_eq!(phrase, "was 200, expected status 418");
    assert_eq!(journal.steps[0].status, StepStatus::NotRun);
    assert_eq!(objects(&cluster), before, "nothing was touched");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_baseline_is_given_time(cluster: Cluster) -> steadfast::Result {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let front = cluster.namespace("default").service("front").url("/");
    let third = move |_: &steadfast::http::Answer| seen.fetch_add(1, Ordering::Relaxed) >= 2;
    let settles = Hypothesis::new("third time lucky").check(http::get(front).expect(third));
    let journal = Experiment::new("settles", settles).baseline_within(secs(30)).run(&cluster).await?;
    journal.assert_verdict(Met);
    assert_eq!(journal.evaluations[0].attempts, 3);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_somebody_else_ends_is_no_ground_for_a_verdict(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let journal = Experiment::new("meddled", front_answers(&cluster))
        .inject(cut_back(&cluster))
        .act_with("somebody deletes the policy", async move |_| {
            let policies: kube::Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
                kube::Api::namespaced(client.clone(), "default");
            for policy in policies.list(&Default::default()).await? {
                policies.delete(policy.metadata.name.as_deref().unwrap_or_default(), &Default::default()).await?;
            }
            Ok(())
        })
        .run(&cluster)
        .await?;
    journal.assert_verdict(Inconclusive);
    assert!(matches!(journal.reason, Some(Reason::FaultEndedEarly { .. })), "{:?}", journal.reason);
    assert!(matches!(journal.faults[0].end, FaultEnd::Early { .. }));
    Ok(())
}

/// A witness that sees the fault come and go, but fails when it looks for the third time.
struct FailsOnce(AtomicUsize);

impl Check for FailsOnce {
    fn describe(&self) -> String {
        "a witness".to_owned()
    }

    fn validate(&self) -> Result<(), steadfast::BoxError> {
        Ok(())
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, steadfast::BoxError>> {
        let look = self.0.fetch_add(1, Ordering::Relaxed);
        let met = look == 0 || look > 3;
        let judgement = Judgement::of(met, if met { "open" } else { "denied" }, "open", ("open", "denied"));
        let finding = Finding { judgement, evidence: serde_json::Value::Null };
        Box::pin(async move { if look == 2 { Err("nobody answers".into()) } else { Ok(finding) } })
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_nobody_could_confirm_is_no_ground_for_a_verdict(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress().witness(FailsOnce(AtomicUsize::new(0)));
    let journal = Experiment::new("unseen", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    assert!(journal.faults[0].proved, "it was seen to come: {}", journal.summary());
    let Some(Reason::FaultNotProved { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
    assert!(why.contains("not known to be still there: a witness failed: nobody answers"), "{why}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_lasting_fault_ends_by_plan(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress().lasting(secs(3));
    let journal =
        Experiment::new("short cut", front_answers(&cluster)).inject(cut).pause(secs(20)).run(&cluster).await?;
    let fault = &journal.faults[0];
    assert_eq!(fault.end, FaultEnd::Plan);
    assert!(fault.window.undone.expect("it was undone") < journal.evaluations[1].started, "{}", journal.summary());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_look_at_a_time_without_a_fault_is_no_evidence(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let served =
        || Hypothesis::new("front is served").check(http::get(shop.service("front").url("/")).expect(status(200)));
    let cut = || shop.pods("app=front").deny_ingress().lasting(secs(10));
    let after = Experiment::new("cut off for 10 s", served()).inject(cut()).pause(secs(20)).run(&cluster).await?;
    let noted = async |pause: u64| {
        let plan = Experiment::new("noted", served()).inject(cut()).pause(secs(pause)).plan(&cluster).await?;
        steadfast::Result::Ok(plan.to_string().contains("deny ingress to pods app=front in default is over by plan"))
    };
    assert_eq!((noted(9).await?, noted(10).await?), (false, true));
    let traffic = load::get(shop.service("middle").url("/")).per_second(10).lasting(secs(35)).named("traffic");
    let beside = Experiment::new("under load", served()).background(&traffic).pause(secs(5)).inject(cut());
    for journal in [after, beside.run(&cluster).await?] {
        journal.assert_verdict(Inconclusive);
        let Some(Reason::WindowTooShort { why, .. }) = &journal.reason else { panic!("{:?}", journal.reason) };
        assert!(why.contains("no fault was on when it looked, ") && why.contains("without `.lasting(..)`"), "{why}");
        assert!(journal.sentence().starts_with("After ingress to pods"), "{}", journal.sentence());
        assert!(journal.summary().contains("\n  After the fault (from "), "{}", journal.summary());
    }

    let kept = Hypothesis::new("kept").check(traffic.success_ratio().expect(at_least(1.0)));
    let journal = Experiment::new("all of the time", kept).background(&traffic).inject(cut()).run(&cluster).await?;
    journal.assert_verdict(Met);
    let journal = Experiment::new("still on", served()).inject(cut()).run(&cluster).await?;
    journal.assert_verdict(Deviated);
    assert!(journal.sentence().starts_with("While ingress to pods"), "{}", journal.sentence());
    let watched = Experiment::new("watched", front_answers(&cluster))
        .hypothesis_strategy(HypothesisStrategy::Continuously)
        .inject(shop.pods("app=back").deny_ingress().lasting(secs(3)))
        .pause(secs(20));
    watched.run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

/// A check that takes its time, as one that waits for a scrape.
struct Slow;

impl Check for Slow {
    fn describe(&self) -> String {
        "slow".to_owned()
    }

    fn check<'a>(&'a self, _: &'a Scene) -> BoxFuture<'a, Result<Finding, steadfast::BoxError>> {
        Box::pin(async {
            tokio::time::sleep(secs(15)).await;
            let judgement = Judgement::of(true, "there", "there", ("is", "is not"));
            Ok(Finding { judgement, evidence: Default::default() })
        })
    }
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_check_has_looked_under_the_fault_only_by_its_own_time(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    // It looks before the fault is on; the other one, which comes after it, until the fault is long over.
    let served = http::get(shop.service("front").url("/")).expect(status(200));
    let journal = Experiment::new("watched too late", Hypothesis::new("served").check(served).check(Slow))
        .hypothesis_strategy(HypothesisStrategy::Continuously)
        .inject(shop.pods("app=front").deny_ingress().lasting(secs(3)))
        .pause(secs(30))
        .run(&cluster)
        .await?;
    let fault = &journal.faults[0].window;
    let first = journal.evaluations.iter().find(|e| e.phase == "during the method").expect("watched");
    assert!(first.checks[0].to < fault.effective && first.checks[1].to > fault.undone, "{}", journal.summary());
    journal.assert_verdict(Inconclusive);
    assert!(journal.evaluations.iter().flat_map(|e| &e.checks).all(|check| check.outcome != "not-met"));
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_range_of_a_query_that_reaches_back_to_the_fault_sees_it(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    tokio::time::sleep(secs(60)).await;
    for (range, verdict) in [("60s", Met), ("5s", Inconclusive)] {
        let query = format!(r#"sum(sum_over_time(up{{job="front"}}[{range}]))"#);
        let counted = shop.prometheus().query(&query).expect(at_least(1.0));
        let journal = Experiment::new(range, Hypothesis::new("counted").check(counted))
            .inject(shop.pods("app=back").deny_ingress().lasting(secs(5)))
            .pause(secs(20))
            .run(&cluster)
            .await?;
        journal.assert_verdict(verdict);
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_panic_is_journalled_undone_and_goes_on(cluster: Cluster) -> steadfast::Result {
    let run = Experiment::new("panics", front_answers(&cluster))
        .inject(cut_back(&cluster))
        .act_with("trip", async |_| panic!("over a wire"))
        .pause(secs(1))
        .run(&cluster);
    let payload = AssertUnwindSafe(run).catch_unwind().await.expect_err("the panic goes on");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"over a wire"));
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    let journal = stored_journal(&cluster, "journal.json");
    assert_eq!(journal.ended, Ended::Panicked { message: "over a wire".into() });
    assert_eq!(journal.steps[1].status, StepStatus::Panicked { message: "over a wire".into() });
    assert_eq!(journal.steps[2].status, StepStatus::NotRun);
    assert_eq!(journal.verdict, Inconclusive);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_failed_step_ends_the_method_and_names_its_line(cluster: Cluster) -> steadfast::Result {
    let error = Experiment::new("fails", front_answers(&cluster))
        .inject(cut_back(&cluster))
        .act_with("warm the cache", async |_| Err("the cache is cold".into()))
        .run(&cluster)
        .await
        .expect_err("a step failed");
    let text = error.to_string();
    assert!(matches!(error, ExperimentError::Failed { .. }), "{text}");
    assert!(text.contains("warm the cache (tests/it/experiment.rs:") && text.contains("the cache is cold"), "{text}");
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_run_that_is_dropped_is_undone_and_journalled(cluster: Cluster) -> steadfast::Result {
    let run =
        Experiment::new("dropped", front_answers(&cluster)).inject(cut_back(&cluster)).pause(secs(3600)).run(&cluster);
    assert!(tokio::time::timeout(secs(60), run).await.is_err());
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    let journal = stored_journal(&cluster, "journal.json");
    assert_eq!(journal.ended, Ended::Cancelled);
    assert_eq!(journal.not_undone(), Vec::<String>::new());
    Ok(())
}

/// What is data is undone even so, and the journal says how; of a closure it says that it was not run.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_to_be_done_at_the_end_of_a_dropped_run_is_told(cluster: Cluster) -> steadfast::Result {
    let object = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        resource: "configmaps".into(),
        namespace: Some("default".into()),
        name: "absent".into(),
    };
    let undo = Undo::Delete { object, owner: "nobody".into(), uid: None, switch: None };
    let run = Experiment::new("dropped", front_answers(&cluster))
        .finally(undo)
        .finally_with("warm the cache", async |_| Ok(()))
        .rollback_with("not wanted", async |_| Ok(()))
        .rollback_strategy(RollbackStrategy::Default)
        .pause(secs(3600))
        .run(&cluster);
    assert!(tokio::time::timeout(secs(60), run).await.is_err());
    let journal = stored_journal(&cluster, "journal.json");
    assert_eq!(journal.ended, Ended::Cancelled);
    let told: Vec<_> = journal.finally.iter().map(|step| (step.run, step.error.as_deref())).collect();
    assert_eq!(told, [(true, None), (false, Some("not run: the run was dropped")), (false, None)]);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn strategies_say_when_the_hypothesis_is_judged(cluster: Cluster) -> steadfast::Result {
    use HypothesisStrategy::{AfterMethodOnly, BeforeMethodOnly, Continuously, Default, DuringMethodOnly, Skip};
    let (before, during, under) = ("before the method", "during the method", "under the fault");
    for (strategy, phases, verdict) in [
        (Default, vec![before, under, "after the rollback"], Met),
        (BeforeMethodOnly, vec![before], NotJudged),
        (AfterMethodOnly, vec![under, "after the rollback"], Met),
        (DuringMethodOnly, vec![during], Met),
        (Continuously, vec![before, during, under, "after the rollback"], Met),
        (Skip, vec![], NotJudged),
    ] {
        let journal = Experiment::new("strategy", front_answers(&cluster))
            .hypothesis_strategy(strategy)
            .inject(cut_back(&cluster))
            .pause(secs(5))
            .run(&cluster)
            .await?;
        let mut seen: Vec<&str> = journal.evaluations.iter().map(|e| e.phase.as_str()).collect();
        seen.dedup();
        assert_eq!(seen, phases, "{strategy:?}");
        assert_eq!(journal.verdict, verdict, "{strategy:?}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_is_seen_during_the_method_counts(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let fresh = Hypothesis::new("front is fresh").check(http::get(front).expect(not(contains("error"))));
    let cut = cluster.namespace("default").pods("app=back").deny_ingress().lasting(secs(5));
    let journal = Experiment::new("continuously", fresh)
        .hypothesis_strategy(HypothesisStrategy::Continuously)
        .inject(cut)
        .pause(secs(20))
        .run(&cluster)
        .await?;
    journal.assert_verdict(Deviated);
    assert_eq!(journal.evaluations.iter().find(|e| e.phase == "under the fault").expect("judged").verdict, Met);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn rollback_strategies_govern_rollbacks_and_neither_finally_nor_faults(cluster: Cluster) -> steadfast::Result {
    use RollbackStrategy::{Always, Default, Deviated as OnDeviation, Never};
    for (strategy, fails, runs) in [
        (Always, false, true),
        (Always, true, true),
        (Default, false, true),
        (Default, true, false),
        (Never, false, false),
        (OnDeviation, false, false),
    ] {
        let (count, always) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, anyway) = (count.clone(), always.clone());
        let experiment = Experiment::new("finally", front_answers(&cluster))
            .rollback_strategy(strategy)
            .inject(cut_back(&cluster))
            .act_with("maybe fail", async move |_| if fails { Err("it failed".into()) } else { Ok(()) })
            .finally_with("on every path", async move |_| {
                anyway.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .rollback_with("tidy up", async move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        assert_eq!(experiment.run(&cluster).await.is_err(), fails);
        assert_eq!(count.load(Ordering::Relaxed) == 1, runs, "{strategy:?}, fails: {fails}");
        assert_eq!(always.load(Ordering::Relaxed), 1, "{strategy:?}, fails: {fails}");
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_rollback_that_fails_wins_over_every_verdict(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let error = Experiment::new("held", front_answers(&cluster))
        .inject(cut_back(&cluster))
        .act_with("a finalizer holds the policy", async move |_| {
            let policies: kube::Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
                kube::Api::namespaced(client.clone(), "default");
            for policy in policies.list(&Default::default()).await? {
                let hold = serde_json::json!({"metadata": {"finalizers": ["example.com/hold"]}});
                let name = policy.metadata.name.unwrap_or_default();
                policies.patch(&name, &Default::default(), &kube::api::Patch::Merge(hold)).await?;
            }
            Ok(())
        })
        .run(&cluster)
        .await
        .expect_err("it could not be undone");
    let text = error.to_string();
    let ExperimentError::NotUndone { journal } = error else { panic!("{text}") };
    assert!(text.contains("example.com/hold"), "{text}");
    assert_eq!(journal.verdict, Met, "what was found is not changed by it");
    let failed = std::panic::catch_unwind(AssertUnwindSafe(|| journal.assert_verdict(Met)));
    let message = *failed.expect_err("it fails always").downcast::<String>().expect("a text");
    assert!(message.starts_with("rollback failed, a fault may be left"), "{message}");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn another_verdict_than_expected_fails_with_a_summary(cluster: Cluster) -> steadfast::Result {
    let journal =
        Experiment::new("front answers", front_answers(&cluster)).inject(cut_back(&cluster)).run(&cluster).await?;
    let failed = std::panic::catch_unwind(AssertUnwindSafe(|| journal.assert_verdict(Deviated)));
    let message = *failed.expect_err("it was met").downcast::<String>().expect("a text");
    for part in ["expected the verdict deviated", "front answers: met", "was on from", "STEADFAST_SEED=0"] {
        assert!(message.contains(part), "{part:?} in {message}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_plan_names_everything_and_touches_nothing(cluster: Cluster) -> steadfast::Result {
    let before = cluster.lab()?.store().version();
    let plan = Experiment::new("planned", front_answers(&cluster))
        .pause(secs(5))
        .inject(cut_back(&cluster))
        .finally_with("tidy up", async |_| Ok(()))
        .plan(&cluster)
        .await?
        .to_string();
    assert_eq!(cluster.lab()?.store().version(), before);
    for part in [
        "GET http://front.default/: status 200",
        "1. pause 5s",
        "2. inject deny ingress to pods app=back in default (tests/it/experiment.rs:",
        "target: pod default/back-",
        "create networkpolicies.networking.k8s.io in namespace default",
        "get pods/log in namespace default",
        "tidy up (not crash-safe",
        "undone by: the engine",
    ] {
        assert!(plan.contains(part), "{part:?} in {plan}");
    }
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_check_of_a_load_is_judged_once_it_has_run(cluster: Cluster) -> steadfast::Result {
    let front = cluster.namespace("default").service("front").url("/");
    let traffic = load::get(front).per_second(10).lasting(secs(5)).named("traffic");
    let fast = Hypothesis::new("fast").check(traffic.p95().expect(at_most(millis(300))));
    let experiment = |with_fault: bool| {
        let experiment = Experiment::new("fast enough", fast.clone()).background(&traffic);
        if with_fault { experiment.inject(cut_back(&cluster)) } else { experiment }
    };
    experiment(false).run(&cluster).await?.assert_verdict(Met);
    let journal = experiment(true).run(&cluster).await?;
    journal.assert_verdict(Deviated);
    assert_eq!(journal.evaluations[0].checks[0].outcome, "not-applicable");
    assert_eq!(traffic.recording().expect("it ran").hits.len(), 50);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_system_that_does_not_answer_is_an_observation(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=front").deny_ingress();
    let journal = Experiment::new("front cut off", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Deviated);
    let judged = journal.evaluations.iter().find(|e| e.phase == "under the fault").expect("it was judged");
    assert_eq!(judged.checks[0].phrase, "was no answer (no answer within 5s), expected status 200");
    Ok(())
}
