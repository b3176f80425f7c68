//! Exact growth of counters, on raw samples.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::decode::{Labels, Sample, Series};
use super::value::Number;
use crate::clock::Timestamp;
use crate::journal::Reason;
use crate::tolerance::AsNumber;

/// A window in seconds since 1970 on the server's clock, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Window {
    /// Its length in seconds. Times of the API have milliseconds; floating point would show more.
    pub(super) fn seconds(self) -> f64 {
        millis(self.to - self.from)
    }
}

pub(super) fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// What was read for one judgement.
pub(super) struct Samples {
    /// The counter's series.
    pub(super) counter: Vec<Series>,
    /// The target's `up`; `None` if no target is known.
    pub(super) up: Option<Vec<Series>>,
    /// The time between two scrapes, in seconds.
    pub(super) interval: f64,
}

/// A time and a value, as the server has them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct At {
    /// When it was scraped, by the server's clock.
    pub at: Time,
    /// The value.
    pub value: Number,
}

/// Seconds since 1970 by the server's clock; in a journal as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Time(pub f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
        let at = Timestamp::from_millisecond((self.0 * 1000.0).round() as i64).unwrap_or_default();
        write!(f, "{at:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// When a fault was on, within a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultOn {
    /// The fault.
    pub fault: String,
    /// Seconds from the window's start.
    pub from: f64,
    /// Seconds from the window's start.
    pub to: f64,
}

/// By how much a counter grew, with the evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// All series together.
    pub total: Number,
    /// The least that it can have been: less than the total where a part may lie before the window.
    pub least: Number,
    /// The start of the window; what was counted since the scrape before it belongs to it.
    pub from: Time,
    /// Its end, a scrape.
    pub to: Time,
    /// Its length, in seconds.
    pub seconds: f64,
    /// How many scrapes of a series were used, of the one with the most.
    pub scrapes: usize,
    /// When faults were on meanwhile.
    pub faults: Vec<FaultOn>,
    /// Each series.
    pub series: Vec<SeriesGrowth>,
    /// Why it may have been more than the total, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// The growth of one series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesGrowth {
    /// Its labels.
    pub labels: Labels,
    /// Its growth.
    pub delta: Number,
    /// The least that it can have been.
    pub least: Number,
    /// The first sample that was used: the last one before the window, if there is one.
    pub first: At,
    /// The last sample in the window.
    pub last: At,
    /// How many samples were used.
    pub samples: usize,
    /// Whether it appeared in the window; its first value is growth then.
    pub born: bool,
    /// How often it began again.
    pub resets: usize,
    /// How often it was not scraped when it should have been.
    pub gaps: usize,
    /// Why it may have grown by more than `delta`, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Shown as `{pod="front-1"}`.
pub(super) struct Shown<'a>(pub(super) &'a Labels);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self
            .0
            .iter()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| (name.as_str(), "=", value.as_str()));
        f.write_str(&super::selection::selector("", labels))
    }
}

impl AsNumber for SeriesGrowth {
    fn number(&self) -> f64 {
        self.delta.0
    }

    fn bounds(&self) -> (f64, f64) {
        (self.least.0, if self.unknown.is_some() { f64::INFINITY } else { self.delta.0 })
    }

    fn shown(&self) -> String {
        let Self { delta, first, last, samples, unknown, .. } = self;
        let from = if self.born { "nothing".to_owned() } else { first.value.0.to_string() };
        let least = at_least(unknown.as_ref());
        format!("a growth of {least}{} (from {from} to {} in {samples} scrapes)", delta.0, last.value.0)
    }

    fn above(&self) -> &'static str {
        "grew"
    }
}

impl AsNumber for Growth {
    fn number(&self) -> f64 {
        self.total.0
    }

    fn bounds(&self) -> (f64, f64) {
        (self.least.0, if self.unknown.is_some() { f64::INFINITY } else { self.total.0 })
    }

    fn shown(&self) -> String {
        format!("a growth of {}{} {}", at_least(self.unknown.as_ref()), self.total.0, self.evidence())
    }

    fn above(&self) -> &'static str {
        "grew"
    }
}

/// What is known may not be all.
fn at_least(unknown: Option<&String>) -> &'static str {
    if unknown.is_some() { "at least " } else { "" }
}

