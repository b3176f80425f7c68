//! What `make fuzz` does to the parts that read what others wrote; its corpora are tests of `tests/it` too.
//!
//! A target takes bytes, and panics where what it was given breaks a promise of ours. Hidden, and not behind
//! `cfg(fuzzing)`: the tests of the corpora are built without that.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::tz::Offset;
use regex::{Captures, Regex};
use serde_json::Value;

use crate::document::configuration::Configuration;
use crate::document::environment::Env;
use crate::document::invalid::Invalid;
use crate::document::marks::{Below, Mark, Marks};
use crate::document::py::order::Orders;
use crate::document::source::{Format, Source};
use crate::document::substitute::Scope;
use crate::document::tolerance::jsonpath;
use crate::document::tolerance::ordered::Ordered;
use crate::document::variables::Vars;
use crate::document::{hash, judge_form, secrets};
use crate::journal::Journal;
use crate::load::vegeta::{Decoder, Encoder, Encoding, Record, ResultsError};
use crate::publish::github;
use crate::report::compare::{Limits, Row};
use crate::report::{Summary, junit, markdown};

/// A target: what it is called, and what it does to an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("document", document),
    ("substitution", substitution),
    ("jsonpath", jsonpath),
    ("vegeta_gob", vegeta_gob),
    ("vegeta_text", vegeta_text),
    ("journal", journal),
];

/// A document as JSON and as YAML: what is said of it is at a place that its text has, every value of it has a place, and as JSON
/// it is read as the same value again.
pub fn document(bytes: &[u8]) {
    for format in [Format::Json, Format::Yaml] {
        let lines = lines(bytes, format);
        let source = match Source::parse("fuzzed", bytes, format) {
            Ok(source) => source,
            Err(error) => {
                told(&error, &lines);
                continue;
            }
        };
        marked(&source.value, &source.marks, &lines);
        let text = source.value.to_string();
        let again = Source::parse("again", text.as_bytes(), Format::Json).map(|again| again.value);
        assert_eq!(again.as_ref(), Ok(&source.value), "read again as JSON");
        assert_eq!(hash::experiment_hash(&source.value).len(), 24);
        let (env, vars) = (environment(), Vars::default());
        let mut said = judge_form(&source, &env);
        said.extend(Configuration::load(&source, &vars, &env).err().unwrap_or_default());
        said.extend(secrets::load(&source, &vars, &env).err().unwrap_or_default());
        said.iter().for_each(|invalid| told(invalid, &lines));
    }
}

