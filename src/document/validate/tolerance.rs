//! The form of a tolerance.

use super::{Judge, truthy, written};
use crate::document::marks::Path;
use serde_json::{Map, Value};

impl<'a> Judge<'a> {
    pub(super) fn tolerance(&mut self, tolerance: &'a Value, path: &Path) {
        match tolerance {
            Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
            Value::Number(number) if !number.is_f64() => {}
            Value::Object(entries) => self.of_type(tolerance, entries, path),
            _ => self.error(
                path,
                "hypothesis probe tolerance must either be an integer, a string, a boolean or a pair of values for \
                 boundaries. It can also be a dictionary which is a probe activity definition that takes an argument \
                 called `value` with the value of the probe itself to be validated",
            ),
        }
    }

    fn of_type(&mut self, tolerance: &'a Value, entries: &Map<String, Value>, path: &Path) {
        match entries.get("type").and_then(Value::as_str) {
            Some("probe") => self.activity(tolerance, path),
            Some("regex") => self.regex(entries, path),
            Some("jsonpath") => self.json_path(entries, path),
            Some("range") => self.range(entries, path),
            kind => match kind.and_then(|kind| self.rules.checks.own(kind, tolerance)) {
                Some(Ok(())) => {}
                Some(Err(why)) => self.error(path, why),
                None => {
                    let kind = written(entries.get("type"));
                    self.error(&path.key("type"), format!("hypothesis probe tolerance type '{kind}' is unsupported"));
                }
            },
        }
    }

    fn regex(&mut self, entries: &Map<String, Value>, path: &Path) {
        let at = path.key("pattern");
        match entries.get("pattern") {
            None => self.error(&at, "hypothesis regex probe tolerance must have a `pattern` key"),
            Some(Value::String(pattern)) => {
                if let Err(why) = self.rules.checks.pattern(pattern) {
                    self.error(&at, format!("hypothesis probe tolerance pattern {pattern} seems invalid: {why}"));
                }
            }
            other => {
                self.error(&at, format!("hypothesis probe tolerance pattern {} has an invalid type", written(other)))
            }
        }
    }

    fn json_path(&mut self, entries: &Map<String, Value>, path: &Path) {
        let at = path.key("path");
        match entries.get("path") {
            None => self.error(&at, "hypothesis jsonpath probe tolerance must have a `path` key"),
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.error(&at, "hypothesis probe tolerance JSON path cannot be empty");
            }
            Some(Value::String(text)) => {
                // The original strips for this look only.
                if let Err(why) = self.rules.checks.json_path(text.trim()) {
                    let why = if why.is_empty() { why } else { format!(": {why}") };
                    self.error(&at, format!("hypothesis probe tolerance JSON path {text} is invalid{why}"));
                }
            }
            other if !truthy(other) => self.error(&at, "hypothesis probe tolerance JSON path cannot be empty"),
            other => {
                self.error(&at, format!("hypothesis probe tolerance JSON path {} has an invalid type", written(other)))
            }
        }
    }

    fn range(&mut self, entries: &Map<String, Value>, path: &Path) {
        let at = path.key("range");
        let bounds = match entries.get("range") {
            None => return self.error(&at, "hypothesis range probe tolerance must have a `range` key"),
            Some(Value::Array(bounds)) => bounds,
            Some(_) => return self.error(&at, "hypothesis range must be a sequence"),
        };
        let [lower, upper] = bounds.as_slice() else {
            return self.error(&at, "hypothesis range sequence must be made of two values");
        };
        // A bool is a number in Python.
        for (index, (bound, name)) in [(lower, "lower"), (upper, "upper")].into_iter().enumerate() {
            if !(bound.is_number() || bound.is_boolean()) {
                self.error(&at.item(index), format!("hypothesis range {name} boundary must be a number"));
            }
        }
    }
}
