//! `{"type": "regex", "pattern": …, "target": …}`: a text that a pattern is found in.

use serde_json::{Map, Value};

use super::{Judged, Refused, Substitute, Target, kind, put_into, shown};
use crate::document::py;
use crate::document::py::regex::{Pattern, PatternError};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegexTolerance {
    target: Target,
    pattern: String,
}

impl RegexTolerance {
    pub(super) fn parse(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let pattern = mapping.get("pattern");
        let pattern =
            pattern.ok_or_else(|| Refused::new("", "hypothesis regex probe tolerance must have a `pattern` key"))?;
        let said = |why: &str| {
            Refused::new("pattern", format!("hypothesis probe tolerance pattern {} {why}", py::text::str(pattern)))
        };
        let text = pattern.as_str().ok_or_else(|| said("has an invalid type"))?;
        match Pattern::compile(text) {
            Ok(_) => Ok(Self { target: Target::of(mapping), pattern: text.to_owned() }),
            Err(why @ PatternError::Invalid(_)) => Err(said(&format!("seems invalid: {why}"))),
            Err(why @ PatternError::Unsupported(_)) => Err(said(&format!("cannot be used: {why}"))),
        }
    }

    pub(super) fn judge(&self, output: &Value, substitute: Substitute<'_>) -> Judged {
        self.found(output, substitute).unwrap_or_else(Judged::Raises)
    }

    fn found(&self, output: &Value, substitute: Substitute<'_>) -> Result<Judged, String> {
        let pattern = put_into(&Value::from(self.pattern.as_str()), substitute);
        let Value::String(pattern) = &pattern else {
            return Err(format!("a pattern is text, and {} stands for {}", self.pattern, kind(&pattern)));
        };
        let compiled = Pattern::compile(pattern).map_err(|why| format!("the pattern {pattern}: {why}"))?;
        let value = self.target.of_value(output)?;
        let Value::String(text) = value else {
            let remedy = self.target.remedy(output, value);
            return Err(format!("a regex tolerance needs text, got {}{remedy}", kind(value)));
        };
        let met = compiled.found_in(text).map_err(|why| format!("the pattern {pattern}: {why}"))?;
        Ok(Judged::of(met, || format!("{} holds nothing like {pattern}", shown(value))))
    }
}
