//! A document as a test in Rust: the builder's form of what `steadfast run` would do.
//!
//! What has nothing like it in the builder becomes a comment that says why, and the test is ignored: a test that leaves
//! something out never passes.

mod act;
mod check;
mod fault;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::activity::{Activities, Activity, ProviderKind};
use super::configuration::is_probe;
use super::load::Loaded;
use super::provider::named;
use super::py;
use super::redact::REDACTED;
use super::substitute::Scope;
use crate::experiment::{HypothesisStrategy, RollbackStrategy};
use crate::load::vegeta::Target;
use text::{Names, comment, duration, literal};

/// What `vegeta attack …` sends, in the builder's terms.
pub(crate) struct Described {
    pub(crate) per_second: f64,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) targets: Vec<Target>,
    /// The file of its results.
    pub(crate) output: String,
    /// Further calls.
    pub(crate) chain: Vec<String>,
}

/// Reads the words of `vegeta attack …`.
pub(crate) type Describe = fn(&[String]) -> Result<Option<Described>, String>;

/// How a document is to be exported.
pub(crate) struct Wanted<'a> {
    /// The verdict that the test asserts.
    pub(crate) verdict: &'a str,
    /// A function that sets the cluster up.
    pub(crate) setup: Option<&'a str>,
    /// The kind of cluster that alone will do.
    pub(crate) needs: Option<&'a str>,
    pub(crate) describe: Describe,
}

/// The Rust of a document.
pub(crate) fn rust(loaded: &Loaded, wanted: &Wanted<'_>) -> String {
    let document = &loaded.source.value;
    let names = loaded.configuration.before_probes(&super::plan::masked(&loaded.secrets));
    let title = py::text::str(&names.put_into(&document["title"])).into_owned();
    let measured = loaded.configuration.values.iter().filter(|(_, value)| is_probe(value));
    let mut export = Export {
        loaded,
        measured: measured.map(|(name, _)| name.clone()).collect(),
        names,
        wanted,
        taken: Names::without(&[
            "cluster",
            "hypothesis",
            "journal",
            "prometheus",
            "scene",
            "pod",
            "load",
            "http",
            "process",
        ]),
        lets: Vec::new(),
        namespaces: BTreeMap::new(),
        prometheus: None,
        loads: Vec::new(),
        faults: Vec::new(),
        missing: Vec::new(),
    };
    let name = export.taken.new_name(&title, "experiment");
    let activities = Activities::of(document);
    let (mut checks, mut steps) = (Vec::new(), Vec::new());
    let hypothesis = activities.hypothesis();
    for probe in hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes) {
        let check = export.check(probe).map(|check| vec![format!(".check({check})")]);
        let lines = check.unwrap_or_else(|why| export.missing(probe, "probe", &why));
        checks.extend(lines);
    }
    for activity in activities.method() {
        let lines = export.step(&activity).unwrap_or_else(|why| export.missing(&activity, "step", &why));
        steps.extend(lines);
    }
    // What a builder rolls back runs last to first.
    for activity in activities.rollbacks().iter().rev() {
        let lines = export.rollback(activity).unwrap_or_else(|why| export.missing(activity, "rollback", &why));
        steps.extend(lines);
    }
    let controls = document["controls"].as_array().into_iter().flatten();
    let controls: Vec<_> = controls.map(|control| py::text::str(&control["name"]).into_owned()).collect();
    let hypothesis = hypothesis.map(|hypothesis| {
        let title = py::text::str(&export.names.put_into(&hypothesis.definition["title"])).into_owned();
        (title, checks)
    });
    let rolls_back = steps.iter().any(|line| line.starts_with(".rollback_with"));
    let steps = export.strategies(rolls_back).into_iter().chain(steps).collect();
    export.whole(&Parts { name, title, hypothesis, steps, controls })
}

struct Parts {
    name: String,
    title: String,
    hypothesis: Option<(String, Vec<String>)>,
    steps: Vec<String>,
    controls: Vec<String>,
}

struct Export<'a> {
    loaded: &'a Loaded,
    /// The configuration, with secrets that are masked.
    names: Scope,
    /// Names that a probe measures when a run begins.
    measured: Vec<String>,
    wanted: &'a Wanted<'a>,
    taken: Names,
    /// What stands before the experiment.
    lets: Vec<String>,
    /// The variables of namespaces.
    namespaces: BTreeMap<String, String>,
    prometheus: Option<String>,
    /// The variable of each load, with the file of its results.
    loads: Vec<(String, String)>,
    /// The faults so far: what would end each of them.
    faults: Vec<fault::Fault>,
    /// What has nothing like it.
    missing: Vec<String>,
}

