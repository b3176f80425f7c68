//! Lanes: what happened when. Phases, activities, faults, judgements, safeguards, what the cluster reported.

use std::fmt::{Result, Write};

use super::axis::Axis;
use super::text;
use crate::journal::{Evaluation, EventKind, StepRecord, Verdict, WATCHED};
use crate::page::chart::{LETTER, placed_names};
use crate::report::text::line;

/// The most lines of one lane.
pub(super) const MOST_LANES: usize = 14;

/// The height of one line, and of the bar on it.
const LINE: f64 = 22.0;
const BAR: f64 = 17.0;

/// The most letters beside a bar.
const LETTERS: usize = 52;

/// Something with a begin and an end.
pub(super) struct Span {
    pub class: &'static str,
    pub label: String,
    pub title: String,
    pub from: f64,
    pub to: f64,
}

pub(super) type Drawn = std::result::Result<f64, std::fmt::Error>;

/// Draws all lanes from `top` on; where they end.
pub(super) fn write(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    let mut y = spans(out, axis, "phases", &phases(axis), top)?;
    let (beside, steps): (Vec<_>, Vec<_>) = axis.journal.steps.iter().partition(|step| step.kind == "background");
    y = spans(out, axis, "activities", &activities(axis, beside.into_iter().chain(steps)), y)?;
    y = faults(out, axis, y)?;
    y = judged(out, axis, y)?;
    y = safeguards(out, axis, y)?;
    y = super::alerts::lane(out, axis, y)?;
    cluster(out, axis, y)
}

fn phases(axis: &Axis) -> Vec<Span> {
    let journal = axis.journal;
    let span = |class, label: &str, detail: String, from, to| Span {
        class,
        label: label.to_owned(),
        title: format!("{label}: {detail}"),
        from,
        to,
    };
    let name = |evaluation: &Evaluation| match &*evaluation.phase {
        "before the method" => "gate".to_owned(),
        "under the fault" => "hypothesis".to_owned(),
        "after the rollback" => "recovery".to_owned(),
        other => line(other, 30).into_owned(),
    };
    let mut all = Vec::new();
    for evaluation in journal.evaluations.iter().filter(|e| e.phase != WATCHED).take(40) {
        let (from, to) = (axis.at(evaluation.started), axis.at(evaluation.ended));
        all.push(span("k-judged", &name(evaluation), evaluation.verdict.to_string(), from, to));
    }
    if let Some((from, to)) = journal.method_window() {
        let steps = format!("{} steps", journal.steps.len());
        let to = to.map_or(axis.frame.end, |to| axis.at(to));
        all.push(span("k-method", "method", steps, axis.at(from), to));
    }
    let undone = journal.faults.iter().filter(|fault| fault.end != crate::journal::FaultEnd::Plan);
    let undone: Vec<_> = undone.filter_map(|fault| Some((fault.window.undo_requested?, fault.window.undone))).collect();
    if let Some(from) = undone.iter().map(|(from, _)| axis.at(*from)).reduce(f64::min) {
        let to = undone.iter().map(|(_, to)| to.map_or(axis.frame.end, |at| axis.at(at))).fold(from, f64::max);
        all.push(span("k-rollback", "rollback", journal.rollback().state.to_string(), from, to));
    }
    all.sort_by(|one, other| one.from.total_cmp(&other.from));
    all
}

fn activities<'a>(axis: &Axis, steps: impl Iterator<Item = &'a StepRecord>) -> Vec<Span> {
    let steps = steps.filter_map(|step| {
        let from = axis.at(step.started?);
        let class = match &*step.kind {
            "background" => "k-background",
            "pause" => "k-pause",
            "inject" => "k-inject",
            _ => "k-step",
        };
        let label = match &*step.kind {
            "background" => step.name.clone(),
            kind => format!("{kind} {}", step.name),
        };
        let to = step.ended.map_or(axis.frame.end, |at| axis.at(at));
        let title = format!("{} {}: {from:.1} s to {to:.1} s", step.kind, step.name);
        Some(Span { class, label, title, from, to })
    });
    steps.collect()
}

fn name_of(out: &mut String, name: &str, y: f64) -> Result {
    writeln!(out, "<text class=\"panel\" x=\"4\" y=\"{:.1}\">{name}</text>", y + 13.0)
}

