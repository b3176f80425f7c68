//! Tolerances of Chaos Toolkit documents: what a probe's output has to be.
//!
//! Called by validation, which parses them, and by the run, which judges outputs. They judge as Chaos Toolkit does,
//! Python's equality and all; where it would die of an output, the answer is [`Judged::Raises`], which is a failed
//! check. Ours are the tolerances on series (`series/`), which may also say that they do not know.
//!
//! A run calls [`Tolerance::resolved`] first, since a text may stand for any other tolerance. What comes of it is then
//! a probe of its own ([`Tolerance::probe`]), a judgement on series ([`Tolerance::series`]), or judged at once
//! ([`Tolerance::judge`]).

mod json;
pub(crate) mod jsonpath;
pub(crate) mod ordered;
mod plain;
mod probe;
mod range;
mod regex;
pub(crate) mod series;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::py;
use json::JsonTolerance;
use plain::Plain;
pub(crate) use probe::ProbeTolerance;
use range::RangeTolerance;
use regex::RegexTolerance;
pub(crate) use series::{Of, SeriesTolerance};

/// Puts configuration and secrets into a text: `${name}` alone gives the value itself.
pub(crate) type Substitute<'a> = &'a dyn Fn(&str) -> Value;

/// What a probe gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    /// Its result.
    pub(crate) value: &'a Value,
    /// The text of a JSON body, which knows the order of its members; `value` does not.
    pub(crate) body: Option<&'a str>,
}

impl<'a> From<&'a Value> for Output<'a> {
    fn from(value: &'a Value) -> Self {
        Self { value, body: None }
    }
}

/// What comes of a judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Within tolerance.
    Met,
    /// Out of it, and why: `250 is none of [200, 299]`.
    Missed(String),
    /// Chaos Toolkit dies of it: a failed check. What is wrong, and the remedy.
    Raises(String),
}

impl Judged {
    fn of(met: bool, why: impl FnOnce() -> String) -> Self {
        if met { Self::Met } else { Self::Missed(why()) }
    }

    pub(crate) fn is_met(&self) -> bool {
        *self == Self::Met
    }
}

/// Why a tolerance is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// In Chaos Toolkit's words where it refuses it too.
    pub(crate) message: String,
    /// What else is known, such as the column.
    pub(crate) detail: Option<String>,
    /// The key of the tolerance that is wrong; empty for the whole.
    pub(crate) key: &'static str,
}

impl Refused {
    fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: None, key }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}

/// A tolerance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tolerance {
    /// A text, before substitution.
    Text(String),
    /// A boolean, a number, a list, a text after substitution.
    Plain(Plain),
    Regex(RegexTolerance),
    Json(JsonTolerance),
    Range(RangeTolerance),
    /// Another probe judges; the caller runs it.
    Probe(ProbeTolerance),
    /// Series are judged, of which the caller reads the samples.
    Series(SeriesTolerance),
    /// None that Chaos Toolkit knows, which nothing meets: a float, null, a mapping of an unknown type. Only where
    /// validation was left out, and by substitution.
    Never(Value),
    /// One that was not validated, and cannot be judged.
    Broken(String),
}

/// The types of mappings that Chaos Toolkit has.
const TYPES: &str = "probe, regex, jsonpath, range";

