//! The layer for tests that need loops: it judges as the engine does.

use steadfast::journal::{EventKind, FaultEnd, Reason};
use steadfast::prelude::*;

use crate::support::{front_answers, left_behind};

fn cut_back(cluster: &Cluster) -> impl Fault + use<> {
    cluster.namespace("default").pods("app=back").deny_ingress()
}

/// A hypothesis that front does not meet while back is cut off: it says that the value is an old one.
fn front_is_fresh(cluster: &Cluster) -> Hypothesis {
    let front = cluster.namespace("default").service("front").url("/");
    Hypothesis::new("front is fresh").check(http::get(front).expect(not(contains("error"))))
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn guards_undo_when_rolled_back_and_when_dropped(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("loops", &cluster).await?;
    run.require(&front_answers(&cluster)).await?;
    for app in ["back", "middle"] {
        let cut = run.inject(cluster.namespace("default").pods(&format!("app={app}")).deny_ingress()).await?;
        assert_eq!(left_behind(&cluster).len(), 4, "lease and switch of the place, a policy and its witness");
        assert_eq!(run.verify(&front_answers(&cluster)).await?, Met);
        if app == "back" {
            cut.rollback().await?;
        } else {
            drop(cut);
        }
        assert_eq!(left_behind(&cluster).len(), 2, "the place is held until the end");
    }
    run.finish().await?.assert_verdict(Met);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn the_end_of_a_run_undoes_what_is_on_before_it_gives_the_place_back(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("dropped first", &cluster).await?;
    let cut = run.inject(cut_back(&cluster)).await?;
    drop(run);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    drop(cut);
    let run = Run::start("finished first", &cluster).await?;
    let cut = run.inject(cut_back(&cluster)).await?;
    let journal = run.finish().await?;
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    assert!(journal.faults[0].is_undone() && journal.faults[0].end == FaultEnd::Rollback, "{}", journal.summary());
    let place = |kind| journal.events.iter().position(|event| event.kind == kind).expect("an event");
    assert!(place(EventKind::MethodEnded) < place(EventKind::UndoRequested), "{:#?}", journal.events);
    cut.rollback().await?;
    Ok(())
}

#[test]
fn a_guard_that_outlives_its_runtime_still_undoes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (cluster, run, cut) = runtime.block_on(async {
        let cluster = Cluster::embedded().unwrap();
        steadfast::shop(&cluster).await.unwrap();
        let run = Run::start("outlives", &cluster).await.unwrap();
        let cut = run.inject(cut_back(&cluster)).await.unwrap();
        (cluster, run, cut)
    });
    drop(runtime);
    assert_eq!(left_behind(&cluster).len(), 4);
    drop(cut);
    assert_eq!(left_behind(&cluster).len(), 2, "the place is held until the end");
    drop(run);
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_deviation_stays_one(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("deviates, then holds", &cluster).await?;
    let cut = run.inject(cut_back(&cluster)).await?;
    assert_eq!(run.verify(&front_is_fresh(&cluster)).await?, Deviated);
    assert_eq!(run.verify(&front_answers(&cluster)).await?, Met, "each judgement is told as it was");
    cut.rollback().await?;
    let journal = run.finish().await?;
    journal.assert_verdict(Deviated);
    assert_eq!(journal.hypothesis.as_deref(), Some("front is fresh"), "the verdict's own");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_has_gone_is_no_ground_for_verify(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("meddled", &cluster).await?;
    let cut = run.inject(cut_back(&cluster)).await?;
    assert_eq!(run.verify(&front_answers(&cluster)).await?, Met);
    let policies: kube::Api<k8s_openapi::api::networking::v1::NetworkPolicy> =
        kube::Api::namespaced(cluster.client(), "default");
    policies.delete_collection(&Default::default(), &Default::default()).await?;
    assert_eq!(run.verify(&front_answers(&cluster)).await?, Inconclusive);
    cut.rollback().await?;
    let journal = run.finish().await?;
    journal.assert_verdict(Inconclusive);
    assert!(matches!(journal.reason, Some(Reason::FaultEndedEarly { .. })), "{:?}", journal.reason);
    assert!(matches!(journal.faults[0].end, FaultEnd::Early { .. }), "{}", journal.summary());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn without_a_fault_that_is_on_the_recovery_is_judged(cluster: Cluster) -> steadfast::Result {
    let run = Run::start("too late", &cluster).await?;
    run.inject(cut_back(&cluster)).await?.rollback().await?;
    assert_eq!(run.verify(&front_is_fresh(&cluster)).await?, Met);
    let journal = run.finish().await?;
    journal.assert_verdict(NotJudged);
    assert_eq!(journal.recovered, Met);
    assert_eq!(journal.evaluations[0].phase, "after the rollback");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_fault_that_ended_by_plan_was_on_when_it_had_to_be(cluster: Cluster) -> steadfast::Result {
    let up = cluster.namespace("default").prometheus().gauge("up").label("job", "front");
    let up = Hypothesis::new("front is up").check(up.stays(at_least(1.0)));
    tokio::time::sleep(secs(10)).await;
    let run = Run::start("short", &cluster).await?;
    let cut = run.inject(cluster.namespace("default").pods("app=back").deny_ingress().lasting(secs(3))).await?;
    assert_eq!(run.verify(&front_answers(&cluster)).await?, Met);
    run.pause(secs(20)).await;
    assert_eq!(run.verify(&up).await?, Met);
    assert_eq!(run.verify(&front_answers(&cluster)).await?, Met, "it was judged under the fault");
    assert_eq!(run.verify(&front_is_fresh(&cluster)).await?, Inconclusive, "it looks when the fault is over");
    cut.rollback().await?;
    let journal = run.finish().await?;
    journal.assert_verdict(Inconclusive);
    assert_eq!(journal.faults[0].end, FaultEnd::Plan);
    Ok(())
}

/// No journal is lost to the next experiment of a test.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn each_run_of_a_test_has_a_journal_of_its_own(cluster: Cluster) -> steadfast::Result {
    let mut files = Vec::new();
    for _ in 0..2 {
        let journal = Experiment::new("again", front_answers(&cluster)).run(&cluster).await?;
        files.push(journal.path().expect("it is stored").to_owned());
    }
    let journal = Run::start("by hand", &cluster).await?.finish().await?;
    files.push(journal.path().expect("it is stored").to_owned());
    let names: Vec<_> = files.iter().map(|file| file.file_name().expect("a name").to_string_lossy()).collect();
    assert_eq!(names, ["journal.json", "journal-2.json", "journal-3.json"]);
    for (file, title) in files.iter().zip(["again", "again", "by hand"]) {
        assert_eq!(Journal::read(file)?.experiment, title);
    }
    Ok(())
}
