//! The plot of a load: one HTML file with an SVG, no script and no network.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::recording::{Hit, Outcome, Recording};
use crate::clock::Timestamp;
use crate::journal::FaultWindow;

/// The drawing area, in the SVG's units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;

/// The height of the bars of requests per second.
const BARS: f64 = 90.0;

/// The room for labels left of and below the drawing area.
const LEFT: f64 = 70.0;
const BELOW: f64 = 40.0;

/// The most rows of the table.
const MOST_ROWS: usize = 2000;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f2430; --faint: #8a93a3; --line: #d9dde5; --page: #ffffff;
  --good: #2f7d4f; --bad: #c2410c; --lost: #9f1239; --band: #fde2cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaf0; --faint: #8d97a8; --line: #3a4150; --page: #15181f;
  --good: #5cc98a; --bad: #fb923c; --lost: #fb7185; --band: #45301f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } p { margin: .25rem 0 1rem; color: var(--faint); }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1rem 0; } dl div { min-width: 5rem; }
dt { color: var(--faint); font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; font-size: 1.1rem; }
.figure { overflow-x: auto; } svg { width: 100%; min-width: 640px; height: auto; }
text { fill: var(--faint); font-size: 12px; } .grid { stroke: var(--line); } .band { fill: var(--band); }
.band-name { fill: var(--ink); } .good { fill: var(--good); } .bad { fill: var(--bad); } .lost { fill: var(--lost); }
.dot { fill-opacity: .75; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .1rem .8rem .1rem 0; text-align: right; } .legend span { margin-right: 1.5rem; }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .35rem; }
.key.good { background: var(--good); } .key.bad { background: var(--bad); } .key.lost { background: var(--lost); }
";

/// The whole page.
pub(super) fn page(recording: &Recording, faults: &[FaultWindow]) -> String {
    let mut page = String::new();
    write_page(&mut page, recording, faults).expect("writing to a string cannot fail");
    page
}

fn write_page(out: &mut String, recording: &Recording, faults: &[FaultWindow]) -> std::fmt::Result {
    let summary = recording.summary();
    let name = escaped(&recording.name);
    write!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    write!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    write!(out, "<title>{name}</title><style>{STYLE}</style></head><body>\n<h1>{name}</h1>")?;
    writeln!(out, "<p>{} requests a second, started {}</p>", recording.rate, recording.started)?;
    if let Some(why) = &summary.invalid {
        writeln!(out, "<p class=\"bad\"><strong>No evidence:</strong> {}</p>", escaped(why))?;
    }
    out.push_str("<dl>");
    let mut figure = |term: &str, value: &dyn Display| write!(out, "<div><dt>{term}</dt><dd>{value}</dd></div>");
    figure("requests", &summary.requests)?;
    figure("succeeded", &summary.succeeded)?;
    figure("failed", &(summary.requests - summary.succeeded))?;
    for (term, millis) in
        [("p50", summary.p50_ms), ("p95", summary.p95_ms), ("p99", summary.p99_ms), ("max", summary.max_ms)]
    {
        figure(term, &format_args!("{millis:.1} ms"))?;
    }
    out.push_str("</dl>\n<p class=\"legend\">");
    for (class, meaning) in [("good", "answered below 400"), ("bad", "answered 400 or above"), ("lost", "no answer")] {
        write!(out, "<span><i class=\"key {class}\"></i>{meaning}</span>")?;
    }
    out.push_str("</p>\n<div class=\"figure\">");
    svg(out, recording, faults)?;
    out.push_str("</div>\n");
    table(out, &recording.hits)?;
    out.push_str("</body></html>\n");
    Ok(())
}

