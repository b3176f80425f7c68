//! Which controls apply where, and in which order: chaoslib's rules, repetitions and all.

use serde_json::Value;

use super::{At, When};

/// A control as a document or the settings declare it, if its provider is Python's: others do nothing.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) arguments: Value,
    scope: Option<String>,
}

impl Declared {
    pub(super) fn of(control: &Value) -> Option<Self> {
        let provider = control.get("provider").filter(|provider| provider["type"] == "python")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: text(&control["name"]).unwrap_or_default(),
            module: text(&provider["module"])?,
            arguments: provider["arguments"].clone(),
            scope: text(&control["scope"]).filter(|scope| !scope.is_empty()),
        })
    }

    pub(super) fn applies(&self, when: When) -> bool {
        self.scope.as_deref().is_none_or(|scope| scope == when.name())
    }
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn automatic(control: &&Value) -> bool {
    !matches!(control.get("automatic"), Some(Value::Bool(false) | Value::Null))
}

/// The controls that apply for `context`, in their order.
pub(super) fn applying(at: At, globals: &[Value], experiment: &Value, context: &Value) -> Vec<Value> {
    let top = list(experiment, "controls");
    let own = globals.iter().chain(list(context, "controls")).cloned().collect::<Vec<_>>();
    if top.is_empty() {
        return own;
    }
    if own.is_empty() || matches!(at, At::Method | At::Rollback) {
        return top.iter().filter(automatic).cloned().collect();
    }
    let mut applying = own.clone();
    for control in &own {
        if let Some(name) = control.get("ref") {
            applying.extend(top.iter().find(|top| top.get("name") == Some(name)).cloned());
        } else if at != At::Experiment {
            // The same as often as there are others: each one puts them in front again.
            let others = top.iter().filter(automatic).filter(|top| top.get("name") != control.get("name"));
            applying.splice(0..0, others.cloned().collect::<Vec<_>>());
        }
    }
    applying
}

/// All controls that an experiment declares.
pub(super) fn all(experiment: &Value) -> Vec<Value> {
    let hypothesis = &experiment["steady-state-hypothesis"];
    let activities = [list(hypothesis, "probes"), list(experiment, "method"), list(experiment, "rollbacks")].concat();
    let declaring = [experiment, hypothesis].into_iter().chain(&activities);
    declaring.flat_map(|one| list(one, "controls")).cloned().collect()
}

/// The same, each name once.
pub(super) fn once(experiment: &Value) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut controls = all(experiment);
    controls.retain(|control| match control["name"].as_str() {
        Some(name) if !name.is_empty() && !seen.iter().any(|seen| seen == name) => {
            seen.push(name.to_owned());
            true
        }
        _ => false,
    });
    controls
}