impl Growth {
    /// From which value to which, over which window, in how many scrapes, and when faults were on.
    pub(super) fn evidence(&self) -> String {
        let Self { seconds, scrapes, .. } = self;
        let over = format!("over {seconds} s");
        let of_one = |one: &SeriesGrowth| {
            let from = if one.born { "nothing".to_owned() } else { one.first.value.0.to_string() };
            format!("from {from} to {}", one.last.value.0)
        };
        let mut text = match self.series.as_slice() {
            [] => format!("(no such series {over}, while its target was scraped"),
            [one] => format!("({} {over} in {scrapes} scrapes", of_one(one)),
            all => {
                let most = all.iter().max_by(|a, b| a.delta.0.total_cmp(&b.delta.0));
                let most =
                    most.map(|one| format!(", {} most, {}", Shown(&one.labels), of_one(one))).unwrap_or_default();
                format!("({} series {over} in {scrapes} scrapes{most}", all.len())
            }
        };
        for FaultOn { fault, from, to } in &self.faults {
            text.push_str(&format!("; {fault:?} was on from {from} s to {to} s of it"));
        }
        text.push(')');
        text
    }
}

/// Samples of targets, by what names a target.
struct Targets<'a>(BTreeMap<[&'a str; 4], Vec<&'a Series>>);

fn target(labels: &Labels) -> [&str; 4] {
    ["job", "instance", "namespace", "pod"].map(|label| labels.get(label).map_or("", String::as_str))
}

impl<'a> Targets<'a> {
    fn new(up: &'a [Series]) -> Self {
        let mut targets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for series in up {
            targets.entry(target(&series.labels)).or_default().push(series);
        }
        Self(targets)
    }

    fn of(&self, labels: &'a Labels) -> &[&'a Series] {
        self.0.get(&target(labels)).map_or(&[], Vec::as_slice)
    }
}

impl Samples {
    /// Whether a series lacks a sample of a scrape in the window that its target has: it ended, or it comes later.
    pub(super) fn are_behind(&self, window: Window) -> bool {
        let targets = self.up.as_deref().map(Targets::new);
        let behind = |series: &Series| {
            let until = series.samples.partition_point(|(at, _)| *at <= window.to);
            let Some((last, _)) = until.checked_sub(1).and_then(|last| series.samples.get(last)) else { return false };
            let up = targets.as_ref().map(|targets| targets.of(&series.labels));
            *last > window.from - ENDED * self.interval && *last < due(up, window, self.interval)
        };
        self.counter.iter().any(behind)
    }
}

impl Samples {
    /// The samples of each series in the window, of those that have some.
    pub(super) fn within(&self, window: Window) -> Vec<(&Series, &[Sample])> {
        let used = |series: &'_ Series| {
            let from = series.samples.partition_point(|(at, _)| *at <= window.from);
            let to = series.samples.partition_point(|(at, _)| *at <= window.to);
            (from, to)
        };
        let of = |series| {
            let (from, to) = used(series);
            series.samples.get(from..to).map(|samples| (series, samples))
        };
        self.counter.iter().filter_map(of).filter(|(_, used)| !used.is_empty()).collect()
    }

    /// The newest sample of each series that goes on to the window's end.
    pub(super) fn newest(&self, window: Window) -> Vec<(&Series, f64, f64)> {
        let targets = self.up.as_deref().map(Targets::new);
        let newest = |series: &'_ Series| {
            let until = series.samples.partition_point(|(at, _)| *at <= window.to);
            let (at, value) = *series.samples.get(until.checked_sub(1)?)?;
            let up = targets.as_ref().map(|targets| targets.of(&series.labels));
            (at >= due(up, window, self.interval)).then_some((at, value))
        };
        self.counter.iter().filter_map(|series| newest(series).map(|(at, value)| (series, at, value))).collect()
    }
}

/// A series that goes on has its last sample in the window at this time or later.
fn due(up: Option<&[&Series]>, window: Window, interval: f64) -> f64 {
    let scraped =
        up.unwrap_or_default().iter().flat_map(|up| &up.samples).map(|(at, _)| *at).filter(|at| *at <= window.to);
    let scraped = scraped.reduce(f64::max).map_or(window.to, |at| at - interval / 2.0);
    scraped.max(window.to - ENDED * interval)
}

