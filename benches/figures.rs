//! Prints the figures of the project: `make bench`. Least, median and most of several rounds, in this build's profile;
//! no assertions, for machines differ.

mod shown;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use steadfast::clock::{Clock, Seed, Stopwatch};
use steadfast::lab::Lab;
use steadfast::prelude::*;
use steadfast::rollback::{Header, Ledger, ObjectRef, StateDir, Undo, UndoGuard};

use self::shown::told;

fn main() {
    figure("lab ready (start, and its first API answer)", "< 100 ms", 20, || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let watch = Stopwatch::start();
        runtime.block_on(async {
            let lab = Lab::start(Clock::virtual_time(), Seed(0));
            lab.client().apiserver_version().await.expect("an answer");
        });
        watch.elapsed()
    });
    figure("lab4 in virtual time, the shop's start included", "< 100 ms", 20, || {
        let watch = Stopwatch::start();
        lab4();
        watch.elapsed()
    });
    figure("100 lab4 side by side, on every core", "< 5 s", 3, || {
        let (watch, left) = (Stopwatch::start(), AtomicUsize::new(100));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                        lab4();
                    }
                });
            }
        });
        watch.elapsed()
    });
    guard_overhead();
}

fn figure(name: &str, asked: &str, rounds: usize, round: impl FnMut() -> Duration) {
    told(name, asked, std::iter::repeat_with(round).take(rounds).collect());
}

fn lab4() {
    steadfast::block_on(async |cluster| {
        steadfast::shop(&cluster).await?;
        let shop = cluster.namespace("default");
        let front = shop.service("front").url("/");
        let failed_calls = shop.prometheus().counter("failed_call_total").label("job", "front").label("to", "middle");
        let traffic = load::get(&front).per_second(10).lasting(secs(10)).named("traffic");
        let served = Hypothesis::new("served")
            .check(http::get(&front).expect(status(200)))
            .check(failed_calls.growth().expect(at_most(0.0)));
        let journal = Experiment::new("lab4", served)
            .background(&traffic)
            .pause(secs(5))
            .inject(shop.pods("app=back").deny_ingress())
            .pause(secs(5))
            .run(&cluster)
            .await?;
        journal.assert_verdict(Deviated);
        Ok(())
    });
}

/// What a guard costs beyond the API calls: three ledger lines, on disk with their fsyncs, and in memory without.
fn guard_overhead() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let lab = runtime.block_on(async { Lab::start(Clock::real(), Seed(0)) });
    let object = ObjectRef {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        resource: "configmaps".into(),
        namespace: Some("default".into()),
        name: "none".into(),
    };
    let round = |ledger: &Ledger| {
        let watch = Stopwatch::start();
        let undo = vec![Undo::Delete { object: object.clone(), owner: "o".into(), uid: None, switch: None }];
        let mut guard = UndoGuard::arm(ledger, "o", "bench", undo, lab.undoer(), Clock::real().now()).expect("armed");
        guard.applied(vec![Some("uid".into())]).expect("written");
        runtime.block_on(guard.rollback());
        watch.elapsed()
    };
    let memory = Ledger::memory("bench");
    figure("guard overhead for each fault, without the fsyncs", "< 5 ms", 200, || round(&memory));
    let folder = tempfile::tempdir().expect("a folder");
    let header = Header {
        run: "bench".into(),
        cluster: "bench".into(),
        server: String::new(),
        context: String::new(),
        kubeconfig: None,
        pid: std::process::id(),
        host: String::new(),
        started: Clock::real().now(),
    };
    let disk = Ledger::create(&StateDir::at(folder.path()), header).expect("a ledger");
    figure("guard overhead for each fault, with three fsyncs", "no figure", 50, || round(&disk));
}
