//! Verdicts on series of which the truth is known, through the whole engine in virtual time: `make series-gate`.

mod script;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use script::{Counter, Script, Shared, Target};
use steadfast::clock::Seed;
use steadfast::prelude::*;
use steadfast::prometheus::Prometheus;

use crate::support::on_the_lab;

/// Cases of a plain `cargo test`; `STEADFAST_SERIES` says otherwise.
const CASES: u64 = 300;

/// What a series is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Flat,
    Rising,
    GrewBefore,
    GrowsAfter,
    Reset,
    ResetAndRise,
    NeverBorn,
    Born,
    NewTarget,
    SeriesVanishes,
    TargetVanishes,
    GrewAndVanished,
    Stale,
    Nan,
    DownAtTheEnd,
    DownBetween,
    GrewWhileDown,
    OneOfTwoGrows,
    NeitherOfTwo,
}

const KINDS: &[Kind] = &[
    Kind::Flat,
    Kind::Rising,
    Kind::GrewBefore,
    Kind::GrowsAfter,
    Kind::Reset,
    Kind::ResetAndRise,
    Kind::NeverBorn,
    Kind::Born,
    Kind::NewTarget,
    Kind::SeriesVanishes,
    Kind::TargetVanishes,
    Kind::GrewAndVanished,
    Kind::Stale,
    Kind::Nan,
    Kind::DownAtTheEnd,
    Kind::DownBetween,
    Kind::GrewWhileDown,
    Kind::OneOfTwoGrows,
    Kind::NeitherOfTwo,
];

impl Kind {
    /// The verdict on "it does not grow".
    fn truth(self) -> Verdict {
        match self {
            Self::Flat | Self::GrewBefore | Self::GrowsAfter | Self::Reset | Self::NeverBorn | Self::NeitherOfTwo => {
                Verdict::Met
            }
            Self::Rising
            | Self::ResetAndRise
            | Self::Born
            | Self::GrewAndVanished
            | Self::GrewWhileDown
            | Self::OneOfTwoGrows => Verdict::Deviated,
            Self::NewTarget
            | Self::SeriesVanishes
            | Self::TargetVanishes
            | Self::Stale
            | Self::Nan
            | Self::DownAtTheEnd
            | Self::DownBetween => Verdict::Inconclusive,
        }
    }
}

/// A case: what happens, and how long the method takes.
struct Case {
    kind: Kind,
    script: Script,
    lasts: f64,
}

const FOR_EVER: f64 = f64::INFINITY;

/// A case in which the method begins at `start`.
fn case(kind: Kind, start: f64, rng: &mut Rng) -> Case {
    let within = |rng: &mut Rng, from: f64, to: f64| from + (to - from) * rng.f64();
    // From often to slowly; slower than the method lasts, too.
    let interval = [1.0, 2.0, 5.0, 15.0, 45.0][rng.usize(..5)];
    // Several scrapes where something must happen between two of them.
    let scrapes = if rng.bool() { within(rng, 0.2, 2.0) } else { within(rng, 4.0, 8.0) };
    let needs_room = !matches!(
        kind,
        Kind::Flat | Kind::Rising | Kind::NeverBorn | Kind::Born | Kind::OneOfTwoGrows | Kind::NeitherOfTwo
    );
    let lasts = interval * if needs_room { scrapes.max(4.0) + 4.0 } else { scrapes };
    let mut script = Script {
        interval,
        phase: within(rng, 0.0, interval),
        lag: if rng.bool() { 0.0 } else { within(rng, 0.0, interval) },
        skew: if rng.bool() { 0.0 } else { within(rng, -40.0, 40.0) },
        stale: FOR_EVER,
        tells_targets: rng.bool(),
        targets: Vec::new(),
    };
    let end = start + lasts;
    let (last_before, _) = script.around(start);
    let (_, first_after) = script.around(end);
    let long_ago = start - 900.0;
    let target = |instance: &str, counter| Target {
        instance: instance.into(),
        from: long_ago,
        to: FOR_EVER,
        down: None,
        counter,
    };
    let before = rng.u32(0..50);
    let flat = Counter { before, declared: true, ..Counter::default() };
    let counts =
        |rng: &mut Rng, from: f64, to: f64| -> Vec<f64> { (0..rng.u32(1..6)).map(|_| within(rng, from, to)).collect() };
    // Scrapes in the middle of the method.
    let (middle, after_middle) = script.around(start + lasts / 2.0);
    let mut one = target("a", flat.clone());
    match kind {
        Kind::Flat => {}
        Kind::Rising => one.counter.counts = counts(rng, start, end),
        Kind::GrewBefore => one.counter.counts = counts(rng, long_ago, last_before),
        Kind::GrowsAfter => one.counter.counts = counts(rng, first_after + 0.001, first_after + 30.0),
        Kind::Reset => one.counter.resets = vec![within(rng, start, end)],
        Kind::ResetAndRise => {
            one.counter.resets = vec![within(rng, start, middle)];
            one.counter.counts = counts(rng, middle, end);
        }
        Kind::NeverBorn => one.counter = Counter::default(),
        Kind::Born => one.counter = Counter { counts: counts(rng, start, end), ..Counter::default() },
        Kind::NewTarget => {
            one.from = within(rng, start, middle);
            one.counter.before = before + 1;
        }
        Kind::SeriesVanishes => one.counter.gone = Some(within(rng, start, end)),
        Kind::TargetVanishes => one.to = within(rng, start, middle),
        Kind::GrewAndVanished => {
            one.counter.counts = counts(rng, start, middle);
            one.counter.gone = Some(within(rng, middle + 0.001, end));
        }
        Kind::Stale => script.stale = within(rng, start, end),
        Kind::Nan => one.counter.nan = Some((middle, end)),
        Kind::DownAtTheEnd => one.down = Some((within(rng, start, end), FOR_EVER)),
        Kind::DownBetween => one.down = Some((middle, after_middle)),
        Kind::GrewWhileDown => {
            one.down = Some((middle, after_middle));
            one.counter.counts = counts(rng, middle, after_middle);
        }
        Kind::OneOfTwoGrows => one.counter.counts = counts(rng, start, end),
        Kind::NeitherOfTwo => {}
    }
    script.targets = vec![one];
    if matches!(kind, Kind::OneOfTwoGrows | Kind::NeitherOfTwo | Kind::TargetVanishes) {
        script.targets.push(target("b", flat));
    }
    Case { kind, script, lasts }
}

