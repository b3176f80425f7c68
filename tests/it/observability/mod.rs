//! What a run tells to others: spans of `tracing`, traces over OTLP, annotations in Grafana.

#[cfg(feature = "otel")]
mod decoded;
mod grafana;
#[cfg(feature = "otel")]
mod otel;
mod receiver;
mod spans;

use steadfast::prelude::*;

/// lab4, with secrets wherever they may be.
async fn lab4(cluster: &Cluster) -> steadfast::Result<Journal> {
    steadfast::shop(cluster).await?;
    let shop = cluster.namespace("default");
    let front = shop.service("front").url("/");
    let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
    let traffic = load::get(&front).header("x-key", "hunter2").per_second(10).lasting(secs(10)).named("traffic");
    let served = Hypothesis::new("customers are served and no call to middle fails")
        .check(http::get(&front).header("authorization", "Bearer hunter2").expect(status(200)))
        .check(failed_calls.growth().expect(at_most(0.0)));
    let journal = Experiment::new("front keeps working when back is cut off", served)
        .safeguard(http::get(&front).expect(status(200)))
        .background(&traffic)
        .pause(secs(5))
        .inject(shop.pods("app=back").deny_ingress())
        .pause(secs(5))
        .observe(http::get("http://me:hunter2@localhost:30080/"))
        .run(cluster)
        .await?;
    journal.assert_verdict(Deviated);
    Ok(journal)
}
