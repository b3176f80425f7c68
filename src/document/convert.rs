//! The types that a text of the environment or of the command line may be given.

use super::py::text;
use serde_json::{Number, Value};

/// `value` in the type that `name` says; a text and everything else stays as it is without one.
///
/// The types are `str`/`string`, `int`/`integer`, `float`/`number`, `bool`, `json` and `bytes`, of which the last
/// becomes what Python writes for them (`b'abc'`), since JSON has none. Only `false`, `0` and `no` are false.
pub(crate) fn convert(name: Option<&str>, value: &Value) -> Result<Value, String> {
    match name.unwrap_or("str") {
        "str" | "string" | "" => Ok(value.clone()),
        "int" | "integer" => whole(value).map(Value::Number),
        "float" | "number" => float(value).map(Value::Number),
        "bool" => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) => Ok(Value::Bool(!["false", "0", "no"].contains(&text.to_lowercase().as_str()))),
            _ => Err(format!("{} is no bool: write true or false", text::repr(value))),
        },
        "json" => match value {
            Value::String(json) if json.is_empty() => Ok(value.clone()),
            Value::String(json) => {
                serde_json::from_str(json).map_err(|error| format!("{} is not JSON: {error}", text::repr(value)))
            }
            _ => Ok(value.clone()),
        },
        "bytes" => match value {
            Value::String(bytes) => Ok(Value::String(text::repr_bytes(bytes.as_bytes()))),
            _ => Err(format!("{} is no text to make bytes of", text::repr(value))),
        },
        other => {
            Err(format!("variable type can only be: bool, str, int, float, bytes or json; `{other}` is none of them"))
        }
    }
}

/// Python's `int()`.
fn whole(value: &Value) -> Result<Number, String> {
    let wrong = || format!("invalid literal for int() with base 10: {}: write a whole number", text::repr(value));
    match value {
        Value::Number(number) if number.is_f64() => {
            let truncated = number.as_f64().unwrap_or_default().trunc();
            // Beyond 2^63 a float is no longer a number of 64 bits.
            if truncated.abs() < 9.2e18 { Ok(Number::from(truncated as i64)) } else { Err(wrong()) }
        }
        Value::Number(number) => Ok(number.clone()),
        Value::Bool(truth) => Ok(Number::from(u8::from(*truth))),
        Value::String(text) => {
            let digits = underscored(text.trim()).ok_or_else(wrong)?;
            digits
                .parse::<i64>()
                .map(Number::from)
                .or_else(|_| digits.parse::<u64>().map(Number::from))
                .map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// Python's `float()`; what JSON cannot hold is refused.
fn float(value: &Value) -> Result<Number, String> {
    let wrong = || format!("could not convert to float: {}: write a number that JSON has", text::repr(value));
    let float = match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => underscored(text.trim()).and_then(|digits| digits.parse().ok()),
        _ => None,
    };
    float.and_then(Number::from_f64).ok_or_else(wrong)
}

/// The digits without the single underscores that Python allows between them; none where one stands elsewhere.
fn underscored(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let right = |at: usize| digit(at.checked_sub(1)) && digit(Some(at + 1));
    let all = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || right(at));
    all.then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_type() {
        for (name, value, becomes) in [
            (None, json!("42"), json!("42")),
            (None, json!(42), json!(42)),
            (Some("string"), json!(null), json!(null)),
            (Some("int"), json!(" -4_2 "), json!(-42)),
            (Some("integer"), json!("+7"), json!(7)),
            (Some("int"), json!(1.9), json!(1)),
            (Some("int"), json!(true), json!(1)),
            (Some("float"), json!("1_0.5e1"), json!(105.0)),
            (Some("number"), json!(3), json!(3.0)),
            (Some("bool"), json!("No"), json!(false)),
            (Some("bool"), json!("FALSE"), json!(false)),
            (Some("bool"), json!("0"), json!(false)),
            (Some("bool"), json!("off"), json!(true)),
            (Some("bool"), json!(""), json!(true)),
            (Some("bool"), json!(false), json!(false)),
            (Some("json"), json!("{\"a\": [1]}"), json!({"a": [1]})),
            (Some("json"), json!(""), json!("")),
            (Some("json"), json!(null), json!(null)),
            (Some("bytes"), json!("it's"), json!("b\"it's\"")),
        ] {
            assert_eq!(convert(name, &value), Ok(becomes), "{name:?} {value}");
        }
    }

    #[test]
    fn what_has_no_such_type_is_said() {
        for (name, value, why) in [
            ("int", json!("abc"), "invalid literal for int() with base 10: 'abc'"),
            ("int", json!("1__0"), "invalid literal"),
            ("int", json!("_1"), "invalid literal"),
            ("int", json!(null), "invalid literal"),
            ("int", json!(1e300), "invalid literal"),
            ("float", json!("nan"), "could not convert to float"),
            ("float", json!("1e999"), "could not convert to float"),
            ("bool", json!(3), "no bool"),
            ("json", json!("{"), "not JSON"),
            ("bytes", json!(3), "no text"),
            ("date", json!("x"), "variable type can only be: bool, str, int, float, bytes or json"),
        ] {
            let error = convert(Some(name), &value).expect_err(name);
            assert!(error.contains(why), "{error}");
        }
    }
}
