//! Key numbers of a run: its loads before, during and after the faults, and how long it took until somebody saw them.

use std::time::Duration;

use serde_json::Value;

use super::sentence::last_undo;
use crate::clock::Timestamp;
use crate::journal::{EventKind, FaultRecord, FaultWindow, Journal, LoadSeries, Verdict};

/// The parts of a load, seen from a fault, in their order.
pub(super) const PARTS: [&str; 3] = ["before", "during", "after"];

/// The key numbers of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// The loads, each once for each fault that it saw; one that saw none, once.
    pub loads: Vec<LoadNumbers>,
    /// The faults, in the order of their injection.
    pub faults: Vec<FaultTimes>,
    /// The seconds between two samples of the series, the shortest and the longest, as far as known: nothing that they
    /// show is more exact.
    pub scrape_seconds: Option<(f64, f64)>,
}

/// One load, before, during and after one fault.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadNumbers {
    /// The load's name.
    pub load: String,
    /// The fault; `None` where the load saw none, then there is one part.
    pub fault: Option<String>,
    /// The parts in which requests were intended, in the order of time.
    pub parts: Vec<PartNumbers>,
    /// Why the load is no evidence, if it did not keep its plan.
    pub invalid: Option<String>,
}

/// One part of a load. Latencies count from the intended instants.
#[derive(Clone, Debug, PartialEq)]
pub struct PartNumbers {
    /// `before`, `during`, `after`, or `whole`.
    pub part: String,
    /// Requests.
    pub requests: u64,
    /// Requests a second, where the journal holds the load over time.
    pub per_second: Option<f64>,
    /// The share of good answers, from 0 to 1.
    pub success: f64,
    /// Median, 95 %, 99 % and the longest latency in milliseconds.
    pub latencies_ms: [Option<f64>; 4],
    /// How many did not end in a good answer, by how they ended, the most frequent first.
    pub errors: Vec<(String, u64)>,
}

/// When things happened to one fault, as far as the journal shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultTimes {
    /// The fault.
    pub fault: String,
    /// From the request to the proof of its effect.
    pub until_effective: Option<Duration>,
    /// How long it was on, from its effect to the request of its undo.
    pub on: Option<Duration>,
    /// From the request of the undo to its proof.
    pub until_undone: Option<Duration>,
    /// From its effect to the first check that failed under it.
    pub until_failed_check: Option<Duration>,
    /// From its effect to the stretch of a load in which the first request failed, and the seconds of such a stretch.
    pub until_failed_request: Option<(Duration, f64)>,
}

