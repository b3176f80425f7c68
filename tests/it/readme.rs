//! The examples of README.md beside lab4: each file of it stands there to the letter.

/// Load on a schedule, judged by phases of a fault.
mod fast_again {
    use steadfast::prelude::*;

    #[steadfast::test(setup = steadfast::shop, needs = "embedded")]
    async fn front_is_fast_again(cluster: Cluster) -> steadfast::Result {
        let shop = cluster.namespace("default");
        let cut = shop.pods("app=back").deny_ingress().lasting(secs(10));
        let traffic = load::get(shop.service("front").url("/"))
            .following(Schedule::ramp(0, 50, secs(5)).then(Schedule::constant(50, secs(30))))
            .named("traffic");

        let well = Hypothesis::new("served all the time, and fast again after the fault")
            .check(traffic.success_ratio().expect(at_least(0.999)))
            .check(traffic.after(&cut).p99().expect(at_most(millis(300))));

        let journal =
            Experiment::new("back is away", well).background(&traffic).pause(secs(5)).inject(cut).run(&cluster).await?;
        journal.assert_verdict(Met);
        Ok(())
    }
}

/// Services of one's own.
mod orders {
    use axum::Router;
    use axum::routing::get;
    use steadfast::prelude::*;

    /// On the lab the images are routers; elsewhere they are images.
    async fn orders(cluster: &Cluster) -> steadfast::Result {
        if let Ok(lab) = cluster.lab() {
            lab.image("stock:1", |_| Router::new().route("/", get(async || "3 left")));
            lab.image("orders:1", |net| {
                let ask = async move || match net.get("http://stock/", secs(1)).await {
                    Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                    Err(_) => "taken, if we have it".to_owned(),
                };
                Router::new().route("/", get(ask))
            });
        }
        cluster.apply_file("tests/fixtures/orders.yaml").await?;
        cluster.wait_for_deployments("default", &["stock", "orders"], secs(60)).await?;
        Ok(())
    }

    #[steadfast::test(setup = orders, needs = "embedded")]
    async fn orders_are_taken_without_stock(cluster: Cluster) -> steadfast::Result {
        let shop = cluster.namespace("default");
        let taken =
            Hypothesis::new("orders are taken").check(http::get(shop.service("orders").url("/")).expect(status(200)));
        let cut = shop.pods("app=stock").deny_ingress();
        let journal = Experiment::new("stock is away", taken).inject(cut).must_recover().run(&cluster).await?;
        journal.assert_verdict(Met);
        Ok(())
    }
}