impl Tolerance {
    /// As the validator reads it. The activity of a `probe` is left for the validator of activities.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn parse(value: &Value) -> Result<Self, Refused> {
        match value {
            Value::Object(mapping) => Self::of_mapping(mapping),
            Value::String(text) => Ok(Self::Text(text.clone())),
            _ => Plain::of(value).map(Self::Plain).ok_or_else(|| {
                Refused::new(
                    "",
                    "hypothesis probe tolerance must either be an integer, a string, a boolean or a pair of values \
                     for boundaries. It can also be a dictionary which is a probe activity definition that takes an \
                     argument called `value` with the value of the probe itself to be validated",
                )
            }),
        }
    }

    /// As a run without validation takes it, and what substitution gives: what is wrong shows in the judgement.
    pub(crate) fn unvalidated(value: &Value) -> Self {
        let unknown = |mapping: &Map<String, Value>| !known(mapping.get("type").and_then(Value::as_str));
        match value {
            Value::Object(mapping) if unknown(mapping) => Self::Never(value.clone()),
            Value::Object(mapping) if mapping.get("type").is_some_and(|it| it == "range") => {
                RangeTolerance::unvalidated(mapping).map_or_else(|why| Self::Broken(why.to_string()), Self::Range)
            }
            _ => Self::parse(value).unwrap_or_else(|why| match value {
                Value::Object(_) => Self::Broken(why.to_string()),
                _ => Self::Never(value.clone()),
            }),
        }
    }

    fn of_mapping(mapping: &Map<String, Value>) -> Result<Self, Refused> {
        let kind = mapping.get("type").unwrap_or(&Value::Null);
        match kind.as_str() {
            Some("probe") => Ok(Self::Probe(ProbeTolerance::new(mapping))),
            Some("regex") => RegexTolerance::parse(mapping).map(Self::Regex),
            Some("jsonpath") => JsonTolerance::parse(mapping).map(Self::Json),
            Some("range") => RangeTolerance::parse(mapping).map(Self::Range),
            Some(name) if series::is_kind(name) => SeriesTolerance::parse(mapping).map(Self::Series),
            _ => Err(Refused {
                message: format!("hypothesis probe tolerance type '{}' is unsupported", py::text::str(kind)),
                detail: Some(format!("there are {TYPES}, and on series {}", series::kinds())),
                key: "type",
            }),
        }
    }

    /// What it is once configuration and secrets are put in.
    pub(crate) fn resolved(&self, substitute: Substitute<'_>) -> Cow<'_, Self> {
        match self {
            Self::Text(text) => Cow::Owned(match substitute(text) {
                text @ Value::String(_) => Self::Plain(Plain::Equal(text)),
                other => Self::unvalidated(&other),
            }),
            _ => Cow::Borrowed(self),
        }
    }

    /// The probe that judges, if that is what it is.
    pub(crate) fn probe(&self) -> Option<&ProbeTolerance> {
        if let Self::Probe(probe) = self { Some(probe) } else { None }
    }

    /// What is asked of series, if that is what it is.
    pub(crate) fn series(&self) -> Option<&SeriesTolerance> {
        if let Self::Series(series) = self { Some(series) } else { None }
    }

    /// Judges an output. A probe and series are judged elsewhere: here they are [`Judged::Raises`].
    pub(crate) fn judge(&self, output: Output<'_>, substitute: Substitute<'_>) -> Judged {
        match self {
            Self::Text(_) => self.resolved(substitute).judge(output, substitute),
            Self::Plain(plain) => plain.judge(output.value),
            Self::Regex(regex) => regex.judge(output.value, substitute),
            Self::Json(json) => json.judge(output, substitute),
            Self::Range(range) => range.judge(output.value),
            Self::Probe(_) => Judged::Raises("a tolerance of type probe is judged by what the probe gives".into()),
            Self::Series(series) => Judged::Raises(format!(
                "a tolerance of type {} judges series of Prometheus: it belongs to chaosprometheus' query and query_interval",
                series.of.name()
            )),
            Self::Never(value) => Judged::Missed(format!("no output meets {}", shown(value))),
            Self::Broken(why) => Judged::Raises(why.clone()),
        }
    }

    /// Why an output is within tolerance without a word about the system, where that is so.
    pub(crate) fn vacuous(&self, output: Output<'_>, substitute: Substitute<'_>) -> Option<String> {
        match self {
            Self::Text(_) => match self.resolved(substitute).as_ref() {
                Self::Text(_) => None,
                other => other.vacuous(output, substitute),
            },
            Self::Json(json) => json.vacuous(output, substitute),
            _ => None,
        }
    }
}

/// Whether a type is one of ours, and what is wrong with its tolerance.
pub(crate) fn own(kind: &str, tolerance: &Value) -> Option<Result<(), String>> {
    series::is_kind(kind).then(|| Tolerance::parse(tolerance).map(drop).map_err(|why| why.to_string()))
}

fn known(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| matches!(kind, "probe" | "regex" | "jsonpath" | "range") || series::is_kind(kind))
}

/// A value in a message, in Python's form.
fn shown(value: &Value) -> String {
    crate::tolerance::shortened(&py::text::repr(value))
}

/// What a value is, in a message.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The target of a tolerance: the member of the result that it judges.
#[derive(Clone, Debug, Default, PartialEq)]
struct Target(Option<Value>);

impl Target {
    fn of(mapping: &Map<String, Value>) -> Self {
        Self(mapping.get("target").filter(|target| py::truthy(target)).cloned())
    }

    fn name(&self) -> Option<&str> {
        self.0.as_ref()?.as_str()
    }

    /// The member, or the whole where there is none of that name.
    fn of_value<'a>(&self, value: &'a Value) -> Result<&'a Value, String> {
        match (&self.0, value) {
            (None, _) => Ok(value),
            (Some(Value::Array(_) | Value::Object(_)), Value::Object(_)) => {
                Err("the target of a tolerance is a name".to_owned())
            }
            (Some(target), Value::Object(members)) => {
                Ok(target.as_str().and_then(|name| members.get(name)).unwrap_or(value))
            }
            (Some(target), _) => {
                Err(format!("the target {} is a member of a mapping, and the output is {}", shown(target), kind(value)))
            }
        }
    }

    /// What to do about a value of a type that does not fit.
    fn remedy(&self, value: &Value, found: &Value) -> String {
        match (self.name(), value) {
            (Some(name), Value::Object(members)) if !members.contains_key(name) => {
                let names: Vec<_> = members.keys().map(String::as_str).collect();
                format!("; there is no {name:?} in it, but {}", names.join(", "))
            }
            (None, Value::Object(members)) if std::ptr::eq(value, found) => {
                let names: Vec<_> = members.keys().map(String::as_str).collect();
                format!("; name a target: {}", names.join(", "))
            }
            _ => String::new(),
        }
    }
}

/// Configuration and secrets put into all texts of a value, except into names.
fn put_into(value: &Value, substitute: Substitute<'_>) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => substitute(text),
        Value::Array(items) => items.iter().map(|item| put_into(item, substitute)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), put_into(value, substitute))).collect()
        }
        _ => value.clone(),
    }
}