impl Export<'_> {
    /// The comment that stands where something is missing.
    fn missing(&mut self, activity: &Activity<'_>, what: &str, why: &str) -> Vec<String> {
        let redact = |text: &str| comment(&self.loaded.redact.redact(text));
        let name = redact(&activity.name());
        let provider = &activity.definition["provider"];
        let does = match activity.provider_kind() {
            Some(ProviderKind::Python) => {
                let (module, func) = named(provider);
                let arguments = self.names.put_into_arguments(&provider["arguments"]);
                format!("{module}.{func}({})", redact(&arguments.to_string()))
            }
            _ => redact(&provider["type"].to_string()),
        };
        self.missing.push(name.clone());
        vec![format!("// todo: the {what} {name:?} is missing: {}", redact(why)), format!("//   {}", comment(&does))]
    }

    /// Refuses what is known in a run alone, and what shows a secret.
    fn known(&self, activity: &Activity<'_>) -> Result<(), String> {
        let provider = &activity.definition["provider"];
        let tolerance = activity.tolerance().unwrap_or(&Value::Null);
        let pauses = &activity.definition["pauses"];
        for value in [provider, tolerance, pauses] {
            if let Some(name) = self.measured.iter().find(|name| super::plan::mentions(value, name)) {
                return Err(format!("${{{name}}} is measured when a run begins"));
            }
            if self.names.put_into(value).to_string().contains(REDACTED) {
                return Err("it needs a secret, which is not written into a source".to_owned());
            }
        }
        if activity.secrets().is_empty() { Ok(()) } else { Err("it needs secrets".to_owned()) }
    }

    /// The variable of a namespace.
    fn namespace(&mut self, name: &str) -> String {
        if let Some(known) = self.namespaces.get(name) {
            return known.clone();
        }
        let variable = self.taken.new_name(name, "namespace");
        self.lets.push(format!("let {variable} = cluster.namespace({});", literal(name)));
        self.namespaces.insert(name.to_owned(), variable.clone());
        variable
    }

    fn strategies(&self, rolls_back: bool) -> Vec<String> {
        let (hypothesis, rollbacks) = self.loaded.strategies;
        let mut lines = Vec::new();
        if hypothesis != HypothesisStrategy::Default {
            lines.push(format!(".hypothesis_strategy(HypothesisStrategy::{hypothesis:?})"));
        }
        // The builder's default is another one.
        if rolls_back && rollbacks != RollbackStrategy::Always {
            lines.push(format!(".rollback_strategy(RollbackStrategy::{rollbacks:?})"));
        }
        lines
    }

    fn whole(self, parts: &Parts) -> String {
        let Parts { name, title, hypothesis, steps, controls } = parts;
        let redact = |text: &str| self.loaded.redact.redact(text).into_owned();
        let mut lines = vec![
            "//! Made of a Chaos Toolkit experiment by `steadfast export --rust`.".to_owned(),
            String::new(),
            "use steadfast::prelude::*;".to_owned(),
            String::new(),
        ];
        lines.extend(
            controls.iter().map(|control| format!("// The control {:?} is left out.", comment(&redact(control)))),
        );
        let setup = self.wanted.setup.map(|setup| format!("setup = {setup}"));
        let needs = self.wanted.needs.map(|needs| format!("needs = {}", literal(needs)));
        let terms: Vec<_> = setup.into_iter().chain(needs).collect();
        let terms = if terms.is_empty() { String::new() } else { format!("({})", terms.join(", ")) };
        lines.push(format!("#[steadfast::test{terms}]"));
        if !self.missing.is_empty() {
            let what = format!("not complete: {} must be written by hand, see the comments", self.missing.join(", "));
            lines.push(format!("#[ignore = {}]", literal(&what)));
        }
        lines.push(format!("async fn {name}(cluster: Cluster) -> steadfast::Result {{"));
        let mut body = self.lets.clone();
        if let Some(url) = &self.prometheus {
            body.push(format!("let prometheus = steadfast::prometheus::Prometheus::new({});", literal(url)));
        }
        let title = literal(&redact(title));
        let begin = match hypothesis {
            Some((about, checks)) => {
                body.push(format!("let hypothesis = Hypothesis::new({})", literal(&redact(about))));
                body.extend(checks.iter().map(|check| format!("    {check}")));
                end(&mut body);
                format!("let journal = Experiment::new({title}, hypothesis)")
            }
            None => format!("let journal = Experiment::without_hypothesis({title})"),
        };
        body.push(String::new());
        body.push(begin);
        body.extend(steps.iter().map(|step| format!("    {step}")));
        body.extend(["    .run(&cluster)", "    .await?;", ""].map(str::to_owned));
        let verdict = if hypothesis.is_some() { self.wanted.verdict } else { "NotJudged" };
        body.push(format!("journal.assert_verdict({verdict});"));
        body.push("Ok(())".to_owned());
        lines.extend(body.iter().map(|line| if line.is_empty() { String::new() } else { format!("    {line}") }));
        lines.push("}".to_owned());
        lines.join("\n") + "\n"
    }
}

/// Ends a statement: behind its last line that is no comment.
fn end(lines: &mut [String]) {
    if let Some(last) = lines.iter_mut().rev().find(|line| !line.trim_start().starts_with("//")) {
        last.push(';');
    }
}

/// The pauses that an activity asks for.
fn pauses(activity: &Activity<'_>, names: &Scope) -> Result<[Option<String>; 2], String> {
    let of = |asked: Option<&Value>| -> Result<Option<String>, String> {
        let Some(asked) = asked else { return Ok(None) };
        let value = names.put_into(asked);
        let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let seconds = seconds.ok_or_else(|| format!("a pause is a number of seconds, and not {value}"))?;
        Ok((!seconds.is_zero()).then(|| format!(".pause({})", duration(seconds))))
    };
    Ok([of(activity.pause_before()?)?, of(activity.pause_after()?)?])
}
