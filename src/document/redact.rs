//! Secrets never shown: a text without the secrets that are known, in any form that they are likely to take, and
//! without what looks like one.

use super::py::text;
use super::secrets::Secrets;
use super::shapes::Shapes;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What stands where a secret stood.
pub(crate) const REDACTED: &str = "[redacted]";

/// A secret shorter than this, in characters, is no secret, and hiding it would hide everything.
const SHORTEST: usize = 4;

/// Lines of a secret of many lines are hidden by themselves from this length on.
const LINE: usize = 12;

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
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            Value::Number(number) if self.exact.contains(&text::repr_number(number)) => *value = REDACTED.into(),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(entries) => {
                let whole = std::mem::take(entries);
                let of_kubernetes = whole.get("kind").is_some_and(|kind| kind == "Secret");
                // `{"name": "DB_PASSWORD", "value": "…"}`, as containers have their environment.
                let named = ["name", "key"].iter().filter_map(|key| whole.get(*key)?.as_str()).any(is_secret);
                for (key, mut value) in whole {
                    if of_kubernetes && (key == "data" || key == "stringData") {
                        hide_inline(&mut value);
                    } else if is_secret(&key) || (named && key == "value") {
                        hide(&mut value);
                    }
                    self.redact_value(&mut value);
                    insert(entries, self.redact(&key).into_owned(), value);
                }
            }
            _ => {}
        }
    }

    /// A document for a journal: like [`Redactor::redact_value`], and whatever its `secrets` hold in clear.
    pub(crate) fn redact_document(&self, document: &mut Value) {
        if let Some(Value::Object(targets)) = document.get_mut("secrets") {
            targets.values_mut().for_each(hide_inline);
        }
        self.redact_value(document);
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

fn insert(entries: &mut Map<String, Value>, key: String, value: Value) {
    let mut free = key.clone();
    let mut count = 1;
    while entries.contains_key(&free) {
        count += 1;
        free = format!("{key} {count}");
    }
    entries.insert(free, value);
}

/// Whether a key says that its value is a secret: `password`, `db_password`, `Authorization`, `apiKey`, …
fn is_secret(key: &str) -> bool {
    const ENDS: [&str; 13] = [
        "authorization",
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
        "clientkeydata",
        "cookie",
        "credentials",
    ];
    let name: String = key.chars().filter(char::is_ascii_alphanumeric).map(|one| one.to_ascii_lowercase()).collect();
    name == "pass" || ENDS.iter().any(|end| name.ends_with(end))
}

/// Texts and numbers, and lists of them. The keys of a mapping speak for themselves: a volume `secret` only names one.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(_) | Value::Number(_) => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Everything but the definitions that only say where a secret is.
fn hide_inline(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            let says_where = entries
                .get("type")
                .and_then(Value::as_str)
                .is_some_and(|kind| ["env", "file", "vault"].contains(&kind));
            if !says_where {
                entries.values_mut().for_each(hide_inline);
            }
        }
        _ => hide(value),
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
