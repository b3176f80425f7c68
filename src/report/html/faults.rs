//! The faults: targets, the four instants, proofs, undos.

use std::fmt::{Result, Write};

use super::{badge, left_out, table, text, within};
use crate::journal::{FaultEnd, FaultRecord, Journal};
use crate::report::headline::Mark;
use crate::rollback::UndoOutcome;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    writeln!(out, "<section id=\"faults\"><h2>Faults and rollback</h2>")?;
    if journal.faults.is_empty() {
        writeln!(out, "<p class=\"faint\">No fault was injected.</p>")?;
    }
    let left = within(out, 200_000, journal.faults.iter(), |out, fault| one(out, journal, fault))?;
    left_out(out, left, "faults")?;
    if !journal.finally.is_empty() {
        let mut left = 0;
        writeln!(out, "<h3>Finally</h3>")?;
        table(out, "Steps of finally", &["step", "how it went", "survives a crash"], |out| {
            left = within(out, 60_000, journal.finally.iter(), |out, step| {
                let how = match (&step.error, step.run) {
                    (Some(error), _) => format!("{} {}", badge(Mark::Bad, "failed"), text(error, 400)),
                    (None, true) => badge(Mark::Good, "done"),
                    (None, false) => badge(Mark::None, "not run"),
                };
                let safe = if step.crash_safe { "yes" } else { "no" };
                writeln!(out, "<tr><th scope=\"row\">{}</th><td>{how}</td><td>{safe}</td></tr>", text(&step.name, 300))
            })?;
            Ok(())
        })?;
        left_out(out, left, "steps")?;
    }
    writeln!(out, "</section>")
}

fn one(out: &mut String, journal: &Journal, fault: &FaultRecord) -> Result {
    let window = &fault.window;
    let proof = match (&fault.trusted, fault.proved) {
        (_, true) => badge(Mark::Good, "proved"),
        (Some(why), false) => format!("{} {}", badge(Mark::None, "believed without proof"), text(why, 300)),
        (None, false) => format!("{} {}", badge(Mark::Unknown, "not proved"), text(&fault.remedy, 300)),
    };
    writeln!(out, "<article><h3>{}</h3><p>{proof}</p>", text(&window.fault, 300))?;
    let targets: Vec<_> = fault.targets.iter().take(30).map(|target| text(target, 120)).collect();
    let more = fault.targets.len().saturating_sub(30);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let targets = if targets.is_empty() { "none".to_owned() } else { targets.join(", ") };
    let ended = match &fault.end {
        FaultEnd::None => "nobody: it was still on".to_owned(),
        FaultEnd::Rollback => "the rollback".to_owned(),
        FaultEnd::Plan => "the experiment, by its own plan".to_owned(),
        FaultEnd::Left => "nobody: it was left on by choice".to_owned(),
        FaultEnd::Early { by } => format!("before its time: {}", text(by, 300)),
    };
    let at = |at: Option<crate::clock::Timestamp>, none: &str| at.map_or(none.to_owned(), |at| journal.offset(at));
    writeln!(out, "<dl><div><dt>requested</dt><dd>{}</dd></div>", journal.offset(window.requested))?;
    writeln!(out, "<div><dt>effective</dt><dd>{}</dd></div>", at(window.effective, "never seen"))?;
    writeln!(out, "<div><dt>undo requested</dt><dd>{}</dd></div>", at(window.undo_requested, "never"))?;
    writeln!(out, "<div><dt>undone</dt><dd>{}</dd></div>", at(window.undone, "not verified"))?;
    writeln!(out, "<div><dt>ended by</dt><dd>{ended}</dd></div>")?;
    writeln!(out, "<div class=\"wide\"><dt>targets</dt><dd>{targets}{more}</dd></div></dl>")?;
    if !fault.sightings.is_empty() {
        let mut left = 0;
        table(out, "What witnesses saw", &["when", "at", "what a witness saw", "as expected"], |out| {
            left = within(out, 60_000, fault.sightings.iter(), |out, sighting| {
                let expected = if sighting.as_expected { "yes" } else { "<strong>no</strong>" };
                let (when, at, saw) = (sighting.when, journal.offset(sighting.at), text(&sighting.saw, 300));
                writeln!(out, "<tr><th scope=\"row\">{when}</th><td>{at}</td><td>{saw}</td><td>{expected}</td></tr>")
            })?;
            Ok(())
        })?;
        left_out(out, left, "looks")?;
    }
    if !fault.undo.is_empty() {
        let mut left = 0;
        table(out, "Undos", &["undo", "how it ended"], |out| {
            left = within(out, 60_000, fault.undo.iter(), |out, undo| {
                let (mark, word, detail) = match &undo.outcome {
                    UndoOutcome::Reverted => (Mark::Good, "reverted", ""),
                    UndoOutcome::TargetGone { proof } => (Mark::None, "target gone", proof.as_str()),
                    UndoOutcome::Unverified { why } => (Mark::Unknown, "unverified", why.as_str()),
                    UndoOutcome::Leaked { why } => (Mark::Bad, "leaked", why.as_str()),
                };
                let (undo, detail) = (text(&undo.undo, 300), text(detail, 400));
                writeln!(out, "<tr><th scope=\"row\">{undo}</th><td>{} {detail}</td></tr>", badge(mark, word))
            })?;
            Ok(())
        })?;
        left_out(out, left, "undos")?;
    }
    writeln!(out, "</article>")
}
