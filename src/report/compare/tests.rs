//! By a run of lab4 and what becomes of it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::journal::{Ended, LoadRow, Verdict};
use crate::report::sample;

/// lab4 with a load that has enough requests for all percentiles: 20 s at 100/s before and during the fault.
fn busy(slower: f64) -> Journal {
    let mut journal = sample();
    let figures = |part: &str, p50: f64| {
        json!({"fault": journal.faults[0].window.fault, "phase": part, "requests": 2000, "succeeded": 1990,
            "outcomes": {"200": 1990, "503": 10}, "p50_ms": p50, "p95_ms": p50 * 1.5, "p99_ms": p50 * 2.0,
            "max_ms": p50 * 4.0})
    };
    let phases = json!([figures("before", 10.0), figures("during", 20.0 * slower)]);
    journal.steps[0].output["phases"] = phases;
    journal.steps[0].output["invalid"] = json!(null);
    for (number, row) in journal.telemetry.loads[0].rows.iter_mut().enumerate() {
        let p50 = if number % 2 == 0 { 19.5 } else { 20.5 } * slower;
        *row = LoadRow { counts: row.counts.clone(), latencies_ms: Some([p50, p50 * 1.5, p50 * 2.0, p50 * 4.0]) };
    }
    journal
}

fn row<'a>(comparison: &'a Comparison, figure: Figure, subject: &str) -> &'a Row {
    let found = comparison.rows.iter().find(|row| row.figure == figure && row.subject.contains(subject));
    found.unwrap_or_else(|| panic!("no {figure} of {subject}: {}", comparison.to_text(None)))
}

fn decided(old: &Journal, new: &Journal) -> Decision {
    new.compared_with(old).unwrap().decision(&"10%".parse().unwrap())
}

#[test]
fn the_same_run_twice_has_not_changed() {
    let comparison = busy(1.0).compared_with(&busy(1.0)).unwrap();
    assert!(comparison.rows.iter().all(|row| row.meaning == Meaning::Same), "{}", comparison.to_text(None));
    assert_eq!(comparison.decision(&Limits::default()), Decision::NoRegression);
    assert!(comparison.differences.is_empty());
    for figure in [Figure::Verdict, Figure::Recovered, Figure::Rollback, Figure::RecoveryTime, Figure::Growth] {
        row(&comparison, figure, "");
    }
    for figure in [Figure::P50, Figure::P95, Figure::P99, Figure::Success, Figure::Throughput] {
        row(&comparison, figure, "traffic during deny ingress");
    }
}

#[test]
fn a_slower_fault_is_a_regression_beyond_noise_and_limit_alone() {
    let comparison = busy(1.5).compared_with(&busy(1.0)).unwrap();
    let slower = row(&comparison, Figure::P50, "during");
    assert_eq!((&slower.meaning, slower.change), (&Meaning::Worse, Some(0.5)));
    assert_eq!(row(&comparison, Figure::P50, "before").meaning, Meaning::Same);
    assert_eq!(comparison.decision(&"49%".parse().unwrap()), Decision::Regression);
    assert_eq!(comparison.decision(&"51%".parse().unwrap()), Decision::NoRegression, "less than was asked for");
    assert_eq!(comparison.decision(&"0%,latency=60%".parse().unwrap()), Decision::NoRegression);
    // Half a millisecond is what its own stretches differ by.
    let little = busy(1.02).compared_with(&busy(1.0)).unwrap();
    assert_eq!(row(&little, Figure::P50, "during").meaning, Meaning::WithinNoise);
    assert_eq!(little.decision(&Limits::default()), Decision::NoRegression);
    assert_eq!(decided(&busy(1.5), &busy(1.0)), Decision::NoRegression, "it became faster");
}

