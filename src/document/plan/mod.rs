//! What a document would do, and to what. Nothing is done: clusters are read, and neither probes nor programs are run.

mod shown;
#[cfg(test)]
mod tests;
mod words;

use serde_json::{Map, Value};

pub(crate) use words::masked;

use super::activity::{Activities, Activity, Kind, ProviderKind, leaves_all};
use super::configuration::is_probe;
use super::function::{self, Call, Change, Guards, Hand, Planned, Stage};
use super::load::Loaded;
use super::provider::{is_provider, named};
use super::py;
use super::substitute::Scope;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::experiment::{Environment, ExperimentError, Faults, Phase, Place, Remarks, Right, Scene, needed};

/// What a document would do. Its `Display` is for people; secrets are taken out by whoever shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    title: String,
    /// The cluster, in words, if one is acted on.
    cluster: Option<String>,
    hypothesis_strategy: &'static str,
    rollbacks_strategy: &'static str,
    /// Names of the configuration that probes measure when the run begins.
    measured: Vec<String>,
    controls: Vec<String>,
    hypothesis: Option<String>,
    probes: Vec<Entry>,
    method: Vec<Entry>,
    rollbacks: Vec<Entry>,
    /// What the run undoes at its end, since no rollback of the document does.
    undone_at_the_end: Vec<String>,
    rights: Vec<Right>,
    lacking: Vec<Right>,
    undo_layers: Vec<String>,
}

/// One activity.
#[derive(Clone, Debug, Default)]
struct Entry {
    kind: &'static str,
    name: String,
    /// What it calls.
    does: String,
    tolerance: Option<String>,
    changes: Vec<Change>,
    /// The objects on which it ends faults of this document.
    ends: Vec<String>,
    /// Why it would fail.
    fails: Option<String>,
    notes: Vec<String>,
}

/// How a document is asked about.
pub(crate) struct Question<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) cluster: Option<&'a Cluster>,
    /// Faults stay on unless the document's own rollbacks end them.
    pub(crate) leave_faults: bool,
}

/// Says what a document would do.
///
/// # Errors
/// The cluster does not say what the user may do.
pub(crate) async fn plan(question: Question<'_>) -> Result<Plan, ExperimentError> {
    let Question { loaded, cluster, .. } = question;
    let document = &loaded.source.value;
    let names = loaded.configuration.before_probes(&loaded.secrets);
    let shown = Scope { secrets: words::masked(&loaded.secrets), ..names.clone() };
    let measured = loaded.configuration.values.iter().filter(|(_, value)| is_probe(value));
    let measured: Vec<String> = measured.map(|(name, _)| name.clone()).collect();
    let clock = cluster.map_or_else(Clock::real, Environment::clock);
    let mut planner = Planner {
        question,
        names,
        shown,
        measured,
        clock,
        guards: Guards::default(),
        rights: Vec::new(),
        places: Vec::new(),
    };
    let activities = Activities::of(document);
    let hypothesis = activities.hypothesis();
    let (mut probes, mut method, mut rollbacks) = (Vec::new(), Vec::new(), Vec::new());
    for probe in hypothesis.iter().flat_map(|hypothesis| &hypothesis.probes) {
        probes.push(planner.entry(probe, Phase::Gate).await);
    }
    let now = planner.clock.now();
    for activity in activities.method() {
        method.push(planner.entry(&activity, Phase::Method { method_started: now }).await);
    }
    for activity in activities.rollbacks() {
        rollbacks.push(planner.entry(&activity, Phase::Recovery { undone: now }).await);
    }
    let undone_at_the_end = planner.guards.to_be_undone().iter().map(ToString::to_string).collect();
    let Planner { shown, measured, rights, mut places, .. } = planner;
    places.sort();
    places.dedup();
    let acts = method.iter().chain(&rollbacks).any(|entry| !entry.changes.is_empty());
    let needed = match cluster {
        Some(cluster) if acts => Some(needed(cluster, rights, &places).await?),
        _ => None,
    };
    let (rights, lacking, undo_layers) =
        needed.map(|needed| (needed.rights, needed.lacking, needed.undo_layers)).unwrap_or_default();
    let text = |value: &Value| py::text::str(&shown.put_into(value)).into_owned();
    Ok(Plan {
        title: text(&document["title"]),
        cluster: cluster.map(Environment::describe),
        hypothesis_strategy: loaded.strategies.0.name(),
        rollbacks_strategy: loaded.strategies.1.name(),
        measured,
        controls: controls(document),
        hypothesis: hypothesis.map(|hypothesis| text(&hypothesis.definition["title"])),
        probes,
        method,
        rollbacks,
        undone_at_the_end,
        rights,
        lacking,
        undo_layers,
    })
}

/// The controls that something declares, by name and module.
fn controls(of: &Value) -> Vec<String> {
    let told = |control: &Value| {
        let name = control["name"].as_str().or_else(|| control["ref"].as_str()).unwrap_or_default();
        match control["provider"]["module"].as_str() {
            Some(module) => format!("{name} ({module})"),
            None => name.to_owned(),
        }
    };
    of["controls"].as_array().into_iter().flatten().map(told).collect()
}

struct Planner<'a> {
    question: Question<'a>,
    names: Scope,
    /// The same, without secrets.
    shown: Scope,
    measured: Vec<String>,
    clock: Clock,
    guards: Guards,
    rights: Vec<Right>,
    places: Vec<Place>,
}

