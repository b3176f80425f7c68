//! The panels of series: samples as they came, with their bounds, gaps, resets, starts and evaluated windows.

use std::cmp::Reverse;
use std::fmt::Write;

use super::axis::Axis;
use super::drawing::TITLE;
use super::{text, within};
use crate::clock::Timestamp;
use crate::journal::{Journal, MOST_SAMPLES, MetricSeries};
use crate::page::chart::{Frame, LETTER};
use crate::page::scale::{nice, round};
use crate::report::text::line;

/// The series that have a panel of their own; the others are small ones below.
pub(super) const MOST_PANELS: usize = 8;

const HEIGHT: f64 = 84.0;

/// A small panel: its size, and the room for its labels.
const SMALL: (f64, f64) = (340.0, 64.0);
const SMALL_LEFT: f64 = 52.0;

/// A longer time between two samples than so many intervals is a gap.
const GAP: f64 = 1.6;

/// Samples that are each drawn as a dot, too.
const FEW: usize = 120;

/// The small panels' room in the page.
const ROOM: usize = 600_000;

type Result = std::result::Result<f64, std::fmt::Error>;

/// The series in the order in which they tell most: those of checks that failed first, then of those not known.
pub(super) fn ordered(journal: &Journal) -> Vec<&MetricSeries> {
    let judged: Vec<_> = journal.judged().flat_map(|evaluation| &evaluation.checks).collect();
    let of = |series: &MetricSeries, outcome: &str| {
        judged.iter().any(|record| record.outcome == outcome && series.checks.contains(&record.check))
    };
    // Alerts have a lane.
    let drawn = |series: &&MetricSeries| !series.samples.is_empty() && !super::alerts::is_one(series);
    let mut all: Vec<_> = journal.telemetry.series.iter().filter(drawn).collect();
    all.sort_by_cached_key(|series| {
        Reverse((of(series, "not-met"), of(series, "inconclusive"), !series.checks.is_empty()))
    });
    all
}

/// The query, with the labels that it does not name.
pub(super) fn title(series: &MetricSeries) -> String {
    let own = |(name, value): &(&String, &String)| *name != "__name__" && !series.query.contains(&format!("{value:?}"));
    let labels = series.labels.iter().filter(own).map(|(name, value)| format!("{name}={}", line(value, 60)));
    let labels: Vec<_> = labels.take(8).collect();
    let query = line(&series.query, 160);
    if labels.is_empty() { query.into_owned() } else { format!("{query}  {}", labels.join(", ")) }
}

/// Draws a series below `top`; where it ends.
pub(super) fn panel(out: &mut String, axis: &Axis, series: &MetricSeries, top: f64) -> Result {
    let top = top + TITLE;
    let name = title(series);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a title's length")]
    let most = ((axis.frame.across - 20.0) / (LETTER + 0.6)) as usize;
    let x = axis.frame.left;
    write!(out, "<g><title>{}</title><text class=\"panel\" x=\"{x}\" y=\"{:.1}\">", text(&name, 1000), top - 11.0)?;
    let shown =
        if name.chars().count() > most { format!("{}…", name.chars().take(most).collect::<String>()) } else { name };
    writeln!(out, "{}</text></g>", text(&shown, most + 1))?;
    plot(out, axis, &axis.frame, series, top, HEIGHT)?;
    windows(out, axis, series, top)?;
    Ok(top + HEIGHT + 4.0)
}

/// Small panels of what has no place in the drawing, folded away.
pub(super) fn multiples(out: &mut String, axis: &Axis, all: &[&MetricSeries]) -> std::fmt::Result {
    writeln!(out, "<details><summary>{} more series</summary><div class=\"multiples\">", all.len())?;
    let left = within(out, ROOM, all.iter(), |out, series| {
        let (across, height) = SMALL;
        let frame = Frame { left: SMALL_LEFT, across: across - SMALL_LEFT - 6.0, ..axis.frame };
        write!(out, "<figure><figcaption>{}</figcaption>", text(&title(series), 300))?;
        writeln!(
            out,
            "<svg viewBox=\"0 0 {across} {:.0}\" role=\"img\" aria-label=\"Samples over the run\">",
            height + 12.0
        )?;
        axis.shades(out, &frame, 6.0, height + 6.0)?;
        plot(out, axis, &frame, series, 6.0, height)?;
        writeln!(out, "</svg></figure>")
    })?;
    writeln!(out, "</div></details>")?;
    super::left_out(out, left, "series")
}

/// The vertical axis: its ends and the distance of its marks.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
    top: f64,
    height: f64,
}

