//! Prints what one fault costs on a cluster, the embedded one or the one that STEADFAST_CLUSTER names:
//! `make bench-cluster`. Least, median and most of several rounds; no assertions, for machines differ.

mod shown;

use std::time::Duration;

use steadfast::clock::Stopwatch;
use steadfast::prelude::*;

use self::shown::told;

/// Rounds of one fault, proved and undone.
const ROUNDS: usize = 10;

fn main() {
    let place = std::env::var("STEADFAST_CLUSTER").unwrap_or_else(|_| "embedded".into());
    let ready = Stopwatch::start();
    steadfast::block_on(async |cluster| {
        println!("on {place}:");
        told("cluster ready, made if it was absent", "no figure", vec![ready.elapsed()]);
        let watch = Stopwatch::start();
        steadfast::shop(&cluster).await?;
        told("the shop ready, its images and Prometheus included", "no figure", vec![watch.elapsed()]);
        let (mut injected, mut undone, mut both): (Vec<Duration>, Vec<_>, Vec<_>) = <_>::default();
        let run = Run::start("what one fault costs", &cluster).await?;
        for _ in 0..ROUNDS {
            let watch = Stopwatch::start();
            let cut = run.inject(cluster.namespace("default").pods("app=back").deny_ingress()).await?;
            let at = watch.elapsed();
            cut.rollback().await?;
            injected.push(at);
            undone.push(watch.elapsed() - at);
            both.push(watch.elapsed());
        }
        let journal = run.finish().await?;
        assert!(journal.faults.iter().all(|fault| fault.window.undone.is_some()), "each fault was undone: {journal:?}");
        told("a fault injected and proved by a witness", "no figure", injected);
        told("the same undone and its undoing proved", "no figure", undone);
        told("both", "no figure", both);
        Ok(())
    });
}
