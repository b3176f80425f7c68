//! The drawing: lanes and panels over one axis of time, its read-out, and the series that it has no room for.

use std::fmt::{Result, Write};

use serde_json::{Value, json};

use super::axis::Axis;
use super::{lanes, panels, series};
use crate::journal::Journal;
use crate::page;
use crate::page::chart::time_axis;
use crate::page::scale::latency_label;

/// The loads that are drawn.
pub(super) const MOST_LOADS: usize = 4;

/// The room above each panel for its title.
pub(super) const TITLE: f64 = 30.0;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    let axis = Axis::new(journal);
    let ordered = series::ordered(journal);
    let (main, rest) = ordered.split_at(ordered.len().min(series::MOST_PANELS));
    let mut drawn = String::new();
    let mut bottom = lanes::write(&mut drawn, &axis, 24.0)?;
    for load in journal.telemetry.loads.iter().take(MOST_LOADS) {
        bottom = panels::write(&mut drawn, &axis, load, bottom)?;
    }
    for one in main {
        bottom = series::panel(&mut drawn, &axis, one, bottom)?;
    }
    let (width, height) = (axis.frame.right() + 16.0, bottom + 26.0);
    writeln!(out, "<section id=\"time\"><h2>Timeline</h2>")?;
    writeln!(out, "<figure id=\"timeline\"><figcaption>{CAPTION}</figcaption>")?;
    write!(out, "<div class=\"drawing\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline\">")?;
    write!(out, "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"tl-title tl-desc\">")?;
    writeln!(
        out,
        "<title id=\"tl-title\">The run over time</title><desc id=\"tl-desc\">{}</desc>",
        described(journal)
    )?;
    writeln!(out, "{PATTERNS}")?;
    axis.shades(out, &axis.frame, 18.0, bottom)?;
    // The times above, too: the drawing may be a long one.
    time_axis(out, &axis.frame, 0.0, -4.0)?;
    time_axis(out, &axis.frame, 18.0, bottom)?;
    out.push_str(&drawn);
    let x = axis.frame.left;
    writeln!(out, "<line class=\"cursor\" x1=\"{x}\" x2=\"{x}\" y1=\"18\" y2=\"{bottom:.1}\"/></svg></div>")?;
    writeln!(out, "<output aria-live=\"polite\"></output>")?;
    writeln!(out, "<script type=\"application/json\">{}</script></figure>", page::data(&read_out(&axis, main)))?;
    let loads = journal.telemetry.loads.len().saturating_sub(MOST_LOADS);
    super::left_out(out, loads, "loads")?;
    if !rest.is_empty() {
        series::multiples(out, &axis, rest)?;
    }
    for missing in journal.telemetry.missing.iter().take(20) {
        writeln!(out, "<p class=\"faint\">Not to be had: {}</p>", super::text(missing, 400))?;
    }
    writeln!(out, "</section>")
}

const CAPTION: &str = "Seconds from the start of the run. A fault is hatched from its request until its effect was \
    seen, plain until its undo was asked for, and hatched again until that was verified.";

/// Hatching for the times in which a fault is neither known to be on nor known to be off.
const PATTERNS: &str = "<defs><pattern id=\"hatching\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
    patternTransform=\"rotate(45)\"><rect class=\"hatch-back\" width=\"7\" height=\"7\"/>\
    <path class=\"hatch-line\" d=\"M0 0V7\"/></pattern></defs>";

/// The drawing in words, for those who do not see it.
fn described(journal: &Journal) -> String {
    let mut words = Vec::new();
    for fault in journal.faults.iter().take(5) {
        let at = |at: Option<crate::clock::Timestamp>| at.map_or("never".to_owned(), |at| journal.offset(at));
        let window = &fault.window;
        words.push(format!(
            "{}: requested at {}, effective at {}, undo requested at {}, undone at {}.",
            window.fault,
            journal.offset(window.requested),
            at(window.effective),
            at(window.undo_requested),
            at(window.undone)
        ));
    }
    for evaluation in journal.evaluations.iter().take(5) {
        let (from, to) = (journal.offset(evaluation.started), journal.offset(evaluation.ended));
        words.push(format!("Hypothesis {} from {from} to {to}: {}.", evaluation.phase, evaluation.verdict));
    }
    super::text(&words.join(" "), 2000)
}

/// What the script shows of an instant.
fn read_out(axis: &Axis, main: &[&crate::journal::MetricSeries]) -> Value {
    let (journal, frame) = (axis.journal, &axis.frame);
    let number = |value: f64| json!((value * 1e3).round() / 1e3);
    let mut bands: Vec<Value> = Vec::new();
    for evaluation in journal.evaluations.iter().take(50) {
        let name = format!("hypothesis {}", evaluation.phase);
        bands.push(json!([cut(&name), number(axis.at(evaluation.started)), number(axis.at(evaluation.ended))]));
    }
    for step in journal.steps.iter().take(50) {
        if let (Some(from), Some(to)) = (step.started, step.ended) {
            bands.push(json!([
                cut(&format!("{} {}", step.kind, step.name)),
                number(axis.at(from)),
                number(axis.at(to))
            ]));
        }
    }
    for fault in journal.faults.iter().take(50) {
        let shade = axis.shade(&fault.window);
        bands.push(json!([
            cut(&format!("fault {}", fault.window.fault)),
            number(shade.requested),
            number(shade.undone)
        ]));
    }
    let load = |load: &crate::journal::LoadSeries| {
        let folded = panels::folded(axis, load);
        let rows = folded.intervals.rows.iter();
        let rows: Vec<_> =
            rows.map(|row| json!([row.counts, row.latencies.map(|all| all.map(latency_label))])).collect();
        let names: Vec<_> = folded.names.iter().map(|name| cut(name)).collect();
        json!({"name": cut(&load.load), "from": number(folded.intervals.from), "width": load.width, "outcomes": names, "rows": rows})
    };
    let loads: Vec<_> = journal.telemetry.loads.iter().take(MOST_LOADS).map(load).collect();
    let one = |series: &&crate::journal::MetricSeries| {
        let seen = series.samples.iter().filter(|(at, _)| axis.holds(*at));
        let samples: Vec<_> = seen.map(|(at, value)| json!([number(*at), value])).collect();
        json!({"name": cut(&super::series::title(series)), "interval": series.interval, "samples": samples})
    };
    let metrics: Vec<_> = main.iter().map(one).collect();
    let effective = journal.faults.iter().filter_map(|fault| fault.window.effective).min();
    json!({
        "left": frame.left, "across": frame.across, "from": number(frame.from), "end": number(frame.end),
        "started": journal.started.as_millisecond(), "effective": effective.map(|at| number(axis.at(at))),
        "bands": bands, "loads": loads, "series": metrics,
    })
}

fn cut(text: &str) -> String {
    crate::report::text::line(text, 120).into_owned()
}
