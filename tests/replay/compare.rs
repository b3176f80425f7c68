//! What is compared: exit code, journal, statuses, outputs, tolerances' outcomes, files. Texts of logs and errors are not.

use std::fmt;

use serde_json::{Value, json};

use super::Case;
use super::{Seen, Served, get};

/// One field that is not as the original had it.
pub struct Difference {
    pub field: &'static str,
    pub expected: Value,
    pub got: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.field, self.expected, self.got)
    }
}

pub fn differences(case: &Case, seen: &Seen, served: &Served) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |field: &'static str, expected: Value, got: Value| {
        if expected != got {
            found.push(Difference { field, expected, got });
        }
    };
    compare("exit_code", case.field("exit_code").clone(), json!(seen.code));
    compare("journal_written", case.field("journal_written").clone(), json!(seen.journal.is_some()));
    if let (Some(journal), Some(_)) = (&seen.journal, case.expected.get("status")) {
        let unordered = case.field("order_may_vary") == true;
        compare("status", case.field("status").clone(), journal["status"].clone());
        compare("deviated", json!(case.field("deviated") == true), journal["deviated"].clone());
        if let Some(title) = case.expected.get("title") {
            compare("title", title.clone(), journal["experiment"]["title"].clone());
        }
        compare("steady_states", steady(case.field("steady_states")), steady_of(&journal["steady_states"]));
        compare(
            "activities",
            sorted(case.field("activities"), unordered),
            sorted(&records(&journal["run"]), unordered),
        );
        compare("rollbacks", sorted(case.field("rollbacks"), false), records(&journal["rollbacks"]));
        if let Some(outputs) = case.expected.get("outputs") {
            let got: Value =
                journal["run"].as_array().into_iter().flatten().map(|record| record["output"].clone()).collect();
            let (expected, got) = (sorted(outputs, unordered), sorted(&got, unordered));
            let expected = placed(&expected, case, seen, served);
            if !covers(&expected, &got) {
                compare("outputs", expected, got);
            }
        }
        let duration = journal["duration"].as_f64().unwrap_or(f64::NAN);
        for (field, short) in [("min_duration", true), ("max_duration", false)] {
            if let Some(bound) = case.field(field).as_f64()
                && (duration < bound) == short
                && duration != bound
            {
                compare(field, json!(bound), json!(duration));
            }
        }
    }
    for (field, told) in [("said", true), ("not_said", false)] {
        for text in case.words(field, served) {
            if seen.said.contains(&text) != told {
                compare(field, json!(text), Value::Null);
            }
        }
    }
    if let (Some(journal), Some(faults)) = (&seen.journal, case.expected.get("faults")) {
        compare("faults", faults.clone(), faults_of(&journal["x-steadfast"]["journal"]["faults"]));
    }
    if let (Some(journal), Some(verdict)) = (&seen.journal, case.expected.get("verdict")) {
        compare("verdict", verdict.clone(), journal["x-steadfast"]["journal"]["verdict"].clone());
    }
    for (field, there) in [("files_present", true), ("files_absent", false)] {
        for name in case.field(field).as_array().into_iter().flatten().filter_map(Value::as_str) {
            if seen.folder.path().join(name).exists() != there {
                compare(field, json!(name), Value::Null);
            }
        }
    }
    if let Some(notes) = case.field("notifications").as_array() {
        let name = noted(case).unwrap_or_default();
        let got = get(served, &format!("/notes/{name}")).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let told = |note: &Value| json!([note["method"], note["name"], note["phase"], note["payload_keys"]]);
        let expected: Value = notes.iter().map(told).collect();
        let got: Value = got.as_ref().and_then(Value::as_array).into_iter().flatten().map(sent).collect();
        if !covers(&expected, &got) {
            compare("notifications", expected, got);
        }
    }
    found
}

/// The name under which the server keeps a case's notifications.
fn noted(case: &Case) -> Option<String> {
    let settings = case.field("settings").as_str()?;
    let (_, rest) = settings.split_once("/notify/")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

fn sent(note: &Value) -> Value {
    let body = &note["body"];
    let mut keys: Vec<_> = body["payload"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    keys.retain(|key| key != "x-steadfast" && key != "dry");
    keys.sort();
    json!([note["method"], body["name"], body["phase"], keys])
}

/// The pairs of names and statuses.
fn records(records: &Value) -> Value {
    records
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| json!([record["activity"]["name"], record["status"]]))
        .collect()
}

/// Where nothing is said, nothing is to be there.
fn steady(expected: &Value) -> Value {
    let during = json!({"any_iteration": false, "any_unmet": false});
    let mut all = json!({"before": null, "after": null, "during": during});
    for (name, state) in expected.as_object().into_iter().flatten() {
        all[name] = state.clone();
    }
    all
}

fn steady_of(states: &Value) -> Value {
    let one = |state: &Value| {
        if state.is_null() {
            return Value::Null;
        }
        let probe = |probe: &Value| json!([probe["activity"]["name"], probe["status"], probe["tolerance_met"]]);
        let probes: Value = state["probes"].as_array().into_iter().flatten().map(probe).collect();
        json!({"steady_state_met": state["steady_state_met"], "probes": probes})
    };
    let during = states["during"].as_array().cloned().unwrap_or_default();
    let unmet = during.iter().any(|state| state["steady_state_met"] == false);
    json!({
        "before": one(&states["before"]), "after": one(&states["after"]),
        "during": {"any_iteration": !during.is_empty(), "any_unmet": unmet},
    })
}

/// What each fault was, whether it was proved, and what came of its undos.
fn faults_of(faults: &Value) -> Value {
    let one = |fault: &Value| {
        let undos: Value = fault["undo"].as_array().into_iter().flatten().map(|undo| undo["outcome"].clone()).collect();
        json!([fault["fault"], fault["proved"], undos])
    };
    faults.as_array().into_iter().flatten().map(one).collect()
}

fn sorted(list: &Value, unordered: bool) -> Value {
    let mut items = list.as_array().cloned().unwrap_or_default();
    if unordered {
        items.sort_by_key(Value::to_string);
    }
    Value::Array(items)
}

/// The places of a case's text in this run.
fn placed(value: &Value, case: &Case, seen: &Seen, served: &Served) -> Value {
    match value {
        Value::String(text) => {
            let cwd = seen.folder.path().canonicalize().expect("it is there");
            Value::String(case.placed(text, served).replace("<cwd>", &cwd.to_string_lossy()))
        }
        Value::Array(items) => items.iter().map(|item| placed(item, case, seen, served)).collect(),
        Value::Object(fields) => {
            let placed = |(name, value): (&String, &Value)| (name.clone(), placed(value, case, seen, served));
            fields.iter().map(placed).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Whether `got` has all that is expected: headers may be more, and nobody calls himself python-requests.
fn covers(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(expected, got)| covers(expected, got))
        }
        (Value::Object(expected), Value::Object(got)) => expected.iter().all(|(name, value)| {
            if let (Some(whole), Some(length)) = (name.strip_suffix("_length"), value.as_u64()) {
                return got.get(whole).and_then(Value::as_str).is_some_and(|text| text.len() as u64 == length);
            }
            let theirs = name.eq_ignore_ascii_case("user_agent") || name.eq_ignore_ascii_case("user-agent");
            theirs || got.get(name).is_some_and(|got| covers(value, got))
        }),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (expected, got) => expected == got,
    }
}
