//! Tolerances that are values: equality, a status, a range of two, one of several.

use serde_json::Value;

use super::{Judged, shown};
use crate::document::py;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain {
    /// A boolean or a text: the whole output.
    Equal(Value),
    /// A whole number: the status, where the output has one.
    Whole(Value),
    /// A list: two bounds, or one of several; with a status always one of several.
    List(Vec<Value>),
}

impl Plain {
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(_) | Value::String(_) => Some(Self::Equal(value.clone())),
            Value::Number(number) if !number.is_f64() => Some(Self::Whole(value.clone())),
            Value::Array(items) => Some(Self::List(items.clone())),
            _ => None,
        }
    }

    pub(super) fn judge(&self, output: &Value) -> Judged {
        let status = output.as_object().and_then(|members| members.get("status"));
        let equal = |a: &Value, b: &Value, what: &str| {
            Judged::of(py::equal(a, b), || format!("{what}{} is not {}", shown(a), shown(b)))
        };
        let one_of = |value: &Value, all: &[Value], what: &str| {
            let met = all.iter().any(|one| py::equal(one, value));
            Judged::of(met, || format!("{what}{} is none of {}", shown(value), shown(&Value::Array(all.to_vec()))))
        };
        match (self, status) {
            (Self::Equal(expected), _) | (Self::Whole(expected), None) => equal(output, expected, ""),
            (Self::Whole(expected), Some(status)) => equal(status, expected, "status "),
            (Self::List(all), Some(status)) => one_of(status, all, "status "),
            (Self::List(all), None) => match all.as_slice() {
                [low, high] => between(low, output, high),
                _ => one_of(output, all, ""),
            },
        }
    }
}

/// `low <= value <= high`; the upper bound is not looked at where the lower one decides.
fn between(low: &Value, value: &Value, high: &Value) -> Judged {
    let within =
        || -> Result<bool, String> { Ok(py::compare(low, value)?.is_le() && py::compare(value, high)?.is_le()) };
    match within() {
        Ok(met) => Judged::of(met, || format!("{} is not between {} and {}", shown(value), shown(low), shown(high))),
        Err(why) => Judged::Raises(format!(
            "{} cannot be compared with the bounds {} and {}: {why}",
            shown(value),
            shown(low),
            shown(high)
        )),
    }
}
