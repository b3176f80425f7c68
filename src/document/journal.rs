//! The journal in the form that Chaos Toolkit's own tools read, with the evidence of this crate under `x-steadfast`.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::controls::merge;
use super::redact::Redactor;
use super::run::record::instant;
use super::run::settings::Dry;
use super::run::status::Status;
use crate::clock::Timestamp;
use crate::journal::Journal;

/// The version of chaostoolkit-lib whose journals these equal: readers choose their templates by it.
const LIB_VERSION: &str = "1.44.0";

/// What a journal tells.
pub(super) struct Told<'a> {
    pub(super) document: Value,
    pub(super) dry: Option<Dry>,
    pub(super) started: Timestamp,
    pub(super) status: Status,
    pub(super) deviated: bool,
    pub(super) before: Option<&'a Value>,
    pub(super) after: Option<&'a Value>,
    pub(super) during: &'a [Value],
    pub(super) run: Value,
    pub(super) rollbacks: Value,
    pub(super) ended: Timestamp,
    /// The exit code, once it is known.
    pub(super) exit: Option<u8>,
    /// What the safeguards saw; null without any.
    pub(super) safeguards: &'a Value,
    pub(super) evidence: &'a Journal,
}

/// A journal, with the keys in the original's order.
pub(super) struct Form(Vec<(String, Value)>);

/// Where the evidence of this crate is.
const OURS: &str = "x-steadfast";

impl Form {
    /// With what controls made of it. What it came to is not theirs to say, nor what it rests on.
    pub(super) fn changed(mut self, before: &Value, after: &Value) -> Self {
        let Some(all) = after.as_object() else { return self };
        for (key, after) in all {
            match self.0.iter_mut().find(|(own, _)| own == key) {
                Some(_) if ["status", "deviated", OURS].contains(&key.as_str()) => {}
                Some((_, now)) => merge(&before[key], after, now),
                None => self.0.push((key.clone(), after.clone())),
            }
        }
        self
    }

    pub(super) fn into_value(self) -> Value {
        self.0.into_iter().collect::<serde_json::Map<_, _>>().into()
    }
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

pub(super) fn form(told: Told<'_>, redact: &Redactor) -> Form {
    let mut experiment = told.document;
    if let Some(experiment) = experiment.as_object_mut() {
        experiment.insert("dry".into(), json!(told.dry.map(Dry::name)));
    }
    let system = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    redact.redact_document(&mut experiment);
    let shown = |mut value: Value| {
        redact.redact_value(&mut value);
        value
    };
    let mut ours = json!({"version": 1, "exit": told.exit, "journal": told.evidence});
    if !told.safeguards.is_null() {
        ours["safeguards"] = told.safeguards.clone();
    }
    let platform = format!("{}-{}-{}", word(system.sysname()), word(system.release()), word(system.machine()));
    let fields = [
        ("chaoslib-version", json!(LIB_VERSION)),
        ("platform", json!(platform)),
        ("node", json!(word(system.nodename()))),
        ("experiment", experiment),
        ("start", json!(instant(told.started))),
        ("status", json!(told.status.name())),
        ("deviated", json!(told.deviated)),
        ("steady_states", shown(json!({"before": told.before, "after": told.after, "during": told.during}))),
        ("run", shown(told.run)),
        ("rollbacks", shown(told.rollbacks)),
        ("end", json!(instant(told.ended))),
        ("duration", json!(told.ended.duration_since(told.started).as_secs_f64())),
        (OURS, shown(ours)),
    ];
    Form(fields.map(|(key, value)| (key.to_owned(), value)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_add_to_a_journal_and_do_not_say_what_it_came_to() {
        let fields = [("status", json!("failed")), ("run", json!([{"name": "a"}])), (OURS, json!({"exit": 3}))];
        let form = || Form(fields.clone().map(|(key, value)| (key.to_owned(), value)).into());
        let before = form().into_value();
        let mut after = before.clone();
        after["status"] = json!("completed");
        after["run"][0]["seen"] = json!(true);
        after[OURS] = json!({"exit": 0});
        after["extra"] = json!(1);
        let expected = json!({
            "status": "failed", "run": [{"name": "a", "seen": true}], "x-steadfast": {"exit": 3}, "extra": 1,
        });
        assert_eq!(form().changed(&before, &after).into_value(), expected);
    }
}