/// Spans on as few lines as keep their labels apart.
pub(super) fn spans(out: &mut String, axis: &Axis, name: &str, all: &[Span], top: f64) -> Drawn {
    if all.is_empty() {
        return Ok(top);
    }
    name_of(out, name, top)?;
    let labels: Vec<String> = all.iter().map(|span| short(&span.label)).collect();
    let named = all.iter().zip(&labels).map(|(span, label)| (label.as_str(), span.from, span.to));
    let places = placed_names(named, &axis.frame);
    let mut lines = 0;
    for ((span, label), (number, x)) in all.iter().zip(&labels).zip(places) {
        if number >= MOST_LANES {
            continue;
        }
        lines = lines.max(number + 1);
        let (y, from) = (top + line_at(number), axis.frame.x(span.from));
        let wide = (axis.frame.x(span.to) - from).max(2.0);
        write!(out, "<g><title>{}</title>", text(&span.title, 300))?;
        write!(
            out,
            "<rect class=\"{}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            span.class
        )?;
        writeln!(
            out,
            "<text class=\"label\" x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>",
            y + 13.0,
            text(label, LETTERS + 1)
        )?;
    }
    Ok(top + line_at(lines) + 8.0)
}

fn faults(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    let all = &axis.journal.faults;
    if all.is_empty() {
        return Ok(top);
    }
    name_of(out, "faults", top)?;
    for (number, fault) in all.iter().take(MOST_LANES).enumerate() {
        let (shade, y) = (axis.shade(&fault.window), top + line_at(number));
        let parts = [
            ("fault-hatch", shade.requested, shade.effective),
            ("fault-on", shade.effective, shade.undo_requested),
            ("fault-hatch", shade.undo_requested, shade.undone),
        ];
        write!(out, "<g><title>{}</title>", text(&fault.window.fault, 300))?;
        for (class, from, to) in parts {
            let (x, wide) = (axis.frame.x(from), axis.frame.x(to) - axis.frame.x(from));
            if wide > 0.0 {
                write!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{BAR}\"/>"
                )?;
            }
        }
        let seen = if shade.seen { "" } else { " (never seen)" };
        let label = short(&fault.window.fault) + seen;
        let x = axis.frame.x(shade.requested) + 5.0;
        let x = x.min(axis.frame.right() - letters(&label)).max(axis.frame.left);
        writeln!(out, "<text class=\"label\" x=\"{x:.1}\" y=\"{:.1}\">{}</text></g>", y + 13.0, text(&label, 80))?;
    }
    more(out, all.len(), axis, top)?;
    Ok(top + line_at(all.len().min(MOST_LANES)) + 8.0)
}

/// A mark for each time that the hypothesis was judged; where several would meet, the worst.
fn judged(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    if axis.journal.evaluations.is_empty() {
        return Ok(top);
    }
    name_of(out, "judged", top)?;
    let rank = |verdict| match verdict {
        Verdict::Deviated => 3,
        Verdict::Inconclusive => 2,
        Verdict::Met => 1,
        Verdict::NotJudged => 0,
    };
    let marks = axis.journal.evaluations.iter().map(|evaluation| {
        let x = axis.frame.x(axis.at(evaluation.ended));
        let title = format!("{}: {}", evaluation.phase, evaluation.verdict);
        (x, rank(evaluation.verdict), title)
    });
    for (x, rank, title) in apart(marks.collect(), 12.0) {
        let (class, sign) = [("none", "–"), ("good", "✓"), ("unknown", "?"), ("bad", "✗")][rank];
        write!(out, "<g><title>{}</title>", text(&title, 200))?;
        writeln!(out, "<text class=\"mark {class}\" x=\"{x:.1}\" y=\"{:.1}\">{sign}</text></g>", top + 14.0)?;
    }
    Ok(top + LINE + 4.0)
}

