//! What two runs measured: their loads by parts, the time to recover, what their checks counted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::noise::{self, Reading, Worse};
use super::{Figure, Meaning, Row, Shown};
use crate::journal::{CheckRecord, Journal, LoadRow, LoadSeries};
use crate::report::numbers::{LoadNumbers, PARTS, part, stretches};

/// The percentiles of a load, with their place among those that are kept.
const PERCENTILES: [(Figure, f64); 3] = [(Figure::P50, 0.5), (Figure::P95, 0.95), (Figure::P99, 0.99)];

pub(super) fn rows(old: &Journal, new: &Journal) -> Vec<Row> {
    let mut rows = recovery(old, new);
    rows.extend(loads(old, new));
    rows.extend(counted(old, new));
    rows.extend(super::gauges::rows(old, new));
    if old.time != new.time {
        let why = "one run was in virtual time and the other in real time";
        for row in rows.iter_mut().filter(|row| !matches!(row.meaning, Meaning::Unknown { .. })) {
            row.meaning = Meaning::Unknown { why: why.to_owned(), decides: true };
        }
    }
    rows
}

/// What cannot be compared, and no gate waits for.
pub(super) fn aside(row: Row) -> Row {
    let meaning = match row.meaning {
        Meaning::Unknown { why, .. } => Meaning::Unknown { why, decides: false },
        known => known,
    };
    Row { meaning, ..row }
}

/// That it held again was seen at some look; since when it did, at the next scrape at the earliest.
fn recovery(old: &Journal, new: &Journal) -> Vec<Row> {
    let figure = Figure::RecoveryTime;
    let seen = [old, new].map(|journal| journal.recovered_within().map(|within| within.as_secs_f64()));
    let shown = seen.map(|seconds| seconds.map(|seconds| Shown::Number(Reading::exact(seconds))));
    let [Some(was), Some(is)] = seen else {
        let [was, is] = shown;
        if was.is_none() && is.is_none() {
            return Vec::new();
        }
        // Whether it recovered at all is told by a row of its own.
        let which = if was.is_none() { "old" } else { "new" };
        return vec![aside(Row::unknown(figure, "", (was, is), format!("the {which} run has none")))];
    };
    let intervals = [old, new].map(|journal| journal.numbers().scrape_seconds.map(|(_, most)| most));
    let [Some(coarse), Some(coarser)] = intervals else {
        let [was, is] = shown;
        let why = "nobody knows how exact it is: a run has no scrape interval".to_owned();
        return vec![aside(Row::unknown(figure, "", (was, is), why))];
    };
    let reading = |seconds: f64, interval: f64| Reading::exact(seconds).reaching(seconds - interval, seconds);
    vec![noise::row(figure, "", reading(was, coarse), reading(is, coarser), Worse::Greater)]
}

/// A part of a load, seen from a fault, in one run.
struct Part<'a> {
    requests: u64,
    success: f64,
    /// Of all its requests, where the journal holds them.
    latencies: Option<[f64; 4]>,
    per_second: Option<f64>,
    stretches: Vec<&'a LoadRow>,
    outcomes: Option<&'a LoadSeries>,
    invalid: Option<String>,
}

/// The load, the fault if it saw one, which of equal ones, and the part by its place.
type Key = (String, Option<String>, usize, usize);

fn parts(journal: &Journal) -> BTreeMap<Key, Part<'_>> {
    let mut all = BTreeMap::new();
    let numbers = journal.numbers().loads;
    for load in &numbers {
        let series = journal.telemetry.loads.iter().find(|series| series.load == load.load);
        let same = |other: &&LoadNumbers| (&other.load, &other.fault) == (&load.load, &load.fault);
        let number = numbers.iter().take_while(|other| !std::ptr::eq(*other, load)).filter(same).count();
        for figures in &load.parts {
            let place = PARTS.iter().position(|part| *part == figures.part).unwrap_or(PARTS.len());
            let latencies = figures.latencies_ms;
            let [Some(p50), Some(p95), Some(p99), Some(most)] = latencies else { continue };
            let known = Part {
                requests: figures.requests,
                success: figures.success,
                latencies: Some([p50, p95, p99, most]),
                per_second: figures.per_second,
                stretches: series
                    .map_or_else(Vec::new, |one| inside(journal, one, load.fault.as_deref(), number, place)),
                outcomes: series,
                invalid: load.invalid.clone(),
            };
            all.insert((load.load.clone(), load.fault.clone(), number, place), known);
        }
    }
    // A load that is no step of its own, as an attack of a document, is known by its stretches alone.
    for series in journal.telemetry.loads.iter().filter(|series| numbers.iter().all(|load| load.load != series.load)) {
        drawn(journal, series, &mut all);
    }
    all
}

