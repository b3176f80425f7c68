//! The steady state hypothesis: probes in their order, up to the first that misses.
//!
//! To the engine it is one check, so that what it comes to rests on the faults being seen directly before and after it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::activity::Place;
use super::entry::{Entry, List};
use super::record::{Ending, Record, Records};
use super::status::Status;
use super::{Conductor, Halt, Level};
use crate::BoxError;
use crate::document::activity::Activity;
use crate::document::controls::{At, Spot};
use crate::document::function;
use crate::document::marks::Path;
use crate::document::tolerance::{Judged, ProbeTolerance, SeriesTolerance, Tolerance};
use crate::experiment::{Check, Finding, Hypothesis, Probe, Scene, Stretch};
use crate::journal::{Evaluation, MetricSeries, Reason};
use crate::tolerance::{Judgement, Outcome};

/// What a look at the whole hypothesis came to.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// As in the journal.
    state: Value,
    /// Whether it is met; `None` where that is not known.
    met: Option<bool>,
    /// The first probe that missed.
    missed: Option<String>,
    /// Whether a probe or its tolerance failed, rather than missed.
    failed: bool,
    /// The first probe that was passed over: what is met without it is not shown.
    skipped: Option<String>,
}

impl Look {
    /// Takes over what a control made of it.
    fn take_over(&mut self, changed: Value) {
        let met = changed["steady_state_met"].as_bool();
        if met != self.met && self.state["steady_state_met"] != changed["steady_state_met"] {
            self.met = met;
            self.missed = (met != Some(true)).then(|| self.missed.take().unwrap_or_else(|| "a control".to_owned()));
        }
        self.state = changed;
    }
}

/// Where a check leaves what it saw.
type Slot = Mutex<Option<Result<Look, Halt>>>;

/// The hypothesis as a check of this crate.
struct Steady {
    conductor: Arc<Conductor>,
    look: Arc<Slot>,
}

impl Check for Steady {
    fn describe(&self) -> String {
        self.conductor.hypothesis_title()
    }

    /// Requests and questions to Kubernetes are of the moment; what else there is may tell what was measured before.
    fn looks_back(&self) -> Duration {
        let hypothesis = self.conductor.living.at(&Spot::hypothesis());
        let mut probes = hypothesis["probes"].as_array().into_iter().flatten();
        let of_the_moment = |probe: &Value| {
            let provider = &probe["provider"];
            provider["type"] == "http" || provider["module"].as_str().is_some_and(|of| of.starts_with("chaosk8s."))
        };
        if probes.all(of_the_moment) { Duration::ZERO } else { Duration::MAX }
    }

    fn check<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Finding, BoxError>> {
        Box::pin(async move {
            let looked = self.conductor.look(scene).await;
            *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked.clone());
            let look = looked.map_err(|halt| BoxError::from(halt.to_string()))?;
            let title = self.conductor.hypothesis_title();
            let judgement = match (look.met, &look.missed) {
                (Some(true), _) if look.skipped.is_some() => {
                    self.conductor.passed_over(look.skipped.unwrap_or_default(), &title)
                }
                (Some(true), _) => Judgement::of(true, "within tolerance", &title, ("within", "out")),
                (Some(false), missed) => {
                    let seen = format!("out of tolerance at {:?}", missed.as_deref().unwrap_or_default());
                    Judgement::of(false, seen, &title, ("within", "out"))
                }
                (None, missed) => {
                    let what = missed.clone().unwrap_or_default();
                    let why = "its tolerance cannot tell; see the journal's x-steadfast".to_owned();
                    Judgement::inconclusive(Reason::NoData { what, why }, &title)
                }
            };
            Ok(Finding { judgement, evidence: look.state })
        })
    }

    fn timeline<'a>(
        &'a self,
        scene: &'a Scene,
        run: &'a Stretch,
    ) -> BoxFuture<'a, Result<Vec<MetricSeries>, BoxError>> {
        Box::pin(async move {
            let mut series = Vec::new();
            let names = self.conductor.names.now();
            let prometheus = function::chaosprometheus::server(&names.configuration);
            for probe in self.conductor.living.at(&Spot::hypothesis())["probes"].as_array().into_iter().flatten() {
                let provider = &probe["provider"];
                let query = names.put_into_arguments(&provider["arguments"]["query"]);
                if let ("chaosprometheus.probes", Some(query)) =
                    (provider["module"].as_str().unwrap_or(""), query.as_str())
                {
                    let name = probe["name"].as_str().unwrap_or_default();
                    let found = prometheus.query(query).timeline(scene, run).await?;
                    // To the engine the hypothesis is one check, and to a report each probe.
                    series.extend(found.into_iter().map(|one| MetricSeries { checks: vec![name.to_owned()], ..one }));
                }
            }
            Ok(series)
        })
    }
}

