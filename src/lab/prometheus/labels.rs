//! The labels of a series.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The label that holds a series' name.
pub(super) const NAME: &str = "__name__";

/// A set of labels, ordered by name; none has an empty value. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Of pairs in any order; of two with one name the later wins, and an empty value is no label.
    pub(super) fn new(pairs: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let map: std::collections::BTreeMap<Arc<str>, Arc<str>> = pairs.into_iter().collect();
        Self(map.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self::new(pairs.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))))
    }

    pub(super) fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }

    /// The value under a name; empty if there is none, as selectors see it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.find(name).map_or("", |value| value)
    }

    fn find(&self, name: &str) -> Option<&Arc<str>> {
        // Few labels: a walk is faster than a search.
        self.0.iter().find(|(found, _)| &**found == name).map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    pub(super) fn without_name(&self) -> Self {
        self.filtered(|name| name != NAME)
    }

    pub(super) fn only(&self, names: &BTreeSet<String>) -> Self {
        self.filtered(|name| names.contains(name))
    }

    pub(super) fn without(&self, names: &BTreeSet<String>) -> Self {
        self.filtered(|name| !names.contains(name))
    }

    /// With a label set, or removed if the value is empty.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let others = self.0.iter().filter(|(found, _)| &**found != name).cloned();
        Self::new(others.chain([(Arc::from(name), Arc::from(value))]))
    }
}

/// Whether a text can be a label's name.
pub(super) fn is_label_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

/// Whether a text can be a metric's name.
pub(super) fn is_metric_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_' || first == b':')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_' || letter == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ordered_and_never_empty() {
        let labels = Labels::of(&[("b", "2"), ("a", "1"), ("gone", ""), (NAME, "up")]);
        assert_eq!(labels, Labels::of(&[(NAME, "up"), ("a", "1"), ("b", "2")]));
        assert_eq!((labels.get("a"), labels.get("gone")), ("1", ""));
        assert_eq!(labels.without_name().with("a", "").with("c", "3"), Labels::of(&[("b", "2"), ("c", "3")]));
        let names = BTreeSet::from(["a".to_owned()]);
        assert_eq!(labels.only(&names), Labels::of(&[("a", "1")]));
        assert_eq!(labels.without(&names), Labels::of(&[(NAME, "up"), ("b", "2")]));
    }
}