fn drawn<'a>(journal: &'a Journal, series: &'a LoadSeries, all: &mut BTreeMap<Key, Part<'a>>) {
    let faults = journal.faults.iter().enumerate().map(|(at, fault)| {
        let name = &fault.window.fault;
        let number = journal.faults[..at].iter().filter(|other| other.window.fault == *name).count();
        (Some(name.clone()), number)
    });
    let seen: Vec<_> = if journal.faults.is_empty() { vec![(None, 0)] } else { faults.collect() };
    for (fault, number) in seen {
        let places = if fault.is_some() { 0..PARTS.len() } else { PARTS.len()..PARTS.len() + 1 };
        for place in places {
            let stretches = inside(journal, series, fault.as_deref(), number, place);
            let counts = || stretches.iter().map(|row| counted_in(series, row));
            let requests: u64 = counts().map(|(all, _)| all).sum();
            if requests == 0 {
                continue;
            }
            let good: u64 = counts().map(|(_, good)| good).sum();
            #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
            let (per_second, success) = (
                (series.width > 0.0).then(|| requests as f64 / (stretches.len() as f64 * series.width)),
                good as f64 / requests as f64,
            );
            let outcomes = Some(series);
            let known = Part { requests, success, latencies: None, per_second, stretches, outcomes, invalid: None };
            all.entry((series.load.clone(), fault.clone(), number, place)).or_insert(known);
        }
    }
}

/// The stretches of a load that lie wholly in one part, seen from a fault.
fn inside<'a>(
    journal: &Journal,
    series: &'a LoadSeries,
    fault: Option<&str>,
    number: usize,
    place: usize,
) -> Vec<&'a LoadRow> {
    // The last one is rarely whole.
    let whole = stretches(series).take(series.rows.len().saturating_sub(1));
    let Some(fault) = fault else { return whole.map(|(_, row)| row).collect() };
    let record = journal.faults.iter().filter(|record| record.window.fault == fault).nth(number);
    let (Some(record), Some(name)) = (record, PARTS.get(place)) else { return Vec::new() };
    let width = std::time::Duration::try_from_secs_f64(series.width).unwrap_or_default();
    let within = whole.filter(|(at, _)| {
        let end = at.checked_add(width).unwrap_or(*at);
        part(&record.window, *at) == *name && part(&record.window, end) == *name
    });
    within.map(|(_, row)| row).collect()
}

/// How many requests a stretch has, and how many had a good answer.
fn counted_in(series: &LoadSeries, row: &LoadRow) -> (u64, u64) {
    let good = series.outcomes.iter().zip(&row.counts).filter(|(outcome, _)| outcome.success);
    let add = |sum: u64, more: &u64| sum.saturating_add(*more);
    (row.counts.iter().fold(0, add), good.map(|(_, count)| count).fold(0, add))
}

fn loads(old: &Journal, new: &Journal) -> Vec<Row> {
    let [mut was, mut is] = [parts(old), parts(new)];
    let mut rows = other_loads(&mut was, &mut is);
    let mut keys: Vec<Key> = was.keys().chain(is.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    for key in &keys {
        rows.extend(load(&subject(key), was.get(key), is.get(key)));
    }
    // Where no part of a load was measured in both, nothing is known of it.
    let loads: std::collections::BTreeSet<&String> = keys.iter().map(|key| &key.0).collect();
    for name in loads {
        let of = |key: &&Key| key.0 == *name;
        let measured = |key: &Key| [&was, &is].iter().all(|side| side.get(key).is_some_and(Part::is_measured));
        if !keys.iter().filter(of).any(measured) {
            let why = "no part of it has enough requests in both runs".to_owned();
            rows.push(Row::unknown(Figure::Load, title(name), (None, None), why));
        }
    }
    rows
}

/// Takes out the loads that are in one run alone, and tells of them.
fn other_loads(was: &mut BTreeMap<Key, Part<'_>>, is: &mut BTreeMap<Key, Part<'_>>) -> Vec<Row> {
    let names = |side: &BTreeMap<Key, Part<'_>>| -> std::collections::BTreeSet<String> {
        side.keys().map(|key| key.0.clone()).collect()
    };
    let (olds, news) = (names(was), names(is));
    let mut gone: Vec<String> = olds.difference(&news).cloned().collect();
    let come: Vec<String> = news.difference(&olds).cloned().collect();
    was.retain(|key, _| !gone.contains(&key.0));
    is.retain(|key, _| !come.contains(&key.0));
    let word = |name: &str| Some(Shown::Word(name.to_owned()));
    let mut rows = Vec::new();
    for name in &come {
        let (old, why) = match gone.iter().position(|old| title(old) == title(name)) {
            Some(at) => (Some(gone.remove(at)), "it is another load now"),
            None => (None, "the old run has no such load"),
        };
        let sides = (old.as_deref().and_then(word), word(name));
        rows.push(Row::unknown(Figure::Load, title(name), sides, why.to_owned()));
    }
    for name in &gone {
        let why = "the new run has no such load".to_owned();
        rows.push(Row::unknown(Figure::Load, title(name), (word(name), None), why));
    }
    rows
}

