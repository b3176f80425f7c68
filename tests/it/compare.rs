//! Two runs compared, on the lab.

use std::sync::Mutex;

use serde_json::json;
use steadfast::prelude::*;
use steadfast::report::compare::{Decision, Figure, Limits, Meaning};

/// lab4 on a lab of its own, whose back answers so many milliseconds later.
fn lab4(later: u64) -> Journal {
    let seen = Mutex::new(None);
    steadfast::block_on(async |cluster| {
        steadfast::shop(&cluster).await?;
        if later > 0 {
            cluster
                .apply(&json!({
                    "apiVersion": "chaos-mesh.org/v1alpha1", "kind": "NetworkChaos",
                    "metadata": {"name": "slow", "namespace": "default"},
                    "spec": {
                        "action": "delay", "mode": "all", "direction": "to", "delay": {"latency": format!("{later}ms")},
                        "selector": {"namespaces": ["default"], "labelSelectors": {"app": "back"}},
                    },
                }))
                .await?;
        }
        let shop = cluster.namespace("default");
        let front = shop.service("front").url("/");
        let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
        let traffic = load::get(&front).per_second(100).lasting(secs(10)).named("traffic");
        let served = Hypothesis::new("customers are served")
            .check(http::get(&front).expect(status(200)))
            .check(failed_calls.growth().expect(at_most(0.0)));
        let journal = Experiment::new("front keeps working when back is cut off", served)
            .background(&traffic)
            .pause(secs(5))
            .inject(shop.pods("app=back").deny_ingress())
            .pause(secs(5))
            .run(&cluster)
            .await?;
        *seen.lock().unwrap() = Some(journal);
        Ok(())
    });
    seen.into_inner().unwrap().expect("it ran")
}

#[test]
fn runs_of_one_seed_do_not_differ_and_a_slower_service_is_a_regression() {
    let [first, again, slower] = [0, 0, 20].map(lab4);
    let same = again.compared_with(&first).unwrap();
    let told = same.to_text(Some(&Limits::default()));
    assert_eq!(same.differences, [""; 0], "{told}");
    assert!(same.rows.iter().all(|row| row.change.unwrap_or(0.0) == 0.0), "{told}");
    let changed = |meaning: &Meaning| matches!(meaning, Meaning::Worse | Meaning::Better | Meaning::Changed);
    assert!(!same.rows.iter().any(|row| changed(&row.meaning)), "{told}");
    assert_eq!(same.decision(&Limits::default()), Decision::NoRegression, "{told}");

    let limits: Limits = "10%".parse().unwrap();
    let worse = slower.compared_with(&first).unwrap();
    let told = worse.to_text(Some(&limits));
    assert_eq!(worse.decision(&limits), Decision::Regression, "{told}");
    let regressions = worse.regressions(&limits);
    for figure in [Figure::P50, Figure::P95] {
        let before = |row: &&&steadfast::report::compare::Row| {
            row.figure == figure && row.subject == "traffic before deny ingress to pods app=back in default"
        };
        assert!(regressions.iter().find(before).is_some_and(|row| row.change.is_some_and(|by| by > 1.0)), "{told}");
    }
    // It was cut off in both: what customers felt then is the same.
    let during = worse.rows.iter().find(|row| row.figure == Figure::P95 && row.subject.contains("during"));
    assert!(during.is_some_and(|row| matches!(row.meaning, Meaning::Same | Meaning::WithinNoise)), "{told}");
    let better = first.compared_with(&slower).unwrap();
    assert_eq!(better.decision(&limits), Decision::NoRegression, "{}", better.to_text(Some(&limits)));
}
