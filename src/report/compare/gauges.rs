//! What two runs have of gauges: the median before, during and after each fault, and how far they spread of themselves.

use std::collections::BTreeMap;

use super::figures::{aside, direction};
use super::noise::{self, Reading, Worse};
use super::{Figure, Row, Shown};
use crate::journal::{FaultWindow, Journal, MetricSeries};
use crate::report::numbers::{PARTS, part};

/// The query, the fault if there was one, which of equal ones, and the part by its place.
type Key = (String, Option<String>, usize, usize);

/// All samples of a query's series in one part of a run, and which way is worse.
struct Part {
    values: Vec<f64>,
    worse: Worse,
}

pub(super) fn rows(old: &Journal, new: &Journal) -> Vec<Row> {
    let (was, is) = (parts(old), parts(new));
    let mut rows = Vec::new();
    for (key, old) in &was {
        let Some(new) = is.get(key) else { continue };
        let subject = subject(key);
        let readings = [old, new].map(reading);
        let [Some(old_reading), Some(new_reading)] = readings else {
            let fewest = old.values.len().min(new.values.len());
            let shown = readings.map(|reading| reading.map(Shown::Number));
            let [old_shown, new_shown] = shown;
            let why = format!("too few: {fewest} samples, and it takes {}", noise::STRETCHES);
            rows.push(aside(Row::unknown(Figure::Gauge, &subject, (old_shown, new_shown), why)));
            continue;
        };
        // Two runs that expect different things of it say nothing of what is worse.
        let worse = if old.worse == new.worse { old.worse } else { Worse::Unsaid };
        rows.push(noise::row(Figure::Gauge, &subject, old_reading, new_reading, worse));
    }
    rows
}

/// The median, and the middle half of the samples around it.
fn reading(part: &Part) -> Option<Reading> {
    let median = noise::median(&part.values)?;
    let of = Some(part.values.len() as u64);
    Some(Reading { of, ..Reading::exact(median).spread(part.values.clone()) })
}

fn subject((query, fault, number, place): &Key) -> String {
    let again = if *number > 0 { format!(", time {}", number + 1) } else { String::new() };
    match (fault, PARTS.get(*place)) {
        (Some(fault), Some(part)) => format!("{query} {part} {fault}{again}"),
        _ => query.clone(),
    }
}

fn parts(journal: &Journal) -> BTreeMap<Key, Part> {
    let mut all: BTreeMap<Key, Part> = BTreeMap::new();
    // What no check looks at is in no journal; alerts are words.
    let gauge =
        |series: &&MetricSeries| !series.counter && series.labels.get("__name__").is_none_or(|name| name != "ALERTS");
    for series in journal.telemetry.series.iter().filter(gauge) {
        let worse = worse(series);
        let mut add = |key: Key, value: f64| {
            let part = all.entry(key).or_insert(Part { values: Vec::new(), worse });
            part.values.push(value);
            if part.worse != worse {
                part.worse = Worse::Unsaid;
            }
        };
        let values = series.samples.iter().filter_map(|(at, value)| Some((*at, value.filter(|v| v.is_finite())?)));
        for (at, value) in values {
            if journal.faults.is_empty() {
                add((series.query.clone(), None, 0, PARTS.len()), value);
            }
            for (number, fault) in journal.faults.iter().enumerate() {
                let name = &fault.window.fault;
                let again = journal.faults[..number].iter().filter(|other| other.window.fault == *name).count();
                if let Some(place) = place(journal, &fault.window, at) {
                    add((series.query.clone(), Some(name.clone()), again, place), value);
                }
            }
        }
    }
    all
}

/// The part of a sample so many seconds after the run's start.
fn place(journal: &Journal, window: &FaultWindow, at: f64) -> Option<usize> {
    let after = jiff::SignedDuration::try_from_secs_f64(at).ok()?;
    let at = journal.started.checked_add(after).ok()?;
    PARTS.iter().position(|name| *name == part(window, at))
}

/// What is worse, where all checks that look at it say the same.
fn worse(series: &MetricSeries) -> Worse {
    let mut all = series.checks.iter().map(|check| direction(check));
    let first = all.next().unwrap_or(Worse::Unsaid);
    if all.all(|other| other == first) { first } else { Worse::Unsaid }
}
