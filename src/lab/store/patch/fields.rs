//! Sets of fields: who owns what, as `managedFields` writes it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

/// A value that tells an item of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar(pub Value);

impl Eq for Scalar {}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => {
                let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
                a.total_cmp(&b)
            }
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (a, b) => rank(a).cmp(&rank(b)).then_with(|| a.to_string().cmp(&b.to_string())),
        }
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Element {
    /// A field of a struct, or a key of a map.
    Field(String),
    /// The item of a list with these keys, sorted by name.
    Keys(Vec<(String, Scalar)>),
    /// The item of a list that is this value.
    Item(Scalar),
    /// The item at this place; only read, never made here.
    Index(u64),
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Item(value) => write!(f, "[={}]", value.0),
            Self::Index(at) => write!(f, "[{at}]"),
        }
    }
}

impl Element {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Keys(keys) => {
                let keys: Map<String, Value> =
                    keys.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
                format!("k:{}", Value::Object(keys))
            }
            Self::Item(value) => format!("v:{}", value.0),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let keys: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Keys(keys.into_iter().map(|(name, value)| (name, Scalar(value))).collect()))
            }
            "v" => Some(Self::Item(Scalar(serde_json::from_str(rest).ok()?))),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    member: bool,
    below: Fields,
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    entries: BTreeMap<Element, Entry>,
}

impl Fields {
    /// Whether there is no path in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the path that is this one step.
    pub(crate) fn insert(&mut self, element: Element) {
        self.entries.entry(element).or_default().member = true;
    }

    /// Adds the paths that begin with this step.
    pub(crate) fn insert_below(&mut self, element: Element, below: Fields) {
        if !below.is_empty() {
            let entry = self.entries.entry(element).or_default();
            entry.below = entry.below.union(&below);
        }
    }

    /// Adds a path of field names.
    pub(crate) fn insert_path(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = self.entries.entry(Element::Field((*first).to_owned())).or_default();
        if rest.is_empty() {
            entry.member = true;
        } else {
            entry.below.insert_path(rest);
        }
    }

    /// Whether the path that is this one step is in the set.
    pub(crate) fn has(&self, element: &Element) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// The paths that begin with this step.
    pub(crate) fn below(&self, element: &Element) -> Option<&Self> {
        self.entries.get(element).map(|entry| &entry.below).filter(|below| !below.is_empty())
    }

    /// The steps at which paths of the set go on, with those paths.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&Element, &Self)> {
        self.entries.iter().filter(|(_, entry)| !entry.below.is_empty()).map(|(element, entry)| (element, &entry.below))
    }

    /// What is in either.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (element, entry) in &other.entries {
            let into = all.entries.entry(element.clone()).or_default();
            into.member |= entry.member;
            into.below = into.below.union(&entry.below);
        }
        all
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let none = Entry::default();
        self.map(|element, entry| {
            let other = other.entries.get(element).unwrap_or(&none);
            Entry { member: entry.member && other.member, below: entry.below.intersection(&other.below) }
        })
    }

    /// What is in this one alone.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let none = Entry::default();
        self.map(|element, entry| {
            let other = other.entries.get(element).unwrap_or(&none);
            Entry { member: entry.member && !other.member, below: entry.below.difference(&other.below) }
        })
    }

    /// What is left without these paths and all that lies below them.
    pub(crate) fn without_trees(&self, trees: &Self) -> Self {
        self.map(|element, entry| match trees.entries.get(element) {
            Some(tree) if tree.member => Entry::default(),
            Some(tree) => Entry { member: entry.member, below: entry.below.without_trees(&tree.below) },
            None => entry.clone(),
        })
    }

    /// What is at or below these paths.
    pub(crate) fn only_trees(&self, trees: &Self) -> Self {
        self.map(|element, entry| match trees.entries.get(element) {
            Some(tree) if tree.member => entry.clone(),
            Some(tree) => Entry { member: false, below: entry.below.only_trees(&tree.below) },
            None => Entry::default(),
        })
    }

    fn map(&self, change: impl Fn(&Element, &Entry) -> Entry) -> Self {
        let changed = self.entries.iter().map(|(element, entry)| (element.clone(), change(element, entry)));
        Self { entries: changed.filter(|(_, entry)| entry.member || !entry.below.is_empty()).collect() }
    }

    /// The paths as people read them: `.spec.containers[name="c"].image`, those of one level before those below.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.write_paths("", &mut paths);
        paths
    }

    fn write_paths(&self, prefix: &str, into: &mut Vec<String>) {
        let members = self.entries.iter().filter(|(_, entry)| entry.member);
        into.extend(members.map(|(element, _)| format!("{prefix}{element}")));
        for (element, below) in self.children() {
            below.write_paths(&format!("{prefix}{element}"), into);
        }
    }

    /// As `fieldsV1`.
    pub(crate) fn encode(&self) -> Value {
        let encoded: Map<String, Value> = self
            .entries
            .iter()
            .map(|(element, entry)| {
                let mut below = entry.below.encode();
                if entry.member && !entry.below.is_empty() {
                    below["."] = json!({});
                }
                (element.encode(), below)
            })
            .collect();
        Value::Object(encoded)
    }

    /// Reads `fieldsV1`; `None` if it is none.
    pub(crate) fn decode(value: &Value) -> Option<Self> {
        let mut fields = Self::default();
        for (key, below) in value.as_object()? {
            if key == "." {
                continue;
            }
            let inner = Self::decode(below)?;
            let member = below.get(".").is_some() || inner.is_empty();
            fields.entries.insert(Element::decode(key)?, Entry { member, below: inner });
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::decode(&value).unwrap()
    }

    #[test]
    fn fields_are_read_and_written() {
        let written = json!({"f:spec": {"f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}},
            "f:replicas": {}}, "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}});
        let read = fields(written.clone());
        assert_eq!(read.encode(), written);
        assert_eq!(
            read.paths(),
            [
                ".metadata.finalizers[=\"a/b\"]",
                ".spec.ports",
                ".spec.replicas",
                ".spec.ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.ports[containerPort=80,protocol=\"TCP\"].name",
            ]
        );
        assert_eq!(Fields::decode(&json!({"x": {}})), None);
        assert_eq!(Fields::decode(&json!("x")), None);
    }

    #[test]
    fn sets_are_compared_by_path() {
        let one = fields(json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let two = fields(json!({"f:a": {}, "f:d": {}}));
        assert_eq!(one.union(&two).encode(), json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}}));
        assert_eq!(one.intersection(&two).encode(), json!({"f:a": {}}));
        assert_eq!(one.difference(&two).encode(), json!({"f:a": {"f:b": {}}, "f:c": {}}));
        assert_eq!(one.without_trees(&two).encode(), json!({"f:c": {}}));
        assert_eq!(one.only_trees(&two).encode(), json!({"f:a": {".": {}, "f:b": {}}}));
    }
}