impl Conductor {
    pub(super) fn has_hypothesis(&self) -> bool {
        self.entry(List::Hypothesis, 0).is_some()
    }

    fn hypothesis_title(&self) -> String {
        self.living.at(&Spot::hypothesis())["title"].as_str().unwrap_or_default().to_owned()
    }

    /// What a hypothesis comes to that holds without a probe that was not made.
    fn passed_over(&self, probe: String, title: &str) -> Judgement {
        match self.settings.dry {
            Some(dry) => Judgement::not_applicable(title).because(format!("the run is dry ({})", dry.name())),
            None => Judgement::inconclusive(super::not_done(probe), title),
        }
    }

    fn steady(self: &Arc<Self>) -> (Hypothesis, Arc<Slot>) {
        let look = Arc::new(Mutex::new(None));
        let check = Steady { conductor: self.clone(), look: look.clone() };
        (Hypothesis::new(self.hypothesis_title()).check(check), look)
    }

    /// The gate: whether the method is to be played.
    pub(super) async fn gate(self: &Arc<Self>) -> bool {
        let (hypothesis, slot) = self.steady();
        let judged = self.run.gate(&hypothesis).await.map_err(|error| error.to_string());
        match self.seen(&slot, judged) {
            Err(halt) => {
                self.halted(&halt);
                false
            }
            Ok((look, _)) => {
                let mut state = self.state();
                state.before = Some(look.state.clone());
                if look.met == Some(true) {
                    return true;
                }
                state.gate_missed = true;
                state.status = Some(if look.failed { Status::Failed } else { Status::Completed });
                drop(state);
                let missed = look.missed.unwrap_or_default();
                let line =
                    format!("Steady state probe '{missed}' is not in the given tolerance so failing this experiment");
                self.say(Level::Critical, &line);
                self.run.gate_missed(Reason::GateMissed { check: missed, phrase: "out of tolerance".to_owned() });
                false
            }
        }
    }

    /// The hypothesis after the method, while the faults are on.
    pub(super) async fn after(self: &Arc<Self>) {
        let (hypothesis, slot) = self.steady();
        let judged = self.run.under_faults(&hypothesis).await.map_err(|error| error.to_string());
        match self.seen(&slot, judged) {
            Err(halt) => self.halted(&halt),
            Ok((look, evaluation)) => {
                let mut evaluations = std::mem::take(&mut self.state().watched);
                evaluations.push(evaluation);
                self.run.conclude(&hypothesis, &evaluations);
                let mut state = self.state();
                state.after = Some(look.state.clone());
                if look.met == Some(true) {
                    return;
                }
                state.deviated |= look.met == Some(false);
                state.status = Some(if look.failed || look.met.is_none() { Status::Failed } else { Status::Completed });
                drop(state);
                let missed = look.missed.unwrap_or_default();
                let line =
                    format!("Steady state probe '{missed}' is not in the given tolerance so failing this experiment");
                self.say(Level::Critical, &line);
            }
        }
    }

