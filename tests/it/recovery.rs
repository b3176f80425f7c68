//! What is asked of the system after the rollback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use steadfast::experiment::{ExperimentError, HypothesisStrategy};
use steadfast::prelude::*;

use crate::support::{front_answers, left_behind, stored_journal};

/// An experiment whose hypothesis fails from the second judgement on, `failures` times in all.
fn failing(cluster: &Cluster, failures: usize) -> Experiment {
    let asked = Arc::new(AtomicUsize::new(0));
    let front = cluster.namespace("default").service("front").url("/");
    let held = move |_: &steadfast::http::Answer| {
        let look = asked.fetch_add(1, Ordering::Relaxed);
        look == 0 || look > failures
    };
    let hypothesis = Hypothesis::new("front is well").check(http::get(front).expect(held));
    Experiment::new("front comes back", hypothesis).inject(cluster.namespace("default").pods("app=back").deny_ingress())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn what_does_not_recover_fails_who_asks_for_it(cluster: Cluster) -> steadfast::Result {
    let journal = failing(&cluster, 9).run(&cluster).await?;
    journal.assert_verdict(Deviated);
    assert_eq!(journal.recovered, Deviated);
    let failed = std::panic::catch_unwind(|| journal.assert_recovered()).expect_err("it did not recover");
    let message = failed.downcast_ref::<String>().expect("a text");
    assert!(message.contains("expected recovery, which is deviated"), "{message}");

    let error = failing(&cluster, 9).must_recover().run(&cluster).await.expect_err("it did not recover");
    let ExperimentError::NotRecovered { journal } = &error else { panic!("{error}") };
    assert_eq!((journal.verdict, journal.recovered), (Deviated, Deviated));
    assert!(error.to_string().contains("the hypothesis is deviated after the rollback"), "{error}");
    assert_eq!(left_behind(&cluster), Vec::<String>::new());
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn recovery_is_given_the_time_that_it_needs(cluster: Cluster) -> steadfast::Result {
    let journal = failing(&cluster, 4).recovery_within(secs(30)).must_recover().run(&cluster).await?;
    journal.assert_verdict(Deviated);
    journal.assert_recovered();
    assert_eq!(journal.evaluations[2].attempts, 4, "{}", journal.summary());

    let late = failing(&cluster, 100).recovery_within(secs(5)).must_recover().run(&cluster).await;
    let Err(ExperimentError::NotRecovered { journal }) = late else { panic!("it holds only after 100 s") };
    assert_eq!(journal.evaluations[2].attempts, 6);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_recovery_that_nobody_would_judge_is_no_plan(cluster: Cluster) -> steadfast::Result {
    let front = || Experiment::new("front", front_answers(&cluster)).must_recover();
    let never = Experiment::without_hypothesis("nothing").must_recover();
    let before = front().hypothesis_strategy(HypothesisStrategy::BeforeMethodOnly);
    for experiment in [front().without_recovery(), never, before] {
        let error = experiment.plan(&cluster).await.expect_err("nothing is judged after the rollback").to_string();
        assert!(error.contains("recovery.rs:") && error.contains("leave out `.without_recovery()`"), "{error}");
    }
    Ok(())
}

/// A gate that is missed, and a safeguard that is broken before the method: nothing shows that the system recovers.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn a_method_that_is_not_begun_shows_no_recovery(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let never = || http::get(shop.service("front").url("/")).expect(status(404));
    let gate = Experiment::new("gate", Hypothesis::new("never").check(never()));
    let guarded = Experiment::new("guarded", front_answers(&cluster)).safeguard(never());
    for (experiment, kind) in [(gate, "gate missed"), (guarded, "safeguard broken")] {
        let experiment = experiment.inject(shop.pods("app=back").deny_ingress()).journal_path("stopped.json");
        let journal = experiment.clone().run(&cluster).await?;
        assert_eq!((journal.verdict, journal.recovered), (Inconclusive, NotJudged), "nobody asked for it");

        let error = experiment.must_recover().run(&cluster).await.expect_err("nothing was shown");
        let ExperimentError::NothingToRecover { journal } = &error else { panic!("{error}") };
        let reason = journal.reason.as_ref().expect("it has one");
        assert_eq!(reason.kind(), kind);
        let told = format!("the method was not begun: {reason}; a hypothesis that needs longer");
        assert!(error.to_string().contains(&told), "{error}");
        assert_eq!(stored_journal(&cluster, "stopped.json").recovered, NotJudged);
        assert_eq!(left_behind(&cluster), Vec::<String>::new());
    }
    Ok(())
}
