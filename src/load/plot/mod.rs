//! The plot of loads: one HTML file that reads nothing from a network.
//!
//! For each load the latency of its requests, percentiles over time and requests by outcome, on one axis of time
//! with its faults shaded; above them the figures, below them tables. The drawing is SVG and complete without the
//! script, which only moves the read-out. [`Load::plot_to`](super::Load::plot_to) and `steadfast vegeta plot` make it.

mod grid;
mod panels;
mod recorded;
mod series;

use std::fmt::Write;

use serde_json::json;

pub(super) use recorded::page;
pub(crate) use series::{Phase, Series};

use crate::page;
use crate::page::escaped;
use crate::page::scale::latency_label;
use panels::{ACROSS, Common, LEFT};

const STYLE: &str = concat!(include_str!("../../page/page.css"), include_str!("page.css"));
const SCRIPT: &str = include_str!("page.js");

/// How many dots show the shape of a load.
pub(crate) const DOTS: usize = 4000;

/// A page of one load or several, on equal axes.
pub(crate) struct Page {
    title: String,
    note: String,
    dots: usize,
    series: Vec<Series>,
}

impl Page {
    /// An empty page that draws at most `dots` dots of each load; 0 draws each request.
    pub(crate) fn new(title: impl Into<String>, dots: usize) -> Self {
        Self { title: title.into(), note: String::new(), dots, series: Vec::new() }
    }

    /// A line under the title.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Adds a load.
    pub(crate) fn push(&mut self, series: Series) {
        self.series.push(series);
    }

    /// The page as HTML.
    pub(crate) fn html(mut self) -> String {
        let mut html = String::new();
        self.write(&mut html).expect("writing to a string cannot fail");
        html
    }

    fn write(&mut self, out: &mut String) -> std::fmt::Result {
        page::begin(out, &self.title, STYLE, SCRIPT)?;
        writeln!(out, "<h1>{}</h1>", escaped(&self.title))?;
        if !self.note.is_empty() {
            writeln!(out, "<p>{}</p>", escaped(&self.note))?;
        }
        let points = || self.series.iter().flat_map(|series| &series.points);
        // What takes no time at all, as in virtual time, is drawn at the foot.
        let least = points().map(|point| point.latency).filter(|latency| *latency > 0).min().unwrap_or(1_000_000);
        let most = points().map(|point| point.latency).max().unwrap_or_default();
        let end = self.series.iter().map(Series::end).fold(0.0, f64::max);
        let ends = self.series.iter().flat_map(|series| &series.bands).filter_map(|band| band.to);
        let end = ends.fold(end, f64::max).max(0.001);
        // The last interval is drawn whole.
        let width = self.series.iter().map(|series| series.width(end)).fold(0.001, f64::max);
        let end = ((end / width + 1e-9).floor() + 1.0) * width;
        let common = Common { end, latencies: (least, most), dots: self.dots };
        if self.series.iter().all(|series| series.points.is_empty()) {
            writeln!(out, "<p class=\"warning\">There are no requests to draw.</p>")?;
        }
        let several = self.series.len() > 1;
        for series in self.series.iter_mut().filter(|series| !series.points.is_empty()) {
            section(out, series, &common, several)?;
        }
        page::end(out, SCRIPT)
    }
}

fn section(out: &mut String, series: &mut Series, common: &Common, named: bool) -> std::fmt::Result {
    series.good_first();
    if named {
        writeln!(out, "<h2>{}</h2>", escaped(&series.name))?;
    }
    if let Some(why) = &series.warning {
        writeln!(out, "<p class=\"warning\"><strong>No evidence:</strong> {}</p>", escaped(why))?;
    }
    out.push_str("<dl>");
    for (term, value) in &series.facts {
        write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(term), escaped(value))?;
    }
    out.push_str("</dl>\n<figure><figcaption class=\"legend\">");
    for (number, outcome) in series.outcomes.iter().enumerate() {
        write!(out, "<span><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\"><circle class=\"f{number}\" cx=\"5\" ")?;
        write!(out, "cy=\"5\" r=\"5\"/></svg>{}: {}</span>", escaped(&outcome.name), outcome.count)?;
    }
    out.push_str("</figcaption>\n<div class=\"drawing\">");
    panels::svg(out, series, common)?;
    out.push_str("</div><output aria-live=\"polite\"></output>\n");
    writeln!(out, "<script type=\"application/json\">{}</script></figure>", read_out(series, common))?;
    tables(out, series)
}

