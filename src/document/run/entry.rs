//! The activities of the document as it is now: controls may add some, and change them.

use serde_json::Value;

use super::Conductor;
use crate::document::activity::Activity;
use crate::document::controls::Spot;
use crate::document::marks::Path;

/// A list of activities in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Hypothesis,
    Method,
    Rollbacks,
}

impl List {
    fn pointer(self) -> &'static str {
        match self {
            Self::Hypothesis => "/steady-state-hypothesis/probes",
            Self::Method => "/method",
            Self::Rollbacks => "/rollbacks",
        }
    }

    fn path(self, number: usize) -> Path {
        let root = Path::root();
        let list = match self {
            Self::Hypothesis => root.key("steady-state-hypothesis").key("probes"),
            Self::Method => root.key("method"),
            Self::Rollbacks => root.key("rollbacks"),
        };
        list.item(number)
    }
}

/// An activity of the document, or what stands in its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where its definition is found again; none of what the document does not hold.
    pub(super) spot: Option<Spot>,
    definition: Value,
    /// The reference to it, if it is referred to.
    referring: Option<Value>,
    path: Path,
}

impl Entry {
    /// What is no activity of the document, and has no controls.
    pub(super) fn beside(definition: Value, path: Path) -> Self {
        Self { spot: None, definition, referring: None, path }
    }

    pub(super) fn activity(&self) -> Activity<'_> {
        Activity::of(&self.definition, self.referring.as_ref().unwrap_or(&self.definition), self.path.clone())
    }
}

impl Conductor {
    /// The activity with this number; none after the end.
    pub(super) fn entry(&self, list: List, number: usize) -> Option<Entry> {
        let (spot, value) = self.living.entry(list.pointer(), number)?;
        let path = list.path(number);
        let reference = value.get("ref").and_then(Value::as_str).filter(|name| !name.is_empty());
        Some(match reference.and_then(|name| self.living.named(name)) {
            Some((spot, definition)) => Entry { spot: Some(spot), definition, referring: Some(value), path },
            None => Entry { spot: Some(spot), definition: value, referring: None, path },
        })
    }

    /// The same activity as it is now.
    pub(super) fn renewed(&self, entry: &Entry) -> Entry {
        match &entry.spot {
            Some(spot) => Entry { definition: self.living.at(spot), ..entry.clone() },
            None => entry.clone(),
        }
    }
}
