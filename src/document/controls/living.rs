//! The document of a run, which controls may change while it is run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Moment;

/// The document, its configuration and its secrets as they are now.
#[derive(Debug)]
pub(crate) struct Living(Mutex<Now>);

#[derive(Debug)]
struct Now {
    document: Value,
    configuration: Value,
    secrets: Value,
}

/// A place of the document that is found again when controls have put something before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pointer: String,
    /// The name of the activity there.
    name: Option<Value>,
    /// Which of its repetitions it is.
    repetition: Option<Value>,
}

impl Living {
    pub(crate) fn new(document: Value, configuration: Value, secrets: Value) -> Self {
        Self(Mutex::new(Now { document, configuration, secrets }))
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document as it is now.
    pub(crate) fn document(&self) -> Value {
        self.lock().document.clone()
    }

    /// The configuration as it is now.
    pub(crate) fn configuration(&self) -> Value {
        self.lock().configuration.clone()
    }

    /// The secrets as they are now, by their targets.
    pub(crate) fn secrets(&self) -> Value {
        self.lock().secrets.clone()
    }

    /// The configuration and the secrets once they are known.
    pub(crate) fn know(&self, configuration: Value, secrets: Value) {
        let mut now = self.lock();
        (now.configuration, now.secrets) = (configuration, secrets);
    }

    /// Its title, once that is known.
    pub(crate) fn entitle(&self, title: Value) {
        self.lock().document["title"] = title;
    }

    /// What is at a place now, null if nothing is.
    pub(crate) fn at(&self, spot: &Spot) -> Value {
        let now = self.lock();
        now.document.pointer(&spot.pointer(&now.document)).cloned().unwrap_or_default()
    }

    /// The entry with this number of a list, such as `/method`; none after its end, which may come later than at first.
    pub(crate) fn entry(&self, list: &str, number: usize) -> Option<(Spot, Value)> {
        let now = self.lock();
        let pointer = format!("{list}/{number}");
        let value = now.document.pointer(&pointer)?.clone();
        Some((Spot::of(pointer, &value), value))
    }

    /// The activity of this name, for a `ref`. The last declaration is meant; those of the hypothesis come after the method's.
    pub(crate) fn named(&self, name: &str) -> Option<(Spot, Value)> {
        let now = self.lock();
        let lists = ["/steady-state-hypothesis/probes", "/method"];
        lists.into_iter().find_map(|list| {
            let entries = now.document.pointer(list)?.as_array()?;
            let number = entries.iter().rposition(|entry| entry["name"] == name)?;
            Some((Spot::of(format!("{list}/{number}"), &entries[number]), entries[number].clone()))
        })
    }

    pub(super) fn moment(&self, pointer: &str, state: Value) -> Moment {
        let now = self.lock();
        Moment {
            experiment: now.document.clone(),
            pointer: pointer.to_owned(),
            state,
            configuration: now.configuration.clone(),
            secrets: now.secrets.clone(),
        }
    }

    /// Takes over what a hook changed; others may have changed something else meanwhile.
    pub(super) fn merge(&self, before: &Moment, after: &Moment) {
        let mut now = self.lock();
        merge(&before.experiment, &after.experiment, &mut now.document);
        merge(&before.configuration, &after.configuration, &mut now.configuration);
        merge(&before.secrets, &after.secrets, &mut now.secrets);
    }
}

impl Spot {
    /// The whole document.
    pub(crate) fn whole() -> Self {
        Self { pointer: String::new(), name: None, repetition: None }
    }

    /// The hypothesis.
    pub(crate) fn hypothesis() -> Self {
        Self { pointer: "/steady-state-hypothesis".to_owned(), name: None, repetition: None }
    }

    fn of(pointer: String, value: &Value) -> Self {
        Self { pointer, name: value.get("name").cloned(), repetition: value.get(super::repeat::INDEX).cloned() }
    }

    fn is(&self, value: &Value) -> bool {
        value.get("name") == self.name.as_ref() && value.get(super::repeat::INDEX) == self.repetition.as_ref()
    }

    /// Where it is now.
    pub(super) fn pointer(&self, document: &Value) -> String {
        let Some((list, _)) = self.pointer.rsplit_once('/').filter(|_| self.name.is_some()) else {
            return self.pointer.clone();
        };
        if document.pointer(&self.pointer).is_some_and(|value| self.is(value)) {
            return self.pointer.clone();
        }
        let entries = document.pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let number = entries.iter().position(|value| self.is(value));
        number.map_or_else(|| self.pointer.clone(), |number| format!("{list}/{number}"))
    }
}

/// Makes the change from `before` to `after` in `now`.
pub(crate) fn merge(before: &Value, after: &Value, now: &mut Value) {
    if before == after {
        return;
    }
    match (before, after, &mut *now) {
        (Value::Object(before), Value::Object(after), Value::Object(now)) => {
            now.retain(|key, _| !before.contains_key(key) || after.contains_key(key));
            for (key, after) in after {
                merge(before.get(key).unwrap_or(&Value::Null), after, now.entry(key.clone()).or_insert(Value::Null));
            }
        }
        (Value::Array(before), Value::Array(after), Value::Array(now))
            if before.len() == after.len() && now.len() == after.len() =>
        {
            for ((before, after), now) in before.iter().zip(after).zip(now) {
                merge(before, after, now);
            }
        }
        (_, after, now) => *now = after.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_made_side_by_side_are_both_kept() {
        let before = json!({"method": [{"name": "a"}, {"name": "b"}], "old": 1, "kept": 1});
        let mut now = json!({"method": [{"name": "a"}, {"name": "b", "dry": true}], "old": 1, "kept": 1, "theirs": 2});
        let after = json!({"method": [{"name": "a", "seen": 1}, {"name": "b"}], "kept": 1, "nothing": null});
        merge(&before, &after, &mut now);
        let expected = json!({
            "method": [{"name": "a", "seen": 1}, {"name": "b", "dry": true}], "kept": 1, "theirs": 2, "nothing": null,
        });
        assert_eq!(now, expected);
    }

    #[test]
    fn a_place_is_found_again() {
        let living = Living::new(json!({"method": [{"name": "a"}, {"name": "b"}]}), Value::Null, Value::Null);
        let (spot, _) = living.entry("/method", 1).expect("there are two");
        let before = living.moment("", Value::Null);
        let mut after = before.clone();
        after.experiment["method"] = json!([{"name": "a"}, {"name": "a", "iteration_index": 1}, {"name": "b", "x": 1}]);
        living.merge(&before, &after);
        assert_eq!(living.at(&spot), json!({"name": "b", "x": 1}));
        assert_eq!(living.entry("/method", 3), None);
    }

    #[test]
    fn the_last_of_a_name_is_referred_to() {
        let probes = json!({"probes": [{"name": "a", "of": "hypothesis"}]});
        let document = json!({"steady-state-hypothesis": probes, "method": [{"name": "a", "of": "method"}]});
        let living = Living::new(document, Value::Null, Value::Null);
        assert_eq!(living.named("a").expect("it is there").1["of"], "hypothesis");
    }
}
