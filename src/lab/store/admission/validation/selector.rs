//! Label selectors.

use serde_json::{Value, json};

use super::errors::{Errors, Path};
use super::{metadata, names};
use crate::kubernetes::Selector;

/// Looks for faults in a selector.
pub(super) fn validate(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    metadata::labels(&selector["matchLabels"], &path.at("matchLabels"), errors);
    let path = path.at("matchExpressions");
    for (index, expression) in selector["matchExpressions"].as_array().into_iter().flatten().enumerate() {
        let path = path.item(index);
        let values = expression["values"].as_array().map_or(&[][..], Vec::as_slice);
        match expression["operator"].as_str().unwrap_or_default() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&path.at("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.at("values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(&path.at("operator"), other, "not a valid selector operator"),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        errors.each(&path.at("key"), key, names::qualified(key));
        for (index, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            errors.each(&path.at("values").item(index), value, names::label_value(value));
        }
    }
}

/// Whether a selector takes these labels; nothing takes none.
pub(super) fn takes(selector: &Value, labels: &Value) -> bool {
    !selector.is_null() && Selector::from_json(selector).is_ok_and(|selector| selector.matches(labels))
}

/// Whether a selector can be read at all.
pub(super) fn is_readable(selector: &Value) -> bool {
    let mut errors = Errors::default();
    validate(selector, &Path::Root, &mut errors);
    errors.is_empty()
}

/// A selector in the order of its Go struct.
pub(super) fn shown(selector: &Value) -> String {
    if selector.is_null() {
        return "null".to_owned();
    }
    let mut fields = Vec::new();
    if let Some(labels) = selector.get("matchLabels") {
        fields.push(format!("\"matchLabels\":{labels}"));
    }
    if let Some(expressions) = selector["matchExpressions"].as_array() {
        let shown = expressions.iter().map(|expression| {
            let mut text =
                format!("{{\"key\":{},\"operator\":{}", text(&expression["key"]), text(&expression["operator"]));
            if let Some(values) = expression.get("values") {
                text.push_str(&format!(",\"values\":{values}"));
            }
            text + "}"
        });
        fields.push(format!("\"matchExpressions\":[{}]", shown.collect::<Vec<_>>().join(",")));
    }
    format!("{{{}}}", fields.join(","))
}

fn text(value: &Value) -> Value {
    json!(value.as_str().unwrap_or_default())
}
