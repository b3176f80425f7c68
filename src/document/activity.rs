//! Activities as a runner sees them: a view of what the document says, which stays as it is for the journal.

use super::marks::Path;
use super::py::text;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// An action or a probe. Nothing of it is substituted; what a document gets wrong reads as missing.
#[derive(Debug, Clone)]
pub(crate) struct Activity<'a> {
    /// What the journal holds: the definition, which for a reference is the one that it refers to.
    pub(crate) definition: &'a Value,
    /// What stands at the place: the same, or the reference. Its `background` and `tolerance` are the ones that count.
    referring: &'a Value,
    pub(crate) path: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Action,
    Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProviderKind {
    Process,
    Http,
    Python,
}

impl<'a> Activity<'a> {
    pub(crate) fn of(definition: &'a Value, referring: &'a Value, path: Path) -> Self {
        Activity { definition, referring, path }
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.definition.get("type")?.as_str()? {
            "action" => Some(Kind::Action),
            "probe" => Some(Kind::Probe),
            _ => None,
        }
    }

    /// The name as it is logged: that of anything but a text is what Python writes for it.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        self.definition.get("name").map_or(Cow::Borrowed("None"), text::str)
    }

    /// The name of what this refers to and what the document does not have.
    pub(crate) fn unresolved(&self) -> Option<&'a str> {
        let reference = reference(self.referring)?;
        std::ptr::eq(self.definition, self.referring).then_some(reference)
    }

    pub(crate) fn provider_kind(&self) -> Option<ProviderKind> {
        match self.provider()?.get("type")?.as_str()? {
            "process" => Some(ProviderKind::Process),
            "http" => Some(ProviderKind::Http),
            "python" => Some(ProviderKind::Python),
            _ => None,
        }
    }

    pub(crate) fn provider(&self) -> Option<&'a Map<String, Value>> {
        self.definition.get("provider")?.as_object()
    }

    /// A key of the provider; null is none.
    pub(crate) fn provides(&self, key: &str) -> Option<&'a Value> {
        self.provider()?.get(key).filter(|value| !value.is_null())
    }

    /// The targets of secrets that a python provider asks for.
    pub(crate) fn secrets(&self) -> Vec<&'a str> {
        let list = self.provides("secrets").and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    pub(crate) fn background(&self) -> bool {
        self.referring.get("background").is_some_and(|value| *value == true)
    }

    /// The tolerance where the key is there, null or not.
    pub(crate) fn tolerance(&self) -> Option<&'a Value> {
        self.referring.get("tolerance")
    }

    /// The pause before it in seconds, unsubstituted. `pauses` that is not a mapping is the inner error.
    pub(crate) fn pause_before(&self) -> Result<Option<&'a Value>, String> {
        self.pause("before")
    }

    /// The pause after it, likewise.
    pub(crate) fn pause_after(&self) -> Result<Option<&'a Value>, String> {
        self.pause("after")
    }

    fn pause(&self, when: &str) -> Result<Option<&'a Value>, String> {
        match self.definition.get("pauses") {
            None => Ok(None),
            Some(Value::Object(pauses)) => Ok(pauses.get(when).filter(|pause| !pause.is_null())),
            Some(_) => Err(format!("the pauses of `{}` are no mapping of `before` and `after`", self.name())),
        }
    }

    /// Whether the activity itself says `dry`: true, or one of the modes.
    pub(crate) fn dry(&self) -> Option<&'a Value> {
        self.definition.get("dry").filter(|dry| !dry.is_null() && **dry != false)
    }

    /// `"x-steadfast": {"leave": true}`: the fault is left at the end. Where it says nothing the document does.
    pub(crate) fn leaves(&self) -> Option<bool> {
        self.own("leave").map(|leave| *leave == true)
    }

    /// `"x-steadfast": {"all": true}`: it may take more nodes and pods than a call may unasked.
    pub(crate) fn takes_all(&self) -> bool {
        self.own("all").is_some_and(|all| *all == true)
    }

    /// `"x-steadfast": {"trust": "why"}`: the reason for which the fault is taken to work without being seen.
    pub(crate) fn trust(&self) -> Option<&'a str> {
        self.own("trust")?.as_str()
    }

    /// Our own keys, of the place or of the definition.
    fn own(&self, key: &str) -> Option<&'a Value> {
        let of = |value: &'a Value| value.get("x-steadfast")?.get(key);
        of(self.referring).or_else(|| of(self.definition))
    }
}

