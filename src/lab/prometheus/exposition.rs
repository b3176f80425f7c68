//! Reads what targets expose: the text format 0.0.4 and OpenMetrics, with the errors that Prometheus 2.42 tells.

use std::sync::Arc;

use super::labels::{Labels, NAME, is_label_name};
use super::promql::go_quoted;

/// Which of the two formats a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// By the answer's content type; what is not said to be OpenMetrics is text.
    pub(super) fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }
}

/// One sample of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exposed<'a> {
    /// The name and the labels as they are written.
    pub(super) series: &'a str,
    pub(super) value: f64,
    /// A time of its own, in milliseconds.
    pub(super) at: Option<i64>,
}

/// What a page says of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Described {
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) unit: String,
}

/// A page in full.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page<'a> {
    pub(super) samples: Vec<Exposed<'a>>,
    pub(super) described: std::collections::BTreeMap<String, Described>,
}

const BLANK: [char; 2] = [' ', '\t'];
const NO_START: &str = "\"INVALID\" is not a valid start token";

/// Reads a page. One bad line spoils it all.
pub(super) fn read(text: &str, format: Format) -> Result<Page<'_>, String> {
    let mut page = Page::default();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let whole = line.strip_suffix('\n').unwrap_or(line);
        if format == Format::OpenMetrics {
            if whole == "# EOF" {
                return if lines.next().is_none() { Ok(page) } else { Err("unexpected data after # EOF".into()) };
            }
            if whole.is_empty() {
                return Err("\"INVALID\" \"\\n\" is not a valid start token".into());
            }
        }
        let trimmed = whole.trim_start_matches(BLANK);
        if trimmed.is_empty() {
            continue;
        }
        match trimmed.strip_prefix('#') {
            Some(comment) => describe(comment, format, &mut page)?,
            None => page.samples.push(sample(trimmed, format)?),
        }
    }
    if format == Format::OpenMetrics { Err("data does not end with # EOF".into()) } else { Ok(page) }
}

fn describe(comment: &str, format: Format, page: &mut Page<'_>) -> Result<(), String> {
    let mut words = comment.trim_start_matches(BLANK).splitn(2, BLANK);
    let what = words.next().unwrap_or_default();
    if !matches!(what, "HELP" | "TYPE" | "UNIT") {
        // Any other comment says nothing, but OpenMetrics has none.
        let known = format == Format::Text;
        return if known { Ok(()) } else { Err("expected valid token, got \"INVALID\"".into()) };
    }
    let rest = words.next().unwrap_or_default().trim_start_matches(BLANK);
    let end = rest.find(BLANK).unwrap_or(rest.len());
    let (name, text) = (&rest[..end], rest[end..].trim_start_matches(BLANK));
    if name_length(name) != name.len() || name.is_empty() {
        return Err(format!("expected metric name after {what}, got \"INVALID\""));
    }
    let described = page
        .described
        .entry(name.to_owned())
        .or_insert_with(|| Described { kind: "unknown".to_owned(), ..Described::default() });
    match what {
        "HELP" => described.help = unescaped(text, format == Format::OpenMetrics),
        "TYPE" => {
            described.kind = match (text.trim_end_matches(BLANK), format) {
                (kind @ ("counter" | "gauge" | "histogram" | "summary"), _) => kind.to_owned(),
                ("untyped", Format::Text) | ("unknown", Format::OpenMetrics) => "unknown".to_owned(),
                (kind @ ("info" | "stateset" | "gaugehistogram"), Format::OpenMetrics) => kind.to_owned(),
                (other, _) => return Err(format!("invalid metric type {}", go_quoted(other))),
            }
        }
        _ => {
            if !text.is_empty() && !name.ends_with(&format!("_{text}")) {
                return Err(format!("unit not a suffix of metric {}", go_quoted(name)));
            }
            text.clone_into(&mut described.unit);
        }
    }
    Ok(())
}

fn unescaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('n')) => {
                letters.next();
                out.push('\n');
            }
            ('\\', Some('\\')) => {
                letters.next();
                out.push('\\');
            }
            ('\\', Some('"')) if quotes => {
                letters.next();
                out.push('"');
            }
            _ => out.push(letter),
        }
    }
    out
}

