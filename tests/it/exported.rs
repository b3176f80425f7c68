//! Made of a Chaos Toolkit experiment by `steadfast export --rust`.

use steadfast::prelude::*;

// The control "spans" is left out.
#[steadfast::test(setup = steadfast::shop, needs = "embedded")]
async fn back_is_cut_off(cluster: Cluster) -> steadfast::Result {
    let customers = load::get("http://localhost:30080/").per_second(10.0).lasting(secs(10)).timeout(secs(30)).keep_alive().named("customers");
    let default = cluster.namespace("default");
    let prometheus = steadfast::prometheus::Prometheus::new("http://localhost:9090");
    let hypothesis = Hypothesis::new("Customers are \"served\"")
        .check(http::get("http://localhost:30080/").header("x-asked-by", "steady state").timeout(secs(5)).expect(any((status(200), status(204)))))
        .check(prometheus.counter("failed_call_total").label("job", "front").label("to", "middle").growth().expect(at_most(0.0)));

    let journal = Experiment::new("Back is cut off", hypothesis)
        .background(&customers)
        .pause(secs(5))
        .inject(default.pods("app=back").deny_ingress())
        .pause(millis(4500))
        .act(default.pods("app=front").logs().since(secs(10)))
        .observe(http::get("http://localhost:30080/"))
        // The undo of the fault does what the rollback "let back be reached again" does.
        .run(&cluster)
        .await?;

    journal.assert_verdict(Deviated);
    Ok(())
}