    /// One look while the method is played: whether it is met, or `None` where nobody is to look again.
    pub(super) async fn look_beside(self: &Arc<Self>) -> Option<bool> {
        let (hypothesis, slot) = self.steady();
        let judged = self.run.watch(&hypothesis).await.map_err(|error| error.to_string());
        match self.seen(&slot, judged) {
            Err(halt) => {
                self.halted(&halt);
                None
            }
            Ok((look, evaluation)) => {
                let mut state = self.state();
                state.during.push(look.state.clone());
                state.watched.push(evaluation);
                drop(state);
                if look.met != Some(true) {
                    let missed = look.missed.unwrap_or_default();
                    let line = format!("Continuous steady state probe '{missed}' is not in the given tolerance");
                    self.say(Level::Warning, &line);
                }
                Some(look.met == Some(true))
            }
        }
    }

    /// What was seen during the method is all that there is to judge by.
    pub(super) fn conclude_watched(self: &Arc<Self>) {
        let evaluations = std::mem::take(&mut self.state().watched);
        self.run.conclude(&self.steady().0, &evaluations);
    }

    fn seen(&self, slot: &Slot, judged: Result<Evaluation, String>) -> Result<(Look, Evaluation), Halt> {
        let look = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (look, judged) {
            (Some(Err(halt)), _) => Err(halt),
            (Some(Ok(look)), Ok(evaluation)) => Ok((look, evaluation)),
            (_, Err(why)) => Err(Halt::Fatal(why)),
            (None, Ok(_)) => Err(Halt::Fatal("the hypothesis was not looked at".to_owned())),
        }
    }

    async fn look(&self, scene: &Scene) -> Result<Look, Halt> {
        self.say(Level::Info, &format!("Steady state hypothesis: {}", self.hypothesis_title()));
        let place = (At::Hypothesis, &Spot::hypothesis());
        self.controlled(place, self.probes(scene), |look| look.state.clone(), Look::take_over).await
    }

    /// Runs the probes, up to the first that misses.
    async fn probes(&self, scene: &Scene) -> Result<Look, Halt> {
        let records = Records::default();
        let (mut met, mut missed, mut failed, mut skipped) = (Some(true), None, false, None);
        // A control may have added some meanwhile.
        let mut next = 0;
        while let Some(entry) = self.entry(List::Hypothesis, next) {
            next += 1;
            let number = self.perform(&entry, &records, Place::Hypothesis, scene.phase).await?;
            let record = records.lock()[number].clone();
            let entry = self.renewed(&entry);
            let (found, went_wrong) = self.judged(&entry.activity(), &record, scene).await?;
            records.lock()[number].tolerance = Some(found.met);
            {
                let remarks = &mut records.lock()[number].remarks;
                remarks.extend(found.remark.map(|remark| ("tolerance".to_owned(), json!(remark))));
                if !found.evidence.is_null() {
                    remarks.insert("evidence".to_owned(), found.evidence);
                }
            }
            if record.remarks.contains_key("skipped") {
                skipped = skipped.or_else(|| Some(record.name().to_owned()));
            }
            if found.met != Some(true) {
                (met, missed, failed) = (found.met, Some(record.name().to_owned()), went_wrong);
                break;
            }
        }
        if met == Some(true) {
            self.say(Level::Info, "Steady state hypothesis is met!");
        }
        Ok(Look { state: json!({"steady_state_met": met, "probes": records.to_json()}), met, missed, failed, skipped })
    }

    /// Whether what a probe returned is in its tolerance, and whether it or its tolerance failed.
    async fn judged(&self, probe: &Activity<'_>, record: &Record, scene: &Scene) -> Result<(Found, bool), Halt> {
        if record.ending == Some(Ending::Failed) {
            self.say(Level::Warning, "Probe terminated unexpectedly, so its tolerance could not be validated");
            return Ok((Found::of(false), true));
        }
        if record.remarks.contains_key("skipped") {
            return Ok((Found::of(true), false));
        }
        let found = self.tolerated(probe.tolerance().unwrap_or(&Value::Null), record, scene).await?;
        if let Some(remark) = &found.remark {
            self.say(if found.met == Some(true) { Level::Info } else { Level::Warning }, remark);
        }
        let failed = found.failed;
        Ok((found, failed))
    }