#[test]
fn a_verdict_that_is_no_longer_sure_is_worse_and_one_that_never_was_decides_nothing() {
    use Decision::{NoRegression, Regression, Undecided};
    use Verdict::{Deviated, Inconclusive, Met, NotJudged};
    for (old, new, decision) in [
        (Met, Met, NoRegression),
        (Met, Deviated, Regression),
        (Met, Inconclusive, Regression),
        (Met, NotJudged, Undecided),
        (Deviated, Deviated, NoRegression),
        (Deviated, Met, NoRegression),
        (Deviated, Inconclusive, Undecided),
        (Inconclusive, Inconclusive, Undecided),
        (Inconclusive, Met, NoRegression),
        (Inconclusive, Deviated, Undecided),
        (NotJudged, NotJudged, NoRegression),
        (NotJudged, Deviated, Undecided),
    ] {
        let with = |verdict| Journal { verdict, ..busy(1.0) };
        assert_eq!(decided(&with(old), &with(new)), decision, "{old} to {new}");
        let recovered = |recovered| Journal { recovered, ..busy(1.0) };
        assert_eq!(decided(&recovered(old), &recovered(new)), decision, "recovered: {old} to {new}");
    }
    let killed = Journal { verdict: NotJudged, ended: Ended::Running, ..busy(1.0) };
    let met = Journal { verdict: Met, ..busy(1.0) };
    assert_eq!(decided(&met, &killed), Regression, "a run that was killed has no verdict");
    assert_eq!(decided(&killed, &killed), Undecided);
}

#[test]
fn a_check_that_misses_now_and_changes_that_are_left_are_regressions() {
    let mut missed = busy(1.0);
    missed.evaluations[1].checks[0].outcome = "not-met".to_owned();
    let comparison = missed.compared_with(&busy(1.0)).unwrap();
    assert_eq!(row(&comparison, Figure::Check, "status 200, under the fault").meaning, Meaning::Worse);
    assert_eq!(comparison.decision(&"99%".parse().unwrap()), Decision::Regression, "no share excuses it");
    let mut left = busy(1.0);
    let first = &mut left.faults[0].undo[0];
    first.outcome = serde_json::from_value(json!({"outcome": "leaked", "why": "forbidden"})).unwrap();
    assert_eq!(decided(&busy(1.0), &left), Decision::Regression);
    assert_eq!(decided(&left, &left), Decision::NoRegression, "it was so before");
    // What is no longer judged may hide what it found.
    let mut fewer = busy(1.0);
    fewer.evaluations[1].checks.remove(0);
    assert_eq!(decided(&busy(1.0), &fewer), Decision::Undecided);
}

#[test]
fn few_requests_say_nothing_of_a_tail() {
    let mut few = busy(1.0);
    for phase in few.steps[0].output["phases"].as_array_mut().unwrap() {
        (phase["requests"], phase["succeeded"]) = (json!(40), json!(40));
    }
    let mut slow = few.clone();
    slow.steps[0].output["phases"][1]["p99_ms"] = json!(9000.0);
    let comparison = slow.compared_with(&few).unwrap();
    let Meaning::Unknown { why, decides: false } = &row(&comparison, Figure::P99, "during").meaning else {
        panic!("{}", comparison.to_text(None))
    };
    assert_eq!(why, "too few: 40 requests, and it takes 500");
    assert_eq!(row(&comparison, Figure::P50, "during").meaning, Meaning::Same);
    assert_eq!(comparison.decision(&Limits::default()), Decision::NoRegression);
    // Evidence that is lost is missed; a handful in both runs is none.
    let mut handful = few.clone();
    handful.steps[0].output["phases"][1]["requests"] = json!(3);
    assert_eq!(decided(&few, &handful), Decision::Undecided);
    assert_eq!(decided(&handful, &handful), Decision::NoRegression, "the load was measured before the fault");
    handful.steps[0].output["phases"][0]["requests"] = json!(3);
    assert_eq!(decided(&handful, &handful), Decision::Undecided, "nothing is known of the load");
}

#[test]
fn a_part_or_a_load_of_one_run_alone_is_named() {
    let mut short = busy(1.0);
    short.steps[0].output["phases"].as_array_mut().unwrap().pop();
    let comparison = short.compared_with(&busy(1.0)).unwrap();
    let missing = row(&comparison, Figure::Load, "traffic during deny");
    assert!(
        missing.sentence().ends_with("2000 requests → nothing: the new run has no request then"),
        "{}",
        missing.sentence()
    );
    assert_eq!(comparison.decision(&Limits::default()), Decision::Undecided);
    let mut other = busy(1.0);
    let name = "traffic: GET http://front.default/, 500/s for 10s";
    (other.steps[0].name, other.telemetry.loads[0].load) = (name.to_owned(), name.to_owned());
    let comparison = other.compared_with(&busy(1.0)).unwrap();
    assert_eq!(comparison.decision(&Limits::default()), Decision::Undecided);
    let told = comparison.to_text(None);
    assert!(told.contains("it is another load now") && !told.contains("p50"), "{told}");
    assert!(told.contains("step only of the new run: background traffic: GET http://front.default/, 500/s"), "{told}");
    let mut invalid = busy(1.0);
    invalid.steps[0].output["invalid"] = json!("it was late");
    let told = invalid.compared_with(&busy(1.0)).unwrap().to_text(None);
    assert!(told.contains("the load of the new run is no evidence: it was late"), "{told}");
}

