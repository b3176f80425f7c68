//! Server-side apply.

use serde_json::{Map, Value, json};

use super::seconds;
use crate::clock::Clock;

/// What an object becomes when `patch` is applied to it: maps are merged, everything else is taken over.
/// The lab does not track who owns which field: an apply always wins, and removes no field that it leaves out.
pub(crate) fn merge(before: &Value, patch: Value, manager: &str, clock: &Clock) -> Value {
    let mut after = before.clone();
    take_over(&mut after, patch);
    // Who applied is written only with a change: a second apply of the same makes no new version.
    if after != *before {
        record(&mut after, manager, clock);
    }
    after
}

/// Notes who applied, and when.
pub(crate) fn record(object: &mut Value, manager: &str, clock: &Clock) {
    let api_version = object["apiVersion"].clone();
    let entry = json!({
        "manager": manager, "operation": "Apply", "apiVersion": api_version, "time": seconds(clock.now()),
    });
    let fields = &mut object["metadata"]["managedFields"];
    if !fields.is_array() {
        *fields = json!([]);
    }
    if let Some(entries) = fields.as_array_mut() {
        entries.retain(|e| e["manager"] != manager || e["operation"] != "Apply");
        entries.push(entry);
    }
}

fn take_over(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => merge_maps(into, from),
        (into, from) => *into = from,
    }
}

fn merge_maps(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match into.get_mut(&key) {
            Some(existing) => take_over(existing, value),
            None => {
                into.insert(key, value);
            }
        }
    }
}
