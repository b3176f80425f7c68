//! Python's ways with values, as far as documents can tell them from Rust's.
//!
//! Called by substitution, by tolerances and by what judges outputs. Promises: the answers of Python 3.11 for the
//! values that JSON has, and where they differ, the module that differs says how.

mod decimal;
mod equal;
pub(crate) mod order;
pub(crate) mod regex;
pub(crate) mod text;
mod truth;

pub(crate) use decimal::{Decimal, NotDecimal};
pub(crate) use equal::{compare, equal};
pub(crate) use truth::truthy;

use serde_json::Value;

/// The name of a value's type.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// What `str.strip` and `\s` take for blank: White_Space, and the four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
pub(crate) mod tests;