#[test]
fn growth_is_worse_by_what_its_check_expects() {
    let with = |total: f64, expected: &str| {
        let mut journal = busy(1.0);
        let check = &mut journal.evaluations[1].checks[1];
        (check.evidence["total"], check.evidence["least"]) = (json!(total), json!(total));
        check.check = format!("growth of x: {expected}");
        journal
    };
    let of = |old: f64, new: f64, expected: &str| {
        let comparison = with(new, expected).compared_with(&with(old, expected)).unwrap();
        row(&comparison, Figure::Growth, "").clone()
    };
    assert_eq!(of(47.0, 200.0, "at most 0").meaning, Meaning::Worse);
    assert_eq!(of(47.0, 200.0, "at least 0").meaning, Meaning::Better);
    assert_eq!(of(47.0, 200.0, "between 0 and 9").meaning, Meaning::Changed);
    assert_eq!(of(47.0, 52.0, "at most 0").meaning, Meaning::WithinNoise);
    let first = of(0.0, 47.0, "at most 0");
    assert_eq!((&first.meaning, first.change), (&Meaning::Worse, None), "from nothing there is no share");
    assert!(first.is_regression(&"1000%".parse().unwrap()));
    let mut unknown = with(47.0, "at most 0");
    unknown.evaluations[1].checks[1].evidence["total"] = json!("NaN");
    let comparison = unknown.compared_with(&with(47.0, "at most 0")).unwrap();
    let told = row(&comparison, Figure::Growth, "").sentence();
    assert!(told.ends_with("what the new run shows is not a number"), "{told}");
    // As far as it is known is not what it was.
    let counted = &mut unknown.evaluations[1].checks[1];
    counted.evidence = json!({"known": {"total": 47.0}, "unknown": {"reason": "not-a-number", "what": "x"}});
    for (old, new, which) in
        [(with(47.0, "at most 0"), unknown.clone(), "new"), (unknown, with(47.0, "at most 0"), "old")]
    {
        let comparison = new.compared_with(&old).unwrap();
        let told = row(&comparison, Figure::Growth, "").sentence();
        assert!(told.ends_with(&format!("what the {which} run counted is not known")), "{told}");
        assert_eq!(comparison.decision(&Limits::default()), Decision::Undecided);
    }
}

/// lab4 with a gauge that swings by 1 around one level before the fault and around another from then on.
fn gauged(before: f64, later: f64, check: &str) -> Journal {
    let mut journal = sample();
    let window = journal.faults[0].window.requested;
    let fault = window.duration_since(journal.started).as_secs_f64();
    let mut series = journal.telemetry.series[0].clone();
    (series.query, series.counter, series.checks) = ("queue_length".into(), false, vec![check.into()]);
    series.samples = (-10..20_i32)
        .map(|at| {
            let level = if f64::from(at) < fault { before } else { later };
            (f64::from(at), Some(level + f64::from(at.rem_euclid(3)) - 1.0))
        })
        .collect();
    journal.telemetry.series.push(series);
    journal
}

