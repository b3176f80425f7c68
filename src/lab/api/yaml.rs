//! JSON values as YAML, for the few clients that ask for it.

use serde_json::{Value, json};

/// The value as a block of YAML, keys in the order of the alphabet, as the real server has them.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str(&scalar(key));
                out.push(':');
                match &map[key] {
                    // A list stands below its key without being further in.
                    Value::Array(list) if !list.is_empty() => below(&map[key], indent, out),
                    Value::Object(inner) if !inner.is_empty() => below(&map[key], indent + 2, out),
                    other => {
                        out.push(' ');
                        block(other, indent + 2, out);
                    }
                }
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str("- ");
                block(item, indent + 2, out);
            }
        }
        Value::Object(_) => out.push_str("{}\n"),
        Value::Array(_) => out.push_str("[]\n"),
        Value::String(text) => {
            out.push_str(&scalar(text));
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    out.push('\n');
    pad(indent, out);
    block(value, indent, out);
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A string, bare where no reader can take it for anything else, else quoted with the escapes of JSON.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '=');
    if starts_well && text.chars().all(plain) && !WORDS.contains(&text.to_lowercase().as_str()) {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_nest() {
        let value = json!({
            "kind": "List", "empty": {}, "none": [], "items": [{"a": 1, "b": {"c": null}}, "x", ["y", true]],
            "data": {"on": "true", "text": "two\nlines", "number": "1e3", "path": "/etc/x.y", "": "-"},
        });
        let lines = [
            "data:",
            "  \"\": \"-\"",
            "  number: \"1e3\"",
            "  \"on\": \"true\"",
            "  path: /etc/x.y",
            "  text: \"two\\nlines\"",
            "empty: {}",
            "items:",
            "- a: 1",
            "  b:",
            "    c: null",
            "- x",
            "- - \"y\"",
            "  - true",
            "kind: List",
            "none: []",
            "",
        ];
        assert_eq!(text(&value), lines.join("\n"));
    }
}
