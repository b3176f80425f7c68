//! `${name}` in the texts of a document: Python's `string.Template`, with the types of what is put in.

use super::py::order::Orders;
use super::py::text;
use serde_json::{Map, Value};

/// What names mean: the configuration first, then each target of the secrets in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) configuration: Map<String, Value>,
    /// Targets with their secrets.
    pub(crate) secrets: Vec<(String, Map<String, Value>)>,
    /// In which order members of mappings were written.
    pub(crate) orders: Orders,
}

impl Scope {
    /// What `name` means; only names directly under a target of the secrets have a meaning.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.configuration.get(name).or_else(|| self.secrets.iter().find_map(|(_, target)| target.get(name)))
    }

    /// `str(value)` with mappings as they were written.
    pub(crate) fn text(&self, value: &Value) -> String {
        text::str_in(value, &self.orders).into_owned()
    }

    /// Whether there is neither configuration nor a secret: then arguments are left alone, `$$` and all.
    pub(crate) fn is_empty(&self) -> bool {
        self.configuration.is_empty() && self.secrets.is_empty()
    }

    /// The secrets of these targets, together.
    pub(crate) fn secrets_of(&self, targets: &[&str]) -> Map<String, Value> {
        let meant = self.secrets.iter().filter(|(target, _)| targets.contains(&target.as_str()));
        meant.flat_map(|(_, values)| values.clone()).collect()
    }

    /// `value` with what its texts name, at every depth; keys and everything else stay as they are.
    pub(crate) fn put_into(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.put_into_text(text),
            Value::Array(items) => items.iter().map(|item| self.put_into(item)).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), self.put_into(value))).collect::<Map<_, _>>().into()
            }
            _ => value.clone(),
        }
    }

    /// Like [`Scope::put_into`], for arguments: with an empty scope the value is left alone.
    pub(crate) fn put_into_arguments(&self, value: &Value) -> Value {
        if self.is_empty() { value.clone() } else { self.put_into(value) }
    }

    /// A text that is `${name}` and nothing else becomes the value in its own type; in any other text values are
    /// written as Python's `str()`. An unknown name stays as it is, and what is put in is not looked at again.
    pub(crate) fn put_into_text(&self, template: &str) -> Value {
        if let Some(value) = whole(template).and_then(|name| self.get(name)) {
            return value.clone();
        }
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let (long, name) = token(from);
            match name {
                Some("$") => out.push('$'),
                Some(name) => match self.get(name) {
                    Some(value) => out.push_str(&text::str_in(value, &self.orders)),
                    None => out.push_str(&from[..long]),
                },
                None => out.push('$'),
            }
            rest = &from[long..];
        }
        out.push_str(rest);
        Value::String(out)
    }
}

/// The name of a text that is `${name}` and nothing else.
fn whole(text: &str) -> Option<&str> {
    match token(text) {
        (long, Some(name)) if long == text.len() && text.starts_with("${") => Some(name),
        _ => None,
    }
}

/// What the `$` at the begin of `text` begins: how long it is, and the name (or `$` for `$$`); none where it begins
/// nothing and stands for itself.
fn token(text: &str) -> (usize, Option<&str>) {
    let Some(after) = text.strip_prefix('$') else { return (0, None) };
    if after.starts_with('$') {
        return (2, Some("$"));
    }
    match after.strip_prefix('{') {
        Some(inside) => {
            let name = identifier(inside);
            if !name.is_empty() && inside[name.len()..].starts_with('}') {
                return (name.len() + 3, Some(name));
            }
            (1, None)
        }
        None => match identifier(after) {
            "" => (1, None),
            name => (name.len() + 1, Some(name)),
        },
    }
}

fn identifier(text: &str) -> &str {
    let long = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    if text.starts_with(|one: char| one.is_ascii_digit()) { "" } else { &text[..long] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let Value::Object(configuration) = json!({
            "a": "V", "a-b": "W", "a.b": "Z", "n": 8, "f": 1.5, "b": true, "z": null, "d": {"a": 1}, "l": [1, "x"],
            "again": "${a}", "k": "of the configuration",
        }) else {
            unreachable!()
        };
        let target = |pairs: Value| pairs.as_object().cloned().unwrap_or_default();
        let secrets = vec![
            ("one".into(), target(json!({"k": "hidden", "s": "first", "deep": {"er": "x"}}))),
            ("two".into(), target(json!({"s": "second", "t": "third"}))),
        ];
        Scope { configuration, secrets, orders: Orders::default() }
    }

    #[test]
    fn every_form_of_the_template() {
        for (text, becomes) in [
            ("", json!("")),
            ("${n}", json!(8)),
            ("${d}", json!({"a": 1})),
            ("${z}", json!(null)),
            ("$n", json!("8")),
            ("$$n", json!("$n")),
            ("$$", json!("$")),
            ("$", json!("$")),
            ("$1 ${} ${1} ${a", json!("$1 ${} ${1} ${a")),
            ("${a}${n}", json!("V8")),
            ("${a-b} ${a.b} x$a.y $a-b", json!("${a-b} ${a.b} xV.y V-b")),
            ("${nobody} $nobody", json!("${nobody} $nobody")),
            ("${nobody}", json!("${nobody}")),
            (" ${n}", json!(" 8")),
            ("${f} ${b} ${z} ${d} ${l}", json!("1.5 True None {'a': 1} [1, 'x']")),
            ("${again}", json!("${a}")),
            ("${k} ${s} ${t} ${deep} ${er}", json!("of the configuration first third {'er': 'x'} ${er}")),
            ("$é ${aé} $aé", json!("$é ${aé} Vé")),
            ("$A", json!("$A")),
        ] {
            assert_eq!(scope().put_into_text(text), becomes, "{text}");
        }
    }

    #[test]
    fn values_are_looked_into_and_keys_are_not() {
        let value = json!({"${a}": ["${n}", {"x": "$a"}, 3, null]});
        assert_eq!(scope().put_into(&value), json!({"${a}": [8, {"x": "V"}, 3, null]}));
    }

    #[test]
    fn without_a_scope_arguments_are_left_alone() {
        assert_eq!(Scope::default().put_into_arguments(&json!(["$$"])), json!(["$$"]));
        assert_eq!(scope().put_into_arguments(&json!(["$$"])), json!(["$"]));
        assert_eq!(Scope::default().put_into(&json!("$$")), json!("$"));
    }
}
