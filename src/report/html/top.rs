//! The head of the page: the verdict in a sentence, the rollback, key numbers.

use std::fmt::{Result, Write};
use std::time::Duration;

use super::{badge, block, table, text, within};
use crate::journal::text::line;
use crate::journal::{Ended, Journal, Verdict, capital};
use crate::page::scale::{latency_label, round};
use crate::report::headline::Mark;
use crate::report::numbers::percent;
use crate::report::{FaultTimes, LoadNumbers, PartNumbers};

/// The faults that have a column among the key numbers.
const MOST_FAULTS: usize = 6;

pub(super) fn write(out: &mut String, journal: &Journal) -> Result {
    let rollback = journal.rollback();
    let (headline, mark) = (journal.headline(), journal.headline().mark());
    writeln!(out, "<header class=\"verdict {}\">", mark.class())?;
    let (sign, word) = (mark.sign(), capital(&headline.to_string()));
    writeln!(out, "<p class=\"word\"><span aria-hidden=\"true\">{sign}</span> {word}</p>")?;
    writeln!(out, "<h1>{}</h1>", text(&journal.experiment, 400))?;
    writeln!(out, "<p class=\"sentence\">{}</p>", text(&journal.sentence(), 3000))?;
    whole_error(out, journal)?;
    write!(out, "<dl>")?;
    if let Some(hypothesis) = &journal.hypothesis {
        write!(out, "<div><dt>hypothesis</dt><dd>{}</dd></div>", text(hypothesis, 300))?;
    }
    let (verdict, state) = (journal.verdict, rollback.state);
    // A verdict without the evaluations that show it has no mark of one.
    let shown = verdict != Verdict::Met || journal.shows_met();
    let of_verdict = if shown { Mark::of(verdict) } else { Mark::Unknown };
    write!(out, "<div><dt>verdict</dt><dd>{}</dd></div>", badge(of_verdict, &verdict.to_string()))?;
    write!(out, "<div><dt>rollback</dt><dd>{}</dd></div>", badge(state.mark(), &state.to_string()))?;
    let (mark, recovered, when) = match (journal.recovered_within(), journal.recovered) {
        (Some(within), _) => {
            (Mark::Good, "met".to_owned(), format!(", within {:.1} s of the undo", within.as_secs_f64()))
        }
        // A recovery without the judgement that shows it is not shown as one.
        (None, Verdict::Met) if !journal.faults.is_empty() => (Mark::Unknown, "not known".to_owned(), String::new()),
        (None, verdict) => (Mark::of(verdict), verdict.to_string(), String::new()),
    };
    write!(out, "<div><dt>recovered</dt><dd>{}{when}</dd></div>", badge(mark, &recovered))?;
    let length = journal.offset(journal.finished);
    write!(
        out,
        "<div><dt>ran</dt><dd>{} for {length}, on {}</dd></div>",
        journal.started,
        text(&journal.cluster, 200)
    )?;
    writeln!(out, "</dl>")?;
    if !rollback.state.is_clean() && !rollback.left.is_empty() {
        writeln!(out, "<div class=\"alarm\"><h2>Rollback: {}</h2><ul>", text(&rollback.state.to_string(), 40))?;
        for left in rollback.left.iter().take(50) {
            writeln!(out, "<li>{}</li>", text(left, 400))?;
        }
        writeln!(out, "</ul><p>What to do:</p><pre>")?;
        for remedy in rollback.remedies.iter().take(50) {
            writeln!(out, "{}", text(remedy, 2_500))?;
        }
        writeln!(out, "</pre></div>")?;
    }
    writeln!(out, "<nav aria-label=\"Sections\"><a href=\"#numbers\">Key numbers</a> <a href=\"#time\">Timeline</a> ")?;
    writeln!(
        out,
        "<a href=\"#hypothesis\">Hypothesis</a> <a href=\"#faults\">Faults</a> <a href=\"#method\">Method</a> "
    )?;
    writeln!(out, "<a href=\"#logs\">Logs and events</a> <a href=\"#again\">Run it again</a></nav></header>")
}

/// What a run failed of, where the sentence has room for its begin only: what to do stands at the end of an error.
fn whole_error(out: &mut String, journal: &Journal) -> Result {
    let (Ended::Failed { error: why } | Ended::Panicked { message: why }) = &journal.ended else { return Ok(()) };
    if journal.sentence().contains(&*line(why, 3_000)) {
        return Ok(());
    }
    writeln!(out, "<pre class=\"error\" tabindex=\"0\">{}</pre>", block(why, 10_000))
}