/// What is asked of series: the window, and what is known of their targets.
pub(super) struct Question<'a> {
    pub(super) what: &'a str,
    pub(super) window: Window,
    pub(super) interval: f64,
    /// Series that end in the window are taken as they are.
    pub(super) vanished_too: bool,
    /// Whether what was counted since the scrape before the window belongs to it for certain.
    pub(super) since_scrape: bool,
}

/// A scrape is missed for certain where two samples are further apart than this many intervals.
pub(super) const GAP: f64 = 2.5;

/// A series has ended where its last sample is older than this many intervals.
const ENDED: f64 = 1.5;

/// The growth of all series in the window.
pub(super) fn growth(question: &Question<'_>, samples: &Samples, when_absent: Option<f64>) -> Result<Growth, Reason> {
    let Question { what, window, interval, .. } = *question;
    let no_data = |why: &str| Reason::NoData { what: what.to_owned(), why: why.to_owned() };
    let targets = samples.up.as_deref().map(Targets::new);
    let mut series = Vec::new();
    for one in &samples.counter {
        let until = one.samples.partition_point(|(at, _)| *at <= window.to);
        let used = one.samples.get(..until).unwrap_or_default();
        // What ended before the window has nothing to say about it.
        if used.last().is_none_or(|(at, _)| *at < window.from - ENDED * interval) {
            continue;
        }
        let up = targets.as_ref().map(|targets| targets.of(&one.labels));
        series.push(of_series(question, &one.labels, used, up)?);
    }
    let mut unknown = series
        .iter()
        .find_map(|one: &SeriesGrowth| one.unknown.clone().map(|why| (Shown(&one.labels).to_string(), why)));
    if let Some(up) = &samples.up {
        let counted: BTreeSet<_> = series.iter().map(|one| target(&one.labels)).collect();
        for up in up.iter().filter(|up| !counted.contains(&target(&up.labels))) {
            if let Some(why) = not_watched(up, window, interval, question.vanished_too) {
                unknown.get_or_insert_with(|| {
                    (Shown(&up.labels).to_string(), format!("its target {why}, and might have counted unseen"))
                });
            }
        }
    }
    // The sum of nothing is -0.
    let mut total: f64 = 0.0 + series.iter().map(|one| one.delta.0).sum::<f64>();
    let mut least: f64 = 0.0 + series.iter().map(|one| one.least.0).sum::<f64>();
    if series.is_empty() {
        match (&samples.up, when_absent) {
            (Some(up), _) if up.iter().any(|up| was_watched(up, window)) => {}
            (Some(_), _) => {
                return Err(no_data("the series is absent, and its target was not up before and after the window"));
            }
            (None, Some(growth)) => (total, least) = (growth, growth),
            (None, None) => {
                return Err(no_data(
                    "the series is absent, and without a label `job` no target can be asked; name the job, or say `.or_when_absent(0.0)`",
                ));
            }
        }
    }
    Ok(Growth {
        total: Number(total),
        least: Number(least),
        from: Time(window.from),
        to: Time(window.to),
        seconds: window.seconds(),
        scrapes: series.iter().map(|one| one.samples).max().unwrap_or(0),
        faults: Vec::new(),
        series,
        unknown: unknown.map(|(labels, why)| format!("{labels}: {why}")),
    })
}

