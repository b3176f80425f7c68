//! The lane of alerts: when each of those that a check is about fired.

use super::axis::Axis;
use super::lanes::{Drawn, Span, spans};
use super::series;
use crate::journal::MetricSeries;
use crate::report::text::line;

/// Whether a series says when an alert fired.
pub(super) fn is_one(series: &MetricSeries) -> bool {
    series.labels.get("__name__").is_some_and(|name| name == "ALERTS")
}

/// Draws a span for each stretch of evaluations at which an alert fired, and says of one that never did that it did not.
pub(super) fn lane(out: &mut String, axis: &Axis, top: f64) -> Drawn {
    let mut all = Vec::new();
    for one in axis.journal.telemetry.series.iter().filter(|series| is_one(series)) {
        let (name, seen) = (named(one), series::seen(axis, one));
        let fired = series::stretched(one, &seen);
        for stretch in fired.chunk_by(|before, next| before.stretch == next.stretch) {
            let at = |sample: &series::Sample| sample.value.is_some().then_some(sample.at);
            let (Some(from), Some(to)) = (stretch.iter().find_map(at), stretch.iter().rev().find_map(at)) else {
                continue;
            };
            let title = format!("{}: fired at the evaluations from {from:.1} s to {to:.1} s", series::title(one));
            all.push(Span { class: "k-alert", label: name.clone(), title, from, to });
        }
        if fired.iter().all(|sample| sample.value.is_none()) {
            let (from, label) = (axis.frame.from, format!("{name}: did not fire"));
            all.push(Span { class: "k-silent", title: label.clone(), label, from, to: axis.frame.end });
        }
    }
    spans(out, axis, "alerts", &all, top)
}

/// Its name, with the labels that tell it from others of that name.
fn named(series: &MetricSeries) -> String {
    let name = series.labels.get("alertname").map_or("", String::as_str);
    let of_all = ["__name__", "alertname", "alertstate"];
    let others = series.labels.iter().filter(|(label, _)| !of_all.contains(&label.as_str()));
    let others: Vec<_> = others.map(|(label, value)| format!("{label}={}", line(value, 40))).collect();
    if others.is_empty() { name.to_owned() } else { format!("{name} {}", others.join(", ")) }
}
