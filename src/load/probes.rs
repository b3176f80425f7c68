//! What a load's results are asked for: probes of percentiles and ratios, of all of it or of a phase, and its plot.

use std::path::{Component, PathBuf};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::recording::{Latency, PhasePart, Recording, Stats};
use super::{Load, State, plot};
use crate::BoxError;
use crate::experiment::{Action, Fault, Observed, Phase, Probe, Scene};
use crate::journal::{JournalError, Reason, write_atomically};

/// A part of a load: its requests before, during or after a fault.
#[derive(Clone)]
#[must_use = "a part of a load does nothing until it is asked for a figure"]
pub struct Part {
    load: Load,
    fault: String,
    part: PhasePart,
}

/// What names a fault: itself, by reference, or its name as in the journal.
pub trait FaultName {
    /// The name, as in the journal.
    fn name(self) -> String;
}

impl FaultName for &str {
    fn name(self) -> String {
        self.to_owned()
    }
}

impl FaultName for String {
    fn name(self) -> String {
        self
    }
}

impl<F: Fault> FaultName for &F {
    fn name(self) -> String {
        self.describe()
    }
}

/// Which requests a probe looks at.
#[derive(Clone, Debug)]
struct Within(Option<(String, PhasePart)>);

impl Within {
    fn described(&self) -> String {
        match &self.0 {
            None => String::new(),
            Some((fault, part)) => format!(" {} {fault}", part.name()),
        }
    }
}

impl Load {
    /// The requests intended before a fault, by reference or by its name as in the journal.
    pub fn before(&self, fault: impl FaultName) -> Part {
        Part { load: self.clone(), fault: fault.name(), part: PhasePart::Before }
    }

    /// The requests intended during a fault, by reference or by its name as in the journal.
    pub fn during(&self, fault: impl FaultName) -> Part {
        Part { load: self.clone(), fault: fault.name(), part: PhasePart::During }
    }

    /// The requests intended after a fault was gone, by reference or by its name as in the journal.
    pub fn after(&self, fault: impl FaultName) -> Part {
        Part { load: self.clone(), fault: fault.name(), part: PhasePart::After }
    }

    /// A probe of the latency that a part of the requests, from 0 to 1, stay within, from the intended instant.
    pub fn quantile(&self, quantile: f64) -> Percentile {
        Percentile { load: self.clone(), percent: quantile * 100.0, within: Within(None) }
    }

    /// A probe of the median latency, from the intended instant.
    pub fn p50(&self) -> Percentile {
        self.quantile(0.5)
    }

    /// A probe of the latency that 95 % of requests stay within, from the intended instant.
    pub fn p95(&self) -> Percentile {
        self.quantile(0.95)
    }

    /// A probe of the latency that 99 % of requests stay within, from the intended instant.
    pub fn p99(&self) -> Percentile {
        self.quantile(0.99)
    }

    /// A probe of the share of requests that were answered with a status below 400, from 0 to 1.
    pub fn success_ratio(&self) -> SuccessRatio {
        SuccessRatio { load: self.clone(), within: Within(None) }
    }

    /// A probe of the share of the planned requests that were sent, from 0 to 1.
    pub fn rate_kept(&self) -> RateKept {
        RateKept { load: self.clone() }
    }

    /// An action: draws the load as one HTML file, relative to the outputs folder. It waits for the load's end.
    pub fn plot_to(&self, path: impl Into<PathBuf>) -> Plot {
        Plot { load: self.clone(), path: path.into() }
    }

    /// The recording of an ended load, if the phase is one in which it means something.
    fn judged<T>(
        &self,
        scene: &Scene,
        even_invalid: bool,
        read: impl FnOnce(&Recording) -> Result<T, String>,
    ) -> Observed<T> {
        if !matches!(scene.phase, Phase::Fault { .. } | Phase::Method { .. }) {
            return Observed::NotApplicable;
        }
        let no_data = |why: &str| Observed::Inconclusive(Reason::NoData { what: self.title(), why: why.to_owned() });
        let recording = match &*self.state.borrow() {
            State::Ended(recording) => recording.clone(),
            State::NotStarted if matches!(scene.phase, Phase::Fault { .. }) => {
                return no_data("it has not been run; make it a step with `.background(..)`");
            }
            State::NotStarted | State::Running => return Observed::NotApplicable,
        };
        if let Phase::Fault { method_started, .. } = scene.phase
            && recording.started < method_started
        {
            return no_data("it was run before this method; make it a step with `.background(..)`");
        }
        if !even_invalid && let Some(why) = recording.invalid() {
            return Observed::Inconclusive(Reason::InvalidLoad { what: self.title(), why });
        }
        if recording.total().requests() == 0 {
            return no_data("no request was sent");
        }
        match read(&recording) {
            Ok(value) => Observed::Value(value),
            Err(why) => Observed::Inconclusive(Reason::NoData { what: self.title(), why }),
        }
    }
}

impl Part {
    fn within(&self) -> Within {
        Within(Some((self.fault.clone(), self.part)))
    }

    /// As [`Load::quantile`], of this part.
    pub fn quantile(&self, quantile: f64) -> Percentile {
        Percentile { load: self.load.clone(), percent: quantile * 100.0, within: self.within() }
    }