/// A tick for each look at a safeguard that found it holding, and a sign for each that did not.
fn safeguards(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    if axis.journal.safeguards.is_empty() {
        return Ok(top);
    }
    name_of(out, "safeguards", top)?;
    let (mut ticks, mut marks) = (Vec::new(), Vec::new());
    let place = |at| axis.frame.x(axis.at(at));
    for safeguard in &axis.journal.safeguards {
        for look in &safeguard.looked {
            let rank = match &*look.outcome {
                "not-applicable" => 0,
                "met" => 1,
                "not-met" => 3,
                _ => 2,
            };
            let title = format!("{}, {}: {}", safeguard.check, look.outcome, look.phrase);
            let drawn = if rank > 1 { &mut marks } else { &mut ticks };
            drawn.push((place(look.at), rank, title));
        }
        if let (true, Some(at)) = (safeguard.looked.is_empty(), safeguard.held_at) {
            marks.push((place(at), 1, format!("last seen to hold: {}", safeguard.check)));
        }
    }
    // An older journal has no looks, but what they found new.
    let looked = axis.journal.safeguards.iter().any(|safeguard| !safeguard.looked.is_empty());
    for event in &axis.journal.events {
        let rank = match event.kind {
            EventKind::SafeguardLooked if !looked => 2,
            EventKind::SafeguardBroken => 3,
            _ => continue,
        };
        marks.push((place(event.at), rank, event.to_string()));
    }
    for (x, rank, title) in apart(ticks, 3.0) {
        let class = ["none", "good"][rank];
        write!(out, "<g><title>{}</title>", text(&title, 300))?;
        writeln!(out, "<path class=\"tick {class}\" d=\"M{x:.1} {:.1}v10\"/></g>", top + 4.0)?;
    }
    for (x, rank, title) in apart(marks, 12.0) {
        let (class, sign) = [("none", "–"), ("good", "✓"), ("unknown", "?"), ("bad", "✗")][rank];
        write!(out, "<g><title>{}</title>", text(&title, 300))?;
        writeln!(out, "<text class=\"mark {class}\" x=\"{x:.1}\" y=\"{:.1}\">{sign}</text></g>", top + 14.0)?;
    }
    Ok(top + LINE + 4.0)
}

fn cluster(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    let all = axis.journal.telemetry.cluster_events.iter().filter(|event| axis.holds(axis.at(event.at)));
    let marks: Vec<_> = all
        .map(|event| {
            let title = format!("{} {}: {} ({} times)", event.object, event.reason, event.message, event.count);
            (axis.frame.x(axis.at(event.at)), usize::from(event.warning), title)
        })
        .collect();
    if marks.is_empty() {
        return Ok(top);
    }
    name_of(out, "cluster", top)?;
    for (x, rank, title) in apart(marks, 7.0) {
        let y = top + 9.0;
        write!(out, "<g><title>{}</title>", text(&title, 300))?;
        match rank {
            0 => writeln!(out, "<circle class=\"normal\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/></g>")?,
            _ => writeln!(out, "<path class=\"alert\" d=\"M{x:.1} {:.1}l5.5 10h-11z\"/></g>", y - 6.0)?,
        }
    }
    Ok(top + LINE + 4.0)
}

/// Of marks that would lie on each other the one of the highest rank.
fn apart(mut marks: Vec<(f64, usize, String)>, least: f64) -> Vec<(f64, usize, String)> {
    marks.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut kept: Vec<(f64, usize, String)> = Vec::new();
    for mark in marks {
        match kept.last_mut() {
            Some(last) if mark.0 - last.0 < least => {
                if mark.1 > last.1 {
                    *last = mark;
                }
            }
            _ => kept.push(mark),
        }
    }
    kept
}

fn more(out: &mut String, count: usize, axis: &Axis, top: f64) -> Result {
    if count <= MOST_LANES {
        return Ok(());
    }
    let (x, y) = (axis.frame.right(), top - 2.0);
    writeln!(
        out,
        "<text class=\"end\" x=\"{x:.1}\" y=\"{y:.1}\">and {} more in the table below</text>",
        count - MOST_LANES
    )
}

fn short(label: &str) -> String {
    match label.char_indices().nth(LETTERS) {
        Some((end, _)) => line(&format!("{}…", &label[..end]), LETTERS + 1).into_owned(),
        None => line(label, LETTERS).into_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a label is short")]
fn letters(label: &str) -> f64 {
    label.chars().count() as f64 * LETTER
}

#[expect(clippy::cast_precision_loss, reason = "there are a few lines")]
fn line_at(number: usize) -> f64 {
    number as f64 * LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_ends_where_its_last_step_did_or_what_cut_it_came() {
        let mut journal = crate::report::sample();
        let ends = |journal: &crate::journal::Journal| {
            let axis = Axis::new(journal);
            let method = phases(&axis).into_iter().find(|span| span.label == "method").expect("a method");
            (method.to, axis.frame.end)
        };
        let (whole, end) = ends(&journal);
        assert!(whole < end, "the judgement and the rollback are no part of it");
        let ended = |event: &&mut crate::journal::Event| event.kind == EventKind::MethodEnded;
        let last = journal.events.iter_mut().find(ended).expect("its end");
        (last.kind, last.at) = (EventKind::Interrupted, last.at - std::time::Duration::from_secs(1));
        assert!((ends(&journal).0 - (whole - 1.0)).abs() < 1e-6);
        journal.events.retain(|event| event.kind != EventKind::Interrupted);
        assert_eq!(ends(&journal).0, end, "an old journal does not say");
    }
}
