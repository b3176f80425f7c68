//! `{"type": "jsonpath", "path": …, "target": …, "count": …, "expect": …}`: what a path finds.

use serde_json::{Map, Value};

use super::jsonpath::Path;
use super::ordered::{Order, Ordered};
use super::{Judged, Output, Refused, Substitute, Target, kind, put_into, shown};
use crate::document::py;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonTolerance {
    target: Target,
    path: String,
    /// Null is none.
    count: Value,
    /// Null is one too.
    expect: Option<Value>,
}

/// The members of a result in the order in which Chaos Toolkit makes them.
const RESULT: [&str; 5] = ["status", "headers", "body", "stdout", "stderr"];

impl JsonTolerance {
    pub(super) fn parse(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let path = mapping.get("path");
        let path =
            path.ok_or_else(|| Refused::new("", "hypothesis jsonpath probe tolerance must have a `path` key"))?;
        let said = |why: &str| Refused::new("path", format!("hypothesis probe tolerance JSON path {why}"));
        let text = path.as_str().ok_or_else(|| said(&format!("{} has an invalid type", py::text::str(path))))?;
        let stripped = text.trim_matches(py::is_space);
        if stripped.is_empty() {
            return Err(said("cannot be empty"));
        }
        Path::parse(stripped)
            .map_err(|why| Refused { detail: Some(why.to_string()), ..said(&format!("{stripped} is invalid")) })?;
        Ok(Self {
            target: Target::of(mapping),
            path: text.to_owned(),
            count: mapping.get("count").cloned().unwrap_or(Value::Null),
            expect: mapping.get("expect").cloned(),
        })
    }

    pub(super) fn judge(&self, output: Output<'_>, substitute: Substitute<'_>) -> Judged {
        self.found(output, substitute).unwrap_or_else(Judged::Raises)
    }

    /// A text that is no JSON holds nothing, which can be all that is expected.
    pub(super) fn vacuous(&self, output: Output<'_>, substitute: Substitute<'_>) -> Option<String> {
        let value = self.target.of_value(output.value).ok()?;
        let text = value.as_str()?;
        let why = Ordered::parse(text).err()?;
        self.judge(output, substitute)
            .is_met()
            .then(|| format!("{} is no JSON ({why}), so that the path {} finds nothing in it", shown(value), self.path))
    }

    fn found(&self, output: Output<'_>, substitute: Substitute<'_>) -> Result<Judged, String> {
        let path = put_into(&Value::from(self.path.as_str()), substitute);
        let Value::String(path) = &path else {
            return Err(format!("a JSON path is text, and {} stands for {}", self.path, kind(&path)));
        };
        let parsed = Path::parse(path).map_err(|why| format!("the JSON path {path} is invalid: {why}"))?;
        let found = parsed.find(&self.document(output)?).map_err(|why| format!("the JSON path {path}: {why}"))?;
        let values = |found: Vec<Value>| shown(&Value::Array(found));
        if let Some(expect) = &self.expect {
            let expect = put_into(expect, substitute);
            let met = match &expect {
                Value::Array(all) => all.len() == found.len() && all.iter().zip(&found).all(|(a, b)| py::equal(a, b)),
                one => found.len() == 1 && found.iter().all(|it| py::equal(it, one)),
            };
            return Ok(Judged::of(met, || format!("{path} finds {}, not {}", values(found), shown(&expect))));
        }
        if !self.count.is_null() {
            let met = py::equal(&found.len().into(), &self.count);
            let count = || format!("{path} finds {} values, not {}", found.len(), shown(&self.count));
            return Ok(Judged::of(met, count));
        }
        Ok(Judged::of(!found.is_empty(), || format!("{path} finds nothing")))
    }

    /// What the path is applied to: the target, decoded where it is a text.
    fn document(&self, output: Output<'_>) -> Result<Ordered, String> {
        let value = self.target.of_value(output.value)?;
        if let Value::String(text) = value {
            return match Ordered::parse(text) {
                Ok(document) => Ok(document),
                Err(why) if is_beyond_us(&why) => Err(format!("the JSON to look into cannot be read: {why}")),
                Err(_) => Ok(value.clone().into()),
            };
        }
        let whole = std::ptr::eq(value, output.value);
        let body = output.body.and_then(|text| Ordered::parse(text).ok());
        // It belongs to the result only if it says the same.
        let body = body.filter(|body| output.value.get("body") == Some(&body.value));
        Ok(match (body, value) {
            (Some(body), _) if !whole && self.target.name() == Some("body") => body,
            (body, Value::Object(members)) if whole => {
                let rank = |name: &str| RESULT.iter().position(|it| *it == name).unwrap_or(RESULT.len());
                let mut names: Vec<&String> = members.keys().collect();
                names.sort_by_key(|name| rank(name));
                let mut body = body.map(|body| body.order);
                let order = |name: &String| {
                    let order = if name == "body" { body.take() } else { None };
                    (name.clone(), order.unwrap_or_default())
                };
                let order = Order::Members(names.into_iter().map(order).collect());
                Ordered { value: value.clone(), order }
            }
            _ => value.clone().into(),
        })
    }
}

/// JSON that Python reads and we do not: then nothing is known of it.
fn is_beyond_us(why: &serde_json::Error) -> bool {
    let why = why.to_string();
    why.starts_with("recursion limit") || why.starts_with("number out of range")
}