impl Planner<'_> {
    async fn entry(&mut self, activity: &Activity<'_>, phase: Phase) -> Entry {
        let mut entry = Entry {
            kind: if activity.kind() == Some(Kind::Probe) { "probe" } else { "action" },
            name: py::text::str(&self.shown.put_into_text(&activity.name())).into_owned(),
            ..Entry::default()
        };
        if let Some(name) = activity.unresolved() {
            entry.fails = Some(format!("no activity of the method or the hypothesis is named {name:?}"));
            return entry;
        }
        entry.does = words::provider(activity, &self.shown);
        entry.tolerance = activity.tolerance().map(|tolerance| words::tolerance(tolerance, activity, &self.shown));
        entry.notes = self.notes(activity);
        if activity.dry().is_some() {
            entry.notes.push("dry: it is not done".to_owned());
            return entry;
        }
        if let Err(why) = self.ask(activity, phase, &mut entry).await {
            entry.fails = Some(why);
        }
        entry
    }

    fn notes(&self, activity: &Activity<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        if activity.background() {
            notes.push("in the background".to_owned());
        }
        for (when, asked) in [("before", activity.pause_before()), ("after", activity.pause_after())] {
            if let Ok(Some(pause)) = asked {
                notes.push(format!("pauses {} s {when} it", py::text::str(&self.shown.put_into(pause))));
            }
        }
        if let Some(timeout) = activity.provides("timeout") {
            notes.push(format!("is given {} s", py::text::str(&self.shown.put_into(timeout))));
        }
        notes.extend(controls(activity.definition).into_iter().map(|control| format!("control {control}")));
        notes
    }

    /// What the activity would change, and what it would fail of.
    async fn ask(&mut self, activity: &Activity<'_>, phase: Phase, entry: &mut Entry) -> Result<(), String> {
        let Question { loaded, cluster, leave_faults } = self.question;
        match activity.provider_kind() {
            Some(ProviderKind::Process) if loaded.no_process => {
                return Err("it runs a program, and --no-process was given".to_owned());
            }
            Some(ProviderKind::Python) => {}
            _ => return Ok(()),
        }
        let provider = &activity.definition["provider"];
        let (module, func) = named(provider);
        if let Some(by) = loaded.replacements.get(module, func) {
            let word = if is_provider(by) { "provider" } else { "tolerance" };
            entry.notes.push(format!("replaced by a {word} of type {}", py::text::str(&by["type"])));
            return Ok(());
        }
        let Some(function) = function::find(module, func) else {
            entry
                .notes
                .push("called by this machine's Python: what it changes is not known, and nobody undoes it".to_owned());
            return if loaded.python.is_some() { Ok(()) } else { Err(format!("there is no function {module}.{func}")) };
        };
        if function.kind == function::Kind::Probe || !function.needs_cluster {
            return Ok(());
        }
        let arguments = self.names.put_into_arguments(&provider["arguments"]);
        let open: Vec<_> = self.measured.iter().filter(|name| mentions(&arguments, name)).cloned().collect();
        if !open.is_empty() {
            entry.notes.push(format!("what it acts on is known once the run has measured {}", open.join(", ")));
            return Ok(());
        }
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            other => return Err(format!("the arguments of {module}.{func} must be a mapping, got {other}")),
        };
        let Some(cluster) = cluster else { return Err("it needs a cluster: name one with --cluster".to_owned()) };
        let scene = Scene {
            phase,
            clock: self.clock.clone(),
            transport: cluster.transport(),
            outputs: Environment::outputs(cluster),
            faults: Faults::default(),
            remarks: Remarks::default(),
            measured: crate::experiment::Measured::default(),
            trace: None,
            loads: crate::experiment::RunningLoads::default(),
        };
        let secrets = (!activity.secrets().is_empty()).then(|| self.names.secrets_of(&activity.secrets()));
        let call = Call { arguments: &arguments, secrets: secrets.as_ref(), configuration: &self.names.configuration };
        let planned = Planned::default();
        let leave = leave_faults || activity.leaves().unwrap_or_else(|| leaves_all(&loaded.source.value));
        let stage = Stage {
            hand: Hand::Plan(&planned),
            cluster: Some(cluster),
            scene: &scene,
            guards: &self.guards,
            plain: matches!(phase, Phase::Recovery { .. }),
            leave,
            all: activity.takes_all(),
            trust: activity.trust(),
        };
        let on_before = self.guards.objects();
        let asked = function.call(call, stage).await;
        let on = self.guards.objects();
        entry.ends = on_before.iter().filter(|object| !on.contains(object)).map(ToString::to_string).collect();
        entry.changes = planned.take();
        for change in &entry.changes {
            if let Change::Fault { targets, places, .. } = change {
                self.rights.extend(targets.rights.clone());
                self.places.extend(places.clone());
            }
        }
        asked.map(drop).map_err(|function::Failed(why)| why)
    }
}

/// Whether a text of `value` names `${name}`.
pub(crate) fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text.contains(&format!("${{{name}}}")) || text.contains(&format!("${name}")),
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(members) => members.values().any(|value| mentions(value, name)),
        _ => false,
    }
}

impl Plan {
    /// Whether something of it cannot be done.
    pub(crate) fn fails(&self) -> bool {
        !self.lacking.is_empty() || self.entries().any(|entry| entry.fails.is_some())
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.probes.iter().chain(&self.method).chain(&self.rollbacks)
    }
}