/// A YAML document with `vars` as `--var` has them: its names are put into all of it as Python's `string.Template` would.
pub fn substitution(bytes: &[u8]) {
    let Ok(source) = Source::parse("fuzzed", bytes, Format::Yaml) else { return };
    let options = source.value["vars"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let options: Vec<String> = options.map(str::to_owned).collect();
    let mut env = environment();
    let Ok((vars, _)) = Vars::read(&[] as &[&Path], &options, &mut env) else { return };
    let Ok(configuration) = Configuration::load(&source, &vars, &env) else { return };
    let Ok(secrets) = secrets::load(&source, &vars, &env) else { return };
    let mut scope = configuration.before_probes(&secrets);
    scope.orders = Orders::of(&source.marks);
    put(&scope, &source.value, &scope.put_into(&source.value));
    assert_eq!(Scope::default().put_into_arguments(&source.value), source.value, "arguments without a scope");
}

/// A path on the first line and a JSON document below it: an error has a place in the path, and what is found is found again.
pub fn jsonpath(bytes: &[u8]) {
    const SMALL: &str = r#"{"items": [{"n": 1, "on": true, "name": "a"}, {"n": 2.5, "tags": ["x", "y"]}], "z": {"a": null}, "s": "text"}"#;
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (path, document) = text.split_once('\n').unwrap_or((text, SMALL));
    let parsed = match jsonpath::Path::parse(path) {
        Ok(parsed) => parsed,
        Err(error) => {
            let columns = path.chars().count() + 1;
            assert!((1..=columns).contains(&error.column), "{error} of a path of {columns} columns");
            return;
        }
    };
    let Ok(document) = Ordered::parse(document).or_else(|_| Ordered::parse(SMALL)) else { return };
    assert_eq!(parsed.find(&document), parsed.find(&document), "what is found");
}

/// Results in gob.
pub fn vegeta_gob(bytes: &[u8]) {
    results(bytes, &[Encoding::Gob]);
}

/// Results in JSON or in CSV.
pub fn vegeta_text(bytes: &[u8]) {
    results(bytes, &[Encoding::Json, Encoding::Csv]);
}

/// A journal of ours: what is read is written and read again as the same, can be told in each format, and compared with
/// itself is no regression.
pub fn journal(bytes: &[u8]) {
    let path = Path::new("journal.json");
    let Some(journal) = str::from_utf8(bytes).ok().and_then(|text| Journal::of_text(text, path).ok()) else { return };
    let again = Journal::of_text(&journal.to_json(), path);
    assert_eq!(again.as_ref().ok(), Some(&journal), "{again:?}");
    assert_eq!(journal.stable(), journal.stable());
    assert!(!journal.summary().is_empty());
    assert!(journal.report_html().starts_with("<!doctype html>"));
    let summary = Summary::of(&journal);
    assert!(serde_json::from_str::<Value>(&summary.to_json()).is_ok());
    junit::file(std::slice::from_ref(&summary));
    markdown::report(&summary);
    github::annotations(&summary);
    drop(journal.numbers());
    let compared = journal.compared_with(&journal).expect("it is of the same experiment");
    assert_eq!(compared.regressions(&Limits::default()), Vec::<&Row>::new());
}

fn environment() -> Env {
    Env::of([("NAME", "of the environment"), ("NUMBER", "8")])
}

/// How many characters each line has. YAML's lines end with a carriage return too.
fn lines(bytes: &[u8], format: Format) -> Vec<usize> {
    let lengths = |text: &str| text.split('\n').map(|line| line.chars().count()).collect();
    match (str::from_utf8(bytes), format) {
        (Ok(text), Format::Yaml) => lengths(&text.replace("\r\n", "\n").replace('\r', "\n")),
        _ => lengths(&String::from_utf8_lossy(bytes)),
    }
}

/// A line of 0 says that no place is known.
fn told(invalid: &Invalid, lines: &[usize]) {
    assert!(!invalid.message.is_empty());
    if invalid.line > 0 {
        within(Mark { line: invalid.line, column: invalid.column }, lines);
    }
}

fn within(Mark { line, column }: Mark, lines: &[usize]) {
    let length = line.checked_sub(1).and_then(|index| lines.get(index));
    // The end of a line is a place too, and so is the break that ends it.
    let fits = length.is_some_and(|length| (1..=length + 2).contains(&column));
    assert!(fits, "{line}:{column} in lines of {lines:?} characters");
}

/// Every value has its marks, and they have no others.
fn marked(value: &Value, marks: &Marks, lines: &[usize]) {
    within(marks.mark, lines);
    match (value, &marks.below) {
        (Value::Array(items), Below::List(places)) => {
            assert_eq!(items.len(), places.len());
            items.iter().zip(places).for_each(|(item, marks)| marked(item, marks, lines));
        }
        (Value::Object(members), Below::Map(entries)) => {
            assert_eq!(members.len(), entries.len());
            for entry in entries {
                within(entry.mark, lines);
                marked(&members[&entry.key], &entry.value, lines);
            }
        }
        (_, below) => assert_eq!(*below, Below::Leaf),
    }
}

/// Only texts with a `$` change.
fn put(scope: &Scope, before: &Value, after: &Value) {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| put(scope, before, after));
        }
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            before.values().zip(after.values()).for_each(|(before, after)| put(scope, before, after));
        }
        (Value::String(text), after) if text.contains('$') => assert_eq!(*after, templated(scope, text), "{text}"),
        _ => assert_eq!(after, before),
    }
}

