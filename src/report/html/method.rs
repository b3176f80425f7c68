//! The steps of the method, and the safeguards beside it.

use std::fmt::{Result, Write};

use super::{badge, evidence, left_out, table, text, within};
use crate::journal::{Journal, SafeguardRecord, StepStatus};
use crate::report::headline::Mark;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    writeln!(out, "<section id=\"method\"><h2>Method</h2>")?;
    if journal.steps.is_empty() {
        writeln!(out, "<p class=\"faint\">There are no steps.</p>")?;
    } else {
        steps(out, journal)?;
    }
    if !journal.safeguards.is_empty() {
        writeln!(out, "<h3>Safeguards</h3>")?;
        let left = within(out, 100_000, journal.safeguards.iter(), |out, guard| safeguard(out, journal, guard))?;
        left_out(out, left, "safeguards")?;
    }
    writeln!(out, "</section>")
}

fn steps(out: &mut String, journal: &Journal) -> Result {
    let mut left = 0;
    table(out, "Steps of the method", &["step", "", "from", "to", "how it ended", "stands at"], |out| {
        left = within(out, 200_000, journal.steps.iter(), |out, step| {
            let (mark, word, why) = match &step.status {
                StepStatus::Succeeded => (Mark::Good, "succeeded", ""),
                StepStatus::Failed { error } => (Mark::Bad, "failed", error.as_str()),
                StepStatus::Panicked { message } => (Mark::Bad, "panicked", message.as_str()),
                StepStatus::Stopped => (Mark::Unknown, "stopped", "it was running when the run ended"),
                StepStatus::NotRun => (Mark::None, "not run", step.infos.first().map_or("", String::as_str)),
            };
            let at = |at: Option<crate::clock::Timestamp>| at.map_or("–".to_owned(), |at| journal.offset(at));
            write!(out, "<tr><th scope=\"row\">{}</th><td>{}", text(&step.name, 300), text(&step.kind, 20))?;
            write!(out, "</td><td>{}</td><td>{}</td>", at(step.started), at(step.ended))?;
            write!(out, "<td>{} {}", badge(mark, word), text(why, 600))?;
            for warning in step.warnings.iter().take(5) {
                write!(out, "<br><span class=\"warning\">warning: {}</span>", text(warning, 300))?;
            }
            writeln!(out, "</td><td>{}</td></tr>", text(&step.location, 200))?;
            if step.output.is_null() {
                return Ok(());
            }
            write!(out, "<tr class=\"value\"><td colspan=\"6\">")?;
            evidence::value(out, "What it returned", &step.output)?;
            writeln!(out, "</td></tr>")
        })?;
        Ok(())
    })?;
    left_out(out, left, "steps")
}

fn safeguard(out: &mut String, journal: &Journal, guard: &SafeguardRecord) -> Result {
    let state = match (&guard.broken, guard.held_at) {
        (Some(breach), _) if breach.look.outcome == "not-met" => badge(Mark::Bad, "broken"),
        (Some(_), _) => badge(Mark::Unknown, "inconclusive"),
        (None, Some(_)) => badge(Mark::Good, "met"),
        (None, None) => badge(Mark::None, "never judged"),
    };
    writeln!(out, "<article><h4>{}</h4><p>{state} Looked at {} times, ", text(&guard.check, 300), guard.looks)?;
    write!(out, "every {:?}, {} times without evidence", guard.every, guard.unknown)?;
    match guard.held_at {
        Some(at) => writeln!(out, "; last seen to hold at {}.</p>", journal.offset(at))?,
        None => writeln!(out, "; never seen to hold.</p>")?,
    }
    if let Some(breach) = &guard.broken {
        let (since, at) = (journal.offset(breach.since), journal.offset(breach.at));
        writeln!(out, "<p class=\"warning\">So since {since}; it stopped the run at {at}.</p>")?;
        evidence::check(out, journal, &breach.look)?;
    }
    writeln!(out, "<p class=\"faint\">{}</p></article>", text(&guard.location, 200))
}
