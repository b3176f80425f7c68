//! The form of a document: everything that is wrong with it, in the order in which Chaos Toolkit looks, so that the
//! first error is the one that it would give, in its words. What it would only find by dying half-way (an unknown
//! reference in a rollback, `method: null`) is an error here.
//!
//! What needs other parts is asked for: [`Functions`] knows the functions of Python that there are, [`Checks`] the
//! languages of tolerances.

mod activity;
mod control;
#[cfg(test)]
mod tests;
mod tolerance;

use super::configuration::{self, Configuration};
use super::environment::Env;
use super::invalid::Invalid;
use super::marks::Path;
use super::secrets;
use super::source::Source;
use super::unknown;
use super::variables::Vars;
use crate::journal::enumerated;
use serde_json::Value;

/// What the functions of Python providers are.
pub(crate) trait Functions {
    /// What there is for `module.func`.
    fn known(&self, module: &str, func: &str) -> Known;

    /// The whole name of the function that was likely meant, where there is none of that name.
    fn meant(&self, _module: &str, _func: &str) -> Option<String> {
        None
    }

    /// Whether a module can be loaded as a control.
    fn has_control(&self, module: &str) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is in the table, with these parameters.
    Native(&'static [Parameter]),
    /// The user said what runs instead of it.
    Replaced,
    /// The user allowed Python.
    Allowed,
    /// The module is known and has no such function.
    NoFunction,
    Unknown,
}

/// A parameter of a native function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
}

/// What the languages of tolerances say of a text; the error is the reason alone.
pub(crate) trait Checks {
    /// A regular expression of Python's.
    fn pattern(&self, pattern: &str) -> Result<(), String>;

    /// A JSON path of jsonpath2's dialect.
    fn json_path(&self, path: &str) -> Result<(), String>;

    /// A tolerance of a type of ours; none where the type is not.
    fn own(&self, kind: &str, tolerance: &Value) -> Option<Result<(), String>>;
}

/// What a document is judged by.
pub(crate) struct Rules<'a> {
    pub(crate) functions: &'a dyn Functions,
    pub(crate) checks: &'a dyn Checks,
    pub(crate) env: &'a Env,
    /// Whether processes may be started (not with `--no-process`).
    pub(crate) processes: bool,
}

/// What was found. The document is valid where there are no errors.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) errors: Vec<Invalid>,
    pub(crate) warnings: Vec<Invalid>,
}

/// Judges a document. The values that `--var` gives do not count, as in the original.
pub(crate) fn validate(source: &Source, rules: &Rules<'_>) -> Report {
    let mut judge = Judge { source, rules, report: Report::default() };
    judge.document();
    unknown::look(source, &mut judge.report.warnings);
    judge.report
}

/// A judgement under way.
struct Judge<'a> {
    source: &'a Source,
    rules: &'a Rules<'a>,
    report: Report,
}

impl<'a> Judge<'a> {
    fn error(&mut self, path: &Path, message: impl Into<String>) {
        let error = self.source.invalid(path, message);
        self.report.errors.push(error);
    }

    fn warn(&mut self, path: &Path, message: impl Into<String>) {
        let warning = self.source.invalid(path, message);
        self.report.warnings.push(warning);
    }

    fn document(&mut self) {
        let document = &self.source.value;
        let root = Path::root();
        if !truthy(Some(document)) {
            return self.error(&root, "an empty experiment is not an experiment");
        }
        if !document.is_object() {
            return self.error(&root, "an experiment is a mapping with title, description and method");
        }
        if !truthy(document.get("title")) {
            self.error(&root.key("title"), "experiment requires a title");
        }
        if !truthy(document.get("description")) {
            self.error(&root.key("description"), "experiment requires a description");
        }
        self.tags(document, &root.key("tags"));
        self.extensions(document, &root.key("extensions"));
        let (vars, env) = (Vars::default(), self.rules.env);
        if let Err(errors) = Configuration::load(self.source, &vars, env) {
            self.report.errors.extend(errors);
        }
        if let Err(errors) = secrets::load(self.source, &vars, env) {
            self.report.errors.extend(errors);
        }
        self.measured();
        self.hypothesis(document, &root.key("steady-state-hypothesis"));
        match document.get("method") {
            Some(Value::Array(_)) => self.activities(document, "method"),
            _ => self.error(
                &root.key("method"),
                "an experiment requires a method, which can be empty for only checking steady state hypothesis ",
            ),
        }
        self.activities(document, "rollbacks");
        self.controls(document);
        self.own(document, &root, &["leave"]);
    }