    pub(super) async fn tolerated(&self, tolerance: &Value, record: &Record, scene: &Scene) -> Result<Found, Halt> {
        let scope = self.names.now();
        let names = |text: &str| scope.put_into_text(text);
        let parsed = Tolerance::unvalidated(tolerance).resolved(&names).into_owned();
        if let Some(probe) = parsed.probe() {
            return self.probed(probe, record, scene).await;
        }
        if let Some(series) = parsed.series() {
            return Ok(self.series(series, record, scene).await);
        }
        let output = (&record.output).into();
        if let Some(why) = parsed.vacuous(output, &names) {
            self.say(Level::Warning, &why);
        }
        Ok(Found::by(parsed.judge(output, &names)))
    }

    /// A tolerance that is a probe itself: it is given the value, and its result is taken for yes or no.
    async fn probed(&self, probe: &ProbeTolerance, record: &Record, scene: &Scene) -> Result<Found, Halt> {
        if let Some(replaced) = self.providers.tolerance_for(&probe.activity()["provider"]) {
            // A native one of the user's choice: it is never a probe again.
            return Box::pin(self.tolerated(replaced, record, scene)).await;
        }
        let asked = match probe.given(&record.output) {
            Ok(asked) => Value::Object(asked),
            Err(why) => return Ok(Found::by(Judged::Raises(why))),
        };
        let records = Records::default();
        let entry = Entry::beside(asked, Path::root().key("tolerance"));
        let number = self.perform(&entry, &records, Place::Hypothesis, scene.phase).await?;
        let inner = records.lock()[number].clone();
        let result = match inner.ending {
            Some(Ending::Succeeded) => Ok(&inner.output),
            _ => Err(inner.exception.as_deref().unwrap_or("it was cut")),
        };
        let against = result.ok().and_then(|result| probe.contradiction(result));
        Ok(Found::by(against.map_or_else(|| probe.judge(result), Judged::Missed)))
    }

    /// A tolerance on the series behind a query, by raw samples.
    async fn series(&self, tolerance: &SeriesTolerance, record: &Record, scene: &Scene) -> Found {
        let provider = &record.activity["provider"];
        let names = self.names.now();
        let of_prometheus = provider["module"] == "chaosprometheus.probes";
        let query = names.put_into_arguments(&provider["arguments"]["query"]);
        let (true, Some(query)) = (of_prometheus, query.as_str()) else {
            let why = format!(
                "a tolerance of type {} judges series of Prometheus: it belongs to chaosprometheus.probes.query and \
                 query_interval",
                tolerance.of.name()
            );
            return Found::by(Judged::Raises(why));
        };
        let prometheus = function::chaosprometheus::server(&names.configuration);
        let gate = matches!(scene.phase, crate::experiment::Phase::Gate);
        let looked = match tolerance.check(&prometheus, query, gate) {
            Ok(check) => check.check(scene).await,
            Err(why) => return Found::by(Judged::Raises(why)),
        };
        match looked {
            Err(error) => Found { met: None, remark: Some(error.to_string()), failed: false, evidence: Value::Null },
            Ok(Finding { judgement, evidence }) => {
                let met = match judgement.outcome {
                    Outcome::Met | Outcome::NotApplicable => Some(true),
                    Outcome::NotMet => Some(false),
                    Outcome::Inconclusive(_) => None,
                };
                Found { met, remark: Some(judgement.phrase()), failed: false, evidence }
            }
        }
    }
}

/// What a tolerance says.
pub(super) struct Found {
    pub(super) met: Option<bool>,
    /// Why, where that is not plain.
    pub(super) remark: Option<String>,
    /// Whether it could not be applied at all.
    pub(super) failed: bool,
    /// What it rests on, beside the probe's output.
    evidence: Value,
}

impl Found {
    fn of(met: bool) -> Self {
        Self { met: Some(met), remark: None, failed: false, evidence: Value::Null }
    }

    fn by(judged: Judged) -> Self {
        match judged {
            Judged::Met => Self::of(true),
            Judged::Missed(why) => Self { remark: Some(why), ..Self::of(false) },
            Judged::Raises(why) => Self { remark: Some(why), failed: true, ..Self::of(false) },
        }
    }
}
