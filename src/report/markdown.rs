//! Markdown as GitHub reads it: a report for a pull request, and an entry for the summary of a step.

use std::fmt::Write;

use super::escape::{block, code, prose};
use super::summary::{Case, CaseResult, Summary};
use super::text::line;

/// The most bytes of a report: a comment on GitHub holds 65,536 characters.
const MOST: usize = 55_000;

/// The most letters of a name or a phrase.
const MOST_NAME: usize = 300;

/// The most of what is left that is told one by one.
const MOST_LEFT: usize = 20;

/// The most cases of an entry that are told.
const MOST_TOLD: usize = 10;

/// The report of one run.
pub(crate) fn report(summary: &Summary) -> String {
    let mut out =
        format!("## {}: {}\n\n{}\n\n", code(&summary.experiment, MOST_NAME), summary.headline, found(summary));
    let left = if summary.headline.is_alarm() { "**may be left behind**" } else { "left behind by choice" };
    for what in summary.left.iter().take(MOST_LEFT) {
        let _ = writeln!(out, "- {left}: {}", code(what, MOST_NAME));
    }
    if summary.left.len() > MOST_LEFT {
        let _ = writeln!(out, "- {left}: {} more, which the journal names", summary.left.len() - MOST_LEFT);
    }
    let (verdict, rollback) = (summary.verdict.to_string(), summary.rollback.to_string());
    for (name, value) in [
        ("verdict", Some(verdict.as_str())),
        ("rollback", Some(rollback.as_str())),
        ("hypothesis", summary.hypothesis.as_deref()),
        ("reason", summary.reason.as_ref().map(|why| why.text.as_str())),
        ("ended", Some(summary.ended.as_str())),
        ("because", summary.error.as_deref()),
        ("recovered", Some(summary.recovered.to_string().as_str())),
        ("cluster", summary.cluster.as_deref()),
        ("run", summary.run.as_deref()),
        ("seed", summary.seed.as_deref()),
    ] {
        if let Some(value) = value {
            let _ = writeln!(out, "- {name}: {}", code(value, 1_000));
        }
    }
    let _ = writeln!(out, "- time: {:.3} s, {}\n", summary.seconds, summary.time);
    table(&mut out, summary);
    let left = MOST.saturating_sub(out.len() + 200);
    // A block of code costs no more than its text: nothing in it is escaped.
    let text = super::escape::bounded(&summary.text, left / 4);
    let _ = write!(out, "\n<details><summary>Evidence</summary>\n\n{}\n</details>\n", block(&text));
    out
}

/// The reports of several runs; where they are too long together, a list.
#[cfg(feature = "cli")]
pub(crate) fn reports(summaries: &[Summary]) -> String {
    let whole = summaries.iter().map(report).collect::<Vec<_>>().join("\n");
    if whole.len() <= MOST {
        return whole;
    }
    let mut out = String::new();
    for (at, summary) in summaries.iter().enumerate() {
        let entry = entry(summary);
        if out.len() + entry.len() > MOST {
            let _ = writeln!(out, "- and {} more", summaries.len() - at);
            break;
        }
        out.push_str(&entry);
    }
    out
}

fn found(summary: &Summary) -> String {
    prose(&summary.sentence)
}

fn table(out: &mut String, summary: &Summary) {
    if summary.cases.is_empty() {
        return;
    }
    out.push_str("| phase | what had to be so | result | seen |\n|---|---|---|---|\n");
    // What is wrong first, so that it is what a long table keeps.
    let rest = summary.cases.iter().filter(|case| case.result <= CaseResult::Skipped);
    let all: Vec<&Case> = summary.wrong().into_iter().chain(rest).collect();
    for (at, case) in all.iter().enumerate() {
        let (name, seen) = (code(&case.name, MOST_NAME), code(&case.message, MOST_NAME));
        let row = format!("| {} | {name} | {} | {seen} |\n", code(&case.phase, 40), result(case.result));
        if out.len() + row.len() > MOST / 2 {
            let _ = writeln!(out, "\n{} more are in the journal.", all.len() - at);
            return;
        }
        out.push_str(&row);
    }
}

fn result(result: CaseResult) -> &'static str {
    match result {
        CaseResult::Passed => "as it should be",
        CaseResult::Skipped => "skipped",
        CaseResult::Error => "**not known**",
        CaseResult::Failed => "**not met**",
    }
}

/// An entry of a list of experiments, of a few kilobytes at most.
pub(crate) fn entry(summary: &Summary) -> String {
    let name = code(&summary.experiment, MOST_NAME);
    let mut out = format!("- **{}** {name}: {}\n", summary.headline, prose(&bounded_sentence(summary)));
    let wrong = summary.wrong();
    for case in wrong.iter().take(MOST_TOLD) {
        let seen = code(&case.message, MOST_NAME);
        let _ = writeln!(out, "  - {} {}: {seen}", prose(&line(&case.phase, 40)), code(&case.name, MOST_NAME));
    }
    if wrong.len() > MOST_TOLD {
        let _ = writeln!(out, "  - and {} more", wrong.len() - MOST_TOLD);
    }
    out
}

fn bounded_sentence(summary: &Summary) -> String {
    super::escape::bounded(&summary.sentence, 1_000).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollback::UndoOutcome;

    #[test]
    fn a_report_fits_into_a_comment_however_much_is_left() {
        let mut journal = crate::report::sample();
        let undo = &mut journal.faults[0].undo;
        undo[0].outcome = UndoOutcome::Leaked { why: "\u{1f4a5}`|".repeat(400) };
        *undo = vec![undo[0].clone(); 70];
        let report = report(&Summary::of(&journal));
        assert!(report.chars().count() < 65_536 && report.len() < MOST + 5_000, "{}", report.len());
        assert_eq!(report.matches("**may be left behind**: ").count(), MOST_LEFT + 1);
        assert!(report.contains("**may be left behind**: 50 more, which the journal names\n"), "{report}");
    }
}
