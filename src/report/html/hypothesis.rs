//! The hypothesis: each check in each phase, with the evidence of each judgement.

use std::fmt::{Result, Write};

use super::axis::Axis;
use super::{evidence, left_out, outcome, sparkline, table, text, within};
use crate::journal::{CheckRecord, Ended, Evaluation, Journal, WATCHED};

/// The phases that every run has a column for.
const PHASES: [&str; 3] = ["before the method", "under the fault", "after the rollback"];

/// The most columns: what comes beside the phases of each run.
const MOST_COLUMNS: usize = 8;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    writeln!(out, "<section id=\"hypothesis\"><h2>Hypothesis</h2>")?;
    match &journal.hypothesis {
        Some(title) => writeln!(out, "<p>{}</p>", text(title, 400))?,
        None => writeln!(out, "<p class=\"faint\">The experiment has none.</p>")?,
    }
    let (columns, axis) = (columns(journal), Axis::new(journal));
    let mut checks: Vec<&str> = Vec::new();
    for check in journal.evaluations.iter().flat_map(|evaluation| &evaluation.checks) {
        if checks.len() < 500 && !checks.contains(&&*check.check) {
            checks.push(&check.check);
        }
    }
    if checks.is_empty() && journal.hypothesis.is_some() {
        writeln!(out, "<p class=\"faint\">It was not judged: {}.</p>", not_judged(journal, PHASES[1]))?;
    }
    if !checks.is_empty() {
        let heads: Vec<String> = columns.iter().map(|phase| text(phase, 40)).collect();
        let mut head = vec!["check"];
        head.extend(heads.iter().map(String::as_str));
        let mut left = 0;
        writeln!(out, "<div class=\"checks\">")?;
        table(out, "Checks of the hypothesis by phase", &head, |out| {
            left = within(out, 200_000, checks.iter(), |out, check| {
                write!(out, "<tr><th scope=\"row\">{}", text(check, 300))?;
                sparkline::write(out, &axis, check)?;
                write!(out, "</th>")?;
                for phase in &columns {
                    write!(out, "<td>")?;
                    cell(out, journal, phase, check)?;
                    write!(out, "</td>")?;
                }
                writeln!(out, "</tr>")
            })?;
            Ok(())
        })?;
        writeln!(out, "</div>")?;
        left_out(out, left, "checks")?;
    }
    let told = journal.evaluations.iter().filter(|evaluation| is_told(journal, evaluation));
    let told = told.flat_map(|evaluation| evaluation.checks.iter().map(move |check| (evaluation, check)));
    let left = within(out, 200_000, told, |out, (evaluation, check)| {
        let open = if check.outcome == "not-met" { " open" } else { "" };
        let (from, to) = (journal.offset(evaluation.started), journal.offset(evaluation.ended));
        write!(out, "<details{open}><summary>{} {}: ", outcome(&check.outcome), text(&evaluation.phase, 60))?;
        writeln!(out, "{}</summary><p>From {from} to {to}.</p>", text(&check.check, 300))?;
        evidence::check(out, journal, check)?;
        writeln!(out, "</details>")
    })?;
    left_out(out, left, "judgements of checks")?;
    writeln!(out, "</section>")
}

fn columns(journal: &Journal) -> Vec<&str> {
    let mut columns: Vec<&str> = vec![PHASES[0]];
    for evaluation in &journal.evaluations {
        let phase = &*evaluation.phase;
        if !PHASES.contains(&phase) && !columns.contains(&phase) && columns.len() < MOST_COLUMNS - 2 {
            columns.push(phase);
        }
    }
    columns.extend(&PHASES[1..]);
    columns
}

/// Of judgements that are repeated while the method runs, those that were not met are told one by one, the first ten.
fn is_told(journal: &Journal, evaluation: &Evaluation) -> bool {
    if evaluation.phase != WATCHED {
        return true;
    }
    let missed = journal.evaluations.iter().filter(|e| e.phase == WATCHED && e.verdict != crate::journal::Verdict::Met);
    missed.take(10).any(|told| std::ptr::eq(told, evaluation))
}

/// What a check came to in a phase: of several judgements the first that was not met, else the last.
fn cell(out: &mut String, journal: &Journal, phase: &str, name: &str) -> Result {
    let all: Vec<(&Evaluation, &CheckRecord)> = journal
        .evaluations
        .iter()
        .filter(|evaluation| evaluation.phase == phase)
        .flat_map(|evaluation| evaluation.checks.iter().map(move |check| (evaluation, check)))
        .filter(|(_, check)| check.check == name)
        .collect();
    let first = |outcome: &str| all.iter().find(|(_, check)| check.outcome == outcome);
    let Some((evaluation, check)) = first("not-met").or_else(|| first("inconclusive")).or(all.last()) else {
        return write!(out, "<span class=\"faint\">not judged: {}</span>", not_judged(journal, phase));
    };
    write!(out, "{} {}", outcome(&check.outcome), text(&check.phrase, 400))?;
    if check.faults_over {
        write!(out, " <span class=\"faint\">(no fault was on any more)</span>")?;
    }
    if all.len() > 1 {
        let same = all.iter().filter(|(_, other)| other.outcome == check.outcome).count();
        write!(out, " <span class=\"faint\">({same} of {} judgements)</span>", all.len())?;
    }
    if evaluation.attempts > 1 {
        write!(out, " <span class=\"faint\">({} attempts)</span>", evaluation.attempts)?;
    }
    for warning in check.warnings.iter().take(5) {
        write!(out, "<br><span class=\"warning\">warning: {}</span>", text(warning, 300))?;
    }
    Ok(())
}

/// Why a phase has no judgement. A phase that never came is not one in which nothing held.
fn not_judged(journal: &Journal, phase: &str) -> &'static str {
    match &journal.ended {
        Ended::GateMissed if phase != PHASES[0] => "the method did not run",
        Ended::Running => "the run had not come to it",
        Ended::Failed { .. } => "the run failed before",
        Ended::Panicked { .. } => "a closure panicked before",
        Ended::Interrupted { .. } => "the run was interrupted before",
        Ended::Stopped { .. } => "the run was stopped before",
        Ended::Cancelled => "the run was dropped before",
        Ended::Completed | Ended::GateMissed => "as the experiment chose",
    }
}