#[test]
fn a_gauge_is_compared_by_its_medians_and_their_noise() {
    let expected = "value of queue_length: at most 100";
    let (old, new) = (gauged(5.0, 10.0, expected), gauged(5.5, 20.0, expected));
    let comparison = new.compared_with(&old).unwrap();
    let during = row(&comparison, Figure::Gauge, "queue_length during deny ingress");
    assert_eq!((&during.meaning, during.change), (&Meaning::Worse, Some(1.0)), "{during:?}");
    let Some(Shown::Number(reading)) = during.old else { panic!("{during:?}") };
    assert_eq!((reading.value, reading.low, reading.high), (10.0, 9.25, 10.75));
    let before = row(&comparison, Figure::Gauge, "queue_length before deny ingress");
    assert_eq!(before.meaning, Meaning::WithinNoise, "{before:?}");
    assert_eq!(comparison.decision(&"99%".parse().unwrap()), Decision::Regression);
    assert_eq!(comparison.decision(&"99%,gauge=100%".parse().unwrap()), Decision::NoRegression);
    // Of which nobody said what is worse is another one; too few samples say nothing, and keep no gate waiting.
    let between = "value of queue_length: between 1 and 100";
    let changed = gauged(5.0, 20.0, between).compared_with(&gauged(5.0, 10.0, between)).unwrap();
    assert_eq!(row(&changed, Figure::Gauge, "queue_length during").meaning, Meaning::Changed);
    let mut few = new.clone();
    few.telemetry.series[1].samples.retain(|(at, _)| *at < 13.0);
    let few = few.compared_with(&old).unwrap();
    let during = row(&few, Figure::Gauge, "queue_length during");
    assert!(
        matches!(&during.meaning, Meaning::Unknown { why, decides: false } if why.contains("too few: 3 samples")),
        "{during:?}"
    );
}

#[test]
fn time_to_recover_is_known_to_a_scrape() {
    let later = |millis: u64| {
        let mut journal = busy(1.0);
        let last = journal.evaluations.last_mut().unwrap();
        last.ended += std::time::Duration::from_millis(millis);
        journal
    };
    let of = |millis| later(millis).compared_with(&busy(1.0)).unwrap();
    assert_eq!(row(&of(1900), Figure::RecoveryTime, "").meaning, Meaning::WithinNoise);
    assert_eq!(row(&of(2100), Figure::RecoveryTime, "").meaning, Meaning::Worse);
    let mut unscraped = later(2100);
    unscraped.telemetry.series.clear();
    let comparison = unscraped.compared_with(&busy(1.0)).unwrap();
    assert!(row(&comparison, Figure::RecoveryTime, "").sentence().contains("nobody knows how exact it is"));
}

#[test]
fn other_experiments_are_refused_and_other_grounds_named() {
    let other = Journal { experiment: "another".to_owned(), ..sample() };
    let why = other.compared_with(&sample()).unwrap_err().to_string();
    assert!(why.contains("\"another\"") && why.contains("name a journal of the same one"), "{why}");
    let elsewhere = Journal { seed: Seed(7), cluster: "kind cluster \"x\"".to_owned(), ..busy(1.0) };
    let comparison = elsewhere.compared_with(&busy(1.0)).unwrap();
    assert_eq!(comparison.differences, ["seed: was 0, is 7", "cluster: was the embedded lab, is kind cluster \"x\""]);
    assert_eq!(comparison.decision(&Limits::default()), Decision::NoRegression);
    let real = Journal { time: Time::Real, ..busy(1.5) };
    assert_eq!(decided(&busy(1.0), &real), Decision::Undecided, "virtual latencies are not those of a machine");
}

#[test]
fn a_load_that_is_no_step_is_compared_by_its_stretches() {
    let drawn = |slower| {
        let mut journal = busy(slower);
        journal.steps[0].output = json!(null);
        // A stretch of half a second holds 100 requests.
        journal.telemetry.loads[0].rows.iter_mut().for_each(|row| row.counts[0] = 100);
        journal
    };
    let comparison = drawn(1.5).compared_with(&drawn(1.0)).unwrap();
    let slower = row(&comparison, Figure::P95, "during");
    assert_eq!(slower.meaning, Meaning::Worse, "{}", comparison.to_text(None));
    let tail = row(&comparison, Figure::P99, "during").sentence();
    assert!(tail.contains("too few: 100 requests in a stretch of time, and it takes 500"), "{tail}");
    assert_eq!(decided(&drawn(1.0), &drawn(1.0)), Decision::NoRegression);
}

