//! The drawing of one load: three panels over one axis of time, with its faults shaded.

use std::fmt::{Result, Write};

use super::grid::dots;
use super::series::{Series, seconds};
use crate::page::chart::{Frame, bars, curves, latency_axis, placed_names, time_axis};
use crate::page::escaped;
use crate::page::scale::{Latencies, time_label};

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
    fn frame(&self) -> Frame {
        Frame { left: LEFT, across: ACROSS, from: 0.0, end: self.end }
    }
}

pub(super) fn svg(out: &mut String, series: &mut Series, common: &Common) -> Result {
    let frame = &common.frame();
    let bands = series.bands.iter().map(|band| (band.name.as_str(), band.from, band.from));
    let names = placed_names(bands, frame);
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
        let (from, to) = (frame.x(band.from), frame.x(band.to.unwrap_or(common.end)));
        let wide = (to - from).max(1.0);
        writeln!(out, "<rect class=\"band\" x=\"{from:.1}\" y=\"0\" width=\"{wide:.1}\" height=\"{bottom}\"/>")?;
    }
    for (band, (line, x)) in series.bands.iter().zip(&names).filter(|(_, (line, _))| *line < MOST_NAMES) {
        #[expect(clippy::cast_precision_loss, reason = "at most four")]
        let y = (line + 1) as f64 * NAME - 4.0;
        writeln!(out, "<text class=\"band-name\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escaped(&band.name))?;
    }
    time_axis(out, frame, dots_top, bottom)?;
    let (least, most) = common.latencies;
    let axis = Latencies::new(least, most, dots_top, DOTS);
    latency_axis(out, "Latency of requests, from the intended instant", frame, &axis, dots_top)?;
    scatter(out, series, common, &axis)?;
    let axis = Latencies::new(least, most, curves_top, CURVES);
    latency_axis(out, "", frame, &axis, curves_top)?;
    let intervals = series.intervals(common.end);
    let title = format!("Percentiles of each {}", time_label(intervals.width, 1.0));
    curves(out, intervals, PERCENTILES, &title, frame, &axis, curves_top)?;
    bars(out, intervals, "Requests a second by outcome", frame, bars_top, BARS)?;
    writeln!(out, "<line class=\"cursor\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{top}\" y2=\"{bottom}\"/></svg>")
}

/// One path for each outcome and weight: a line of no length with round ends is a dot.
fn scatter(out: &mut String, series: &Series, common: &Common, axis: &Latencies) -> Result {
    let place = |point: &super::series::Point| (common.frame().x(seconds(point.at)), axis.y(point.latency));
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
