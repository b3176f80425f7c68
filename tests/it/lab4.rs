//! lab4 of the Chaos Toolkit demos: cut off all ingress to back under light load.

use steadfast::prelude::*;

#[steadfast::test(setup = steadfast::shop)]
async fn front_degrades_when_back_is_cut_off(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let front = shop.service("front").url("/");
    let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
    let traffic = load::get(&front).per_second(10).lasting(secs(10)).named("traffic");

    let served = Hypothesis::new("customers are served and no call to middle fails")
        .check(http::get(&front).expect(status(200)))
        .check(failed_calls.growth().expect(at_most(0.0)));

    let journal = Experiment::new("front keeps working when back is cut off", served)
        .background(&traffic)
        .pause(secs(5))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(5))
        .act(traffic.plot_to("traffic.html"))
        .act(shop.pods("app=front").logs().since(secs(10)))
        .run(&cluster)
        .await?;

    journal.assert_verdict(Deviated);
    steadfast::assert_journal!(journal); // an insta snapshot of journal.stable()
    Ok(())
}

/// From which value to which, over which window, in how many scrapes, and when the fault was on.
#[steadfast::test(setup = steadfast::shop)]
async fn front_s_failures_are_told_with_their_evidence(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
    let traffic = load::get(shop.service("front").url("/")).per_second(10).lasting(secs(10)).named("traffic");
    let journal =
        Experiment::new("front", Hypothesis::new("no call fails").check(failed_calls.growth().expect(at_most(0.0))))
            .background(&traffic)
            .inject(shop.pods("app=back").deny_ingress())
            .run(&cluster)
            .await?;
    journal.assert_verdict(Deviated);
    let phrase = &journal.evaluations[1].checks[0].phrase;
    for part in ["was a growth of ", "(from ", " s in ", " scrapes; \"deny ingress to pods app=back", " was on from "] {
        assert!(phrase.contains(part), "{phrase}");
    }
    Ok(())
}

/// The counter-test: the same experiment, expected to be met, fails.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn expecting_met_fails(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let front = shop.service("front").url("/");
    let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
    let traffic = load::get(&front).per_second(10).lasting(secs(10)).named("traffic");

    let served = Hypothesis::new("customers are served and no call to middle fails")
        .check(http::get(&front).expect(status(200)))
        .check(failed_calls.growth().expect(at_most(0.0)));

    let journal = Experiment::new("front keeps working when back is cut off", served)
        .background(&traffic)
        .pause(secs(5))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(5))
        .run(&cluster)
        .await?;

    let failed = std::panic::catch_unwind(|| journal.assert_verdict(Met)).expect_err("it deviated");
    let message = failed.downcast_ref::<String>().expect("a text");
    assert!(message.contains("expected the verdict met") && message.contains("was a growth of 47"), "{message}");
    Ok(())
}
