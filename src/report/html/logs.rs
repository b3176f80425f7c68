//! Logs, what the cluster reported, and the events of the run itself.

use std::fmt::{Result, Write};

use super::{left_out, table, text, within};
use crate::clock::Timestamp;
use crate::journal::{Journal, LogExcerpt, LogLine};

/// Words that mark a line as one that tells of trouble, in lower case.
const TROUBLE: [&str; 11] = [
    "error",
    "fail",
    "panic",
    "fatal",
    "exception",
    "timeout",
    "timed out",
    "time-out",
    "no answer",
    "refused",
    "unavailable",
];

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    writeln!(out, "<section id=\"logs\"><h2>Logs and events</h2>")?;
    let telemetry = &journal.telemetry;
    if telemetry.logs.is_empty() {
        writeln!(out, "<p class=\"faint\">The run collected no logs.</p>")?;
    }
    let left = within(out, 250_000, telemetry.logs.iter(), |out, log| one(out, journal, log))?;
    left_out(out, left, "logs")?;
    if !telemetry.cluster_events.is_empty() {
        let warnings = telemetry.cluster_events.iter().filter(|event| event.warning).count();
        let count = telemetry.cluster_events.len();
        writeln!(out, "<details><summary>{count} events of the cluster, {warnings} of them warnings</summary>")?;
        let mut left = 0;
        table(out, "Events of the cluster", &["at", "object", "reason", "", "times"], |out| {
            left = within(out, 100_000, telemetry.cluster_events.iter(), |out, event| {
                let (class, mark) = if event.warning { (" class=\"trouble\"", "▲ ") } else { ("", "") };
                write!(out, "<tr{class}><td>{}</td><td>{}</td>", journal.offset(event.at), text(&event.object, 200))?;
                let (reason, message) = (text(&event.reason, 80), text(&event.message, 400));
                writeln!(out, "<td>{mark}{reason}</td><td>{message}</td><td>{}</td></tr>", event.count)
            })?;
            Ok(())
        })?;
        left_out(out, left, "events")?;
        writeln!(out, "</details>")?;
    }
    writeln!(out, "<details><summary>{} events of the run</summary>", journal.events.len())?;
    let mut left = 0;
    table(out, "Events of the run", &["at", "event", "of", ""], |out| {
        left = within(out, 150_000, journal.events.iter(), |out, event| {
            let (at, subject, detail) = (journal.offset(event.at), text(&event.subject, 200), text(&event.detail, 400));
            writeln!(out, "<tr><td>{at}</td><td>{}</td><td>{subject}</td><td>{detail}</td></tr>", event.kind)
        })?;
        Ok(())
    })?;
    left_out(out, left, "events")?;
    writeln!(out, "</details></section>")
}

/// The lines of one container, those of trouble marked, those under a fault with a bar.
fn one(out: &mut String, journal: &Journal, log: &LogExcerpt) -> Result {
    let (mut counts, mut undated) = ([0_usize; 3], 0_usize);
    for line in log.lines.iter().filter(|line| is_trouble(line)) {
        match line.at {
            Some(at) => counts[part(journal, at)] += 1,
            None => undated += 1,
        }
    }
    let [before, during, after] = counts;
    let source = text(&log.source, 200);
    write!(out, "<details><summary>{source}: {} lines; of trouble {before} before, ", log.lines.len())?;
    write!(out, "{during} during, {after} after the faults")?;
    if undated > 0 {
        write!(out, ", {undated} at unknown times")?;
    }
    writeln!(out, "</summary>")?;
    if log.left_out > 0 {
        writeln!(out, "<p class=\"faint\">{} lines before these were left out.</p>", log.left_out)?;
    }
    writeln!(out, "<pre class=\"log\" tabindex=\"0\">")?;
    let left = within(out, 120_000, log.lines.iter(), |out, line| {
        let mut classes = Vec::new();
        if is_trouble(line) {
            classes.push("trouble");
        }
        if line.at.is_some_and(|at| part(journal, at) == 1) {
            classes.push("under");
        }
        let at = line.at.map_or(String::new(), |at| journal.offset(at));
        let mark = if classes.contains(&"trouble") { '▲' } else { ' ' };
        writeln!(out, "<span class=\"{}\">{at:>9} {mark} {}</span>", classes.join(" "), text(&line.text, 1000))
    })?;
    writeln!(out, "</pre>")?;
    left_out(out, left, "lines")?;
    writeln!(out, "</details>")
}

fn is_trouble(line: &LogLine) -> bool {
    // A marked word far behind the begin of a huge line marks nothing that is shown.
    let begin: String = line.text.chars().take(1000).flat_map(char::to_lowercase).collect();
    TROUBLE.iter().any(|word| begin.contains(word))
}

/// 0 before the first fault, 1 while one is on, 2 after.
fn part(journal: &Journal, at: Timestamp) -> usize {
    let windows = || journal.faults.iter().map(|fault| &fault.window);
    let on =
        |window: &crate::journal::FaultWindow| window.requested <= at && window.undone.is_none_or(|undone| at < undone);
    if windows().any(on) {
        1
    } else if windows().any(|window| window.requested <= at) {
        2
    } else {
        0
    }
}