impl Scale {
    /// `None` where the values are too far apart for numbers of this kind.
    fn of(values: impl Iterator<Item = f64>, top: f64, height: f64) -> Option<Self> {
        let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let (mut low, mut high) = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // From nothing on, where that does not flatten the rest.
        if low > 0.0 && (low <= 0.6 * high || high - low <= high * 1e-9) {
            low = 0.0;
        }
        if high - low <= low.abs() * 1e-9 {
            high = if low == 0.0 { 1.0 } else { 0.0 };
        }
        let step = nice((high - low) / 2.0);
        let (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        ((high - low).is_finite() && high > low).then_some(Self { low, high, step, top, height })
    }

    fn y(&self, value: f64) -> f64 {
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.top + self.height * (1.0 - part)
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        (0_u32..6)
            .map(|number| self.low + f64::from(number) * self.step)
            .take_while(|mark| *mark <= self.high * (1.0 + 1e-9) + 1e-12)
    }
}

fn plot(
    out: &mut String,
    axis: &Axis,
    frame: &Frame,
    series: &MetricSeries,
    top: f64,
    height: f64,
) -> std::fmt::Result {
    let seen = seen(axis, series);
    let bounds = series.bounds.iter().take(4);
    let values = seen.iter().filter_map(|(_, value)| *value).chain(bounds.clone().map(|bound| bound.value));
    let Some(scale) = Scale::of(values, top, height) else {
        let y = top + height / 2.0;
        return writeln!(out, "<text x=\"{}\" y=\"{y}\">its values are too large to be drawn</text>", frame.left + 8.0);
    };
    for mark in scale.marks() {
        let y = scale.y(mark);
        write!(out, "<path class=\"grid\" d=\"M{} {y:.1}h{}\"/>", frame.left, frame.across)?;
        writeln!(out, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>", frame.left - 6.0, y + 4.0, number(mark))?;
    }
    for bound in bounds {
        let y = scale.y(bound.value);
        write!(out, "<path class=\"bound\" d=\"M{} {y:.1}h{}\"/>", frame.left, frame.across)?;
        let (x, meaning) = (frame.right() - 4.0, text(&bound.meaning, 40));
        writeln!(
            out,
            "<text class=\"end bound-name\" x=\"{x}\" y=\"{:.1}\">{meaning}</text>",
            (y - 4.0).max(top + 10.0)
        )?;
    }
    curve(out, frame, &scale, series, &thinned(stretched(series, &seen), frame))?;
    if seen.iter().all(|(_, value)| value.is_none()) {
        let y = top + height / 2.0;
        writeln!(out, "<text x=\"{}\" y=\"{y}\">no value during the run</text>", frame.left + 8.0)?;
    }
    Ok(())
}

/// The samples of a series that are on the axis.
pub(super) fn seen(axis: &Axis, series: &MetricSeries) -> Vec<(f64, Option<f64>)> {
    series.samples.iter().copied().filter(|(at, _)| axis.holds(*at)).collect()
}

/// Series as lines alone, told apart by their dashes; whether there is one.
pub(super) fn lines(
    out: &mut String,
    axis: &Axis,
    frame: &Frame,
    all: &[&MetricSeries],
    top: f64,
    height: f64,
) -> std::result::Result<bool, std::fmt::Error> {
    let all: Vec<_> = all.iter().map(|series| (*series, seen(axis, series))).collect();
    let values = || all.iter().flat_map(|(_, seen)| seen.iter().filter_map(|(_, value)| *value));
    let (Some(scale), true) = (Scale::of(values(), top, height), values().next().is_some()) else { return Ok(false) };
    for (number, (series, seen)) in all.iter().enumerate() {
        let (mut path, mut before) = (String::new(), None);
        for sample in thinned(stretched(series, seen), frame) {
            let Some(value) = sample.value else { continue };
            // A stretch of one sample is a dot.
            let (pen, dot) = if before == Some(sample.stretch) { ('L', "") } else { ('M', "h0") };
            before = Some(sample.stretch);
            write!(path, "{pen}{:.1} {:.1}{dot}", frame.x(sample.at), scale.y(value))?;
        }
        writeln!(out, "<path class=\"curve p{number}\" d=\"{path}\"/>")?;
    }
    Ok(true)
}

/// A sample with what parts it from the one before.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub at: f64,
    pub value: Option<f64>,
    /// Samples of one stretch follow each other without a gap.
    pub stretch: usize,
    /// The counter was less than before.
    fell: bool,
}

/// Samples by stretches: a new one begins after a gap, a missing value or a reset.
pub(super) fn stretched(series: &MetricSeries, seen: &[(f64, Option<f64>)]) -> Vec<Sample> {
    let span = series.samples.last().map_or(0.0, |last| last.0) - series.samples.first().map_or(0.0, |first| first.0);
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let longest = series.interval.map_or(f64::INFINITY, |interval| {
        // Of a long run the journal keeps three of each stretch: two may be as far from each other as two stretches are long.
        let (scraped, kept) = (span / interval, MOST_SAMPLES as f64);
        interval * if scraped > kept { scraped / (kept / 6.0) } else { GAP }
    });
    let (mut stretch, mut before): (usize, Option<(f64, f64)>) = (0, None);
    let sample = |&(at, value): &(f64, Option<f64>)| {
        let value = value.filter(|value| value.is_finite());
        let fell = series.counter && value.zip(before).is_some_and(|(value, (_, before))| value < before);
        if fell || before.is_none_or(|(before, _)| at - before > longest) {
            stretch += 1;
        }
        before = value.map(|value| (at, value));
        Sample { at, value, stretch, fell }
    };
    seen.iter().map(sample).collect()
}

/// Of samples closer than the page can show, the least and the greatest of each place and stretch, and what is no value.
fn thinned(all: Vec<Sample>, frame: &Frame) -> Vec<Sample> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place on the page")]
    let place = |at: f64| (frame.x(at) / 2.0) as usize;
    #[expect(clippy::cast_precision_loss, reason = "there are a thousand")]
    if all.len() as f64 <= frame.across {
        return all;
    }
    let mut kept = Vec::new();
    for cell in all.chunk_by(|one, other| (place(one.at), one.stretch) == (place(other.at), other.stretch)) {
        let numbers = || (0..cell.len()).filter(|number| cell[*number].value.is_some());
        let value = |number: &usize| cell[*number].value.unwrap_or(0.0);
        let by = |one: &usize, other: &usize| value(one).total_cmp(&value(other));
        let mut keep: Vec<usize> = numbers().min_by(by).into_iter().chain(numbers().max_by(by)).collect();
        keep.extend((0..cell.len()).find(|number| cell[*number].value.is_none()));
        keep.extend((0..cell.len()).find(|number| cell[*number].fell));
        keep.sort_unstable();
        keep.dedup();
        kept.extend(keep.into_iter().map(|number| cell[number]));
    }
    kept
}

