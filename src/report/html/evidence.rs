//! The evidence of one judgement: what was seen, series by series, and the rest as it is in the journal.

use std::fmt::{Result, Write};

use serde_json::Value;

use super::{block, left_out, table, text, within};
use crate::clock::Timestamp;
use crate::journal::{CheckRecord, Journal};
use crate::page::scale::round;

/// The most letters of one value.
const MOST: usize = 6_000;

pub(super) fn check(out: &mut String, journal: &Journal, check: &CheckRecord) -> Result {
    writeln!(out, "<p>It {}.</p>", text(&check.phrase, 1000))?;
    if let Some(reason) = &check.reason {
        writeln!(out, "<p>Not known, because {}.</p>", text(&reason.to_string(), 1000))?;
    }
    for (kind, remarks) in [("warning", &check.warnings), ("info", &check.infos)] {
        for remark in remarks.iter().take(20) {
            writeln!(out, "<p class=\"{kind}\">{kind}: {}</p>", text(remark, 400))?;
        }
    }
    if let Some(series) = known(check)["series"].as_array().filter(|series| !series.is_empty()) {
        let mut head = vec!["series", "first", "last", "grew by", "samples", "resets", "gaps"];
        let doubted = series.iter().any(|series| !series["unknown"].is_null());
        if doubted {
            head.push("not known");
        }
        let mut left = 0;
        table(out, "Series of this judgement", &head, |out| {
            left = within(out, 60_000, series.iter(), |out, series| one_series(out, journal, series, doubted))?;
            Ok(())
        })?;
        left_out(out, left, "series")?;
    }
    value(out, "Evidence as recorded", &check.evidence)
}

/// What a judgement rests on: of evidence that is known in part alone, that part.
pub(super) fn known(check: &CheckRecord) -> &Value {
    let known = &check.evidence["known"];
    if known.is_object() { known } else { &check.evidence }
}

/// A value as JSON, folded away; nothing for one that says nothing.
pub(super) fn value(out: &mut String, name: &str, value: &Value) -> Result {
    if value.is_null() {
        return Ok(());
    }
    let json = serde_json::to_string_pretty(value).unwrap_or_default();
    write!(out, "<details><summary>{name}</summary><pre tabindex=\"0\">{}</pre></details>", block(&json, MOST))
}

fn one_series(out: &mut String, journal: &Journal, series: &Value, doubted: bool) -> Result {
    let labels = match series["labels"].as_object() {
        Some(labels) => {
            labels.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        None => plain(&series["labels"]),
    };
    write!(out, "<tr><th scope=\"row\">{}</th>", text(&labels, 300))?;
    for end in ["first", "last"] {
        let sample = &series[end];
        let at = sample["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).map(|at| journal.offset(at));
        let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
        let born = if end == "first" && series["born"] == true { ", born" } else { "" };
        write!(out, "<td>{}{at}{born}</td>", text(&plain(&sample["value"]), 40))?;
    }
    for figure in ["delta", "samples", "resets", "gaps"] {
        write!(out, "<td>{}</td>", text(&plain(&series[figure]), 40))?;
    }
    if doubted {
        write!(out, "<td>{}</td>", text(&plain(&series["unknown"]), 300))?;
    }
    writeln!(out, "</tr>")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => round(number.as_f64().unwrap_or_default()).to_string(),
        other => other.to_string(),
    }
}