pub(super) fn numbers(out: &mut String, journal: &Journal) -> Result {
    let numbers = journal.numbers();
    writeln!(out, "<section id=\"numbers\"><h2>Key numbers</h2>")?;
    if numbers.loads.is_empty() && numbers.faults.is_empty() {
        writeln!(out, "<p class=\"faint\">There was no load and no fault.</p>")?;
    }
    writeln!(out, "<div class=\"tables\">")?;
    let left = within(out, 60_000, numbers.loads.iter(), one_load)?;
    super::left_out(out, left, "loads")?;
    if !numbers.faults.is_empty() {
        writeln!(out, "<div class=\"load\"><h3>Times of the faults</h3>")?;
        // One column for each fault, as the loads have one for each part.
        let shown = &numbers.faults[..numbers.faults.len().min(MOST_FAULTS)];
        let names: Vec<String> = shown.iter().map(|fault| text(&fault.fault, 60)).collect();
        let mut head = vec![""];
        head.extend(names.iter().map(String::as_str));
        table(out, "Times of the faults", &head, |out| {
            let seconds = |span: Option<Duration>, none: &str| {
                span.map_or(none.to_owned(), |span| format!("{:.1} s", span.as_secs_f64()))
            };
            times(out, shown, "effective after", |fault| seconds(fault.until_effective, "never seen"))?;
            times(out, shown, "on for", |fault| seconds(fault.on, "–"))?;
            times(out, shown, "undone after", |fault| seconds(fault.until_undone, "not verified"))?;
            times(out, shown, "first failed check", |fault| seconds(fault.until_failed_check, "none"))?;
            times(out, shown, "first failed request", |fault| match fault.until_failed_request {
                Some((span, width)) => format!("{:.1} s (± {} s)", span.as_secs_f64(), round(width)),
                None => "none".to_owned(),
            })
        })?;
        let left = numbers.faults.len() - shown.len();
        super::left_out(out, left, "faults")?;
        write!(out, "<p class=\"faint\">First failures count from the fault's effect")?;
        if let Some((least, most)) = numbers.scrape_seconds {
            let every = if least == most {
                format!("{} s", round(least))
            } else {
                format!("{} s to {} s", round(least), round(most))
            };
            write!(out, "; what series show is known to a scrape, every {every}")?;
        }
        writeln!(out, ".</p></div>")?;
    }
    writeln!(out, "</div></section>")
}

fn one_load(out: &mut String, load: &LoadNumbers) -> Result {
    let around = load.fault.as_ref().map(|fault| format!(", around {}", text(fault, 120))).unwrap_or_default();
    writeln!(out, "<div class=\"load\"><h3>{}{around}</h3>", text(&load.load, 120))?;
    if let Some(why) = &load.invalid {
        writeln!(out, "<p class=\"warning\"><strong>No evidence:</strong> {}</p>", text(why, 400))?;
    }
    let mut head = vec![""];
    let name = |part: &PartNumbers| {
        ["before", "during", "after"].into_iter().find(|name| *name == part.part).unwrap_or("whole")
    };
    head.extend(load.parts.iter().map(name));
    let before = load.parts.first().filter(|first| first.part == "before");
    table(out, "Key numbers of a load", &head, |out| {
        row(out, load, "requests", |part| part.requests.to_string())?;
        row(out, load, "requests/s", |part| part.per_second.map_or("–".to_owned(), |rate| trimmed(rate, 1)))?;
        row(out, load, "good", |part| {
            let points = before
                .filter(|before| !std::ptr::eq(*before, part))
                .map(|before| (part.success - before.success) * 100.0);
            let change = points
                .filter(|points| points.abs() >= 0.005)
                .map(|points| format!(" ({points:+.2})"))
                .unwrap_or_default();
            percent(part.success) + &change
        })?;
        for (number, name) in ["median", "95 %", "99 %", "longest"].into_iter().enumerate() {
            row(out, load, name, |part| {
                let Some(latency) = part.latencies_ms[number] else { return "–".to_owned() };
                let earlier =
                    before.filter(|before| !std::ptr::eq(*before, part)).and_then(|before| before.latencies_ms[number]);
                let change = earlier.filter(|earlier| *earlier > 0.0).map(|earlier| latency / earlier);
                let change = change
                    .filter(|change| !(0.95..=1.05).contains(change))
                    .map(|change| format!(" (× {})", trimmed(change, 1)));
                label(latency) + &change.unwrap_or_default()
            })?;
        }
        row(out, load, "errors", |part| {
            let errors = part.errors.iter().take(6).map(|(name, count)| format!("{}: {count}", text(name, 40)));
            let errors: Vec<_> = errors.collect();
            let more = part.errors.len().saturating_sub(6);
            let more = if more > 0 { format!(" and {more} more kinds") } else { String::new() };
            if errors.is_empty() { "none".to_owned() } else { errors.join(", ") + &more }
        })
    })?;
    writeln!(out, "</div>")
}

/// A row of the times of faults; what the closure gives is escaped.
fn times(out: &mut String, faults: &[FaultTimes], name: &str, of: impl Fn(&FaultTimes) -> String) -> Result {
    write!(out, "<tr><th scope=\"row\">{name}</th>")?;
    for fault in faults {
        write!(out, "<td>{}</td>", of(fault))?;
    }
    writeln!(out, "</tr>")
}

/// A row of figures; what the closure gives is escaped.
fn row(out: &mut String, load: &LoadNumbers, name: &str, of: impl Fn(&PartNumbers) -> String) -> Result {
    write!(out, "<tr><th scope=\"row\">{name}</th>")?;
    for part in &load.parts {
        write!(out, "<td>{}</td>", of(part))?;
    }
    writeln!(out, "</tr>")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast to an integer saturates")]
fn label(millis: f64) -> String {
    latency_label((millis * 1e6) as u64)
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