/// `string.Template(text).safe_substitute(scope)`, by Python's own pattern.
fn templated(scope: &Scope, text: &str) -> Value {
    const NAME: &str = "[_a-zA-Z][_a-zA-Z0-9]*";
    static PATTERN: std::sync::LazyLock<Regex> = std::sync::LazyLock::new(|| {
        Regex::new(&format!(r"\$(?:(\$)|({NAME})|\{{({NAME})\}})")).expect("a regular expression")
    });
    let put_in = |found: &Captures<'_>| match (found.get(1), found.get(2).or(found.get(3))) {
        (None, Some(name)) => scope.get(name.as_str()).map_or_else(|| found[0].to_owned(), |value| scope.text(value)),
        _ => "$".to_owned(),
    };
    let whole = PATTERN.captures(text).filter(|found| found[0].len() == text.len());
    let whole = whole.and_then(|found| scope.get(found.get(3)?.as_str()));
    whole.cloned().unwrap_or_else(|| PATTERN.replace_all(text, put_in).into_owned().into())
}

/// What is read is written and read again as the same, figures alone are the same figures, and an error is within the input.
fn results(bytes: &[u8], encodings: &[Encoding]) {
    let Ok(decoder) = Decoder::detect(bytes) else { return };
    let encoding = decoder.encoding();
    if !encodings.contains(&encoding) {
        return;
    }
    let (mut records, error) = all(decoder);
    if let Some(error) = error {
        let (ResultsError::Read { offset, .. }
        | ResultsError::Cut { offset, .. }
        | ResultsError::Malformed { offset, .. }) = error
        else {
            panic!("{error} of results in {encoding}");
        };
        assert!(offset <= bytes.len() as u64, "{error} of {} bytes", bytes.len());
    }
    let figures =
        Decoder::detect(bytes).map_or_else(|error| (vec![], Some(error)), |decoder| all(decoder.figures_only())).0;
    assert!(figures.len() >= records.len(), "{} of {}", figures.len(), records.len());
    for (all, figures) in records.iter().zip(&figures) {
        let of = |record: &Record| (record.code, record.timestamp, record.latency, record.bytes_in, record.bytes_out);
        assert_eq!((of(all), &all.error), (of(figures), &figures.error));
    }
    // Go has no longer duration, and none is written.
    let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
    records.iter_mut().for_each(|record| record.latency = record.latency.min(longest));
    if encoding == Encoding::Gob {
        // Where this stands for UTC.
        let behind = |record: &&mut Record| record.zone.seconds() / 60 == -1;
        records.iter_mut().filter(behind).for_each(|record| record.zone = Offset::UTC);
    }
    if encoding == Encoding::Csv {
        // Headers are written without what would end them, once.
        let once = again(encoding, &records);
        assert_eq!(once.len(), records.len());
        for (once, record) in once.iter().zip(&mut records) {
            record.headers.clone_from(&once.headers);
        }
        assert_eq!(once, records);
    }
    assert_eq!(again(encoding, &records), records);
}

/// All records, and what stopped the reading.
fn all<R: io::Read>(mut decoder: Decoder<R>) -> (Vec<Record>, Option<ResultsError>) {
    let (mut records, mut record) = (Vec::new(), Record::default());
    loop {
        match decoder.read(&mut record) {
            Ok(true) => records.push(record.clone()),
            Ok(false) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

/// The records written and read.
fn again(encoding: Encoding, records: &[Record]) -> Vec<Record> {
    if records.is_empty() {
        return Vec::new();
    }
    let mut written = Vec::new();
    let mut encoder = Encoder::new(encoding, &mut written);
    records.iter().for_each(|record| encoder.write(record).expect("memory can be written"));
    let decoder = Decoder::detect(written.as_slice()).expect("an encoding that we write");
    assert_eq!(decoder.encoding(), encoding);
    let (records, error) = all(decoder);
    assert!(error.is_none(), "{error:?}");
    records
}
