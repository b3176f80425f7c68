//! Which series are meant: a name and labels.

use std::fmt::Write as _;

use super::Prometheus;

/// Labels that name a target, rather than what it measures.
pub(super) const TARGET_LABELS: &[&str] = &["job", "namespace", "instance", "pod"];

/// The label that must be given for a target to be known.
pub(super) const JOB: &str = "job";

/// A metric's name, the labels asked for, and the server that has them.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) prometheus: Prometheus,
    name: String,
    /// Label, operator, value.
    labels: Vec<(String, &'static str, String)>,
    /// Those that the namespace adds: they differ from run to run and are not shown.
    hidden: Vec<(String, String)>,
}

impl Selection {
    pub(super) fn new(prometheus: Prometheus, name: &str, hidden: Vec<(String, String)>) -> Self {
        Self { prometheus, name: name.to_owned(), labels: Vec::new(), hidden }
    }

    pub(super) fn with(mut self, name: &str, operator: &'static str, value: &str) -> Self {
        self.labels.push((name.to_owned(), operator, value.to_owned()));
        self
    }

    /// The same labels of another name.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shown(&self) -> String {
        selector(&self.name, self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str())))
    }

    pub(super) fn query(&self) -> String {
        selector(&self.name, self.all())
    }

    /// The query for whether the target is up; `None` if the labels name no job.
    pub(super) fn up(&self) -> Option<String> {
        let of_target = |(name, ..): &(&str, &str, &str)| TARGET_LABELS.contains(name);
        self.labels.iter().any(|(name, ..)| name == JOB).then(|| selector("up", self.all().filter(of_target)))
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let given = self.labels.iter().map(|(name, op, value)| (name.as_str(), *op, value.as_str()));
        given.chain(self.hidden.iter().map(|(name, value)| (name.as_str(), "=", value.as_str())))
    }
}

pub(super) fn selector<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut text = name.to_owned();
    for (number, (label, operator, value)) in labels.enumerate() {
        let separator = if number == 0 { '{' } else { ',' };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{label}{operator}\"{value}\"");
    }
    if text.len() > name.len() {
        text.push('}');
    }
    text
}

/// The labels of a selection, as methods of a type with a field `selection`.
macro_rules! labels {
    ($type:ty) => {
        impl $type {
            /// Only series with this label.
            #[must_use]
            pub fn label(mut self, name: &str, value: &str) -> Self {
                self.selection = self.selection.with(name, "=", value);
                self
            }

            /// Only series without this value of a label.
            #[must_use]
            pub fn not_label(mut self, name: &str, value: &str) -> Self {
                self.selection = self.selection.with(name, "!=", value);
                self
            }

            /// Only series whose label matches the whole of a regular expression.
            #[must_use]
            pub fn matching(mut self, name: &str, pattern: &str) -> Self {
                self.selection = self.selection.with(name, "=~", pattern);
                self
            }

            /// Only series whose label does not match the whole of a regular expression.
            #[must_use]
            pub fn not_matching(mut self, name: &str, pattern: &str) -> Self {
                self.selection = self.selection.with(name, "!~", pattern);
                self
            }
        }
    };
}
pub(super) use labels;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_the_namespace_is_not_shown() {
        let prometheus = Prometheus::new("http://localhost:9090").with_matcher("namespace", "shop-x7");
        let counter = prometheus.counter("failed_call_total").label("job", "front").label("to", "a\"b\\c\n");
        let selection = &counter.selection;
        assert_eq!(selection.shown(), r#"failed_call_total{job="front",to="a\"b\\c\n"}"#);
        assert_eq!(selection.up().unwrap(), r#"up{job="front",namespace="shop-x7"}"#);
        assert!(prometheus.counter("x").selection.up().is_none(), "a namespace alone names no target");
        let others = prometheus.counter("x").not_label("job", "front").selection.up();
        assert_eq!(others.unwrap(), r#"up{job!="front",namespace="shop-x7"}"#);
    }
}