    /// As [`Load::p50`], of this part.
    pub fn p50(&self) -> Percentile {
        self.quantile(0.5)
    }

    /// As [`Load::p95`], of this part.
    pub fn p95(&self) -> Percentile {
        self.quantile(0.95)
    }

    /// As [`Load::p99`], of this part.
    pub fn p99(&self) -> Percentile {
        self.quantile(0.99)
    }

    /// As [`Load::success_ratio`], of this part.
    pub fn success_ratio(&self) -> SuccessRatio {
        SuccessRatio { load: self.load.clone(), within: self.within() }
    }
}

/// Why figures of a load guard nothing.
pub(super) const NO_SAFEGUARD: &str = "a load has its figures when it has ended; guard what the load does to the system: \
    `counter(..).growth_over(..)`, `ratio(..)`, `alert(..).stays_silent()` of a Prometheus, or an `http::get(..)`";

/// The requests of a part; why there is no evidence in it otherwise.
fn counted(recording: &Recording, fault: &str, part: PhasePart) -> Result<Stats, String> {
    let known = || recording.faults.iter().map(|window| window.fault.as_str()).collect::<Vec<_>>().join(", ");
    let stats = recording.stats_in(fault, part).ok_or_else(|| match known() {
        none if none.is_empty() => format!("it saw no fault, so none named {fault:?}"),
        known => format!("it saw no fault named {fault:?}, but {known}"),
    })?;
    if stats.requests() == 0 {
        return Err(format!("no request was intended {} {fault}", part.name()));
    }
    Ok(stats)
}

/// A probe of a latency percentile.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct Percentile {
    load: Load,
    percent: f64,
    within: Within,
}

impl Probe for Percentile {
    type Output = Latency;

    fn describe(&self) -> String {
        format!("p{} of {}{}", self.percent, self.load.title(), self.within.described())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move { scene.no_safeguard(NO_SAFEGUARD).map(|()| Vec::new()) })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<Latency>, BoxError>> {
        let read = |recording: &Recording| match &self.within.0 {
            None => Ok(recording.percentile(self.percent)),
            Some((fault, part)) => {
                counted(recording, fault, *part)?;
                recording.percentile_in(fault, *part, self.percent).ok_or_else(|| "it is gone".to_owned())
            }
        };
        Box::pin(async move { Ok(self.load.judged(scene, false, read)) })
    }

    fn validate(&self) -> Result<(), BoxError> {
        if (0.0..=100.0).contains(&self.percent) {
            return Ok(());
        }
        Err(format!("{}: there is no such percentile; give a quantile from 0 to 1", self.describe()).into())
    }
}

/// A probe of the share of good answers.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct SuccessRatio {
    load: Load,
    within: Within,
}

impl Probe for SuccessRatio {
    type Output = f64;

    fn describe(&self) -> String {
        format!("success ratio of {}{}", self.load.title(), self.within.described())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move { scene.no_safeguard(NO_SAFEGUARD).map(|()| Vec::new()) })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<f64>, BoxError>> {
        let read = |recording: &Recording| match &self.within.0 {
            None => Ok(recording.success_ratio()),
            Some((fault, part)) => counted(recording, fault, *part).map(|stats| stats.success_ratio()),
        };
        Box::pin(async move { Ok(self.load.judged(scene, false, read)) })
    }
}

/// A probe of the share of the plan that was kept. It is evidence of an invalid load too.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is observed or expected"]
pub struct RateKept {
    load: Load,
}

impl Probe for RateKept {
    type Output = f64;

    fn describe(&self) -> String {
        format!("rate kept by {}", self.load.title())
    }

    fn looks_back(&self) -> std::time::Duration {
        std::time::Duration::MAX
    }

    fn examine<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Vec<String>, BoxError>> {
        Box::pin(async move { scene.no_safeguard(NO_SAFEGUARD).map(|()| Vec::new()) })
    }

    fn observe<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Observed<f64>, BoxError>> {
        Box::pin(async move { Ok(self.load.judged(scene, true, |recording| Ok(recording.rate_kept()))) })
    }
}

/// An action that draws a load.
#[derive(Clone)]
#[must_use = "a plot is drawn when the action is a step: `.act(..)`"]
pub struct Plot {
    load: Load,
    path: PathBuf,
}

impl Action for Plot {
    fn describe(&self) -> String {
        format!("plot {} to {}", self.load.title(), self.path.display())
    }

    fn validate(&self) -> Result<(), BoxError> {
        if self.path.components().any(|part| part == Component::ParentDir) {
            return Err(
                format!("the plot's path {} leaves the outputs folder; leave out `..`", self.path.display()).into()
            );
        }
        Ok(())
    }

    fn act<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Value, BoxError>> {
        Box::pin(async move {
            let mut state = self.load.state.subscribe();
            let ended = state.wait_for(|state| !matches!(state, State::Running)).await?.clone();
            let State::Ended(recording) = ended else {
                return Err(
                    format!("{} has not been run; make it a step with `.background(..)`", self.load.title()).into()
                );
            };
            let (_, faults) = scene.faults.windows();
            let page = plot::page(&recording, &faults);
            write_atomically(&scene.outputs.join(&self.path), page.as_bytes()).map_err(JournalError::in_outputs)?;
            Ok(json!({"file": self.path}))
        })
    }
}
