//! A value inside JSON.

use serde_json::Value;

use super::{Judgement, Tolerance, shortened};

/// Something that is JSON.
#[diagnostic::on_unimplemented(
    message = "`json_path(..)` cannot judge what this probe returns (`{Self}`)",
    label = "this probe returns no JSON",
    note = "a tolerance is picked by the probe's output: `json_path(..)` for JSON bodies and values, `contains(..)` for text, `at_most(..)` for numbers"
)]
pub trait AsJson {
    /// The JSON value, or why it is none.
    ///
    /// # Errors
    /// The text is no JSON; the message says where.
    fn json(&self) -> Result<Value, String>;
}

impl AsJson for Value {
    fn json(&self) -> Result<Value, String> {
        Ok(self.clone())
    }
}

/// Expects a value inside JSON. See [`json_path`].
#[derive(Clone, Debug)]
pub struct JsonPath {
    text: String,
    path: serde_json_path::JsonPath,
    expected: Option<Value>,
}

/// Expects that the JSON has something at `path` (RFC 9535: `$.items[0].name`); chain
/// [`equals`](JsonPath::equals) for a value.
///
/// # Panics
/// `path` is no JSON path: the panic names where it goes wrong.
#[must_use]
#[track_caller]
pub fn json_path(path: &str) -> JsonPath {
    match serde_json_path::JsonPath::parse(path) {
        Ok(parsed) => JsonPath { text: path.to_owned(), path: parsed, expected: None },
        Err(error) => panic!("json_path({path:?}): {error}"),
    }
}

impl JsonPath {
    /// Expects every value at the path, and at least one, to equal `value`.
    #[must_use]
    pub fn equals(mut self, value: impl Into<Value>) -> Self {
        self.expected = Some(value.into());
        self
    }
}

impl<T: AsJson> Tolerance<T> for JsonPath {
    fn judge(&self, observed: &T) -> Judgement {
        let expected = Tolerance::<T>::expected(self);
        let json = match observed.json() {
            Ok(json) => json,
            Err(why) => {
                return Judgement::of(false, format!("no JSON ({why})"), &expected, ("", "no JSON"));
            }
        };
        let found = self.path.query(&json).all();
        let seen = match found.as_slice() {
            [] => format!("nothing at {}", self.text),
            values => shortened(&values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let met = !found.is_empty() && self.expected.as_ref().is_none_or(|v| found.iter().all(|f| *f == v));
        let miss = if found.is_empty() { "absent" } else { "another value" };
        Judgement::of(met, seen, &expected, ("found", miss))
    }

    fn expected(&self) -> String {
        match &self.expected {
            Some(value) => format!("{value} at {}", self.text),
            None => format!("something at {}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Outcome;
    use super::*;

    #[test]
    fn a_path_must_exist_and_may_have_to_equal() {
        let body = json!({"items": [{"name": "a"}, {"name": "a"}], "n": 3});
        assert_eq!(json_path("$.items[*].name").equals("a").judge(&body).outcome, Outcome::Met);
        assert_eq!(json_path("$.n").equals(4).judge(&body).phrase(), "was 3, expected 4 at $.n");
        assert_eq!(json_path("$.none").judge(&body).phrase(), "was nothing at $.none, expected something at $.none");
        assert_eq!(json_path("$.none").equals(1).judge(&body).outcome, Outcome::NotMet);
    }
}
