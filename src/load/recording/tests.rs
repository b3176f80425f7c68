//! Recordings as a whole: parts add up, and what is no evidence says so.

use proptest::prelude::*;

use super::*;
use crate::experiment::Faults;

fn hit(number: u64, intended: u64, late: u64, took: u64, outcome: Outcome) -> Hit {
    let at = Duration::from_micros;
    Hit {
        number,
        intended: at(intended),
        sent: at(intended + late),
        first_byte: at(intended + late + took / 2),
        done: at(intended + late + took),
        outcome,
        bytes: took % 100,
        bytes_out: 3,
    }
}

fn recorder(planned: Option<u64>, faults: &Faults) -> Recorder {
    Recorder::new("x".into(), Timestamp::UNIX_EPOCH, 1000.0, planned, Duration::from_secs(60), Some(faults.clone()))
}

fn outcome(kind: u8) -> Outcome {
    match kind {
        0 => Outcome::Status(503),
        1 => Outcome::NoAnswer(Class::Reset),
        2 => Outcome::NoAnswer(Class::TimeOut),
        _ => Outcome::Status(200),
    }
}

/// A fault that is on from one instant to another, in microseconds of the load.
fn published(from: u64, to: u64) -> Faults {
    let at = |micros: u64| Timestamp::UNIX_EPOCH + Duration::from_micros(micros);
    let window = FaultWindow {
        fault: "cut".into(),
        requested: at(from),
        effective: None,
        undo_requested: Some(at(to)),
        undone: Some(at(to)),
    };
    Faults::of(vec![window])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shares_merge_into_exactly_the_whole(
        ends in proptest::collection::vec((0_u64..300, 0_u64..2_000_000, 0_u8..9), 1..400),
        n in 1_u64..6,
        (from, length) in (0_u64..400_000, 0_u64..400_000),
    ) {
        let faults = published(from, from + length);
        let hits: Vec<_> = (0_u64..).zip(&ends).map(|(number, (late, took, kind))| {
            hit(number, number * 1000, *late, *took, outcome(*kind))
        }).collect();
        let record = |k: u64, n: u64| {
            let mine = || hits.iter().filter(|hit| hit.number % n == k);
            let mut recorder = recorder(Some(mine().count() as u64), &faults);
            // They end in another order than they are sent.
            let mut ended: Vec<_> = mine().collect();
            ended.sort_by_key(|hit| hit.done);
            for hit in ended {
                recorder.woke(hit.lateness());
                let text = format!("error {}", hit.number);
                recorder.record(hit, (!hit.outcome.is_success()).then_some(text.as_str()));
            }
            recorder.finish()
        };
        let whole = record(0, 1);
        // As from other processes: what is merged was stored and read.
        let stored = |k| serde_json::from_str::<Recording>(&serde_json::to_string(&record(k, n)).unwrap()).unwrap();
        let mut merged = stored(n - 1);
        for k in 0..n - 1 {
            merged.merge(&stored(k)).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.summary(), whole.summary());

        let phases = &whole.phases()[0];
        let counted = |from: u64, to: u64| hits.iter().filter(|hit| (from..to).contains(&(hit.number * 1000))).count();
        let during = counted(from, from + length);
        prop_assert_eq!(phases.before.requests(), counted(0, from) as u64);
        prop_assert_eq!(phases.during.requests(), during as u64);
        prop_assert_eq!(phases.after.requests(), counted(from + length, u64::MAX) as u64);
    }
}

#[test]
fn a_long_load_keeps_an_even_part_and_each_extreme() {
    let faults = Faults::default();
    let mut recorder = recorder(Some(50_000), &faults);
    for number in 0..50_000 {
        recorder
            .record(&hit(number, number * 1000, 0, if number == 33_333 { 9_000_000 } else { 1000 }, outcome(9)), None);
    }
    let recording = recorder.finish();
    assert!(!recording.is_complete() && recording.hits.len() == KEPT);
    let late_half = recording.hits.iter().filter(|hit| hit.number >= 25_000).count();
    assert!((KEPT / 2 - 300..KEPT / 2 + 300).contains(&late_half), "{late_half}");
    assert!(recording.drawn().iter().any(|hit| hit.number == 33_333));
    assert_eq!(recording.summary().max_ms, 9000.0);
    assert!((0.99..1.01).contains(&recording.summary().p50_ms));
}

#[test]
fn a_fault_that_was_on_twice_counts_twice() {
    let at = |seconds: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
    let window = |from, to| crate::journal::FaultWindow {
        fault: "deny".into(),
        requested: at(from),
        effective: None,
        undo_requested: None,
        undone: Some(at(to)),
    };
    let hits: Vec<_> = (0..10).map(|number| hit(number, number * 1_000_000, 0, 1000, Outcome::Status(200))).collect();
    let recording = Recording::with_faults("x", &hits, &[window(2, 4), window(5, 8)]);
    let of = |part| recording.stats_in("deny", part).map(|stats| stats.requests());
    assert_eq!([PhasePart::Before, PhasePart::During, PhasePart::After].map(of), [Some(2), Some(5), Some(2)]);
    assert_eq!(recording.stats_in("rain", PhasePart::During), None);
}

#[test]
fn a_generator_that_did_not_keep_its_plan_is_no_evidence() {
    let faults = Faults::default();
    let recording = |late: u64, planned: u64, woke: u64, not_sent: u64| {
        let mut recorder = recorder(Some(planned), &faults);
        recorder.woke(Duration::from_millis(woke));
        (0..not_sent).for_each(|_| recorder.not_sent());
        recorder.record(&hit(0, 0, late * 1000, 10_000, Outcome::Status(200)), None);
        recorder.finish()
    };
    assert_eq!(recording(5, 1, 0, 0).invalid(), None);
    assert_eq!(recording(200, 1, 0, 0).percentile(50.0).0, Duration::from_millis(210), "from the intended instant");
    for (recording, why) in [
        (recording(200, 1, 0, 0), "free connection"),
        (recording(200, 1, 200, 0), "more processor"),
        (recording(0, 2, 0, 0), "1 of 2"),
        (recording(0, 2, 0, 1), "1 of 2 requests were not sent"),
    ] {
        let told = recording.invalid().expect("it is invalid");
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn parts_of_different_loads_do_not_merge() {
    let faults = published(5000, 9000);
    let with = |faults: &Faults| {
        let mut recorder = recorder(Some(10), faults);
        (0..10).for_each(|number| recorder.record(&hit(number, number * 1000, 0, 0, outcome(9)), None));
        recorder.finish()
    };
    let (knows, unaware) = (with(&faults), with(&Faults::default()));
    let error = knows.clone().merge(&unaware).unwrap_err().to_string();
    assert!(error.contains("5ms after the start"), "{error}");
    let mut other = knows.clone();
    other.name = "y".into();
    assert!(knows.clone().merge(&other).is_err());
    other.name = "x".into();
    other.rate = 1.0;
    assert!(knows.clone().merge(&other).is_err());
}
