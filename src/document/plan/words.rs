//! Activities and tolerances in words.

use serde_json::{Map, Value};

use crate::document::activity::{Activity, ProviderKind};
use crate::document::provider::{attack_words, named};
use crate::document::py::text;
use crate::document::redact::REDACTED;
use crate::document::secrets::Secrets;
use crate::document::substitute::Scope;

/// Secrets of which each is what stands for one.
pub(crate) fn masked(secrets: &Secrets) -> Secrets {
    let mask = |(target, values): &(String, Map<String, Value>)| {
        (target.clone(), values.iter().map(|(name, value)| (name.clone(), hidden(value))).collect())
    };
    secrets.iter().map(mask).collect()
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), hidden(value))).collect(),
        Value::Array(items) => items.iter().map(hidden).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
        _ => REDACTED.into(),
    }
}

/// What an activity calls.
pub(super) fn provider(activity: &Activity<'_>, names: &Scope) -> String {
    let provider = &activity.definition["provider"];
    let arguments = names.put_into_arguments(&provider["arguments"]);
    match activity.provider_kind() {
        Some(ProviderKind::Http) => {
            let method = provider["method"].as_str().unwrap_or("GET").to_uppercase();
            let url = text::str(&names.put_into(&provider["url"])).into_owned();
            let with = if arguments.is_null() { String::new() } else { format!(" with {}", text::repr(&arguments)) };
            format!("{method} {url}{with}")
        }
        Some(ProviderKind::Process) => {
            let path = provider["path"].as_str().unwrap_or_default();
            let words = match &arguments {
                Value::Null => String::new(),
                Value::String(line) => format!(" {line}"),
                Value::Array(items) => items.iter().map(|item| format!(" {}", names.text(item))).collect(),
                other => format!(" {}", text::repr(other)),
            };
            let by = if attack_words(path, &arguments, names).is_some() { " (in this process)" } else { "" };
            format!("run {path}{words}{by}")
        }
        Some(ProviderKind::Python) => {
            let (module, func) = named(provider);
            let given = arguments.as_object().into_iter().flatten();
            let given: Vec<_> = given.map(|(name, value)| format!("{name}={}", text::repr(value))).collect();
            format!("{module}.{func}({})", given.join(", "))
        }
        None => "nothing that is known".to_owned(),
    }
}

/// What a probe's result has to be.
pub(super) fn tolerance(tolerance: &Value, activity: &Activity<'_>, names: &Scope) -> String {
    let value = names.put_into(tolerance);
    let has_status = matches!(activity.provider_kind(), Some(ProviderKind::Http | ProviderKind::Process));
    let repr = |value: &Value| text::repr(value);
    match &value {
        Value::Object(mapping) => of_mapping(mapping),
        Value::Number(number) if has_status && !number.is_f64() => format!("status {number}"),
        Value::Array(all) if has_status => format!("status one of {}", repr(&Value::Array(all.clone()))),
        Value::Array(both) if both.len() == 2 => format!("from {} to {}", repr(&both[0]), repr(&both[1])),
        Value::Array(all) => format!("one of {}", repr(&Value::Array(all.clone()))),
        other => format!("equal to {}", repr(other)),
    }
}

fn of_mapping(mapping: &Map<String, Value>) -> String {
    let said = |key: &str| mapping.get(key).filter(|value| !value.is_null());
    let target = said("target").map(|target| format!("{}: ", text::str(target))).unwrap_or_default();
    let text = |key: &str| said(key).map(|value| text::str(value).into_owned()).unwrap_or_default();
    match mapping.get("type").and_then(Value::as_str) {
        Some("regex") => format!("{target}holds {}", text("pattern")),
        Some("range") => {
            let bound = |at: usize| text::repr(&mapping["range"][at]);
            let is_pair = mapping.get("range").and_then(Value::as_array).is_some_and(|range| range.len() >= 2);
            if is_pair {
                format!("{target}from {} to {}", bound(0), bound(1))
            } else {
                format!("{target}within a range")
            }
        }
        Some("jsonpath") => {
            let count = said("count").map(|count| format!(", {} times", text::str(count))).unwrap_or_default();
            let expect = mapping.get("expect").map(|expect| format!(", equal to {}", text::repr(expect)));
            format!("{target}has {}{count}{}", text("path"), expect.unwrap_or_default())
        }
        Some("probe") => format!("as the probe {:?} judges it", text("name")),
        Some(kind) => {
            let bounds = mapping.iter().filter(|(key, _)| key.as_str() != "type");
            let bounds: Vec<_> =
                bounds.map(|(key, value)| format!("{} {}", key.replace('_', " "), text::str(value))).collect();
            format!("{kind} {}", bounds.join(", "))
        }
        None => "nothing that is known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::marks::Path;
    use serde_json::json;

    fn probe(provider: Value) -> Value {
        json!({"type": "probe", "name": "p", "provider": provider})
    }

    #[test]
    fn providers_and_tolerances_are_said_in_words() {
        let target = |pairs: Value| pairs.as_object().cloned().unwrap_or_default();
        let secrets = vec![("one".to_owned(), target(json!({"token": "abc", "deep": {"er": [1, true]}})))];
        let configuration = target(json!({"host": "h"}));
        let names = Scope { configuration, secrets: masked(&secrets), ..Scope::default() };
        let of = |provider_of: Value, judged: Value| {
            let probe = probe(provider_of);
            let activity = Activity::of(&probe, &probe, Path::root());
            (provider(&activity, &names), tolerance(&judged, &activity, &names))
        };
        let http = json!({"type": "http", "url": "http://${host}/?t=${token}"});
        assert_eq!(of(http.clone(), json!(200)), ("GET http://h/?t=[redacted]".into(), "status 200".into()));
        let regex = json!({"type": "regex", "target": "body", "pattern": "^a"});
        assert_eq!(of(http, regex).1, "body: holds ^a");
        let attack = json!({"type": "process", "path": "vegeta", "arguments": "attack -rate=1"});
        assert_eq!(
            of(attack, json!([0, 1])),
            ("run vegeta attack -rate=1 (in this process)".into(), "status one of [0, 1]".into())
        );
        let python = json!({"type": "python", "module": "m", "func": "f", "arguments": {"a": 1, "b": "${deep}"}});
        let path = json!({"type": "jsonpath", "path": "a.b", "count": 2, "expect": 1});
        assert_eq!(
            of(python.clone(), path),
            ("m.f(a=1, b={'er': ['[redacted]', True]})".into(), "has a.b, 2 times, equal to 1".into())
        );
        assert_eq!(of(python, json!({"type": "growth", "at_most": 0})).1, "growth at most 0");
    }
}