/// `"x-steadfast": {"leave": true}` of a whole document: the faults of all activities that say nothing else are left.
pub(crate) fn leaves_all(document: &Value) -> bool {
    document["x-steadfast"]["leave"] == true
}

/// The steady-state hypothesis.
#[derive(Debug, Clone)]
pub(crate) struct Hypothesis<'a> {
    pub(crate) definition: &'a Value,
    pub(crate) probes: Vec<Activity<'a>>,
}

/// A document's activities.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activities<'a> {
    document: &'a Value,
}

impl<'a> Activities<'a> {
    pub(crate) fn of(document: &'a Value) -> Self {
        Activities { document }
    }

    /// The hypothesis; none where there is none, or where it has no probes.
    pub(crate) fn hypothesis(self) -> Option<Hypothesis<'a>> {
        let path = Path::root().key("steady-state-hypothesis");
        let definition = self.document.get("steady-state-hypothesis")?;
        let probes = self.listed(list(definition, "probes"), &path.key("probes"));
        (!probes.is_empty()).then_some(Hypothesis { definition, probes })
    }

    pub(crate) fn method(self) -> Vec<Activity<'a>> {
        self.listed(list(self.document, "method"), &Path::root().key("method"))
    }

    pub(crate) fn rollbacks(self) -> Vec<Activity<'a>> {
        self.listed(list(self.document, "rollbacks"), &Path::root().key("rollbacks"))
    }

    /// The activity of a name, in the method or among the hypothesis's probes. The last of them counts.
    pub(crate) fn named(self, name: &str) -> Option<&'a Value> {
        let hypothesis =
            self.document.get("steady-state-hypothesis").map_or(&[][..], |definition| list(definition, "probes"));
        let method = list(self.document, "method");
        method.iter().chain(hypothesis).rev().find(|one| one.get("name").is_some_and(|own| own == name))
    }

    fn listed(self, all: &'a [Value], path: &Path) -> Vec<Activity<'a>> {
        let resolve = |(index, referring): (usize, &'a Value)| {
            let definition = reference(referring).and_then(|name| self.named(name)).unwrap_or(referring);
            Activity::of(definition, referring, path.item(index))
        };
        all.iter().enumerate().map(resolve).collect()
    }
}

/// The name that an activity refers to; an empty one is none.
fn reference(value: &Value) -> Option<&str> {
    value.get("ref")?.as_str().filter(|name| !name.is_empty())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_resolved_from_method_and_hypothesis() {
        let document = json!({
            "steady-state-hypothesis": {"title": "t", "probes": [
                {"type": "probe", "name": "p", "tolerance": 1, "provider": {"type": "http", "url": "x"}},
                {"ref": "a", "tolerance": 2},
            ]},
            "method": [
                {"type": "action", "name": "a", "provider": {"type": "process", "path": "first"}, "background": true},
                {"type": "action", "name": "a", "provider": {"type": "process", "path": "last"}, "background": true},
                {"ref": "p", "background": true, "x-steadfast": {"leave": true}},
                {"ref": "r"},
            ],
            "rollbacks": [{"type": "action", "name": "r", "pauses": null}, {"ref": "a"}],
        });
        let activities = Activities::of(&document);
        let method = activities.method();
        assert_eq!((method[2].name(), method[2].background(), method[2].tolerance()), ("p".into(), true, None));
        assert_eq!((method[2].kind(), method[2].provider_kind()), (Some(Kind::Probe), Some(ProviderKind::Http)));
        assert_eq!((method[2].leaves(), method[1].leaves()), (Some(true), None));
        assert_eq!((method[3].unresolved(), method[2].unresolved()), (Some("r"), None));
        let hypothesis = activities.hypothesis().expect("a hypothesis");
        let referred = &hypothesis.probes[1];
        assert_eq!(referred.provides("path"), Some(&json!("last")));
        assert_eq!((referred.background(), referred.tolerance()), (false, Some(&json!(2))));
        assert_eq!(referred.path.to_string(), "$.steady-state-hypothesis.probes[1]");
        let rollbacks = activities.rollbacks();
        assert_eq!((rollbacks[1].name(), rollbacks[1].unresolved()), ("a".into(), None));
        assert!(rollbacks[0].pause_before().is_err() && method[0].pause_after() == Ok(None));
    }
}