/// A line through samples that follow each other, broken where one is missing or a counter fell.
fn curve(
    out: &mut String,
    frame: &Frame,
    scale: &Scale,
    series: &MetricSeries,
    samples: &[Sample],
) -> std::fmt::Result {
    let (mut path, mut dots, mut marks) = (String::new(), String::new(), String::new());
    // Where the last mark of each kind stands: marks on each other say nothing more.
    let mut stands = [f64::NEG_INFINITY; 4];
    let mut apart = |kind: usize, x: f64, least: f64| {
        let far = x - stands[kind] >= least;
        if far {
            stands[kind] = x;
        }
        far
    };
    let mut before: Option<Sample> = None;
    for (number, sample) in samples.iter().enumerate() {
        let x = frame.x(sample.at);
        let last = before.replace(*sample);
        let Some(value) = sample.value else {
            if let Some(value) = last.and_then(|last| last.value).filter(|_| apart(0, x, 8.0)) {
                let (x, y) = (x - 3.0, scale.y(value) - 3.0);
                write!(marks, "<g><title>ended, or no number</title>")?;
                write!(marks, "<path class=\"ended\" d=\"M{x:.1} {y:.1}l6 6m0 -6l-6 6\"/></g>")?;
            }
            continue;
        };
        let y = scale.y(value);
        if sample.fell && apart(1, x, 6.0) {
            let (top, bottom) = (scale.top, scale.top + scale.height);
            write!(marks, "<g><title>the counter was reset</title>")?;
            write!(marks, "<path class=\"reset\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>")?;
            if apart(2, x, 40.0) {
                let (x, y) = (x + 3.0, bottom - 4.0);
                write!(marks, "<text class=\"reset-name\" x=\"{x:.1}\" y=\"{y:.1}\">reset</text>")?;
            }
            write!(marks, "</g>")?;
        }
        let began = match last {
            None => sample.at > series.interval.unwrap_or(0.0).max(0.0),
            Some(last) => last.value.is_none(),
        };
        if began && apart(3, x, 8.0) {
            write!(marks, "<g><title>first seen</title>")?;
            write!(marks, "<circle class=\"start\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/></g>")?;
        }
        if number > 0 && last.is_some_and(|last| last.stretch == sample.stretch) {
            write!(path, "L{x:.1} {y:.1}")?;
        } else {
            write!(path, "M{x:.1} {y:.1}h0")?;
        }
        write!(dots, "M{x:.1} {y:.1}h0")?;
    }
    writeln!(out, "<path class=\"samples\" d=\"{path}\"/>")?;
    if samples.len() <= FEW {
        writeln!(out, "<path class=\"sample-dots\" d=\"{dots}\"/>")?;
    }
    writeln!(out, "{marks}")
}

