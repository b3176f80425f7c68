//! What an experiment would do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::step::Work;
use super::{Environment, Experiment, ExperimentError, Place, Right, Scene, Targets, safeguard};

/// What an experiment would do: each check, step, target and right. Its `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The experiment's title.
    pub title: String,
    /// The cluster, in words.
    pub cluster: String,
    /// The hypothesis' title, if there is one.
    pub hypothesis: Option<String>,
    /// The checks: what each looks at and expects.
    pub checks: Vec<PlannedCheck>,
    /// The safeguards: what each looks at and expects, how often, and what it does when it cannot be judged.
    pub safeguards: Vec<PlannedCheck>,
    /// The steps in their order.
    pub steps: Vec<PlannedStep>,
    /// What runs at the end, in its order, and whether it survives the death of this process.
    pub finally: Vec<(String, bool)>,
    /// Every right that injecting, proving and undoing need.
    pub rights: Vec<Right>,
    /// Those of them that the user does not have.
    pub lacking: Vec<Right>,
    /// Where faults act: what the run holds for itself alone.
    pub places: Vec<Place>,
    /// Which layers stand ready to undo.
    pub undo_layers: Vec<String>,
}

/// One check or safeguard of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedCheck {
    /// What it looks at and expects.
    pub check: String,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One step of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedStep {
    /// `background`, `pause`, `inject`, `act`, `observe`.
    pub kind: String,
    /// What it does.
    pub name: String,
    /// Where it stands in the source.
    pub location: String,
    /// What a fault would touch, by name.
    pub targets: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Where the faults of an experiment act.
pub(super) fn places(experiment: &Experiment) -> Vec<Place> {
    let of = |work: &Work| match work {
        Work::Inject(fault) => fault.places(),
        _ => Vec::new(),
    };
    let mut places: Vec<_> = experiment.steps.iter().flat_map(|step| of(&step.work)).collect();
    places.sort();
    places.dedup();
    places
}

/// The last fault, if the pauses alone outlast all of them, and nothing is judged before the method has ended.
fn over_by_plan(experiment: &Experiment) -> Option<String> {
    if !experiment.strategy.judges_after() || experiment.strategy.judges_during() {
        return None;
    }
    let mut on: Vec<(Duration, String)> = Vec::new();
    for step in &experiment.steps {
        match &step.work {
            Work::Inject(fault) => on.push((fault.lasting()?, fault.describe())),
            Work::Pause(pause) => on.iter_mut().for_each(|(left, _)| *left = left.saturating_sub(*pause)),
            _ => {}
        }
    }
    on.iter().all(|(left, _)| left.is_zero()).then(|| on.pop())?.map(|(_, fault)| fault)
}

/// Reads everything, writes nothing.
pub(super) async fn plan(experiment: &Experiment, environment: &Arc<dyn Environment>) -> Result<Plan, ExperimentError> {
    let scene = Scene::before(&**environment);
    let (mut checks, over) = (Vec::new(), over_by_plan(experiment));
    for (check, location) in experiment.hypothesis.iter().flat_map(|h| &h.checks) {
        let what = check.describe();
        let invalid = |source| invalid(&what, &location.to_string(), source);
        check.validate().map_err(invalid)?;
        let mut notes = check.examine(&scene).await.map_err(invalid)?;
        if let (true, Some(fault)) = (check.looks_back().is_zero(), &over) {
            notes.push(format!(
                "it looks when {fault} is over by plan, and is inconclusive then: judge the time of the fault, or leave out \
                 `.lasting(..)`"
            ));
        }
        checks.push(PlannedCheck { check: what, notes });
    }
    if let (Some(location), None) = (experiment.must_recover, experiment.recovers()) {
        let why = "nothing is judged after the rollback; give it a hypothesis and a strategy that judges after the method, and leave out `.without_recovery()`";
        return Err(invalid("must_recover", &location.to_string(), why.into()));
    }
    let mut safeguards = Vec::new();
    for safeguard in &experiment.safeguards {
        let examined = safeguard.examine(&scene).await.map_err(|source| safeguard::invalid(safeguard, source))?;
        let notes = std::iter::once(safeguard.terms()).chain(examined).collect();
        safeguards.push(PlannedCheck { check: safeguard.describe(), notes });
    }
    if let Some(location) = experiment.fail_fast
        && !(experiment.hypothesis.is_some() && experiment.strategy.judges_during())
    {
        let why = "nothing is judged while the method runs; let it be with `.hypothesis_strategy(Continuously)`";
        return Err(invalid("fail_fast", &location.to_string(), why.into()));
    }
    let (mut steps, mut rights, places) = (Vec::new(), Vec::new(), places(experiment));
    for step in &experiment.steps {
        let (name, location) = (step.name(), step.location.to_string());
        step.validate().map_err(|source| invalid(&name, &location, source))?;
        let targets = match &step.work {
            Work::Inject(fault) => fault.resolve().await.map_err(|source| invalid(&name, &location, source))?,
            _ => Targets::default(),
        };
        rights.extend(targets.rights);
        let kind = step.kind().to_owned();
        steps.push(PlannedStep { kind, name, location, targets: targets.names, notes: targets.notes });
    }
    let Needed { rights, lacking, undo_layers } = needed(&**environment, rights, &places).await?;
    Ok(Plan {
        title: experiment.title.clone(),
        cluster: environment.describe(),
        hypothesis: experiment.hypothesis.as_ref().map(|h| h.title.clone()),
        checks,
        safeguards,
        steps,
        finally: experiment.finally.iter().map(|f| (f.name(), f.crash_safe())).collect(),
        rights,
        lacking,
        places,
        undo_layers,
    })
}

/// What the faults of a run need, and who undoes them.
pub(crate) struct Needed {
    /// Every right that injecting, proving and undoing need.
    pub(crate) rights: Vec<Right>,
    /// Those of them that the user does not have.
    pub(crate) lacking: Vec<Right>,
    /// Which layers stand ready to undo.
    pub(crate) undo_layers: Vec<String>,
}

/// What faults in these places need that need these rights. Reads, never writes.
pub(crate) async fn needed(
    environment: &dyn Environment,
    mut rights: Vec<Right>,
    places: &[Place],
) -> Result<Needed, ExperimentError> {
    let mut of_switches = Vec::new();
    for place in places {
        let (needed, of_switch) = environment.hold_rights(place);
        rights.extend(needed);
        of_switches.push((place, of_switch));
    }
    rights.sort();
    rights.dedup();
    let asked: Vec<_> = rights.iter().chain(of_switches.iter().flat_map(|(_, rights)| rights)).cloned().collect();
    let mut lacking = environment.lacking(&asked).await.map_err(|source| ExperimentError::Cluster {
        doing: "ask for the user's rights",
        cluster: environment.describe(),
        source,
    })?;
    let mut undo_layers = environment.undo_layers();
    for (place, of_switch) in of_switches {
        if let Some(missing) = of_switch.iter().find(|right| lacking.contains(right)) {
            undo_layers.push(format!("no dead-man's switch in {place}: the user may not {missing}"));
        }
    }
    lacking.retain(|right| rights.contains(right));
    Ok(Needed { rights, lacking, undo_layers })
}

fn invalid(what: &str, location: &str, source: crate::BoxError) -> ExperimentError {
    ExperimentError::Invalid { what: what.to_owned(), location: location.to_owned(), source }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, on {}", self.title, self.cluster)?;
        match &self.hypothesis {
            Some(title) => writeln!(f, "hypothesis: {title}")?,
            None => writeln!(f, "no hypothesis: nothing will be judged")?,
        }
        for check in &self.checks {
            writeln!(f, "  - {}", check.check)?;
            for note in &check.notes {
                writeln!(f, "       note: {note}")?;
            }
        }
        for safeguard in &self.safeguards {
            writeln!(f, "safeguard: {}", safeguard.check)?;
            for note in &safeguard.notes {
                writeln!(f, "       note: {note}")?;
            }
        }
        writeln!(f, "method:")?;
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {}. {} {} ({})", number + 1, step.kind, step.name, step.location)?;
            for target in &step.targets {
                writeln!(f, "       target: {target}")?;
            }
            for note in &step.notes {
                writeln!(f, "       note: {note}")?;
            }
        }
        for (name, crash_safe) in &self.finally {
            let safety = if *crash_safe { "" } else { " (not crash-safe: it is lost if this process is killed)" };
            writeln!(f, "finally: {name}{safety}")?;
        }
        writeln!(f, "rights needed:")?;
        for right in &self.rights {
            let missing = if self.lacking.contains(right) { " (MISSING)" } else { "" };
            writeln!(f, "  - {right}{missing}")?;
        }
        writeln!(f, "undone by: {}", self.undo_layers.join("; "))
    }
}
