//! The plot of a recorded load.

use std::borrow::Cow;
use std::time::Duration;

use super::series::{Count, MOST_INTERVALS};
use super::{DOTS, Page, Phase, Series};
use crate::clock::Timestamp;
use crate::journal::FaultWindow;
use crate::load::recording::{Recording, Row};

/// The whole page.
pub(in crate::load) fn page(recording: &Recording, faults: &[FaultWindow]) -> String {
    let summary = recording.summary();
    let mut series = Series::new(&recording.name);
    if let Some(why) = &summary.invalid {
        series.warn(why);
    }
    series.fact("requests", summary.requests.to_string());
    series.fact("succeeded", summary.succeeded.to_string());
    series.fact("failed", (summary.requests - summary.succeeded).to_string());
    for (term, percent) in [("median", 50.0), ("95 %", 95.0), ("99 %", 99.0), ("longest", 100.0)] {
        series.fact(term, crate::page::scale::latency_label(super::series::nanos(recording.percentile(percent).0)));
    }
    for hit in &recording.drawn() {
        series.add(hit.intended, hit.latency(), &hit.outcome.name(), hit.outcome.is_success());
    }
    if !recording.is_complete() {
        let rows = recording.seconds.at_most(MOST_INTERVALS.into());
        series.count_by(rows.width, rows.rows.iter().map(figures));
    }
    for fault in faults {
        let at = |stamp: Timestamp| stamp.duration_since(recording.started).as_secs_f64();
        // From the request on: it bites at once, and is proved only a little later.
        let undone = fault.undone.or(fault.undo_requested);
        series.band(&fault.fault, at(fault.requested), undone.map(at));
    }
    for phase in phases(recording) {
        series.phase(phase);
    }
    let rate = if recording.rate > 0.0 { format!("{} requests a second, ", recording.rate) } else { String::new() };
    let note = format!("{rate}started {}", recording.started);
    let mut page = Page::new(&recording.name, DOTS).note(note);
    page.push(series);
    page.html()
}

/// How many requests of a row ended in each way, and their latencies.
fn figures(row: &Row) -> (Vec<Count<Cow<'static, str>>>, Option<[Duration; 4]>) {
    let outcomes = row.outcomes.iter().map(|(outcome, count)| (outcome.name(), outcome.is_success(), *count)).collect();
    let latencies = row.slowest.as_ref().map(|slowest| {
        let at = |part| row.quantile(part).min(slowest.latency());
        [at(0.5), at(0.9), at(0.99), slowest.latency()]
    });
    (outcomes, latencies)
}

/// Before the first fault, during each, and after the last: the requests by their intended instants.
fn phases(recording: &Recording) -> Vec<Phase> {
    let faults = &recording.faults;
    let Some(first) = faults.iter().map(|fault| recording.offset(fault.requested)).min() else { return Vec::new() };
    let undone = |fault: &FaultWindow| fault.undone.map(|stamp| recording.offset(stamp));
    let last = faults.iter().map(undone).try_fold(first, |last, undone| Some(last.max(undone?)));
    let mut phases = Vec::new();
    let mut add = |name: String, inside: &dyn Fn(Duration) -> bool| {
        let (stats, latencies) = recording.within(inside);
        if stats.requests() > 0 {
            phases.push(Phase { name, requests: stats.requests(), success: stats.success_ratio(), latencies });
        }
    };
    add("before".to_owned(), &|at| at < first);
    for fault in faults {
        let (from, to) = (recording.offset(fault.requested), undone(fault));
        add(format!("during {}", fault.fault), &|at| at >= from && to.is_none_or(|to| at < to));
    }
    add("after".to_owned(), &|at| last.is_some_and(|last| at >= last));
    phases
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    use crate::load::recording::{Hit, Outcome};

    #[test]
    fn all_requests_count_where_some_are_drawn() {
        let hit = |number: u64| Hit {
            number,
            intended: Duration::from_micros(number * 200),
            sent: Duration::from_micros(number * 200),
            first_byte: Duration::from_micros(number * 200 + 500),
            done: Duration::from_micros(number * 200 + if number % 1000 == 7 { 50_000 } else { 1000 }),
            outcome: Outcome::Status(if number.is_multiple_of(4) { 500 } else { 200 }),
            bytes: 0,
            bytes_out: 0,
        };
        let hits: Vec<_> = (0..50_000).map(hit).collect();
        let recording = Recording::with_faults("n", &hits, &[]);
        assert!(!recording.is_complete() && recording.drawn().len() < 20_000, "a sample is drawn");
        let page = page(&recording, &[]);
        for told in ["200: 37500", "500: 12500", r#""p":["1.02 ms""#] {
            assert!(page.contains(told), "{told} is not in {page}");
        }
        assert_eq!(page.matches(r#""n":5000"#).count(), 10, "each second has all of its requests");
    }

    #[test]
    fn a_request_belongs_to_the_phase_of_its_intended_instant() {
        let started = Timestamp::UNIX_EPOCH;
        let hit = |number: u64| Hit {
            number,
            intended: Duration::from_secs(number),
            sent: Duration::from_secs(number),
            first_byte: Duration::from_secs(number + 5),
            done: Duration::from_secs(number + 5),
            outcome: Outcome::Status(if number == 4 { 500 } else { 200 }),
            bytes: 0,
            bytes_out: 0,
        };
        let hits: Vec<_> = (0..10).map(hit).collect();
        let at = |seconds: i64| started + SignedDuration::from_secs(seconds);
        let window = FaultWindow {
            fault: "deny".into(),
            requested: at(4),
            effective: None,
            undo_requested: Some(at(6)),
            undone: Some(at(7)),
        };
        let rows = |faults: &[FaultWindow]| -> Vec<(String, u64, f64)> {
            let recording = Recording::with_faults("n", &hits, faults);
            phases(&recording).into_iter().map(|phase| (phase.name, phase.requests, phase.success)).collect()
        };
        let row = |name: &str, requests, success| (name.to_owned(), requests, success);
        assert_eq!(
            rows(std::slice::from_ref(&window)),
            [row("before", 4, 1.0), row("during deny", 3, 2.0 / 3.0), row("after", 3, 1.0)]
        );
        let open = FaultWindow { undo_requested: None, undone: None, ..window };
        assert_eq!(rows(&[open]), [row("before", 4, 1.0), row("during deny", 6, 5.0 / 6.0)], "it is still on");
        assert!(rows(&[]).is_empty());
    }
}