/// Brackets over the windows that the checks of a series were judged by.
fn windows(out: &mut String, axis: &Axis, series: &MetricSeries, top: f64) -> std::fmt::Result {
    let mut drawn = 0;
    for evaluation in axis.journal.evaluations.iter().filter(|e| e.phase != crate::journal::WATCHED) {
        for check in evaluation.checks.iter().filter(|check| series.checks.contains(&check.check)) {
            let known = super::evidence::known(check);
            let at = |key: &str| known[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let (Some(from), Some(to), true) = (at("from"), at("to"), drawn < 12) else { continue };
            drawn += 1;
            let (from, to) = (axis.frame.x(axis.at(from)), axis.frame.x(axis.at(to)));
            let class = match &*check.outcome {
                "met" => "good",
                "not-met" => "bad",
                _ => "unknown",
            };
            let title = format!("evaluated {}: {}", evaluation.phase, check.phrase);
            let y = top + 2.0;
            write!(
                out,
                "<g><title>{}</title><path class=\"bracket {class}\" d=\"M{from:.1} {:.1}v-6H{to:.1}v6\"/>",
                text(&title, 400),
                y + 3.0
            )?;
            let label = format!("evaluated {}", line(&evaluation.phase, 30));
            #[expect(clippy::cast_precision_loss, reason = "a label is short")]
            if label.chars().count() as f64 * LETTER < to - from - 4.0 {
                write!(
                    out,
                    "<text class=\"bracket-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    from + 4.0,
                    y + 10.0,
                    text(&label, 60)
                )?;
            }
            writeln!(out, "</g>")?;
        }
    }
    Ok(())
}

/// A number of an axis in few letters.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    match size {
        1e6.. => format!("{}M", round(value / 1e6)),
        1e4.. => format!("{}k", round(value / 1e3)),
        _ => round(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_makes_no_gap_and_keeps_those_that_are_there() {
        let mut series = crate::report::sample().telemetry.series.remove(0);
        (series.counter, series.interval) = (false, Some(1.0));
        // A sample each second but for the hundredth to the two hundredth, up and down.
        let all: Vec<_> = (0..2000_u32).filter(|at| !(100..200).contains(at)).collect();
        let all: Vec<_> = all.iter().map(|at| (f64::from(*at), Some(f64::from(at % 7)))).collect();
        let frame = Frame { left: 0.0, across: 200.0, from: 0.0, end: 2000.0 };
        let kept = thinned(stretched(&series, &all), &frame);
        assert!(kept.len() <= 202, "two for each of a hundred places: {}", kept.len());
        assert_eq!(kept.chunk_by(|one, other| one.stretch == other.stretch).count(), 2, "one gap");
        let ends = |values: &mut dyn Iterator<Item = Option<f64>>| {
            values.flatten().fold((9.0, 0.0), |(low, high), value: f64| (f64::min(low, value), f64::max(high, value)))
        };
        assert_eq!(ends(&mut kept.iter().map(|sample| sample.value)), (0.0, 6.0));
    }

    #[test]
    fn an_axis_of_values_ends_at_round_numbers() {
        let of = |values: &[f64]| {
            let scale = Scale::of(values.iter().copied(), 0.0, 100.0).expect("an axis");
            (scale.low, scale.high, scale.marks().map(number).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(of(&[0.0, 47.0]), (0.0, 80.0, "0 40 80".to_owned()));
        assert_eq!(of(&[0.5]), (0.0, 0.8, "0 0.4 0.8".to_owned()));
        assert_eq!(of(&[-3.0, -3.0]), (-4.0, 0.0, "-4 -2 0".to_owned()));
        assert_eq!(of(&[0.0]), (0.0, 1.0, "0 0.5 1".to_owned()));
        assert_eq!(of(&[]), (0.0, 1.0, "0 0.5 1".to_owned()));
        assert_eq!(of(&[1_000_000.0, 1_000_100.0]).0, 1_000_000.0, "a counter's growth is seen however great it is");
        assert!(Scale::of([f64::MIN, f64::MAX].into_iter(), 0.0, 100.0).is_none());
        assert!(Scale::of([f64::NAN, f64::INFINITY].into_iter(), 0.0, 100.0).is_some());
    }
}
