//! The panels of a load: latency and throughput.

use std::fmt::Write;

use super::axis::Axis;
use super::drawing::TITLE;
use super::text;
use crate::journal::LoadSeries;
use crate::page::chart::{Interval, Intervals, LETTER, bars, curves, latency_axis};
use crate::page::scale::Latencies;
use crate::report::numbers::stretches;

const CURVES: f64 = 120.0;
const BARS: f64 = 80.0;

/// Outcomes that are told apart; further ones are drawn as one.
const MOST_OUTCOMES: usize = 8;

/// The latencies of a stretch, as the journal has them.
const PERCENTILES: [&str; 4] = ["median", "95 %", "99 %", "longest"];

/// A load as it is drawn: good outcomes first, few of them.
pub(super) struct Folded {
    pub names: Vec<String>,
    pub totals: Vec<u64>,
    pub intervals: Intervals,
}

pub(super) fn folded(axis: &Axis, load: &LoadSeries) -> Folded {
    let mut order: Vec<usize> = (0..load.outcomes.len()).collect();
    order.sort_by_key(|number| !load.outcomes[*number].success);
    let most = if order.len() > MOST_OUTCOMES { MOST_OUTCOMES - 1 } else { order.len() };
    let (told, others) = order.split_at(most);
    let count = |row: &[u64], number: &usize| row.get(*number).copied().unwrap_or(0);
    let counts = |row: &[u64]| {
        let mut counts: Vec<u64> = told.iter().map(|number| count(row, number)).collect();
        if !others.is_empty() {
            counts.push(others.iter().fold(0, |sum: u64, number| sum.saturating_add(count(row, number))));
        }
        counts
    };
    let mut names: Vec<String> = told.iter().map(|number| load.outcomes[*number].name.clone()).collect();
    if !others.is_empty() {
        names.push(format!("{} others", others.len()));
    }
    let mut totals = vec![0_u64; names.len()];
    let rows = stretches(load).take(crate::journal::MOST_SAMPLES).map(|(_, row)| {
        let counts = counts(&row.counts);
        totals.iter_mut().zip(&counts).for_each(|(total, more)| *total = total.saturating_add(*more));
        Interval { counts, latencies: row.latencies_ms.map(|all| all.map(nanos)) }
    });
    let rows = rows.collect();
    Folded { names, totals, intervals: Intervals { from: axis.at(load.started), width: load.width, rows } }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to an integer saturates")]
fn nanos(millis: f64) -> u64 {
    (millis * 1e6) as u64
}

/// Draws a load below `top`; where it ends.
pub(super) fn write(out: &mut String, axis: &Axis, load: &LoadSeries, top: f64) -> Result {
    let folded = folded(axis, load);
    let (intervals, frame) = (&folded.intervals, &axis.frame);
    // No load has stretches of less than a microsecond: what a journal of others says of them is no place on a page.
    if intervals.rows.is_empty() || !(1e-6..=1e12).contains(&intervals.width) {
        return Ok(top);
    }
    let all = || intervals.rows.iter().filter_map(|row| row.latencies).flatten();
    // What takes no time at all, as in virtual time, is drawn at the foot.
    let least = all().filter(|latency| *latency > 0).min().unwrap_or(1_000_000);
    // What it does stands in its lane.
    let name = short(load.load.split(": ").next().unwrap_or_default());
    let mut bottom = top;
    if let Some(most) = all().max() {
        let top = bottom + TITLE;
        let latencies = Latencies::new(least, most, top, CURVES);
        latency_axis(out, "", frame, &latencies, top)?;
        curves(out, intervals, PERCENTILES, &text(&format!("Latency of {name}"), 80), frame, &latencies, top)?;
        bottom = top + CURVES;
    }
    let top = bottom + TITLE;
    let title = format!("Requests a second of {name}");
    bars(out, intervals, &text(&title, 80), frame, top, BARS)?;
    legend(out, axis, &folded, &title, top - 11.0)?;
    Ok(top + BARS + 4.0)
}

/// Outcomes with their colours and counts after a title, as far as there is room.
fn legend(out: &mut String, axis: &Axis, folded: &Folded, title: &str, y: f64) -> std::fmt::Result {
    // Titles are bold.
    let mut x = axis.frame.left + wide(title) * 1.15 + 24.0;
    // It is beside the title, and at no time.
    writeln!(out, "<g class=\"fixed\">")?;
    for (number, (name, total)) in folded.names.iter().zip(&folded.totals).enumerate() {
        let label = format!("{}: {total}", short(name));
        if x + wide(&label) + 13.0 > axis.frame.right() {
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">…</text>")?;
            break;
        }
        write!(out, "<rect class=\"bars f{number}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/>", y - 9.0)?;
        writeln!(out, "<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 13.0, text(&label, 60))?;
        x += wide(&label) + 28.0;
    }
    writeln!(out, "</g>")
}

fn short(name: &str) -> String {
    if name.chars().count() > 24 { name.chars().take(23).chain(['…']).collect() } else { name.to_owned() }
}

#[expect(clippy::cast_precision_loss, reason = "a name is short")]
fn wide(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

type Result = std::result::Result<f64, std::fmt::Error>;