impl Journal {
    /// The key numbers.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let intervals = self.telemetry.series.iter().filter_map(|series| series.interval).filter(|i| i.is_finite());
        let scrape_seconds = intervals.fold(None, |range: Option<(f64, f64)>, interval| {
            let (least, most) = range.unwrap_or((interval, interval));
            Some((least.min(interval), most.max(interval)))
        });
        Numbers { loads: self.loads(), faults: self.fault_times(), scrape_seconds }
    }

    /// From the undo of the last fault to the end of the judgement that found that the hypothesis held again: at the most
    /// so long did it take to recover. `None` where it did not, or was not judged.
    #[must_use]
    pub fn recovered_within(&self) -> Option<Duration> {
        let last = self.evaluations.iter().rfind(|evaluation| evaluation.phase == "after the rollback")?;
        let held = self.recovered == Verdict::Met && last.verdict == Verdict::Met;
        since(last_undo(&self.faults, last.started)?, last.ended).filter(|_| held)
    }

    fn loads(&self) -> Vec<LoadNumbers> {
        let mut all = Vec::new();
        let steps = self.steps.iter().map(|step| {
            let series = self.telemetry.loads.iter().find(|series| is_of(&series.load, &step.name));
            (series.map_or(&step.name, |series| &series.load).clone(), &step.output, series)
        });
        // An attack of a document is no step of its own.
        let beside = self.telemetry.loads.iter().map(|series| (series.load.clone(), &series.figures, Some(series)));
        for (load, figures, series) in steps.chain(beside).filter(|(_, figures, _)| figures["outcomes"].is_object()) {
            let invalid = figures["invalid"].as_str().map(str::to_owned);
            let empty = Vec::new();
            let phases = figures["phases"].as_array().unwrap_or(&empty);
            if phases.is_empty() {
                let whole = PartNumbers::read("whole", figures, series, &|_| true);
                all.push(LoadNumbers { load, fault: None, parts: vec![whole], invalid });
                continue;
            }
            let first = all.len();
            for windows in phases.chunk_by(follows) {
                let fault = windows[0]["fault"].as_str().unwrap_or_default();
                // Of two faults of one name the second window is the second record.
                let earlier = all[first..].iter().filter(|l: &&LoadNumbers| l.fault.as_deref() == Some(fault));
                let record = self.faults.iter().filter(|record| record.window.fault == fault).nth(earlier.count());
                let parts = windows.iter().map(|phase| {
                    let name = phase["phase"].as_str().unwrap_or_default();
                    let inside = |at| record.is_some_and(|record| part(&record.window, at) == name);
                    PartNumbers::read(name, phase, series, &inside)
                });
                let (parts, fault) = (parts.collect(), Some(fault.to_owned()));
                all.push(LoadNumbers { load: load.clone(), fault, parts, invalid: invalid.clone() });
            }
        }
        all
    }

    fn fault_times(&self) -> Vec<FaultTimes> {
        let times = |fault: &FaultRecord| {
            let window = &fault.window;
            let span = |from: Option<Timestamp>, to: Option<Timestamp>| since(from?, to?);
            FaultTimes {
                fault: window.fault.clone(),
                until_effective: span(Some(window.requested), window.effective),
                on: span(window.effective, window.undo_requested.or(window.undone)),
                until_undone: span(window.undo_requested, window.undone),
                until_failed_check: self.first_failed_check(fault),
                until_failed_request: self.first_failed_request(fault),
            }
        };
        self.faults.iter().map(times).collect()
    }

    fn first_failed_check(&self, fault: &FaultRecord) -> Option<Duration> {
        let (on, off) = (fault.window.effective?, fault.window.undone.unwrap_or(self.finished));
        // One that ended before the fault came says nothing of it: it is not looked for among the events.
        let judged = self.judged().filter(|evaluation| evaluation.ended >= on);
        let missed = judged.flat_map(|e| e.checks.iter().map(move |check| (e, check)));
        let mut missed = missed.filter(|(_, check)| check.outcome == "not-met").map(|(evaluation, check)| {
            let event = self.events.iter().find(|event| {
                event.kind == EventKind::CheckJudged
                    && (evaluation.started..=evaluation.ended).contains(&event.at)
                    && (&event.subject, &event.detail) == (&check.check, &check.phrase)
            });
            event.map_or(evaluation.ended, |event| event.at)
        });
        missed.find(|at| (on..=off).contains(at)).and_then(|at| since(on, at))
    }

    fn first_failed_request(&self, fault: &FaultRecord) -> Option<(Duration, f64)> {
        let (on, off) = (fault.window.effective?, fault.window.undone.unwrap_or(self.finished));
        let failed = self.telemetry.loads.iter().filter_map(|series| {
            let bad = |counts: &[u64]| counts.iter().zip(&series.outcomes).any(|(n, o)| *n > 0 && !o.success);
            // The stretch in which the effect came holds requests of before, too.
            let mut rows = stretches(series).filter(|(at, _)| (on..=off).contains(at));
            rows.find(|(_, row)| bad(&row.counts)).map(|(at, _)| (at, series.width))
        });
        let (at, width) = failed.min_by(|one, other| one.0.cmp(&other.0))?;
        Some((since(on, at)?, width))
    }
}

