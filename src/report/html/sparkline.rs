//! A small drawing beside the name of a check: its series over the run, or what each judgement of it came to.

use std::fmt::{Result, Write};

use super::axis::Axis;
use super::{alerts, series, text};
use crate::journal::MetricSeries;
use crate::page::chart::Frame;
use crate::page::scale::round;

/// Its size.
const WIDE: f64 = 168.0;
const HIGH: f64 = 30.0;

/// The series that are drawn of a check.
const MOST: usize = 3;

/// The judgements that are drawn: no two nearer to each other than a mark is wide.
const MARK: f64 = 7.0;

/// Draws what there is of a check over time; nothing for one that has no series and was judged once in each phase.
pub(super) fn write(out: &mut String, axis: &Axis, check: &str) -> Result {
    let frame = Frame { left: 3.0, across: WIDE - 6.0, ..axis.frame };
    let of_check = axis.journal.telemetry.series.iter().filter(|one| one.checks.iter().any(|name| name == check));
    let all: Vec<_> = of_check.filter(|one| !one.samples.is_empty() && !alerts::is_one(one)).collect();
    let drawn = &all[..all.len().min(MOST)];
    let mut lines = String::new();
    if series::lines(&mut lines, axis, &frame, drawn, 3.0, HIGH - 6.0)? {
        let mut words: Vec<_> = drawn.iter().map(|one| in_words(axis, one)).collect();
        if all.len() > MOST {
            words.push(format!("and {} more series", all.len() - MOST));
        }
        return framed(out, axis, &frame, &words.join("; "), &lines);
    }
    let judged = || axis.journal.evaluations.iter().flat_map(|e| e.checks.iter().map(move |record| (e, record)));
    let judged: Vec<_> = judged().filter(|(_, record)| record.check == check).collect();
    if judged.len() <= 3 && judged.iter().all(|(evaluation, _)| evaluation.attempts <= 1) {
        return Ok(());
    }
    let count = |outcome: &str| judged.iter().filter(|(_, record)| record.outcome == outcome).count();
    let counts = [("met", count("met")), ("not met", count("not-met")), ("inconclusive", count("inconclusive"))];
    let told: Vec<_> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(outcome, n)| format!("{outcome} {n} times")).collect();
    let (mut marks, mut stands) = (String::new(), [f64::NEG_INFINITY; 3]);
    for (evaluation, record) in &judged {
        // Attempts before the one that counts lie between its begin and its end.
        if evaluation.attempts > 1 {
            let (from, to) = (frame.x(axis.at(evaluation.started)), frame.x(axis.at(evaluation.ended)));
            writeln!(marks, "<path class=\"tried\" d=\"M{from:.1} {:.1}H{to:.1}\"/>", HIGH / 2.0)?;
        }
        let (x, place) = (frame.x(axis.at(evaluation.ended)), place(&record.outcome));
        if x - stands[place] < MARK {
            continue;
        }
        stands[place] = x;
        match place {
            0 => writeln!(marks, "<circle class=\"judged good\" cx=\"{x:.1}\" cy=\"7\" r=\"2.6\"/>")?,
            1 => {
                writeln!(marks, "<circle class=\"judged unknown\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"2.6\"/>", HIGH / 2.0)?
            }
            _ => {
                let (x, y) = (x - 3.0, HIGH - 10.0);
                writeln!(marks, "<path class=\"judged bad\" d=\"M{x:.1} {y:.1}l6 6m0 -6l-6 6\"/>")?;
            }
        }
    }
    framed(out, axis, &frame, &format!("judged {} times: {}", judged.len(), told.join(", ")), &marks)
}

/// Met above, not known between, not met below: no mark is told from another by its colour alone.
fn place(outcome: &str) -> usize {
    match outcome {
        "met" => 0,
        "not-met" => 2,
        _ => 1,
    }
}

fn framed(out: &mut String, axis: &Axis, frame: &Frame, words: &str, drawn: &str) -> Result {
    let words = text(words, 600);
    write!(out, "<svg class=\"spark\" viewBox=\"0 0 {WIDE} {HIGH}\" role=\"img\" aria-label=\"{words}\">")?;
    writeln!(out, "<title>{words}</title>")?;
    axis.shades(out, frame, 1.0, HIGH - 1.0)?;
    write!(out, "{drawn}</svg>")
}

/// What a line shows, for those who do not see it.
fn in_words(axis: &Axis, one: &MetricSeries) -> String {
    let seen = series::seen(axis, one);
    let values = || seen.iter().filter_map(|(at, value)| Some((*at, (*value)?)));
    let (Some(first), Some(last)) = (values().next(), values().next_back()) else {
        return format!("{}: no value during the run", series::title(one));
    };
    let least = values().map(|(_, value)| value).fold(first.1, f64::min);
    let most = values().map(|(_, value)| value).fold(first.1, f64::max);
    let [from, to, least, most] = [first.1, last.1, least, most].map(round);
    format!(
        "{}: {from} at {:.1} s, {to} at {:.1} s, least {least}, greatest {most}",
        series::title(one),
        first.0,
        last.0
    )
}