/// How many bytes of a text can be a metric's name.
fn name_length(text: &str) -> usize {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    if text.starts_with(|letter: char| letter.is_ascii_digit()) {
        return 0;
    }
    text.find(|letter| !fits(letter)).unwrap_or(text.len())
}

fn sample(line: &str, format: Format) -> Result<Exposed<'_>, String> {
    let name = name_length(line);
    if name == 0 {
        return Err(NO_START.into());
    }
    let behind = line[name..].trim_start_matches(BLANK);
    let mut end = line.len() - behind.len();
    if behind.starts_with('{') {
        end += labels_length(behind)?;
    } else {
        end = name;
    }
    let series = &line[..end];
    let rest = &line[end..];
    let value = rest.trim_start_matches(BLANK);
    if value.is_empty() || (value.len() == rest.len() && !series.ends_with('}')) {
        return Err("expected value after metric, got \"INVALID\"".into());
    }
    let (value, rest) = word(value);
    let value = float(value)?;
    let rest = rest.trim_start_matches(BLANK);
    if rest.is_empty() || (format == Format::OpenMetrics && rest.starts_with("# {")) {
        return Ok(Exposed { series, value, at: None });
    }
    let (time, rest) = word(rest);
    let at = match format {
        Format::Text => time.parse().map_err(|_| "expected timestamp or new record, got \"INVALID\"".to_owned())?,
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds are meant")]
        Format::OpenMetrics => (float(time)? * 1000.0) as i64,
    };
    let rest = rest.trim_start_matches(BLANK);
    if rest.is_empty() || (format == Format::OpenMetrics && rest.starts_with("# {")) {
        return Ok(Exposed { series, value, at: Some(at) });
    }
    let more = if rest.bytes().all(|letter| letter.is_ascii_digit()) { "TIMESTAMP" } else { "INVALID" };
    Err(format!("expected next entry after timestamp, got \"{more}\""))
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(BLANK).unwrap_or(text.len()))
}

fn float(text: &str) -> Result<f64, String> {
    if text.contains(['p', 'P', '_']) {
        return Err("unsupported character in float".into());
    }
    super::numbers::parse(text)
        .ok_or_else(|| format!("strconv.ParseFloat: parsing {}: invalid syntax", go_quoted(text)))
}

/// How long `{…}` is, which must be well formed.
fn labels_length(text: &str) -> Result<usize, String> {
    let mut rest = &text[1..];
    let at = |rest: &str| text.len() - rest.len();
    loop {
        rest = rest.trim_start_matches(BLANK);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(at(behind));
        }
        let name = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if !is_label_name(&rest[..name]) {
            return Err("expected label name, got \"INVALID\"".into());
        }
        rest = rest[name..].trim_start_matches(BLANK);
        rest = rest.strip_prefix('=').ok_or("expected equal, got \"INVALID\"")?.trim_start_matches(BLANK);
        let quoted = rest.strip_prefix('"').ok_or("expected label value, got \"INVALID\"")?;
        let mut escaped = false;
        let end = quoted.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("expected label value, got \"INVALID\"")?;
        rest = quoted[end + 1..].trim_start_matches(BLANK);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return Err("expected label name, got \"INVALID\"".into()),
        }
    }
}

