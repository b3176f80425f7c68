//! Secrets never shown: a text without the secrets that are known, in any form that they are likely to take, and
//! without what looks like one.

use super::py::text;
use super::secrets::Secrets;
pub(crate) use crate::redaction::REDACTED;
use crate::redaction::shapes::Shapes;
use crate::redaction::value::{self, Hides};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use regex::Regex;
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A secret shorter than this, in characters, is no secret, and hiding it would hide everything.
const SHORTEST: usize = 4;

/// Lines of a secret of many lines are hidden by themselves from this length on.
const LINE: usize = 12;

/// An instant, as journals have it.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let form = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z?$";
    Regex::new(form).expect("it is a pattern")
});

/// Takes secrets out of texts and values. Its work is linear in the text.
#[derive(Debug)]
pub(crate) struct Redactor {
    known: Option<AhoCorasick>,
    /// The secrets as they are, for numbers.
    exact: BTreeSet<String>,
    too_short: Vec<String>,
    shapes: Shapes,
}

impl Redactor {
    /// One that knows all secrets, and the further texts of `others`, such as the token that fetched the document.
    pub(crate) fn of(secrets: &Secrets, others: &[&str]) -> Self {
        let (mut leaves, mut too_short) = (BTreeSet::new(), Vec::new());
        for (target, values) in secrets {
            for (name, value) in values {
                collect(value, &format!("{target}.{name}"), &mut leaves, &mut too_short);
            }
        }
        leaves.extend(others.iter().filter(|other| other.chars().count() >= SHORTEST).map(|other| (*other).to_owned()));
        let forms: BTreeSet<String> = leaves.iter().flat_map(|leaf| forms(leaf)).collect();
        let known = (!forms.is_empty()).then(|| {
            let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&forms);
            // Better no run than one that shows its secrets.
            automaton.expect("secrets of at most 64 KiB each make an automaton")
        });
        Redactor { known, exact: leaves, too_short, shapes: Shapes::new() }
    }

    /// The secrets (`target.name`) that are too short to be hidden: for a warning.
    pub(crate) fn too_short(&self) -> &[String] {
        &self.too_short
    }

    /// The text without secrets.
    pub(crate) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.without_known(text) {
            Cow::Borrowed(text) => self.shapes.hide(text),
            Cow::Owned(text) => match self.shapes.hide(&text) {
                Cow::Borrowed(_) => Cow::Owned(text),
                Cow::Owned(text) => Cow::Owned(text),
            },
        }
    }

    /// The value without secrets in texts and keys, and without what a key says to be secret (`password`, …).
    pub(crate) fn redact_value(&self, value: &mut Value) {
        value::redact(value, self);
    }

    /// A document for a journal: like [`Redactor::redact_value`], and whatever its `secrets` hold in clear.
    pub(crate) fn redact_document(&self, document: &mut Value) {
        value::redact_document(document, self);
    }

    /// What overlaps is taken out together: of two secrets in one another nothing is left.
    fn without_known<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(known) = &self.known else { return Cow::Borrowed(text) };
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for found in known.find_overlapping_iter(text) {
            // Matches come in the order of their ends.
            let (mut start, end) = (found.start(), found.end());
            while let Some(last) = spans.last().filter(|last| last.1 > start) {
                start = start.min(last.0);
                spans.pop();
            }
            spans.push((start, end));
        }
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in spans {
            out.push_str(&text[at..start]);
            out.push_str(REDACTED);
            at = end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }
}

impl Hides for Redactor {
    /// Times stay: a year or a second that is a secret somewhere tells nothing of it there, and without them nobody reads
    /// the journal.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if TIME.is_match(text) && !self.exact.contains(text) { Cow::Borrowed(text) } else { self.redact(text) }
    }

    fn number(&self, number: &Number) -> bool {
        self.exact.contains(&text::repr_number(number))
    }
}

fn collect(value: &Value, name: &str, leaves: &mut BTreeSet<String>, too_short: &mut Vec<String>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => text::repr_number(number),
        Value::Array(items) => return items.iter().for_each(|item| collect(item, name, leaves, too_short)),
        Value::Object(entries) => {
            return entries.iter().for_each(|(key, value)| collect(value, &format!("{name}.{key}"), leaves, too_short));
        }
        Value::Null | Value::Bool(_) => return,
    };
    if text.trim().chars().count() >= SHORTEST {
        leaves.insert(text);
    } else if !text.trim().is_empty() {
        too_short.push(name.to_owned());
    }
}

/// The forms in which a secret may show: as it is, trimmed, line by line, behind `Bearer`, as a URL's password, and
/// each of these as it is written in URLs, JSON, Python, base64.
fn forms(secret: &str) -> BTreeSet<String> {
    let mut plain = BTreeSet::from([secret.to_owned(), secret.trim().to_owned()]);
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= LINE && !line.starts_with("-----"));
    plain.extend(lines.filter(|_| secret.contains('\n')).map(str::to_owned));
    if let Some((scheme, rest)) = secret.trim().split_once(' ')
        && ["bearer", "basic", "token"].contains(&scheme.to_lowercase().as_str())
    {
        plain.insert(rest.trim().to_owned());
    }
    if let Some((_, rest)) = secret.split_once("://")
        && let Some((user, _)) = rest.split(['/', '?', '#']).next().unwrap_or_default().rsplit_once('@')
    {
        let password = user.split_once(':').map_or(user, |(_, password)| password);
        plain.insert(password.to_owned());
        plain.insert(percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned());
    }
    plain.retain(|form| form.chars().count() >= SHORTEST);
    let mut all = BTreeSet::new();
    for form in plain {
        all.extend(written(&form));
        all.insert(form);
    }
    all
}

fn written(form: &str) -> Vec<String> {
    let mut forms = Vec::new();
    let plus: String = form_urlencoded::byte_serialize(form.as_bytes()).collect();
    forms.push(plus.replace('+', "%20"));
    forms.push(plus);
    forms.push(percent_encoding::utf8_percent_encode(form, percent_encoding::NON_ALPHANUMERIC).to_string());
    let json = Value::from(form).to_string();
    let ascii: String = json.chars().map(|one| if one.is_ascii() { one.to_string() } else { escaped(one) }).collect();
    let python = text::repr_text(form);
    forms.extend([&json, &ascii, &python].map(|quoted| quoted[1..quoted.len() - 1].to_owned()));
    forms.push(BASE64_STANDARD.encode(form));
    forms.push(BASE64_URL_SAFE.encode(form));
    // Inside of a longer text (`user:secret`) base64 has three ways of writing it, by where it begins; what the
    // neighbours share is left away.
    for before in 0..3 {
        let shifted = [&vec![0; before][..], form.as_bytes()].concat();
        let (bits, from) = (shifted.len() * 8, [0, 2, 3][before]);
        for encoded in [BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)] {
            let core = encoded.get(from..bits / 6).unwrap_or_default();
            // A short piece would be found by chance.
            if core.len() >= 8 {
                forms.push(core.to_owned());
            }
        }
    }
    forms.retain(|form| form.chars().count() >= SHORTEST);
    forms
}

/// A character as JSON writes it where it writes ASCII only.
fn escaped(one: char) -> String {
    let mut units = [0; 2];
    one.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[cfg(test)]
#[path = "redact/tests.rs"]
mod tests;