fn svg(out: &mut String, recording: &Recording, faults: &[FaultWindow]) -> std::fmt::Result {
    let end = recording.hits.iter().map(|hit| hit.done.max(hit.intended).as_secs_f64()).fold(1.0, f64::max);
    let top = recording.hits.iter().map(|hit| hit.latency().as_secs_f64() * 1000.0).fold(1.0, f64::max);
    let top = nice(top);
    let x = |seconds: f64| LEFT + (seconds / end).clamp(0.0, 1.0) * WIDTH;
    let y = |millis: f64| HEIGHT - millis / top * (HEIGHT - 20.0);
    let (width, height) = (LEFT + WIDTH + 20.0, HEIGHT + BARS + 2.0 * BELOW);
    write!(out, "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"t d\">")?;
    write!(out, "<title id=\"t\">Latency of each request over time</title>")?;
    write!(
        out,
        "<desc id=\"d\">{} requests; below, requests for each second. Shaded: faults.</desc>",
        recording.hits.len()
    )?;
    for fault in faults {
        let at = |stamp: Timestamp| stamp.duration_since(recording.started).as_secs_f64();
        // From the request on: it bites at once, and is proved only a little later.
        let begin = fault.requested;
        let (from, to) =
            (x(at(begin)), fault.undone.or(fault.undo_requested).map_or(LEFT + WIDTH, |stamp| x(at(stamp))));
        let width = (to - from).max(1.0);
        write!(
            out,
            "<rect class=\"band\" x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{}\"/>",
            HEIGHT + BELOW + BARS
        )?;
        write!(out, "<text class=\"band-name\" x=\"{:.1}\" y=\"14\">{}</text>", from + 6.0, escaped(&fault.fault))?;
    }
    for step in 0..=4 {
        let millis = top * f64::from(step) / 4.0;
        let line = y(millis);
        write!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\"/>", LEFT + WIDTH)?;
        write!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} ms</text>",
            LEFT - 8.0,
            line + 4.0,
            label(millis)
        )?;
    }
    let apart = whole_seconds(end / 10.0);
    for tick in (0..).map(|step| f64::from(step) * apart).take_while(|tick| *tick <= end) {
        write!(out, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tick} s</text>", x(tick), HEIGHT + 18.0)?;
    }
    for hit in &recording.hits {
        let (at, millis) = (hit.intended.as_secs_f64(), hit.latency().as_secs_f64() * 1000.0);
        write!(
            out,
            "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
            class(&hit.outcome),
            x(at),
            y(millis)
        )?;
    }
    bars(out, recording, end, &x)?;
    out.push_str("</svg>");
    Ok(())
}

/// For each second the requests intended in it, good ones at the bottom.
fn bars(out: &mut String, recording: &Recording, end: f64, x: &dyn Fn(f64) -> f64) -> std::fmt::Result {
    let base = HEIGHT + BELOW + BARS;
    let mut seconds: BTreeMap<u64, [u32; 3]> = BTreeMap::new();
    for hit in &recording.hits {
        let kind = ["good", "bad", "lost"].iter().position(|class_| *class_ == class(&hit.outcome)).unwrap_or(0);
        seconds.entry(hit.intended.as_secs()).or_default()[kind] += 1;
    }
    let most = seconds.values().map(|counts| counts.iter().sum::<u32>()).max().unwrap_or(1).max(1);
    let wide = (WIDTH / end * 0.9).max(0.5);
    for (second, counts) in &seconds {
        let mut bottom = base;
        for (count, class) in counts.iter().zip(["good", "bad", "lost"]) {
            let high = f64::from(*count) / f64::from(most) * (BARS - 10.0);
            bottom -= high;
            #[expect(clippy::cast_precision_loss, reason = "a load lasts fewer than 2^52 seconds")]
            let left = x(*second as f64);
            if *count > 0 {
                write!(
                    out,
                    "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{bottom:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\"/>"
                )?;
            }
        }
    }
    write!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{most}/s</text>", LEFT - 8.0, base - BARS + 18.0)?;
    write!(out, "<text x=\"{}\" y=\"{base:.1}\" text-anchor=\"end\">0/s</text>", LEFT - 8.0)?;
    write!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>", LEFT + WIDTH)
}