/// What came of a case.
struct Judged {
    kind: Kind,
    verdict: Verdict,
    /// By how much the wait for a fresh scrape was longer than the interval, in seconds, of a healthy target.
    over: Option<f64>,
    told: String,
}

/// Runs a case, and says what it was and what came of it.
async fn judged(
    cluster: &Cluster,
    shared: &Shared,
    prometheus: &Prometheus,
    mut rng: Rng,
) -> steadfast::Result<Judged> {
    let kind = KINDS[rng.usize(..KINDS.len())];
    let start = cluster.clock().now().as_duration().as_secs_f64();
    let case = case(kind, start, &mut rng);
    let healthy = case.script.lag == 0.0 && case.script.targets.len() == 1;
    let interval = case.script.interval;
    let told = format!("{:?}, a method of {} s: {:?}", case.kind, case.lasts, case.script);
    *shared.lock().unwrap() = Some(case.script);
    let growth = prometheus.counter("failed_total").label("job", "app").growth();
    let hypothesis = Hypothesis::new("nothing fails");
    let hypothesis = if rng.bool() {
        hypothesis.check(growth.expect(at_most(0.0)))
    } else {
        hypothesis.check(growth.each().expect(at_most(0.0)))
    };
    let journal = Experiment::new("a series", hypothesis)
        .hypothesis_strategy(HypothesisStrategy::AfterMethodOnly)
        .without_recovery()
        .pause(std::time::Duration::from_secs_f64(case.lasts))
        .run(cluster)
        .await?;
    let judged = journal.evaluations.last().expect("it was judged");
    let waited = judged.ended.duration_since(judged.started).as_secs_f64();
    let over = (healthy && !matches!(kind.truth(), Verdict::Inconclusive) && kind != Kind::GrewAndVanished)
        .then_some(waited - interval);
    Ok(Judged { kind, verdict: journal.verdict, over, told: format!("{told}\n{}", journal.summary()) })
}

/// How something is looked at while the method runs.
#[derive(Clone, Copy, Debug)]
enum While {
    Watched,
    Guarded,
}

