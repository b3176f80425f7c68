//! Python's `str()` and `repr()` of values: what `${name}` becomes inside a text.

use super::order::Orders;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt::Write;

/// `str(value)`: a text as it is, `True`, `None`, `1e+16`, `{'a': 1}`. A mapping's keys are in the order of the map,
/// which is sorted.
pub(crate) fn str(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        _ => Cow::Owned(repr(value)),
    }
}

/// `repr(value)`: like [`str`], with a text in quotes.
pub(crate) fn repr(value: &Value) -> String {
    repr_in(value, &Orders::default())
}

/// `str(value)`, with the members of mappings as they were written.
pub(crate) fn str_in<'a>(value: &'a Value, orders: &Orders) -> Cow<'a, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        _ => Cow::Owned(repr_in(value, orders)),
    }
}

fn repr_in(value: &Value, orders: &Orders) -> String {
    let mut out = String::new();
    push(&mut out, value, orders);
    out
}

fn push(out: &mut String, value: &Value, orders: &Orders) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&repr_number(number)),
        Value::String(text) => push_text(out, text),
        Value::Array(items) => push_list(out, items, orders),
        Value::Object(entries) => push_map(out, entries, orders),
    }
}

fn push_list(out: &mut String, items: &[Value], orders: &Orders) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push(out, item, orders);
    }
    out.push(']');
}

fn push_map(out: &mut String, entries: &Map<String, Value>, orders: &Orders) {
    out.push('{');
    for (index, (key, value)) in orders.members(entries).into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push_text(out, key);
        out.push_str(": ");
        push(out, value, orders);
    }
    out.push('}');
}

/// `repr` of an int or a float.
pub(crate) fn repr_number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => repr_float(float),
        _ => number.to_string(),
    }
}

/// `repr` of a float: the shortest digits that mean it, with an exponent below 1e-4 and from 1e16 on.
pub(crate) fn repr_float(float: f64) -> String {
    if float.is_nan() {
        return "nan".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if float == 0.0 || (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `repr` of a text: in single quotes unless it holds some and no double ones; what cannot be printed is escaped.
pub(crate) fn repr_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    out
}

fn push_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for one in text.chars() {
        match one {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if one == quote => out.extend(['\\', one]),
            _ if printable(one) => out.push(one),
            _ => {
                let code = u32::from(one);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// `str.isprintable` of one character. Rust's debug form escapes the same categories of Unicode, and beyond them
/// only marks that extend what stands before, and only at the begin: hence the letter before.
fn printable(one: char) -> bool {
    if one.is_ascii() {
        return (' '..='~').contains(&one);
    }
    let mut both = [0; 8];
    both[0] = b'a';
    let long = 1 + one.encode_utf8(&mut both[1..]).len();
    std::str::from_utf8(&both[..long]).is_ok_and(|pair| pair.escape_debug().count() == 2)
}

/// `repr` of bytes, which is also their `str`: `b'abc'`.
pub(crate) fn repr_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut out = format!("b{}", char::from(quote));
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            _ if *byte == quote => out.extend(['\\', char::from(quote)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(char::from(quote));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_python_writes_them() {
        for (value, written) in [
            (json!(null), "None"),
            (json!([true, false, -1, 18446744073709551615_u64]), "[True, False, -1, 18446744073709551615]"),
            (json!({"a": {"b": ["it's", "\"", "'\""]}}), r#"{'a': {'b': ["it's", '"', '\'"']}}"#),
            (json!(["\n\t\r\\\u{0}\u{7f}\u{a0}\u{e9}"]), r"['\n\t\r\\\x00\x7f\xa0é']"),
            (
                json!(["e\u{301}", "\u{301}", "\u{200b}\u{feff}\u{e000}\u{10ffff}", "\u{1f600}"]),
                "['e\u{301}', '\u{301}', '\\u200b\\ufeff\\ue000\\U0010ffff', '\u{1f600}']",
            ),
            (json!([]), "[]"),
            (json!({}), "{}"),
        ] {
            assert_eq!(str(&value), written);
        }
        assert_eq!(str(&json!("it's\n")), "it's\n");
        assert_eq!(repr_bytes(b"a'b\x00\xff"), r#"b"a'b\x00\xff""#);
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (float, written) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (9999999999999998.0, "9999999999999998.0"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.234e-7, "1.234e-07"),
            (123456.789, "123456.789"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(repr_float(float), written);
        }
    }
}