fn table(out: &mut String, hits: &[Hit]) -> std::fmt::Result {
    out.push_str("<details><summary>Each request</summary><table><thead><tr><th>#</th><th>intended</th><th>late</th>");
    out.push_str("<th>latency</th><th>outcome</th></tr></thead><tbody>\n");
    for hit in hits.iter().take(MOST_ROWS) {
        let (intended, late) = (hit.intended.as_secs_f64(), hit.lateness().as_secs_f64() * 1000.0);
        let (latency, outcome) = (hit.latency().as_secs_f64() * 1000.0, escaped(&hit.outcome.name()));
        write!(out, "<tr><td>{}</td><td>{intended:.3} s</td><td>{late:.1} ms</td>", hit.number)?;
        writeln!(out, "<td>{latency:.1} ms</td><td>{outcome}</td></tr>")?;
    }
    out.push_str("</tbody></table>");
    if hits.len() > MOST_ROWS {
        write!(out, "<p>The first {MOST_ROWS} of {}.</p>", hits.len())?;
    }
    out.push_str("</details>\n");
    Ok(())
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Status(_) if outcome.is_success() => "good",
        Outcome::Status(_) => "bad",
        Outcome::NoAnswer(_) => "lost",
    }
}

/// The next of 1, 1.2, 2, 4, 5, 8, 10, 12 …: round, and round in quarters.
fn nice(value: f64) -> f64 {
    next_of(&[1.0, 1.2, 2.0, 4.0, 5.0, 8.0, 10.0], value)
}

/// The next of 1, 2, 5, 10, 20 …, in seconds.
fn whole_seconds(value: f64) -> f64 {
    next_of(&[1.0, 2.0, 5.0, 10.0], value.max(1.0))
}

/// The first of the factors, times the power of ten of the value, that is not below the value.
fn next_of(factors: &[f64], value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    factors.iter().map(|factor| factor * power).find(|next| *next >= value).unwrap_or(value)
}

/// A number on an axis, without the digits that binary fractions add.
fn label(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Text that is safe in HTML, in attributes too.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn untrusted_text_never_becomes_markup() {
        let evil = "<script>alert('x')</script>\"&";
        let hit = Hit {
            number: 0,
            intended: Duration::ZERO,
            sent: Duration::ZERO,
            done: Duration::from_secs(1),
            outcome: Outcome::NoAnswer(evil.into()),
            bytes: 0,
        };
        let started = Timestamp::UNIX_EPOCH;
        let recording = Recording { name: evil.into(), started, rate: 1.0, hits: vec![hit] };
        let fault =
            FaultWindow { fault: evil.into(), requested: started, effective: None, undo_requested: None, undone: None };
        let page = page(&recording, &[fault]);
        assert!(!page.contains("<script") && page.matches("&lt;script&gt;").count() >= 4, "{page}");
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing is loaded");
    }

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([nice(0.7), nice(1.0), nice(3.0), nice(1002.0)], [0.8, 1.0, 4.0, 1200.0]);
        assert_eq!([whole_seconds(0.1), whole_seconds(1.1), whole_seconds(30.0)], [1.0, 2.0, 50.0]);
    }

    #[test]
    fn labels_have_no_digits_of_binary_fractions() {
        let hit = |number: u32| Hit {
            number: number.into(),
            intended: Duration::from_secs(number.into()),
            sent: Duration::from_secs(number.into()),
            done: Duration::from_secs(number.into()) + Duration::from_micros(1150),
            outcome: Outcome::Status(200),
            bytes: 0,
        };
        let hits = (0..12).map(hit).collect();
        let page = page(&Recording { name: "n".into(), started: Timestamp::UNIX_EPOCH, rate: 1.0, hits }, &[]);
        for text in [">0 s<", ">2 s<", ">10 s<", ">0.3 ms<", ">0.9 ms<", ">1.2 ms<"] {
            assert!(page.contains(text), "{text} is not in {page}");
        }
        assert!(!page.contains("99999") && !page.contains("00000"), "{page}");
    }
}