/// The labels of a series as a page writes it. `None` if a label stands there twice.
pub(super) fn labels(series: &str) -> Result<Labels, String> {
    let end = name_length(series);
    let mut pairs: Vec<(Arc<str>, Arc<str>)> = vec![(NAME.into(), series[..end].into())];
    let mut rest = series[end..].trim_start_matches(BLANK).trim_start_matches('{');
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, value)) = rest.split_once('=') else { break };
        let name = name.trim_end_matches(BLANK);
        let Some(quoted) = value.trim_start_matches(BLANK).strip_prefix('"') else { break };
        let mut escaped = false;
        let end = quoted.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        if pairs.iter().any(|(known, _)| **known == *name) {
            return Err(format!("label name {} is not unique: invalid sample", go_quoted(name)));
        }
        pairs.push((name.into(), unescaped(&quoted[..end], true).into()));
        rest = &quoted[end + 1..];
    }
    Ok(Labels::new(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &str) -> Result<Page<'_>, String> {
        read(page, Format::Text)
    }

    #[test]
    fn both_formats_are_read() {
        let page = "# HELP a_total Say \"hi\",\\n twice \\\\\n# TYPE a_total counter\n a_total 3\nb{ x = \"1\" , y=\"say \\\"hi\\\"\\n{},\" , } +Inf 1700\n\n# whatever\nc{} NaN";
        let page = text(page).unwrap();
        let seen: Vec<(Labels, f64, Option<i64>)> =
            page.samples.iter().map(|s| (labels(s.series).unwrap(), s.value, s.at)).collect();
        assert_eq!(seen[0], (Labels::of(&[(NAME, "a_total")]), 3.0, None));
        let b = Labels::of(&[(NAME, "b"), ("x", "1"), ("y", "say \"hi\"\n{},")]);
        assert_eq!(seen[1], (b, f64::INFINITY, Some(1700)));
        assert!(seen[2].1.is_nan() && seen[2].0 == Labels::of(&[(NAME, "c")]));
        let described = &page.described["a_total"];
        assert_eq!((described.kind.as_str(), described.help.as_str()), ("counter", "Say \"hi\",\n twice \\"));

        let open = "# TYPE a counter\n# HELP a Says \\\"hi\\\"\na_total{x=\"1\"} 3 # {id=\"{\"} 2 1.5\n# TYPE t_seconds gauge\n# UNIT t_seconds seconds\nt_seconds 1 1.5\n# EOF\n";
        let page = read(open, Format::OpenMetrics).unwrap();
        assert_eq!(page.samples[0], Exposed { series: "a_total{x=\"1\"}", value: 3.0, at: None });
        assert_eq!(page.samples[1].at, Some(1500), "OpenMetrics counts seconds");
        assert_eq!(
            (page.described["a"].help.as_str(), page.described["t_seconds"].unit.as_str()),
            ("Says \"hi\"", "seconds")
        );
        assert_eq!(Format::of("application/openmetrics-text; version=1.0.0"), Format::OpenMetrics);
        assert_eq!(Format::of("text/plain; version=0.0.4"), Format::Text);
    }

    #[test]
    fn a_bad_line_spoils_the_page_as_prometheus_tells_it() {
        for (bad, why) in [
            ("<html></html>", NO_START),
            ("1a 2", NO_START),
            ("{a=\"1\"} 1", NO_START),
            ("a", "expected value after metric, got \"INVALID\""),
            ("a b", "strconv.ParseFloat: parsing \"b\": invalid syntax"),
            ("a 0x10", "strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
            ("a 1\r", "strconv.ParseFloat: parsing \"1\\r\": invalid syntax"),
            ("a 1_000", "unsupported character in float"),
            ("a{x=1} 2", "expected label value, got \"INVALID\""),
            ("a{x=\"1\" 2", "expected label name, got \"INVALID\""),
            ("a{0x=\"1\"} 2", "expected label name, got \"INVALID\""),
            ("a 1 xyz", "expected timestamp or new record, got \"INVALID\""),
            ("a 1 2 3", "expected next entry after timestamp, got \"TIMESTAMP\""),
        ] {
            assert_eq!(text(&format!("ok 1\n{bad}\n")).unwrap_err(), why, "{bad}");
        }
        assert!(labels("a{x=\"1\",x=\"2\"}").unwrap_err().contains("is not unique"));
        for (bad, why) in [
            ("a 3\n", "data does not end with # EOF"),
            ("a 3\n\n# EOF\n", "\"INVALID\" \"\\n\" is not a valid start token"),
            ("a 3\n# EOF\nb 1\n", "unexpected data after # EOF"),
            ("# UNIT t s\n# EOF\n", "unit not a suffix of metric \"t\""),
        ] {
            assert_eq!(read(bad, Format::OpenMetrics).unwrap_err(), why, "{bad}");
        }
    }
}