#[test]
fn nothing_of_a_hostile_name_reaches_a_terminal() {
    let hostile = |mut journal: Journal| {
        let name = "\u{1b}[31m\u{202e}x\r\ny";
        journal.experiment = name.repeat(100);
        journal.run = name.to_owned();
        journal.faults[0].window.fault = name.to_owned();
        for phase in journal.steps[0].output["phases"].as_array_mut().unwrap() {
            phase["fault"] = json!(name);
        }
        journal.steps[0].name = name.to_owned();
        journal.evaluations[1].checks[1].check = format!("{name} | `a` | <b>: at most 0");
        journal.cluster = name.to_owned();
        journal
    };
    let new = Journal { cluster: "\u{9b}2J".to_owned(), ..hostile(busy(1.5)) };
    let comparison = new.compared_with(&hostile(busy(1.0))).unwrap();
    let told = comparison.to_text(Some(&Limits::default()));
    assert!(!told.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{told:?}");
    assert!(told.lines().all(|line| line.chars().count() < 1000), "{told}");
    let page = comparison.to_markdown(Some(&Limits::default()));
    assert!(!page.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{page:?}");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let cells = |row: &&str| row.matches(" | ").count();
    assert!(rows.len() > 2 && rows[1..].iter().all(|row| cells(row) == cells(&rows[1])), "{page}");
    serde_json::from_str::<serde_json::Value>(&comparison.to_json()).unwrap();
}

fn any_run() -> impl Strategy<Value = Journal> {
    let verdict =
        prop_oneof![Just(Verdict::Met), Just(Verdict::Deviated), Just(Verdict::Inconclusive), Just(Verdict::NotJudged)];
    let number = prop_oneof![4 => 0.0..1e4_f64, 1 => Just(0.0), 1 => Just(f64::NAN), 1 => Just(f64::MAX)];
    let parts = (number.clone(), number.clone(), number, 0_u64..3000, 0_u64..3000, 0_usize..3);
    (verdict.clone(), verdict, parts, any::<bool>()).prop_map(|(verdict, recovered, parts, cut)| {
        let (p50, stretch, total, requests, good, phases) = parts;
        let mut journal = Journal { verdict, recovered, ..busy(1.0) };
        let output = &mut journal.steps[0].output;
        let kept = output["phases"].as_array_mut().unwrap();
        kept.truncate(phases);
        for phase in kept {
            (phase["p50_ms"], phase["requests"]) = (json!(p50), json!(requests));
            phase["succeeded"] = json!(good.min(requests));
        }
        journal.telemetry.loads[0].rows[7].latencies_ms = Some([stretch; 4]);
        journal.telemetry.loads[0].rows.truncate(if cut { 3 } else { 99 });
        journal.evaluations[1].checks[1].evidence["total"] = json!(total);
        journal
    })
}

proptest! {
    #[test]
    fn a_run_is_no_regression_of_itself(run in any_run()) {
        let comparison = run.compared_with(&run).unwrap();
        prop_assert!(comparison.regressions(&Limits::default()).is_empty(), "{}", comparison.to_text(None));
        let changed = |row: &Row| matches!(row.meaning, Meaning::Better | Meaning::Worse | Meaning::Changed);
        prop_assert!(!comparison.rows.iter().any(changed), "{}", comparison.to_text(None));
    }

    #[test]
    fn better_one_way_round_is_worse_the_other(one in any_run(), two in any_run()) {
        let (there, back) = (two.compared_with(&one).unwrap(), one.compared_with(&two).unwrap());
        let opposite = |meaning: &Meaning| match meaning {
            Meaning::Worse => "better",
            Meaning::Better => "worse",
            Meaning::Changed => "changed",
            Meaning::Same => "same",
            Meaning::WithinNoise => "noise",
            Meaning::Unknown { .. } => "unknown",
        };
        let same = |meaning: &Meaning| match meaning {
            Meaning::Worse => "worse",
            Meaning::Better => "better",
            other => opposite(other),
        };
        let sorted = |comparison: &Comparison, word: &dyn Fn(&Meaning) -> &'static str| {
            let told = |row: &Row| (row.figure.name(), row.subject.clone(), word(&row.meaning));
            let mut all: Vec<_> = comparison.rows.iter().map(told).collect();
            all.sort();
            all
        };
        prop_assert_eq!(sorted(&there, &opposite), sorted(&back, &same));
        for row in &there.rows {
            let same = |other: &&Row| (other.figure, &other.subject) == (row.figure, &row.subject);
            let (one, other) = (row.noise, back.rows.iter().find(same).unwrap().noise);
            let near = |(one, other): (f64, f64)| (one - other).abs() <= one.abs() * 1e-9;
            prop_assert!(one.zip(other).is_none_or(near), "{one:?} {other:?} of {row:?}");
        }
        // Whatever is told is told.
        prop_assert!(!there.to_text(Some(&Limits::default())).contains("NaN %"));
        prop_assert!(serde_json::from_str::<serde_json::Value>(&there.to_json()).is_ok());
    }
}
