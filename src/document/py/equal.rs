//! Equality and order.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A number without rounding; a boolean is one too.
#[derive(Clone, Copy)]
enum Exact {
    Whole(i128),
    /// Finite, as all of JSON.
    Float(f64),
}

impl Exact {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(it) => Some(Self::Whole(i128::from(*it))),
            Value::Number(number) => Some(Self::of_number(number)),
            _ => None,
        }
    }

    fn of_number(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Whole)
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Whole(a), Self::Float(b)) => whole_with_float(a, b),
            (Self::Float(a), Self::Whole(b)) => whole_with_float(b, a).map(Ordering::reverse),
        }
    }
}

/// Compares without rounding the whole number, as a cast to a float would.
fn whole_with_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    let floor = float.floor();
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no number of JSON is as large as an i128")]
    let below = floor as i128;
    // 3 lies below 3.5, whose floor it equals.
    Some(whole.cmp(&below).then(if float > floor { Ordering::Less } else { Ordering::Equal }))
}

/// `a == b`: 1, 1.0 and true are equal, at every depth.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (Exact::of(a), Exact::of(b)) {
        return a.compare(b) == Some(Ordering::Equal);
    }
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => false,
    }
}

/// How `a` stands to `b`: numbers among themselves, texts by code points, lists item by item.
///
/// # Errors
/// Where Python has no order: the names of both types.
pub(crate) fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    let unordered = || format!("{} and {} have no order", super::type_name(a), super::type_name(b));
    if let (Some(a), Some(b)) = (Exact::of(a), Exact::of(b)) {
        return a.compare(b).ok_or_else(unordered);
    }
    match (a, b) {
        // UTF-8 keeps the order of code points.
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Array(a), Value::Array(b)) => match a.iter().zip(b).find(|(a, b)| !equal(a, b)) {
            Some((a, b)) => compare(a, b),
            None => Ok(a.len().cmp(&b.len())),
        },
        _ => Err(unordered()),
    }
}
