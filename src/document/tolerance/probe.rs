//! `{"type": "probe", …}`: another probe judges, which is given the value.

use serde_json::{Map, Value};

use super::{Judged, kind, shown};
use crate::document::py;

/// An activity that judges a value. The caller runs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProbeTolerance {
    activity: Map<String, Value>,
}

impl ProbeTolerance {
    pub(super) fn new(activity: &Map<String, Value>) -> Self {
        Self { activity: activity.clone() }
    }

    /// The activity as it is declared.
    pub(crate) fn activity(&self) -> &Map<String, Value> {
        &self.activity
    }

    fn provider(&self) -> Option<&str> {
        self.activity.get("provider")?.get("type")?.as_str()
    }

    /// The activity with `value` among the arguments of its provider. Chaos Toolkit writes it into the document.
    ///
    /// # Errors
    /// Where the arguments are no mapping: a failed check.
    pub(crate) fn given(&self, value: &Value) -> Result<Map<String, Value>, String> {
        let mut activity = self.activity.clone();
        let provider = activity.get_mut("provider").and_then(Value::as_object_mut);
        match provider.and_then(|provider| provider.get_mut("arguments")) {
            Some(Value::Object(arguments)) => arguments.insert("value".to_owned(), value.clone()),
            None => {
                return Err(
                    "a tolerance of type probe needs a mapping of arguments to take the value; add \"arguments\": {}"
                        .into(),
                );
            }
            Some(other) => {
                let got = kind(other);
                return Err(format!(
                    "a tolerance of type probe needs a mapping of arguments to take the value, got {got}"
                ));
            }
        };
        Ok(activity)
    }

    /// Judges by what the activity gave: whatever Python takes for true is within tolerance. `Err` is how it failed.
    pub(crate) fn judge(&self, result: Result<&Value, &str>) -> Judged {
        match result {
            Ok(result) => Judged::of(py::truthy(result), || format!("the tolerance's probe gave {}", shown(result))),
            Err(why) => Judged::Missed(format!("the tolerance's probe failed: {why}")),
        }
    }

    /// What a result that is within tolerance says against it: an exit code other than 0, a status of 400 or more.
    pub(crate) fn contradiction(&self, result: &Value) -> Option<String> {
        let status = result.get("status")?.as_i64()?;
        match self.provider()? {
            "process" if status != 0 => Some(format!("the tolerance's process ended with {status}")),
            "http" if status >= 400 => Some(format!("the tolerance's request was answered with status {status}")),
            _ => None,
        }
    }
}
