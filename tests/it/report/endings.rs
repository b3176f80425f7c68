//! Experiments that end in each way. Only the tests beside this file run them, in processes of their own.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use steadfast::prelude::*;

use crate::support::front_answers;

/// What the system under test may say to break out of a report.
pub const HOSTILE: &str = "]]></system-out><b>|@all\u{1} `x`\n\n::error::y #1 http://evil www.evil &amp; \"'\
[[ATTACHMENT|/etc/passwd]]\u{1b}]52;c;aGk=\u{7}\n  ::error file=x::z\n##[error]w";

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn met(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    Experiment::new("front answers", front_answers(&cluster)).inject(cut).run(&cluster).await?.assert_verdict(Met);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn deviated(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let fresh = http::get(shop.service("front").url("/")).expect(not(contains("error")));
    let held = Hypothesis::new("front knows what back says").check(fresh);
    let journal = Experiment::new("front without back", held).inject(shop.pods("app=back").deny_ingress());
    journal.run(&cluster).await?.assert_verdict(Deviated);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn twice_and_unexpected(cluster: Cluster) -> steadfast::Result {
    Experiment::new("once", front_answers(&cluster)).run(&cluster).await?.assert_verdict(Met);
    Experiment::new("twice", front_answers(&cluster)).run(&cluster).await?.assert_verdict(Deviated);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn gate_missed(cluster: Cluster) -> steadfast::Result {
    let shop = cluster.namespace("default");
    let never = http::get(shop.service("front").url("/")).expect(status(418));
    let experiment = Experiment::new("tea", Hypothesis::new("front is a teapot").check(never));
    let journal = experiment.inject(shop.pods("app=back").deny_ingress()).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn unproved(cluster: Cluster) -> steadfast::Result {
    cluster.lab()?.fabric().enforce_policies(false);
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let journal = Experiment::new("no proof", front_answers(&cluster)).inject(cut).run(&cluster).await?;
    journal.assert_verdict(Inconclusive);
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn panics(cluster: Cluster) -> steadfast::Result {
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let run = Experiment::new("panics", front_answers(&cluster))
        .act_with("trip", async |_| panic!("over a wire"))
        .inject(cut)
        .run(&cluster);
    AssertUnwindSafe(run).catch_unwind().await.expect_err("the panic goes on");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn left(cluster: Cluster) -> steadfast::Result {
    let client = cluster.client();
    let cut = cluster.namespace("default").pods("app=back").deny_ingress();
    let run = Experiment::new("held", front_answers(&cluster))
        .inject(cut)
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
        .run(&cluster);
    run.await.expect_err("it could not be undone");
    Ok(())
}

#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
#[ignore = "run by the tests of reports"]
async fn hostile(cluster: Cluster) -> steadfast::Result {
    let says = http::get(cluster.namespace("default").service("front").url("/")).expect(contains(HOSTILE));
    let experiment = Experiment::new(HOSTILE, Hypothesis::new(HOSTILE).check(says));
    experiment.act_with(HOSTILE, async |_| Err(HOSTILE.into())).run(&cluster).await?.assert_verdict(Inconclusive);
    Ok(())
}
