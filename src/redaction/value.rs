//! Values as journals hold them, without what their keys say to be secret.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::shapes::Shapes;
use super::{REDACTED, is_secret};

/// What hides secrets in the parts of a value.
pub(crate) trait Hides {
    /// The text without secrets.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str>;

    /// Whether a number is one.
    fn number(&self, number: &Number) -> bool {
        let _ = number;
        false
    }
}

/// Of somebody else's secrets nothing is known but their forms.
impl Hides for Shapes {
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hide(text)
    }
}

/// The value without secrets in texts and keys, and without what a key says to be secret (`password`, …).
pub(crate) fn redact(value: &mut Value, hides: &impl Hides) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = hides.text(text) {
                *text = redacted;
            }
        }
        Value::Number(number) if hides.number(number) => *value = REDACTED.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, hides)),
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
                redact(&mut value, hides);
                insert(entries, hides.text(&key).into_owned(), value);
            }
        }
        _ => {}
    }
}

/// A document for a journal: like [`redact`], and whatever its `secrets` hold in clear.
pub(crate) fn redact_document(document: &mut Value, hides: &impl Hides) {
    if let Some(Value::Object(targets)) = document.get_mut("secrets") {
        targets.values_mut().for_each(hide_inline);
    }
    redact(document, hides);
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
