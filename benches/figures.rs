//! Prints the figures of the project: `make bench`. Least, median and most of several rounds, in this build's profile;
//! no assertions, for machines differ.

mod shown;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use steadfast::clock::{Clock, Seed, Stopwatch};
use steadfast::lab::Lab;
use steadfast::prelude::*;
use steadfast::rollback::{Header, Ledger, ObjectRef, StateDir, Undo, UndoGuard};
use tracing::field::Empty;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use self::shown::told;

fn main() {
    if std::env::args().any(|arg| arg == "spans") {
        return spans_that_nobody_hears();
    }
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
    spans_that_nobody_hears();
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

/// How often a run tells a subscriber something.
#[derive(Default)]
struct Counted {
    spans: AtomicUsize,
    entered: AtomicUsize,
    recorded: AtomicUsize,
    events: AtomicUsize,
}

struct Counts(Arc<Counted>);

impl Subscriber for Counts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("steadfast")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.0.spans.fetch_add(1, Relaxed) as u64 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.0.recorded.fetch_add(1, Relaxed);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.events.fetch_add(1, Relaxed);
    }

    fn enter(&self, _: &Id) {
        self.0.entered.fetch_add(1, Relaxed);
    }

    fn exit(&self, _: &Id) {}
}

/// What a run pays for its spans where nobody subscribes: the cost of each, times how many there are. There is no build
/// without them to compare with.
fn spans_that_nobody_hears() {
    const TIMES: u32 = 100_000;
    let each = |name: &str, mut once: Box<dyn FnMut()>| -> f64 {
        let round = || {
            let watch = Stopwatch::start();
            (0..TIMES).for_each(|_| once());
            watch.elapsed()
        };
        let mut rounds: Vec<f64> =
            std::iter::repeat_with(round).take(21).map(|took| took.as_secs_f64() * 1e9 / f64::from(TIMES)).collect();
        rounds.sort_by(f64::total_cmp);
        println!("{name:<66} {:>7.2} ns {:>7.2} ns {:>7.2} ns", rounds[0], rounds[10], rounds[20]);
        rounds[10]
    };
    // These come first: a subscriber, once there was one, leaves more to be asked.
    let span = || tracing::info_span!("activity", kind = black_box("pause"), name = black_box("5s"), status = Empty);
    let made = each("a span without a subscriber, made and dropped", Box::new(move || drop(black_box(span()))));
    let none = span();
    let entered = each("  entered and left", Box::new(move || none.in_scope(|| black_box(()))));
    let none = span();
    let recorded = each(
        "  given a field",
        Box::new(move || {
            black_box(none.record("status", "met"));
        }),
    );
    let event = each("  an event", Box::new(|| tracing::info!(subject = black_box("front"), "fault on")));
    let mut runs: Vec<f64> = std::iter::repeat_with(|| {
        let watch = Stopwatch::start();
        lab4();
        watch.elapsed().as_secs_f64() * 1e9
    })
    .take(11)
    .collect();
    runs.sort_by(f64::total_cmp);
    let counted = Arc::new(Counted::default());
    tracing::subscriber::with_default(Counts(counted.clone()), lab4);
    let many = |count: &AtomicUsize| u32::try_from(count.load(Relaxed)).map_or(f64::INFINITY, f64::from);
    let Counted { spans, entered: entries, recorded: records, events } = &*counted;
    let all = made * many(spans) + entered * many(entries) + recorded * many(records) + event * many(events);
    println!(
        "lab4 has {} spans, entered {} times, {} later fields, and {} events: {:.1} µs of {:.1} ms, {:.4} %",
        many(spans),
        many(entries),
        many(records),
        many(events),
        all / 1e3,
        runs[5] / 1e6,
        all / runs[5] * 100.0
    );
}
