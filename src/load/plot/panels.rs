//! The drawing of one load: three panels over one axis of time, with its faults shaded.

use std::fmt::{Result, Write};

use super::escaped;
use super::grid::dots;
use super::scale::{Latencies, nice, round, time_label, time_step};
use super::series::{Band, Interval, Intervals, Series, seconds};

/// The room for labels left of the panels, and the panels' width, in the SVG's units.
pub(super) const LEFT: f64 = 68.0;
pub(super) const ACROSS: f64 = 980.0;

/// The heights of the panels: single requests, percentiles, requests by outcome.
const DOTS: f64 = 280.0;
const CURVES: f64 = 170.0;
const BARS: f64 = 120.0;

/// The room above each panel for its title.
const TITLE: f64 = 34.0;

/// The height of one line of fault names, and the most lines.
const NAME: f64 = 16.0;
const MOST_NAMES: usize = 4;

/// About the width of a letter.
const LETTER: f64 = 6.3;

/// The curves, as indices of an interval's latencies.
pub(super) const PERCENTILES: [&str; 4] = ["median", "90 %", "99 %", "longest"];

/// What all drawings of a page have in common.
pub(super) struct Common {
    /// The end of the axis of time, in seconds.
    pub end: f64,
    /// The shortest and the longest latency, in nanoseconds.
    pub latencies: (u64, u64),
    /// The most dots.
    pub dots: usize,
}

impl Common {
    fn x(&self, at: f64) -> f64 {
        LEFT + (at / self.end).clamp(0.0, 1.0) * ACROSS
    }
}

