//! The order of a mapping's members: Python keeps the one in which they were written, `serde_json`'s maps are sorted.
//!
//! It can be seen in a JSON body, a form, the arguments of a process, and `str()`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::document::marks::{Below, Marks};
use crate::document::tolerance::ordered::{Order, Ordered};

/// The orders that texts have shown, by the names that stand together. Clones learn together.
///
/// A value may be copied, substituted and sent on: it is known by its names alone. Of two mappings with the same names in
/// different orders the first one counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(Arc<Mutex<BTreeMap<Vec<String>, Vec<String>>>>);

impl Orders {
    /// Of a document.
    pub(crate) fn of(marks: &Marks) -> Self {
        let orders = Self::default();
        orders.walk(marks);
        orders
    }

    fn walk(&self, marks: &Marks) {
        match &marks.below {
            Below::Leaf => {}
            Below::List(items) => items.iter().for_each(|item| self.walk(item)),
            Below::Map(entries) => {
                self.keep(entries.iter().map(|entry| entry.key.clone()).collect());
                entries.iter().for_each(|entry| self.walk(&entry.value));
            }
        }
    }

    /// Learns from a JSON text; one that is none shows nothing.
    pub(crate) fn learn(&self, text: &str) {
        if let Ok(read) = Ordered::parse(text) {
            self.take(&read.order);
        }
    }

    fn take(&self, order: &Order) {
        match order {
            Order::Plain => {}
            Order::Items(items) => items.iter().for_each(|item| self.take(item)),
            Order::Members(members) => {
                self.keep(members.iter().map(|(name, _)| name.clone()).collect());
                members.iter().for_each(|(_, below)| self.take(below));
            }
        }
    }

    fn keep(&self, names: Vec<String>) {
        let mut sorted = names.clone();
        sorted.sort();
        if sorted != names {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(sorted).or_insert(names);
        }
    }

    /// The members of a mapping, as they were written.
    pub(crate) fn members<'a>(&self, map: &'a Map<String, Value>) -> Vec<(&'a String, &'a Value)> {
        let names: Vec<String> = map.keys().cloned().collect();
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match orders.get(&names) {
            None => map.iter().collect(),
            Some(written) => written.iter().filter_map(|name| map.get_key_value(name)).collect(),
        }
    }

    /// `json.dumps(value)`.
    pub(crate) fn dumps(&self, value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.dumps(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(map) => {
                let member = |(name, value): (&String, &Value)| format!("{}: {}", text(name), self.dumps(value));
                let members: Vec<_> = self.members(map).into_iter().map(member).collect();
                format!("{{{}}}", members.join(", "))
            }
            Value::String(one) => text(one),
            Value::Number(number) => super::text::repr_number(number),
            Value::Null | Value::Bool(_) => value.to_string(),
        }
    }
}

/// A text of JSON in ASCII alone.
fn text(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let mut ascii = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_come_as_they_were_written() {
        let orders = Orders::default();
        orders.learn(r#"{"z": {"b": 1, "a": [{"y": 1, "x": 2}]}, "c": null}"#);
        let value = json!({"c": null, "z": {"a": [{"x": 2.0, "y": "\u{e9}\u{1f600}"}], "b": true}});
        let dumped = r#"{"z": {"b": true, "a": [{"y": "\u00e9\ud83d\ude00", "x": 2.0}]}, "c": null}"#;
        assert_eq!(orders.dumps(&value), dumped);
        assert_eq!(super::super::text::str_in(&value["z"]["a"], &orders), "[{'y': '\u{e9}\u{1f600}', 'x': 2.0}]");
        assert_eq!(orders.dumps(&json!({"b": 1, "a": 2})), r#"{"b": 1, "a": 2}"#);
    }

    #[test]
    fn names_that_were_never_seen_together_are_sorted() {
        assert_eq!(Orders::default().dumps(&json!({"b": 1, "a": 2})), r#"{"a": 2, "b": 1}"#);
    }
}