/// What the script shows of each interval.
fn read_out(series: &mut Series, common: &Common) -> String {
    let outcomes: Vec<_> = series.outcomes.iter().map(|outcome| outcome.name.clone()).collect();
    let bands: Vec<_> =
        series.bands.iter().map(|band| json!({"name": band.name, "from": band.from, "to": band.to})).collect();
    let intervals = series.intervals(common.end);
    let row = |row: &page::chart::Interval| {
        let latencies = row.latencies.map(|latencies| latencies.map(latency_label));
        json!({"n": row.counts.iter().sum::<u64>(), "c": row.counts, "p": latencies})
    };
    let rows: Vec<_> = intervals.rows.iter().map(row).collect();
    let data = json!({
        "left": LEFT, "across": ACROSS, "end": common.end, "width": intervals.width,
        "outcomes": outcomes, "bands": bands, "rows": rows,
    });
    page::data(&data)
}

fn tables(out: &mut String, series: &Series) -> std::fmt::Result {
    out.push_str("<div class=\"tables\">");
    if !series.phases.is_empty() {
        out.push_str(
            "<div class=\"table\"><table><caption>By phase</caption><thead><tr><th>phase</th><th>requests</th>",
        );
        out.push_str("<th>good</th><th>median</th><th>95 %</th><th>99 %</th><th>longest</th></tr></thead><tbody>\n");
        for phase in &series.phases {
            let (name, good) = (escaped(&phase.name), phase.success * 100.0);
            write!(out, "<tr><td>{name}</td><td>{}</td><td>{good:.2} %</td>", phase.requests)?;
            for latency in phase.latencies {
                write!(out, "<td>{}</td>", latency_label(series::nanos(latency)))?;
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>");
    }
    out.push_str(
        "<div class=\"table\"><table><caption>Slowest requests</caption><thead><tr><th>at</th><th>latency</th>",
    );
    out.push_str("<th>outcome</th></tr></thead><tbody>\n");
    for point in series.slowest(10) {
        let (at, latency) = (series::seconds(point.at), latency_label(point.latency));
        let outcome = escaped(&series.outcomes[point.outcome].name);
        writeln!(out, "<tr><td>{at:.3} s</td><td>{latency}</td><td>{outcome}</td></tr>")?;
    }
    out.push_str("</tbody></table></div></div>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn untrusted_text_never_becomes_markup() {
        let evil = "</script><script>alert('x')</script>\"&";
        let mut series = Series::new(evil);
        series.add(Duration::ZERO, Duration::from_secs(1), evil, false);
        series.band(evil, 0.0, None);
        series.fact(evil, evil);
        series.warn(evil);
        series.phase(Phase { name: evil.into(), requests: 1, success: 0.0, latencies: [Duration::ZERO; 4] });
        let mut page = Page::new(evil, DOTS).note(evil);
        page.push(series);
        page.push({
            let mut second = Series::new(evil);
            second.add(Duration::ZERO, Duration::ZERO, "200", true);
            second
        });
        let html = page.html();
        assert_eq!(html.matches("<script").count(), 3, "our own and two of data: {html}");
        assert_eq!(html.matches("</script").count(), 3, "none ends early: {html}");
        assert!(!html.contains("<script>alert") && html.matches("&lt;script&gt;").count() >= 8, "{html}");
        assert!(!html.contains("http://") && !html.contains("https://"), "nothing is loaded");
    }

    #[test]
    fn labels_have_no_digits_of_binary_fractions() {
        let mut series = Series::new("n");
        for number in 0..12 {
            series.add(Duration::from_secs(number), Duration::from_micros(1150), "200", true);
        }
        let mut page = Page::new("n", DOTS);
        page.push(series);
        let html = page.html();
        for text in [">0 s<", ">2 s<", ">10 s<", ">1 ms<", ">2 ms<", "1.15 ms"] {
            assert!(html.contains(text), "{text} is not in {html}");
        }
        assert!(!html.contains("99999") && !html.contains("00000"), "{html}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let mut page = Page::new("n", DOTS);
        page.push(Series::new("n"));
        let html = page.html();
        assert!(html.contains("no requests") && !html.contains("<figure"), "{html}");
    }

    #[test]
    fn a_page_is_its_input_and_nothing_else() {
        let make = || {
            let mut series = Series::new("n");
            for number in 0..20_000_u64 {
                let latency = Duration::from_micros(number * 7919 % 5003);
                series.add(
                    Duration::from_millis(number),
                    latency,
                    if number % 7 == 0 { "500" } else { "200" },
                    number % 7 != 0,
                );
            }
            let mut page = Page::new("n", DOTS);
            page.push(series);
            page.html()
        };
        assert_eq!(make(), make());
        assert!(make().len() < 300_000, "{} bytes", make().len());
    }
}