    fn tags(&mut self, document: &Value, path: &Path) {
        match document.get("tags") {
            None | Some(Value::Null) => {}
            Some(Value::Array(tags)) => {
                for (index, tag) in tags.iter().enumerate() {
                    if tag.as_str().is_none_or(|tag| tag.trim().is_empty()) {
                        self.error(&path.item(index), "experiment tags must be a non-empty string");
                    }
                }
            }
            Some(_) => self.error(path, "experiment tags must be a non-empty string"),
        }
    }

    fn extensions(&mut self, document: &Value, path: &Path) {
        let message = "All extensions require a non-empty name";
        match document.get("extensions") {
            None | Some(Value::Null) => {}
            Some(Value::Array(extensions)) => {
                for (index, extension) in extensions.iter().enumerate() {
                    let name = extension.get("name").and_then(Value::as_str);
                    if name.is_none_or(|name| name.trim().is_empty()) {
                        self.error(&path.item(index), message);
                    }
                }
            }
            Some(_) => self.error(path, message),
        }
    }

    /// Probes of the configuration: the original does not look at them, and leaves out the value when they fail.
    /// Only what they may do is judged here.
    fn measured(&mut self) {
        let path = Path::root().key("configuration");
        let Some(all) = self.source.value.get("configuration").and_then(Value::as_object) else { return };
        for key in self.source.keys(&path) {
            if let Some(probe) = all.get(key).filter(|value| configuration::is_probe(value)) {
                self.permission(probe, &path.key(key));
            }
        }
    }

    fn hypothesis(&mut self, document: &'a Value, path: &Path) {
        let hypothesis = match document.get("steady-state-hypothesis") {
            None => return,
            Some(hypothesis @ Value::Object(_)) => hypothesis,
            Some(_) => {
                return self
                    .error(path, "a hypothesis is a mapping with title and probes: leave it out if there is none");
            }
        };
        if !truthy(hypothesis.get("title")) {
            self.error(&path.key("title"), "hypothesis requires a title");
        }
        let path = path.key("probes");
        let probes = match hypothesis.get("probes") {
            None | Some(Value::Null) => return,
            Some(Value::Array(probes)) => probes,
            Some(_) => return self.error(&path, "the probes of a hypothesis are a list"),
        };
        for (index, probe) in probes.iter().enumerate() {
            let path = path.item(index);
            self.activity(probe, &path);
            match probe.get("tolerance") {
                Some(tolerance) => self.tolerance(tolerance, &path.key("tolerance")),
                None => self.error(&path, "hypothesis probe must have a tolerance entry"),
            }
            self.reference(probe, &path);
        }
    }

    fn activities(&mut self, document: &'a Value, key: &str) {
        let path = Path::root().key(key);
        let all = match document.get(key) {
            None => return,
            // The original takes no rollbacks for none, whatever stands there.
            Some(nothing) if key == "rollbacks" && !truthy(Some(nothing)) => return,
            Some(Value::Array(all)) => all,
            Some(_) => return self.error(&path, format!("{key} is a list of activities")),
        };
        for (index, activity) in all.iter().enumerate() {
            let path = path.item(index);
            self.activity(activity, &path);
            self.reference(activity, &path);
        }
    }

    /// Our own keys, under `x-steadfast`.
    fn own(&mut self, value: &Value, path: &Path, may: &[&str]) {
        let Some(own) = value.get("x-steadfast") else { return };
        let path = path.key("x-steadfast");
        let Some(own) = own.as_object() else {
            return self.error(&path, "x-steadfast is a mapping, such as {\"leave\": true}");
        };
        for (key, value) in own {
            let path = path.key(key);
            match key.as_str() {
                "leave" | "all" if !value.is_boolean() => {
                    self.error(&path, format!("x-steadfast.{key} is true or false"));
                }
                "trust" if value.as_str().is_none_or(|why| why.trim().is_empty()) => {
                    self.error(&path, "x-steadfast.trust says why, in a text that is not empty");
                }
                known if may.contains(&known) => {}
                _ => {
                    let may = enumerated(may);
                    self.error(&path, format!("x-steadfast has no key `{key}` here: it may have {may}"));
                }
            }
        }
    }
}

/// What Python takes for true; what is not there is not.
fn truthy(value: Option<&Value>) -> bool {
    value.is_some_and(super::py::truthy)
}

/// A value as Python writes it into a message: one that is missing is `None`.
fn written(value: Option<&Value>) -> std::borrow::Cow<'_, str> {
    value.map_or("None".into(), super::py::text::str)
}