/// The growth of one series; `used` is not empty and ends with the window.
fn of_series(
    question: &Question<'_>,
    labels: &Labels,
    used: &[Sample],
    up: Option<&[&Series]>,
) -> Result<SeriesGrowth, Reason> {
    let Question { what, window, interval, vanished_too, since_scrape } = *question;
    let start = used.partition_point(|(at, _)| *at <= window.from);
    let used = used.get(start.saturating_sub(1)..).unwrap_or_default();
    let ([(first_at, first), ..], [.., (last_at, last)]) = (used, used) else {
        return Err(Reason::NoData { what: what.to_owned(), why: "the window holds no sample".to_owned() });
    };
    let (first_at, first, last_at, last) = (*first_at, *first, *last_at, *last);
    let mut unknown: Option<String> = None;
    let mut doubt = |why: String| {
        unknown.get_or_insert(why);
    };
    let born = start == 0;
    let (mut delta, mut straddles) = (0.0, 0.0);
    if born {
        match watched_before(up, first_at, interval) {
            Birth::Seen => delta = first,
            Birth::Unseen => doubt("it begins in the window, and its target was not scraped before: what it counted until then is not known".into()),
            Birth::NotFollowed => doubt("it begins in the window, and its target is not known: name its job".into()),
        }
    }
    let (mut resets, mut gaps) = (0, 0);
    for pair in used.windows(2) {
        let [(before_at, before), (at, value)] = pair else { continue };
        if at == before_at && value != before {
            let why = "two samples of one series have the same time; do several servers answer?".to_owned();
            return Err(Reason::NoData { what: what.to_owned(), why });
        }
        let step = if value < before { *value } else { value - before };
        resets += usize::from(value < before);
        delta += step;
        if *before_at < window.from && !since_scrape {
            straddles = step;
        }
        let down =
            |up: &Series| up.samples.iter().any(|(scraped, up)| scraped > before_at && scraped < at && *up != 1.0);
        let missed = at - before_at > GAP * interval;
        if missed || (at - before_at > ENDED * interval && up.is_some_and(|all| all.iter().any(|up| down(up)))) {
            gaps += 1;
            doubt(format!("it was not scraped for {} s: it may have begun again unseen", millis(at - before_at)));
        }
    }
    if delta.is_nan() || used.iter().any(|(_, value)| value.is_nan()) {
        let kind =
            if used.iter().any(|(_, value)| value.is_nan()) { "a sample in the window" } else { "an infinite counter" };
        return Err(Reason::NotANumber { what: format!("{what}, {kind}") });
    }
    if last_at < due(up, window, interval) && !vanished_too {
        doubt(format!(
            "it ended {} s before the window did: what it counted after its last scrape is not known; if that is meant, say `.vanished_too()`",
            millis(window.to - last_at)
        ));
    }
    let at = |at: f64, value: f64| At { at: Time(at), value: Number(value) };
    Ok(SeriesGrowth {
        labels: labels.clone(),
        delta: Number(delta),
        least: Number(delta - straddles),
        first: at(first_at, first),
        last: at(last_at, last),
        samples: used.len(),
        born,
        resets,
        gaps,
        unknown,
    })
}

/// Whether a birth was seen.
enum Birth {
    /// The target was scraped before without the series.
    Seen,
    /// It was not, or not just before.
    Unseen,
    /// No target is known.
    NotFollowed,
}

fn watched_before(up: Option<&[&Series]>, first: f64, interval: f64) -> Birth {
    let Some(up) = up else { return Birth::NotFollowed };
    let before = up.iter().flat_map(|up| &up.samples).filter(|(at, _)| *at < first).max_by(|a, b| a.0.total_cmp(&b.0));
    match before {
        Some((at, up)) if *up == 1.0 && first - at <= GAP * interval => Birth::Seen,
        _ => Birth::Unseen,
    }
}

/// Whether a target was up at a scrape before the window and at one after it.
pub(super) fn was_watched(up: &Series, window: Window) -> bool {
    let is_up = |(_, value): &&Sample| *value == 1.0;
    up.samples.iter().any(|s| is_up(&s) && s.0 <= window.from)
        && up.samples.iter().any(|s| is_up(&s) && s.0 >= window.to)
}

/// Why a target without series may have had some; `None` if it was seen not to.
pub(super) fn not_watched(up: &Series, window: Window, interval: f64, vanished_too: bool) -> Option<String> {
    let last = up.samples.last().map_or(f64::NEG_INFINITY, |(at, _)| *at);
    if last < window.from - ENDED * interval {
        return None;
    }
    let within: Vec<_> =
        up.samples.iter().filter(|(at, _)| *at > window.from - ENDED * interval && *at <= window.to).collect();
    if within.iter().any(|(_, up)| *up != 1.0) {
        return Some("was down at a scrape".into());
    }
    if within.windows(2).any(|pair| pair[1].0 - pair[0].0 > GAP * interval) {
        return Some("was not scraped for a while".into());
    }
    let ended = within.last().is_none_or(|(at, _)| *at < window.to - ENDED * interval);
    (ended && !vanished_too).then(|| "ended in the window".into())
}