/// What is known while the method runs is known of now: of a server that scrapes no more, nothing is.
#[test]
fn what_is_watched_is_not_judged_by_old_scrapes() {
    on_the_lab(async |cluster| {
        let shared = Shared::default();
        let prometheus = script::serve(&cluster, &shared).await?;
        for (number, (kind, how)) in [Kind::Flat, Kind::NeverBorn, Kind::Rising, Kind::Stale, Kind::DownAtTheEnd]
            .into_iter()
            .flat_map(|kind| [(kind, While::Watched), (kind, While::Guarded)])
            .cycle()
            .take(60)
            .enumerate()
        {
            let mut rng = Seed(3).rng(&format!("watched {number}"));
            let start = cluster.clock().now().as_duration().as_secs_f64();
            let mut case = case(kind, start, &mut rng);
            let interval = case.script.interval;
            // Whatever happens does so long before the end, which nobody looks at.
            case.lasts = 10.0 * interval + 30.0;
            let early = start + interval * (1.0 + 2.0 * rng.f64());
            match kind {
                Kind::Stale => case.script.stale = early,
                Kind::Rising => case.script.targets[0].counter.counts = vec![early],
                Kind::DownAtTheEnd => case.script.targets[0].down = Some((early, FOR_EVER)),
                _ => {}
            }
            let told = format!("{kind:?} {how:?}, a method of {} s: {:?}", case.lasts, case.script);
            *shared.lock().unwrap() = Some(case.script);
            let growth = prometheus.counter("failed_total").label("job", "app").growth().expect(at_most(0.0));
            let pause = std::time::Duration::from_secs_f64(case.lasts);
            let held = match how {
                While::Watched => {
                    let strategy = HypothesisStrategy::DuringMethodOnly;
                    let experiment = Experiment::new("a series", Hypothesis::new("nothing fails").check(growth));
                    let experiment = experiment.hypothesis_strategy(strategy).without_recovery().pause(pause);
                    experiment.run(&cluster).await?.verdict
                }
                While::Guarded => {
                    let always =
                        http::get(cluster.namespace("default").service("scripted").url("/api/v1/query?query=time()"));
                    let experiment =
                        Experiment::new("a series", Hypothesis::new("it answers").check(always.expect(status(200))));
                    let experiment = experiment.safeguard(growth).without_recovery().pause(pause);
                    let journal = experiment.run(&cluster).await?;
                    match &journal.safeguards[0].broken {
                        None => Verdict::Met,
                        Some(breach) if breach.look.outcome == "not-met" => Verdict::Deviated,
                        Some(_) => Verdict::Inconclusive,
                    }
                }
            };
            assert_eq!(held, kind.truth(), "{told}");
        }
        Ok(())
    });
}

/// By kind: how many cases, and how many false verdicts of each.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    false_met: u64,
    false_deviated: u64,
    /// Inconclusive although the data suffice.
    timid: u64,
    /// The longest wait for a fresh scrape of a healthy target, in seconds beyond the interval.
    over: Option<f64>,
}

fn tally(cases: u64, seed: Seed, at_once: bool, tell: bool) -> BTreeMap<Kind, Tally> {
    /// How many share a lab.
    const TOGETHER: u64 = 100;
    let tallies: Arc<Mutex<BTreeMap<Kind, Tally>>> = Arc::default();
    for first in (0..cases).step_by(TOGETHER as usize) {
        let all = tallies.clone();
        on_the_lab(async move |cluster| {
            let shared = Shared::default();
            let mut prometheus = script::serve(&cluster, &shared).await?;
            if at_once {
                prometheus = prometheus.judging_at_once();
            }
            for number in first..(first + TOGETHER).min(cases) {
                let rng = seed.rng(&format!("series {number}"));
                let Judged { kind, verdict, over, told } = judged(&cluster, &shared, &prometheus, rng).await?;
                let truth = kind.truth();
                let mut all = all.lock().unwrap();
                let tally = all.entry(kind).or_default();
                tally.cases += 1;
                tally.over = tally.over.into_iter().chain(over).reduce(f64::max);
                match verdict {
                    _ if verdict == truth => continue,
                    Verdict::Met => tally.false_met += 1,
                    Verdict::Deviated => tally.false_deviated += 1,
                    _ => tally.timid += 1,
                }
                if tell {
                    eprintln!("case {number}: {verdict}, and the truth is {truth}: {told}");
                }
            }
            Ok(())
        });
    }
    std::mem::take(&mut *tallies.lock().unwrap())
}

fn cases() -> u64 {
    std::env::var("STEADFAST_SERIES").map_or(CASES, |cases| cases.parse().expect("STEADFAST_SERIES is a number"))
}

#[test]
fn no_verdict_is_false_whatever_the_series_is_like() {
    let seed = Seed::from_env().unwrap();
    let tallies = tally(cases(), seed, false, true);
    for (kind, tally) in &tallies {
        println!("{kind:?}, {}: {tally:?}", kind.truth());
    }
    assert_eq!(tallies.len(), KINDS.len(), "every kind was tried");
    let sum = |of: fn(&Tally) -> u64| tallies.values().map(of).sum::<u64>();
    let (met, deviated, timid) = (sum(|t| t.false_met), sum(|t| t.false_deviated), sum(|t| t.timid));
    println!(
        "labelled series, seed {}: {} cases, {met} false met, {deviated} false deviated, {timid} inconclusive though known",
        seed.0,
        cases()
    );
    assert_eq!((met, deviated, timid), (0, 0, 0));
    let over = tallies.values().filter_map(|tally| tally.over).reduce(f64::max).expect("some targets are healthy");
    println!("a healthy target was waited for one scrape interval and {over:.2} s at most");
    assert!(over <= 1.0);
}

#[test]
fn without_the_freshness_gate_verdicts_are_false() {
    let tallies = tally(200, Seed(1), true, false);
    let met: u64 = tallies.values().map(|tally| tally.false_met).sum();
    println!("without the freshness gate: {met} of 200 are false met");
    assert!(met > 0, "the cases see what the gate is for: {tallies:?}");
}
