//! Charts over one axis of time: the frame, its marks, percentiles, stacked rates.

use std::fmt::{Result, Write};

use super::scale::{Latencies, latency_label, nice, round, time_label, time_step};

/// About the width of a letter.
pub(crate) const LETTER: f64 = 6.3;

/// An axis of time on the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Where it begins on the page, and how wide it is.
    pub left: f64,
    pub across: f64,
    /// The seconds that it begins and ends at.
    pub from: f64,
    pub end: f64,
}

impl Frame {
    /// The place of an instant; what lies outside is at the border.
    pub(crate) fn x(&self, at: f64) -> f64 {
        self.left + ((at - self.from) / (self.end - self.from)).clamp(0.0, 1.0) * self.across
    }

    /// Where it ends on the page.
    pub(crate) fn right(&self) -> f64 {
        self.left + self.across
    }
}

/// Figures of all requests by intervals of one length.
pub(crate) struct Intervals {
    /// When the first begins.
    pub from: f64,
    /// The length in seconds.
    pub width: f64,
    pub rows: Vec<Interval>,
}

/// The requests of one interval.
#[derive(Clone, Default)]
pub(crate) struct Interval {
    /// By outcome.
    pub counts: Vec<u64>,
    /// Three percentiles and the longest latency, in nanoseconds.
    pub latencies: Option<[u64; 4]>,
}

impl Intervals {
    fn starts(&self) -> impl Iterator<Item = (f64, &Interval)> {
        #[expect(clippy::cast_precision_loss, reason = "there are a few hundred")]
        self.rows.iter().enumerate().map(|(number, row)| (self.from + number as f64 * self.width, row))
    }
}

/// For each of what has a name and a begin, the line of its name and where on it the name begins, so that no two meet.
pub(crate) fn placed_names<'a>(named: impl Iterator<Item = (&'a str, f64, f64)>, frame: &Frame) -> Vec<(usize, f64)> {
    let mut ends: Vec<f64> = Vec::new();
    let place = |(name, from, to): (&str, f64, f64)| {
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let wide = name.chars().count() as f64 * LETTER;
        let x = (frame.x(from) + 5.0).min(frame.right() - wide).max(frame.left);
        let begin = x.min(frame.x(from));
        let line = ends.iter().position(|end| *end < begin).unwrap_or(ends.len());
        if line == ends.len() {
            ends.push(0.0);
        }
        ends[line] = (x + wide).max(frame.x(to));
        (line, x)
    };
    named.map(place).collect()
}

/// Lines at round times, with labels below.
pub(crate) fn time_axis(out: &mut String, frame: &Frame, top: f64, bottom: f64) -> Result {
    let span = frame.end - frame.from;
    let step = time_step(span, 12.0);
    let first = (frame.from / step - 1e-9).ceil();
    for tick in (0_u32..20).map(|number| (first + f64::from(number)) * step).take_while(|tick| *tick <= frame.end) {
        let x = frame.x(tick);
        write!(out, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>")?;
        let label = time_label(tick, span);
        writeln!(out, "<text class=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>", bottom + 17.0)?;
    }
    Ok(())
}

/// Lines at round latencies, with labels to the left.
pub(crate) fn latency_axis(out: &mut String, title: &str, frame: &Frame, axis: &Latencies, top: f64) -> Result {
    let Frame { left, across, .. } = *frame;
    if !title.is_empty() {
        writeln!(out, "<text class=\"panel\" x=\"{left}\" y=\"{}\">{title}</text>", top - 11.0)?;
    }
    for (nanos, y) in axis.marks() {
        write!(out, "<path class=\"grid\" d=\"M{left} {y:.1}h{across}\"/>")?;
        let label = latency_label(nanos);
        writeln!(out, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>", left - 8.0, y + 4.0)?;
    }
    Ok(())
}

/// Percentiles and the longest latency as steps, under an escaped title; where nothing was sent there is a gap.
pub(crate) fn curves(
    out: &mut String,
    intervals: &Intervals,
    names: [&str; 4],
    title: &str,
    frame: &Frame,
    axis: &Latencies,
    top: f64,
) -> Result {
    let left = frame.left;
    writeln!(out, "<text class=\"panel\" x=\"{left}\" y=\"{}\">{title}</text>", top - 11.0)?;
    let mut end = frame.right();
    writeln!(out, "<g class=\"fixed\">")?;
    for (number, name) in names.iter().enumerate().rev() {
        writeln!(out, "<text class=\"end tp{number}\" x=\"{end:.0}\" y=\"{}\">{name}</text>", top - 11.0)?;
        #[expect(clippy::cast_precision_loss, reason = "a name is short")]
        let wide = name.chars().count() as f64 * LETTER;
        end -= wide + 18.0;
    }
    writeln!(out, "</g>")?;
    for number in 0..names.len() {
        let mut path = String::new();
        let mut pen = 'M';
        for (from, row) in intervals.starts() {
            match row.latencies {
                Some(latencies) => {
                    // A step over the whole interval: the figure is one of all of it.
                    let (x, to) = (frame.x(from), frame.x(from + intervals.width));
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

/// Requests a second by outcome, good ones at the bottom, under an escaped title.
pub(crate) fn bars(
    out: &mut String,
    intervals: &Intervals,
    title: &str,
    frame: &Frame,
    top: f64,
    height: f64,
) -> Result {
    let Frame { left, across, .. } = *frame;
    #[expect(clippy::cast_precision_loss, reason = "a load has fewer than 2^52 requests")]
    let rate = |count: u64| count as f64 / intervals.width;
    let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, more| sum.saturating_add(*more));
    let most = intervals.rows.iter().map(|row| rate(sum(&row.counts))).fold(0.0, f64::max);
    let most = nice(most.max(f64::MIN_POSITIVE));
    let high = |count: u64| rate(count) / most * height;
    writeln!(out, "<text class=\"panel\" x=\"{left}\" y=\"{}\">{title}</text>", top - 11.0)?;
    for (value, y) in [(most, top), (most / 2.0, top + height / 2.0), (0.0, top + height)] {
        write!(out, "<path class=\"grid\" d=\"M{left} {y:.1}h{across}\"/>")?;
        writeln!(out, "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>", left - 8.0, y + 4.0, round(value))?;
    }
    let kinds = intervals.rows.first().map_or(0, |row| row.counts.len());
    for kind in 0..kinds {
        let mut path = String::new();
        for (from, row) in intervals.starts().filter(|(_, row)| row.counts[kind] > 0) {
            let wide = intervals.width / (frame.end - frame.from) * across;
            // A seam between bars that are wide enough to have one.
            let (x, wide) = (frame.x(from), if wide > 3.0 { wide - 0.5 } else { wide.max(0.5) });
            let below = sum(&row.counts[..kind]);
            let (y, tall) = (top + height - high(below), high(row.counts[kind]).max(0.8));
            write!(path, "M{x:.1} {y:.1}h{wide:.1}v-{tall:.1}h-{wide:.1}z")?;
        }
        writeln!(out, "<path class=\"bars f{kind}\" d=\"{path}\"/>")?;
    }
    Ok(())
}