/// The name of a load, without what it sends.
fn title(load: &str) -> &str {
    load.split_once(": ").map_or(load, |(title, _)| title)
}

fn subject((load, fault, number, place): &Key) -> String {
    let again = if *number > 0 { format!(", time {}", number + 1) } else { String::new() };
    match (fault, PARTS.get(*place)) {
        (Some(fault), Some(part)) => format!("{} {part} {fault}{again}", title(load)),
        _ => format!("{}{again}", title(load)),
    }
}

impl Part<'_> {
    /// Whether it has enough requests for a median.
    fn is_measured(&self) -> bool {
        self.invalid.is_none() && self.requests >= needed(0.5)
    }

    fn latency(&self, place: usize, part: f64) -> Option<Reading> {
        let column = |row: &&LoadRow| row.latencies_ms.map(|latencies| latencies[place]);
        let spread: Vec<f64> = self.stretches.iter().filter_map(column).collect();
        match self.latencies {
            Some([p50, p95, p99, most]) => {
                let known = [(0.5, p50), (0.95, p95), (0.99, p99), (1.0, most)];
                Some(noise::percentile(part, self.requests, &known)?.spread(spread))
            }
            None => {
                let median = noise::median(&spread)?;
                Some(Reading { of: Some(self.requests), ..Reading::exact(median).spread(spread) })
            }
        }
    }

    /// The fewest requests that a percentile of it is made of.
    fn behind(&self) -> u64 {
        match self.latencies {
            Some(_) => self.requests,
            // Of stretches alone the percentile is that of one.
            None => self.requests / (self.stretches.len() as u64).max(1),
        }
    }

    fn success(&self) -> Reading {
        #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
        let (requests, ratio) = (self.requests as f64, |good: u64, all: u64| good as f64 / all as f64);
        let counts = self.outcomes.map(|series| {
            let counts = self.stretches.iter().map(|row| counted_in(series, row)).filter(|(all, _)| *all > 0);
            counts.map(|(all, good)| ratio(good, all)).collect()
        });
        let share = noise::share(self.success * requests, requests);
        Reading { of: Some(self.requests), value: self.success, ..share }.spread(counts.unwrap_or_default())
    }

    /// A request more or less at its edges is chance.
    fn throughput(&self) -> Option<Reading> {
        let (rate, series) = (self.per_second?, self.outcomes?);
        #[expect(clippy::cast_precision_loss, reason = "there are a thousand stretches, of fewer than 2^52 requests")]
        let (seconds, counts) = (
            self.stretches.len().max(1) as f64 * series.width,
            self.stretches.iter().map(|row| counted_in(series, row).0 as f64 / series.width).collect(),
        );
        Some(Reading { of: Some(self.requests), ..Reading::exact(rate).within(1.0 / seconds).spread(counts) })
    }
}

/// The fewest requests that a percentile needs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a few hundred")]
fn needed(part: f64) -> u64 {
    (noise::BEYOND / (1.0 - part)).round() as u64
}

fn load(subject: &str, was: Option<&Part<'_>>, is: Option<&Part<'_>>) -> Vec<Row> {
    let (Some(was), Some(is)) = (was, is) else {
        let which = if was.is_none() { "old" } else { "new" };
        let why = format!("the {which} run has no request then");
        let requests = |part: Option<&Part<'_>>| part.map(|part| Shown::Word(format!("{} requests", part.requests)));
        let row = Row::unknown(Figure::Load, subject, (requests(was), requests(is)), why);
        // A few requests at the edge of a fault are no evidence that is missed.
        let missed = was.or(is).is_some_and(Part::is_measured);
        return vec![if missed { row } else { aside(row) }];
    };
    let invalid = [("old", was), ("new", is)].map(|(which, part)| {
        let why = part.invalid.as_ref()?;
        Some(format!("the load of the {which} run is no evidence: {why}"))
    });
    if let Some(why) = invalid.into_iter().flatten().next() {
        return vec![Row::unknown(Figure::Load, subject, (None, None), why)];
    }
    let mut rows = Vec::new();
    for (place, (figure, part)) in PERCENTILES.into_iter().enumerate() {
        let (Some(old), Some(new)) = (was.latency(place, part), is.latency(place, part)) else { continue };
        let (fewest, needed) = (was.behind().min(is.behind()), needed(part));
        if fewest < needed {
            let apart = if was.latencies.is_some() && is.latencies.is_some() { "" } else { " in a stretch of time" };
            let why = format!("too few: {fewest} requests{apart}, and it takes {needed}");
            let row = Row::unknown(figure, subject, (Some(Shown::Number(old)), Some(Shown::Number(new))), why);
            let only_one = figure == Figure::P50 && (was.is_measured() || is.is_measured());
            rows.push(if only_one { row } else { aside(row) });
            continue;
        }
        rows.push(noise::row(figure, subject, old, new, Worse::Greater));
    }
    rows.push(noise::row(Figure::Success, subject, was.success(), is.success(), Worse::Less));
    if let (Some(old), Some(new)) = (was.throughput(), is.throughput()) {
        rows.push(noise::row(Figure::Throughput, subject, old, new, Worse::Less));
    }
    rows
}

