use proptest::prelude::*;

use super::*;

const WINDOW: Window = Window { from: 10.0, to: 20.0 };

/// Every 2 s from 0 to 24, or every 2 s of a span.
const INTERVAL: f64 = 2.0;

fn series(samples: &[(f64, f64)]) -> Series {
    Series { labels: Labels::new(), samples: samples.to_vec() }
}

fn of(instance: &str, samples: &[(f64, f64)]) -> Series {
    let labels = [("job", "j"), ("instance", instance)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Series { labels: labels.into(), samples: samples.to_vec() }
}

/// A value at every scrape of a span.
fn span(from: u32, to: u32, value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (from..=to).step_by(2).map(|at| (f64::from(at), value(f64::from(at)))).collect()
}

fn always(value: f64) -> Vec<(f64, f64)> {
    span(0, 24, |_| value)
}

fn judged(counter: Vec<Series>, up: Option<Vec<Series>>, when_absent: Option<f64>) -> Result<Growth, Reason> {
    let question = Question { what: "x", window: WINDOW, interval: INTERVAL, vanished_too: false, since_scrape: true };
    growth(&question, &Samples { counter, up, interval: INTERVAL }, when_absent)
}

fn grown(samples: &[&[(f64, f64)]]) -> Result<Growth, Reason> {
    judged(samples.iter().map(|samples| series(samples)).collect(), Some(vec![series(&always(1.0))]), None)
}

/// The growth, which is known exactly.
fn total(samples: &[&[(f64, f64)]]) -> f64 {
    let grown = grown(samples).unwrap();
    assert_eq!(grown.unknown, None);
    assert_eq!(grown.bounds().1, grown.total.0);
    grown.total.0
}

/// What is known of a growth that is not known exactly: at least this, and why.
fn at_least(grown: Result<Growth, Reason>) -> (f64, String) {
    let grown = grown.unwrap();
    assert_eq!(grown.bounds().1, f64::INFINITY);
    (grown.bounds().0, grown.unknown.expect("it is not known exactly"))
}

#[test]
fn growth_is_exact() {
    assert_eq!(total(&[&always(4.0)]), 0.0, "flat");
    assert_eq!(total(&[&span(0, 24, |at| at)]), 10.0, "rising, the window's start included");
    assert_eq!(total(&[&span(0, 24, |at| if at < 14.0 { 9.0 } else { 0.0 })]), 0.0, "a reset alone is no growth");
    assert_eq!(total(&[&span(0, 24, |at| if at < 14.0 { 9.0 } else { at - 11.0 })]), 9.0, "a reset and a rise");
    assert_eq!(total(&[&always(1.0), &span(0, 24, |at| at)]), 10.0, "all series count");
    assert_eq!(total(&[&span(0, 24, |at| if at > 20.0 { 9.0 } else { 4.0 })]), 0.0, "what comes after does not");
    assert_eq!(total(&[&span(14, 24, |_| 1.0)]), 1.0, "born at 1: that is growth");
    let straddles = span(0, 24, |at| if at < 11.0 { 0.0 } else { 3.0 });
    assert_eq!(
        total(&[&straddles.iter().map(|(at, v)| (at + 1.0, *v)).collect::<Vec<_>>()]),
        3.0,
        "since the scrape before"
    );
}

#[test]
fn what_may_lie_before_the_window_is_told_apart() {
    let counter = vec![series(&span(1, 25, |at| if at < 10.0 { 0.0 } else { 3.0 + at - 11.0 }))];
    let samples = Samples { counter, up: None, interval: INTERVAL };
    let question = Question { what: "x", window: WINDOW, interval: INTERVAL, vanished_too: false, since_scrape: false };
    let grown = growth(&question, &samples, None).unwrap();
    assert_eq!((grown.total.0, grown.least.0), (11.0, 8.0));
    let of_the_window = growth(&Question { since_scrape: true, ..question }, &samples, None).unwrap();
    assert_eq!((of_the_window.total.0, of_the_window.least.0), (11.0, 11.0));
    assert_eq!(grown.series[0].first.at, Time(9.0));
}

#[test]
fn what_is_not_a_number_is_inconclusive() {
    let nan = span(0, 24, |at| if at == 14.0 { f64::NAN } else { 1.0 });
    assert!(matches!(grown(&[&nan]), Err(Reason::NotANumber { .. })));
    assert!(matches!(grown(&[&always(f64::INFINITY)]), Err(Reason::NotANumber { .. })));
    let mut twice = always(1.0);
    twice.insert(7, (12.0, 5.0));
    assert!(matches!(grown(&[&twice]), Err(Reason::NoData { why, .. }) if why.contains("same time")));
    twice[7].1 = 1.0;
    assert_eq!(total(&[&twice]), 0.0, "the same twice is once");
}

#[test]
fn a_birth_counts_only_where_it_was_seen() {
    let born = span(14, 24, |at| at - 9.0);
    let new_target = || Some(vec![series(&span(14, 24, |_| 1.0))]);
    let (least, why) = at_least(judged(vec![series(&born)], new_target(), None));
    assert!(least == 6.0 && why.contains("not scraped before"), "{least} {why}");
    let was_down = span(0, 24, |at| f64::from(u8::from(!(9.0..=13.0).contains(&at))));
    let (least, _) = at_least(judged(vec![series(&born)], Some(vec![series(&was_down)]), None));
    assert_eq!(least, 6.0);
    let (least, why) = at_least(judged(vec![series(&born)], None, Some(0.0)));
    assert!(least == 6.0 && why.contains("name its job"), "{least} {why}");
}

#[test]
fn what_was_not_scraped_may_have_begun_again() {
    let gap = [(8.0, 1.0), (10.0, 1.0), (18.0, 1.0), (20.0, 1.0), (22.0, 1.0)];
    let (least, why) = at_least(grown(&[&gap]));
    assert!(least == 0.0 && why.contains("not scraped for 8 s"), "{least} {why}");
    // One scrape that failed: the target was down, and another process may have come.
    let missed: Vec<_> = always(1.0).into_iter().filter(|(at, _)| *at != 14.0).collect();
    let down = span(0, 24, |at| f64::from(u8::from(at != 14.0)));
    let (least, _) = at_least(judged(vec![series(&missed)], Some(vec![series(&down)]), None));
    assert_eq!(least, 0.0);
    assert_eq!(total(&[&missed]), 0.0, "a scrape that came late is none that failed");
}

#[test]
fn what_ends_in_the_window_may_have_counted_unseen() {
    let ended = span(0, 14, |at| at);
    let (least, why) = at_least(grown(&[&ended]));
    assert!(least == 4.0 && why.contains("ended 6 s before") && why.contains("vanished_too"), "{least} {why}");
    let (least, _) = at_least(judged(
        vec![of("a", &ended), of("b", &always(0.0))],
        Some(vec![of("a", &span(0, 14, |_| 1.0)), of("b", &always(1.0))]),
        None,
    ));
    assert_eq!(least, 4.0, "its target too");
    // At the window's last scrape alone.
    let (_, why) = at_least(grown(&[&span(0, 18, |_| 0.0)]));
    assert!(why.contains("ended 2 s before"), "{why}");
    let question = Question { what: "x", window: WINDOW, interval: INTERVAL, vanished_too: true, since_scrape: true };
    let samples = Samples { counter: vec![series(&ended)], up: None, interval: INTERVAL };
    assert_eq!(growth(&question, &samples, None).unwrap().bounds(), (4.0, 4.0));
    let long_gone = judged(vec![series(&span(0, 4, |at| at))], Some(vec![series(&always(1.0))]), None).unwrap();
    assert_eq!((long_gone.total.0, long_gone.series.len()), (0.0, 0));
}

#[test]
fn an_absent_series_is_no_growth_only_if_its_target_was_up() {
    assert_eq!(total(&[]), 0.0);
    for (up, why) in [
        (vec![series(&span(12, 24, |_| 1.0))], "not before"),
        (vec![series(&span(0, 12, |_| 1.0))], "not after"),
        (vec![], "never"),
    ] {
        assert!(matches!(judged(vec![], Some(up), Some(0.0)), Err(Reason::NoData { .. })), "{why}");
    }
    let down = span(0, 24, |at| f64::from(u8::from(at != 14.0)));
    let (least, why) = at_least(judged(vec![], Some(vec![series(&down)]), Some(0.0)));
    assert!(least == 0.0 && why.contains("was down"), "{why}");
    assert!(matches!(judged(vec![], None, None), Err(Reason::NoData { why, .. }) if why.contains("or_when_absent")));
    assert_eq!(judged(vec![], None, Some(0.0)).unwrap().total.0, 0.0);
}

#[test]
fn a_target_without_series_beside_others_must_have_been_watched_too() {
    let counter = || vec![of("a", &always(3.0))];
    let judged = |other: Vec<(f64, f64)>| judged(counter(), Some(vec![of("a", &always(1.0)), of("b", &other)]), None);
    assert_eq!(judged(always(1.0)).unwrap().unknown, None);
    assert_eq!(judged(span(0, 4, |_| 1.0)).unwrap().unknown, None, "gone before");
    let down = span(0, 24, |at| f64::from(u8::from(at != 14.0)));
    for (other, told) in [(down, "was down"), (span(0, 14, |_| 1.0), "ended in the window")] {
        let (least, why) = at_least(judged(other));
        assert!(least == 0.0 && why.contains(told) && why.contains("instance=\"b\""), "{why}");
    }
}

#[test]
fn the_evidence_is_one_sentence() {
    let mut one = grown(&[&span(0, 24, |at| at)]).unwrap();
    one.faults.push(FaultOn { fault: "deny ingress".into(), from: 3.0, to: 10.0 });
    assert_eq!(
        one.shown(),
        r#"a growth of 10 (from 10 to 20 over 10 s in 6 scrapes; "deny ingress" was on from 3 s to 10 s of it)"#
    );
    let born = grown(&[&span(14, 24, |_| 1.0)]).unwrap();
    assert_eq!(born.shown(), "a growth of 1 (from nothing to 1 over 10 s in 4 scrapes)");
    let two = judged(vec![of("a", &always(3.0)), of("b", &span(0, 24, |at| at))], None, None).unwrap();
    assert_eq!(
        two.shown(),
        r#"a growth of 10 (2 series over 10 s in 6 scrapes, {instance="b",job="j"} most, from 10 to 20)"#
    );
}

/// `cargo test --release --lib -- prometheus::growth::tests::a_thousand_series --ignored --nocapture` prints the time.
#[test]
#[ignore = "of a release build"]
fn a_thousand_series_of_an_hour_are_judged() {
    let hour = |_: u32| -> Vec<(f64, f64)> { (0..=3_600).map(|at| (f64::from(at), f64::from(at / 2))).collect() };
    let counter = (0..1_000).map(|n| of(&n.to_string(), &hour(n))).collect();
    let up = (0..1_000)
        .map(|n| of(&n.to_string(), &(0..=3_600).map(|at| (f64::from(at), 1.0)).collect::<Vec<_>>()))
        .collect();
    let samples = Samples { counter, up: Some(up), interval: 1.0 };
    let window = Window { from: 0.0, to: 3_600.0 };
    let question = Question { what: "x", window, interval: 1.0, vanished_too: false, since_scrape: true };
    for _ in 0..5 {
        let taken = crate::clock::Stopwatch::start();
        let growth = growth(&question, &samples, None).unwrap();
        println!("1,000 series of 3,601 samples: {:?}", taken.elapsed());
        assert_eq!((growth.total.0, growth.unknown), (1_800_000.0, None));
    }
}

proptest! {
    #[test]
    fn growth_equals_the_truth_whatever_the_resets(steps in proptest::collection::vec((0..20_u32, any::<bool>()), 5)) {
        let (mut value, mut truth, mut samples) = (3.0, 0.0, vec![(10.0, 3.0)]);
        for (number, (step, reset)) in steps.iter().enumerate() {
            // A restart shows only if the new value is below the old one.
            if *reset && f64::from(*step) < value {
                value = 0.0;
            }
            value += f64::from(*step);
            truth += f64::from(*step);
            samples.push((10.0 + INTERVAL * (number + 1) as f64, value));
        }
        prop_assert_eq!(total(&[&samples]), truth);
    }
}