impl PartNumbers {
    fn read(part: &str, figures: &Value, series: Option<&LoadSeries>, inside: &dyn Fn(Timestamp) -> bool) -> Self {
        let count = |key: &str| figures[key].as_u64().unwrap_or(0);
        let (requests, succeeded) = (count("requests"), count("succeeded"));
        #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
        let success = if requests == 0 { 0.0 } else { succeeded as f64 / requests as f64 };
        let outcomes = figures["outcomes"].as_object().into_iter().flatten();
        let good = |name: &str| match series.and_then(|s| s.outcomes.iter().find(|outcome| outcome.name == name)) {
            Some(outcome) => outcome.success,
            None => name.parse::<u16>().is_ok_and(|status| status < 400),
        };
        let errors = outcomes.filter(|(name, _)| !good(name));
        let mut errors: Vec<_> = errors.map(|(name, n)| (name.clone(), n.as_u64().unwrap_or(0))).collect();
        errors.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        let latencies_ms = ["p50_ms", "p95_ms", "p99_ms", "max_ms"].map(|key| figures[key].as_f64());
        let per_second = series.and_then(|series| rate(series, inside));
        Self { part: part.to_owned(), requests, per_second, success, latencies_ms, errors }
    }

    /// The 99 % latency against the one of another part, as a factor.
    #[must_use]
    pub fn p99_against(&self, other: &Self) -> Option<f64> {
        let (mine, theirs) = (self.latencies_ms[2]?, other.latencies_ms[2]?);
        (theirs > 0.0).then_some(mine / theirs)
    }
}

/// Whether a step of this name ran the load.
fn is_of(load: &str, step: &str) -> bool {
    step.strip_prefix(load).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

/// Whether a part belongs to the same window as the one before it.
fn follows(one: &Value, other: &Value) -> bool {
    let place = |phase: &Value| PARTS.iter().position(|part| phase["phase"] == **part);
    one["fault"] == other["fault"] && place(one) < place(other)
}

/// Where an instant lies, seen from a fault, as the load counts it.
pub(super) fn part(window: &FaultWindow, at: Timestamp) -> &'static str {
    if at < window.requested {
        PARTS[0]
    } else if window.undone.is_some_and(|undone| undone <= at) {
        PARTS[2]
    } else {
        PARTS[1]
    }
}

/// The stretches of a load, each with its begin.
pub(super) fn stretches(series: &LoadSeries) -> impl Iterator<Item = (Timestamp, &crate::journal::LoadRow)> {
    series.rows.iter().enumerate().filter_map(|(number, row)| {
        #[expect(clippy::cast_precision_loss, reason = "there are a thousand")]
        let offset = Duration::try_from_secs_f64(series.width * number as f64).ok()?;
        Some((series.started.checked_add(offset).ok()?, row))
    })
}

/// Requests a second of the stretches that lie wholly inside.
fn rate(series: &LoadSeries, inside: &dyn Fn(Timestamp) -> bool) -> Option<f64> {
    let end = |at: Timestamp| at.checked_add(Duration::try_from_secs_f64(series.width).ok()?).ok();
    // The last stretch is rarely whole.
    let whole = stretches(series).take(series.rows.len().saturating_sub(1).max(1));
    let whole = whole.filter(|(at, _)| inside(*at) && end(*at).is_some_and(inside));
    let (count, requests) = whole.fold((0_u32, 0_u64), |(count, requests), (_, row)| {
        (count + 1, row.counts.iter().fold(requests, |sum, more| sum.saturating_add(*more)))
    });
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    (count > 0 && series.width > 0.0).then(|| requests as f64 / (f64::from(count) * series.width))
}