/// What checks counted under the fault.
fn counted(old: &Journal, new: &Journal) -> Vec<Row> {
    let under = |journal: &Journal| -> Vec<CheckRecord> {
        let last = journal.evaluations.iter().rfind(|evaluation| evaluation.phase == "under the fault");
        last.map(|evaluation| evaluation.checks.clone()).unwrap_or_default()
    };
    let (was, mut is) = (under(old), under(new));
    let mut rows = Vec::new();
    for old_check in &was {
        let Some(at) = is.iter().position(|check| check.check == old_check.check) else { continue };
        let new_check = is.remove(at);
        let subject = &old_check.check;
        let evidence = [&old_check.evidence, &new_check.evidence];
        if let Some((figure, which)) = one_sided(evidence) {
            let why = format!("what the {which} run counted is not known");
            rows.push(Row::unknown(figure, subject, (None, None), why));
        } else if evidence.iter().all(|evidence| evidence.get("total").is_some()) {
            let apart =
                (evidence[0]["seconds"].as_f64().unwrap_or(0.0) - evidence[1]["seconds"].as_f64().unwrap_or(0.0)).abs();
            let [old, new] = [(old, evidence[0]), (new, evidence[1])]
                .map(|(journal, evidence)| growth(evidence, interval(journal, subject, evidence) + apart));
            rows.push(noise::row(Figure::Growth, subject, old, new, direction(subject)));
        } else if evidence.iter().all(|evidence| evidence.get("ratio").is_some()) {
            let [old, new] = evidence.map(ratio);
            rows.push(noise::row(Figure::Ratio, subject, old, new, direction(subject)));
        }
    }
    rows
}

/// What one run alone knows of a check, and which one does not.
fn one_sided(evidence: [&Value; 2]) -> Option<(Figure, &'static str)> {
    let figures = [("total", Figure::Growth), ("ratio", Figure::Ratio)];
    figures.into_iter().find_map(|(key, figure)| match evidence.map(|evidence| evidence.get(key).is_some()) {
        [true, false] => Some((figure, "new")),
        [false, true] => Some((figure, "old")),
        _ => None,
    })
}

/// A number of a metrics server; `NaN` and infinities are words in a journal.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Seconds between two scrapes of what a check looks at.
fn interval(journal: &Journal, check: &str, evidence: &Value) -> f64 {
    let series = journal.telemetry.series.iter().filter(|series| series.checks.iter().any(|one| one == check));
    let known = series.filter_map(|series| series.interval).fold(0.0, f64::max);
    let counted = number(&evidence["seconds"]) / number(&evidence["scrapes"]);
    if known > 0.0 { known } else { Some(counted).filter(|seconds| seconds.is_finite()).unwrap_or(0.0) }
}

/// Events come by chance, and what was counted in the seconds at the edges belongs to the window or not.
fn growth(evidence: &Value, edges: f64) -> Reading {
    let (total, seconds) = (number(&evidence["total"]), number(&evidence["seconds"]));
    let rate = if seconds > 0.0 { total / seconds } else { 0.0 };
    let least = evidence["least"].as_f64().unwrap_or(total);
    noise::count(total).within(rate * edges).reaching(least, total)
}

fn ratio(evidence: &Value) -> Reading {
    let (part, whole) = (number(&evidence["part"]["total"]), number(&evidence["whole"]["total"]));
    let value = number(&evidence["ratio"]);
    if whole > 0.0 && (0.0..=whole).contains(&part) {
        return Reading { value, ..noise::share(part, whole) };
    }
    // Of two counts that are no part and whole each is known by itself.
    let (parts, wholes) = (noise::count(part), noise::count(whole));
    Reading::exact(value).reaching(parts.low / wholes.high, parts.high / wholes.low)
}

/// What is worse, by what the check expects: its own words are the last of its name.
pub(super) fn direction(check: &str) -> Worse {
    match check.rsplit_once(": ").map(|(_, expected)| expected) {
        Some(expected) if expected.starts_with("at most ") => Worse::Greater,
        Some(expected) if expected.starts_with("at least ") => Worse::Less,
        _ => Worse::Unsaid,
    }
}