pub(super) fn svg(out: &mut String, series: &mut Series, common: &Common) -> Result {
    let names = placed_names(&series.bands, common);
    let lines = names.iter().map(|(line, _)| line + 1).max().unwrap_or(0).min(MOST_NAMES);
    #[expect(clippy::cast_precision_loss, reason = "at most four")]
    let top = lines as f64 * NAME;
    let (dots_top, curves_top) = (top + TITLE, top + TITLE + DOTS + TITLE);
    let bars_top = curves_top + CURVES + TITLE;
    let (bottom, width) = (bars_top + BARS, LEFT + ACROSS + 16.0);
    let requests: u64 = series.outcomes.iter().map(|outcome| outcome.count).sum();
    write!(out, "<svg viewBox=\"0 0 {width} {:.0}\" role=\"img\" tabindex=\"0\" ", bottom + 24.0)?;
    write!(out, "aria-label=\"{requests} requests over time: latency of each, percentiles, outcomes. ")?;
    writeln!(out, "Arrow keys move the read-out below.\">")?;
    for band in &series.bands {
        let (from, to) = (common.x(band.from), common.x(band.to.unwrap_or(common.end)));
        let wide = (to - from).max(1.0);
        writeln!(out, "<rect class=\"band\" x=\"{from:.1}\" y=\"0\" width=\"{wide:.1}\" height=\"{bottom}\"/>")?;
    }
    for (band, (line, x)) in series.bands.iter().zip(&names).filter(|(_, (line, _))| *line < MOST_NAMES) {
        #[expect(clippy::cast_precision_loss, reason = "at most four")]
        let y = (line + 1) as f64 * NAME - 4.0;
        writeln!(out, "<text class=\"band-name\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escaped(&band.name))?;
    }
    time_axis(out, common, dots_top, bottom)?;
    let (least, most) = common.latencies;
    let axis = Latencies::new(least, most, dots_top, DOTS);
    latency_axis(out, "Latency of requests, from the intended instant", &axis, dots_top)?;
    scatter(out, series, common, &axis)?;
    let axis = Latencies::new(least, most, curves_top, CURVES);
    latency_axis(out, "", &axis, curves_top)?;
    let intervals = series.intervals(common.end);
    curves(out, intervals, common, &axis, curves_top)?;
    bars(out, intervals, common, bars_top)?;
    writeln!(out, "<line class=\"cursor\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{top}\" y2=\"{bottom}\"/></svg>")
}

/// For each fault the line of its name, and where the name begins.
fn placed_names(bands: &[Band], common: &Common) -> Vec<(usize, f64)> {
    let mut ends: Vec<f64> = Vec::new();
    let place = |band: &Band| {
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let wide = band.name.chars().count() as f64 * LETTER;
        let x = (common.x(band.from) + 5.0).min(LEFT + ACROSS - wide).max(LEFT);
        let line = ends.iter().position(|end| *end < x).unwrap_or(ends.len());
        if line == ends.len() {
            ends.push(0.0);
        }
        ends[line] = x + wide;
        (line, x)
    };
    bands.iter().map(place).collect()
}

fn time_axis(out: &mut String, common: &Common, top: f64, bottom: f64) -> Result {
    let step = time_step(common.end, 12.0);
    for tick in (0_u32..).map(|number| f64::from(number) * step).take_while(|tick| *tick <= common.end) {
        let x = common.x(tick);
        write!(out, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>")?;
        let label = time_label(tick, common.end);
        writeln!(out, "<text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>", bottom + 17.0)?;
    }
    Ok(())
}

fn latency_axis(out: &mut String, title: &str, axis: &Latencies, top: f64) -> Result {
    if !title.is_empty() {
        writeln!(out, "<text class=\"panel\" x=\"{LEFT}\" y=\"{}\">{title}</text>", top - 11.0)?;
    }
    for (nanos, y) in axis.marks() {
        write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{ACROSS}\"/>")?;
        let label = super::scale::latency_label(nanos);
        writeln!(out, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>", LEFT - 8.0, y + 4.0)?;
    }
    Ok(())
}

/// One path for each outcome and weight: a line of no length with round ends is a dot.
fn scatter(out: &mut String, series: &Series, common: &Common, axis: &Latencies) -> Result {
    let place = |point: &super::series::Point| (common.x(seconds(point.at)), axis.y(point.latency));
    let dots = dots(&series.points, common.dots, place);
    for outcome in 0..series.outcomes.len() {
        for weight in 0..3 {
            let mut path = String::new();
            let of = |requests: u64| if requests >= 20 { 2 } else { usize::from(requests >= 4) };
            for dot in dots.iter().filter(|dot| dot.outcome == outcome && of(dot.requests) == weight) {
                write!(path, "M{:.1} {:.1}h0", dot.x, dot.y)?;
            }
            if !path.is_empty() {
                writeln!(out, "<path class=\"dots o{outcome} w{weight}\" d=\"{path}\"/>")?;
            }
        }
    }
    Ok(())
}

fn curves(out: &mut String, intervals: &Intervals, common: &Common, axis: &Latencies, top: f64) -> Result {
    write!(out, "<text class=\"panel\" x=\"{LEFT}\" y=\"{}\">Percentiles of each ", top - 11.0)?;
    writeln!(out, "{}</text>", time_label(intervals.width, 1.0))?;
    let mut end = LEFT + ACROSS;
    for (number, name) in PERCENTILES.iter().enumerate().rev() {
        writeln!(out, "<text class=\"end tp{number}\" x=\"{end:.0}\" y=\"{}\">{name}</text>", top - 11.0)?;
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let wide = name.chars().count() as f64 * LETTER;
        end -= wide + 18.0;
    }
    for number in 0..PERCENTILES.len() {
        let mut path = String::new();
        let mut pen = 'M';
        for (from, row) in starts(intervals) {
            match row.latencies {
                Some(latencies) => {
                    // A step over the whole interval: the figure is one of all of it.
                    let (x, to) = (common.x(from), common.x(from + intervals.width));
                    write!(path, "{pen}{x:.1} {:.1}H{to:.1}", axis.y(latencies[number]))?;
                    pen = 'L';
                }
                // A gap stays a gap.
                None => pen = 'M',
            }
        }
        writeln!(out, "<path class=\"curve p{number}\" d=\"{path}\"/>")?;
    }
    Ok(())
}

/// Requests a second by outcome, good ones at the bottom.
fn bars(out: &mut String, intervals: &Intervals, common: &Common, top: f64) -> Result {
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    let rate = |count: u64| count as f64 / intervals.width;
    let most = intervals.rows.iter().map(|row| rate(row.counts.iter().sum())).fold(0.0, f64::max);
    let most = nice(most.max(f64::MIN_POSITIVE));
    let high = |count: u64| rate(count) / most * BARS;
    writeln!(out, "<text class=\"panel\" x=\"{LEFT}\" y=\"{}\">Requests a second by outcome</text>", top - 11.0)?;
    for (value, y) in [(most, top), (most / 2.0, top + BARS / 2.0), (0.0, top + BARS)] {
        write!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}h{ACROSS}\"/>")?;
        writeln!(out, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>", LEFT - 8.0, y + 4.0, round(value))?;
    }
    let kinds = intervals.rows.first().map_or(0, |row| row.counts.len());
    for kind in 0..kinds {
        let mut path = String::new();
        for (from, row) in starts(intervals).filter(|(_, row)| row.counts[kind] > 0) {
            let (x, wide) = (common.x(from), (intervals.width / common.end * ACROSS - 0.5).max(0.5));
            let below: u64 = row.counts[..kind].iter().sum();
            let (y, tall) = (top + BARS - high(below), high(row.counts[kind]).max(0.8));
            write!(path, "M{x:.1} {y:.1}h{wide:.1}v-{tall:.1}h-{wide:.1}z")?;
        }
        writeln!(out, "<path class=\"bars f{kind}\" d=\"{path}\"/>")?;
    }
    Ok(())
}

fn starts(intervals: &Intervals) -> impl Iterator<Item = (f64, &Interval)> {
    #[expect(clippy::cast_precision_loss, reason = "there are a few hundred")]
    intervals.rows.iter().enumerate().map(|(number, row)| (number as f64 * intervals.width, row))
}