fn since(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

/// A share in per cent with two digits, or with as many as it takes not to be told as none or all of what it is not.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let away = value.abs().min((100.0 - value).abs());
    let digits = (2..=9_u8).find(|digits| away == 0.0 || away * 10_f64.powi(i32::from(*digits)) >= 1.0).unwrap_or(9);
    let text = format!("{value:.0$}", usize::from(digits));
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_share_is_told_as_all_or_none_only_if_it_is() {
        let told = [1.0, 0.0, 0.5, 0.994, 0.99999, 1e-7, 1.0 - 1e-7].map(percent);
        assert_eq!(told, ["100 %", "0 %", "50 %", "99.4 %", "99.999 %", "0.00001 %", "99.99999 %"]);
    }

    #[test]
    fn a_load_is_told_before_and_during_its_fault() {
        let numbers = sample().numbers();
        let [load] = &numbers.loads[..] else { panic!("one load and one fault: {numbers:?}") };
        assert_eq!(
            (load.load.as_str(), load.fault.as_deref()),
            ("traffic", Some("deny ingress to pods app=back in default"))
        );
        let [before, during] = &load.parts[..] else { panic!("it ended before the fault: {load:?}") };
        assert_eq!((before.part.as_str(), before.requests, before.per_second), ("before", 53, Some(10.0)));
        assert_eq!((during.part.as_str(), during.requests, during.per_second), ("during", 47, Some(10.0)));
        assert_eq!(during.latencies_ms, [Some(1001.0); 4]);
        assert!(during.success >= 1.0 && during.errors.is_empty(), "{during:?}");
        assert_eq!(during.p99_against(before).map(f64::round), Some(334.0));
        assert_eq!(numbers.scrape_seconds, Some((2.0, 2.0)));
    }

    #[test]
    fn a_rate_is_that_of_the_stretches_wholly_in_a_part() {
        let mut journal = sample();
        let rows = &mut journal.telemetry.loads[0].rows;
        rows[11..].iter_mut().for_each(|row| row.counts = vec![3]);
        // The fault was requested in this one.
        rows[10].counts = vec![1000];
        let rates: Vec<_> = journal.numbers().loads[0].parts.iter().map(|part| part.per_second).collect();
        assert_eq!(rates, [Some(10.0), Some(6.0)]);
        let window = &journal.faults[0].window;
        let undone = window.undone.expect("it was undone");
        let just = std::time::Duration::from_nanos(1);
        let parts = [window.requested - just, window.requested, undone - just, undone].map(|at| part(window, at));
        assert_eq!(parts, ["before", "during", "during", "after"]);
    }

    #[test]
    fn instants_of_a_fault_are_told_apart() {
        let journal = sample();
        let [fault] = &journal.numbers().faults[..] else { panic!("one fault") };
        let millis = |span: Option<Duration>| span.map(|span| span.as_millis());
        assert_eq!(millis(fault.until_effective), Some(2250));
        assert_eq!(millis(fault.on), Some(10_007));
        assert_eq!(millis(fault.until_undone), Some(1000));
        assert_eq!(millis(fault.until_failed_check), Some(7757));
        assert_eq!(fault.until_failed_request, None, "front answers 200 whatever happens");
        assert_eq!(millis(journal.recovered_within()), Some(3478));
    }

    #[test]
    fn the_first_failed_request_is_known_to_a_stretch_of_the_load() {
        let mut journal = sample();
        let load = &mut journal.telemetry.loads[0];
        load.outcomes.push(crate::journal::LoadOutcome { name: "503".into(), success: false });
        load.rows.iter_mut().for_each(|row| row.counts.push(0));
        load.rows[2].counts[1] = 1;
        load.rows[17].counts[1] = 1;
        let found = journal.numbers().faults[0].until_failed_request;
        assert_eq!(found, Some((Duration::from_millis(1000), 0.5)), "what failed before the fault is not its doing");
    }

    #[test]
    fn two_windows_of_one_fault_are_two_rows_and_errors_are_the_most_frequent_first() {
        let mut journal = sample();
        let phases = journal.steps[0].output["phases"].as_array_mut().expect("phases");
        let mut again = phases.clone();
        again[1]["outcomes"] = serde_json::json!({"200": 1, "503": 2, "time-out": 7, "302": 3});
        again[1]["succeeded"] = serde_json::json!(4);
        phases.extend(again);
        journal.faults.push(journal.faults[0].clone());
        let numbers = journal.numbers();
        assert_eq!(numbers.loads.len(), 2, "{numbers:?}");
        assert_eq!(numbers.loads[1].parts[1].errors, [("time-out".to_owned(), 7), ("503".to_owned(), 2)]);
    }

    #[test]
    fn what_is_not_in_the_journal_is_not_told() {
        let mut journal = sample();
        journal.telemetry = crate::journal::Telemetry::default();
        journal.evaluations.clear();
        journal.faults[0].window.effective = None;
        let numbers = journal.numbers();
        assert_eq!(numbers.loads[0].parts[0].per_second, None);
        assert_eq!((numbers.faults[0].on, numbers.faults[0].until_failed_check), (None, None));
        assert_eq!((numbers.scrape_seconds, journal.recovered_within()), (None, None));
    }
}
