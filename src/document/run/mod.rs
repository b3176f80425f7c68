//! Running a document: Chaos Toolkit's algorithm, on the engine of this crate.
//!
//! The order of things, the statuses and the records are the original's. Faults are injected by [`Run::inject`], so that
//! they are guarded, proved, written into the ledger and undone like any other; the hypothesis is judged as a check of
//! this crate, so that the verdict rests on the faults being seen before and after it.

mod activity;
mod background;
mod continuous;
mod entry;
mod hooks;
mod hypothesis;
pub(crate) mod log;
mod machine;
mod method;
mod names;
pub(crate) mod now;
pub(crate) mod record;
mod rollbacks;
mod sample;
pub(crate) mod settings;
mod shared;
pub(crate) mod status;
mod unproved;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Instrument;

use super::activity::{Activity, leaves_all};
use super::configuration::Configuration;
use super::controls::{At, Controls, Living, Means, Spot};
use super::function::Guards;
use super::load::Loaded;
use super::notifications::{Event, Notifications};
use super::provider::{Attack, Providers};
use super::py::order::Orders;
use super::py::text;
use super::python::Python;
use super::redact::Redactor;
use super::source::Source;
use super::substitute::Scope;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::experiment::{Environment, ExperimentError, HypothesisStrategy, Phase, Run, Signal, Store, Told};
use crate::journal::{Ended, Journal, Reason, Verdict};
use log::{Level, Log};
pub(crate) use machine::Machine;
use names::Names;
use now::{Now, Part};
use settings::Settings;
use shared::{Shared, State, Veil};
use status::{End, Status};

/// Told how a run ended, with its journal.
type WhenEnded = Box<dyn Fn(End, &Journal) + Send + Sync>;

/// Why a run does not go on.
#[derive(Clone, Debug)]
pub(crate) enum Halt {
    /// The original would die of it: the method is aborted.
    Fatal(String),
    /// An activity or a control asks for an end.
    Interrupt(String),
    /// The same, in the way of a program: 30 means without the document's rollbacks.
    Exit(i64),
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fatal(why) | Self::Interrupt(why) => f.write_str(why),
            Self::Exit(code) => write!(f, "Received the exit signal: {code}"),
        }
    }
}

/// All that a run needs.
pub(crate) struct Assignment {
    pub(crate) loaded: Loaded,
    pub(crate) settings: Settings,
    /// The cluster, if the document acts on one.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) journal: PathBuf,
    /// Attacks of vegeta's, in this process.
    pub(crate) attack: Attack,
    pub(crate) log: Log,
    /// For whoever looks on.
    pub(crate) now: Now,
    /// Told how it ended, once the journal is stored; after a signal nothing else of the process runs.
    pub(crate) ended: WhenEnded,
    /// Told what keeps secrets out of lines, when controls have made new ones.
    pub(crate) hides: Box<dyn Fn(Arc<Redactor>) + Send + Sync>,
}

/// A run of a document.
pub(crate) struct Conductor {
    living: Arc<Living>,
    names: Names,
    controls: Controls,
    /// Parts that have begun and not ended, with controls to be called after them.
    open: Mutex<hooks::Open>,
    python: Option<Python>,
    notifications: Notifications,
    settings: Settings,
    /// Whether the document leaves its faults unless an activity says otherwise.
    leaves_all: bool,
    providers: Providers,
    cluster: Option<Cluster>,
    run: Run,
    clock: Clock,
    guards: Guards,
    shared: Arc<Shared>,
    log: Log,
    now: Now,
}

/// Runs a document to its end, and says what it came to.
///
/// # Errors
/// The journal cannot be written, or the cluster does not say who it is: nothing was touched then.
pub(crate) async fn run(assignment: Assignment) -> Result<End, ExperimentError> {
    let Assignment { loaded, settings, cluster, journal, attack, log, now, ended, hides } = assignment;
    let environment: Arc<dyn Environment> = match &cluster {
        Some(cluster) => Arc::new(cluster.clone()),
        None => Arc::new(Machine::new()?),
    };
    let clock = environment.clock();
    let python = loaded.python.as_ref().map(|python| python.in_time(clock.time()));
    let providers = Providers::of(&loaded, Some(attack), python.clone());
    let Loaded { source, configuration, secrets, redact, hidden, globals, user, notifications, .. } = loaded;
    let scope = Scope { secrets, orders: Orders::of(&source.marks), ..Scope::default() };
    let mut document = source.value.clone();
    if let Some(title) = document.get_mut("title") {
        *title = configuration.before_probes(&scope.secrets).put_into(title);
    }
    let title = document["title"].as_str().unwrap_or_default().to_owned();
    let living = Arc::new(Living::new(document, Value::Null, names::as_mapping(&scope.secrets)));
    let names = Names::new(&living, &scope);
    let veil = Veil::new(scope.secrets.clone(), redact, hidden, hides);
    let shared = Arc::new(Shared::new(living.clone(), settings.dry, clock.now(), veil));
    let (store, told) = (shared.clone(), shared.clone());
    let store: Store = Box::new(move |evidence| store.store(evidence, &journal));
    let told: Told = Box::new(move |evidence| {
        let end = told.state().end;
        if let Some((end, _)) = end {
            ended(end, evidence);
        }
    });
    let transport = environment.transport();
    let run = Run::directed(&title, environment, None, store, told).await?;
    let means = Means {
        python: python.clone(),
        transport,
        clock: clock.clone(),
        run: run.evidence().run,
        log: log.clone(),
        now: now.clone(),
    };
    let scene = run.scene(Phase::Gate);
    now.sees(scene.faults, scene.loads);
    let meant = names.clone();
    let substitute = Arc::new(move |value: &Value| meant.now().put_into_arguments(value));
    let controls = Controls::new(means, user.whole, globals, living.clone(), substitute);
    let conductor = Arc::new(Conductor {
        living,
        names,
        controls,
        open: Mutex::default(),
        python,
        notifications,
        settings,
        leaves_all: leaves_all(&source.value),
        providers,
        cluster,
        run,
        clock,
        guards: Guards::default(),
        shared,
        log,
        now,
    });
    // A signal that comes meanwhile is met again where the run begins.
    conductor.until_a_signal(&mut None, conductor.configure(configuration, scope, &source)).await;
    // Probes of the configuration may have found a part of it.
    let title = conductor.names.now().put_into(&source.value["title"]);
    conductor.say(Level::Info, &format!("Running experiment: {}", text::str(&title)));
    conductor.living.entitle(title);
    if let Some(dry) = conductor.settings.dry {
        conductor.say(Level::Warning, &format!("Running experiment with dry {}", dry.name()));
    }
    conductor.to_the_end().await
}

impl Conductor {
    fn say(&self, level: Level, line: &str) {
        (self.log)(level, line);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Runs the probes of the configuration. They are no activities of the experiment: they leave no record, and run dry
    /// or not.
    async fn configure(&self, configuration: Configuration, scope: Scope, source: &Source) {
        let run = async |probe: Activity<'_>, names: &Scope| {
            let site = self.site(names, &probe, Phase::Gate);
            self.providers.call(&probe, &site).await.map_err(|trouble| trouble.to_string())
        };
        let (scope, warnings) = configuration.measure(scope, source, run).await;
        for warning in warnings {
            self.say(Level::Warning, &warning.to_string());
        }
        self.living.know(Value::Object(scope.configuration), names::as_mapping(&scope.secrets));
    }

    async fn to_the_end(self: &Arc<Self>) -> Result<End, ExperimentError> {
        let signal = self.to_the_rollbacks().await;
        self.now.enter(Part::Undoing, self.clock.now());
        for error in self.guards.undo_all().await {
            self.say(Level::Error, &error);
        }
        self.run.undo_all().instrument(self.run.rollback()).await;
        self.state().safeguards = self.controls.guarded();
        let end = self.ended(signal);
        self.now.end();
        let told = if end.deviated { "deviated" } else { end.journal_status().name() };
        self.say(Level::Info, &format!("Experiment ended with status: {told}"));
        if end.deviated {
            self.say(Level::Info, "The steady-state has deviated, a weakness may have been discovered");
        }
        if end.verdict == Verdict::Inconclusive
            && !end.gate_missed
            && let Some(reason) = self.run.evidence().reason
        {
            self.say(Level::Warning, &format!("Whether the steady state holds is not known: {reason}"));
        }
        let mut late = signal;
        self.until_a_signal(&mut late, self.after_the_run()).await;
        let end = self.ended(signal);
        let ended = match (signal, end.status, end.gate_missed) {
            (Some((_, name)), ..) => Ended::Interrupted { signal: name.to_owned() },
            (None, _, true) => Ended::GateMissed,
            (None, Status::Completed | Status::Failed, _) => Ended::Completed,
            (None, ..) => Ended::Failed { error: self.state().why.clone().unwrap_or_default() },
        };
        let code = if self.settings.original_codes { end.original_code() } else { end.code() };
        if late.is_some() {
            // After a signal the process ends with the journal.
            self.until_a_signal(&mut late, self.tell(&self.run.evidence())).await;
        }
        let evidence = self.run.close(ended, Some(i32::from(code))).await?;
        self.tell(&evidence).await;
        Ok(end)
    }

    /// Everything up to the end of the document's rollbacks; the signal that cut it.
    async fn to_the_rollbacks(self: &Arc<Self>) -> Option<Signal> {
        let mut signal = None;
        let guarded = async {
            tokio::select! {
                biased;
                stop = self.controls.guard(&**self) => self.halted(&stop.into()),
                () = self.conduct() => {}
            }
        };
        if self.until_a_signal(&mut signal, guarded).await {
            self.interrupted(signal, "interrupting the experiment");
        }
        self.run.method_ended();
        if self.until_a_signal(&mut signal, self.close_what_was_cut()).await {
            self.interrupted(signal, "interrupting the experiment");
        }
        // SIGUSR2 means: now, without the document's rollbacks. The faults of this run are undone all the same.
        if self.state().no_rollbacks || signal.is_some_and(|(number, _)| number == SIGUSR2) {
            return signal;
        }
        if self.until_a_signal(&mut signal, self.roll_back().instrument(self.run.rollback())).await {
            self.say(
                Level::Warning,
                &format!("Caught {}: the remaining rollbacks are not run", signal.map_or("", |one| one.1)),
            );
            self.state().status = Some(Status::Interrupted);
            self.until_a_signal(&mut signal, self.close_what_was_cut()).await;
        }
        signal
    }

    /// Does something until the first signal or, after that, the next; whether one cut it. After the second nothing is done:
    /// whoever sends it wants the faults undone, and nothing else.
    async fn until_a_signal(&self, signal: &mut Option<Signal>, work: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            first = self.run.interrupted(), if signal.is_none() => {
                *signal = Some(first);
                true
            }
            () = self.run.interrupted_again(), if signal.is_some() => true,
            () = work => false,
        }
    }

    fn interrupted(&self, signal: Option<Signal>, doing: &str) {
        let Some((_, name)) = signal else { return };
        // From here on the process may end at any time: what is left on the terminal is the log.
        self.now.end();
        self.say(Level::Warning, &format!("Caught {name}: {doing}"));
        self.state().status = Some(Status::Interrupted);
        self.run.ended_before(format!("interrupted by {name}"));
    }

    /// Tells others how it ended. Nobody needs Python after that.
    async fn tell(&self, evidence: &Journal) {
        let journal = self.shared.told(evidence);
        for event in Event::of_journal(&journal) {
            self.notifications.notify(event, &journal, None).await;
        }
        if let Some(python) = &self.python {
            python.end().await;
        }
    }

    /// Everything up to the rollbacks.
    async fn conduct(self: &Arc<Self>) {
        self.controls.configure().await;
        self.hide();
        let strategy = self.settings.hypothesis;
        self.say(Level::Info, &format!("Steady-state strategy: {}", strategy.name()));
        self.say(Level::Info, &format!("Rollbacks strategy: {}", self.settings.rollbacks.name()));
        let hypothesis = self.has_hypothesis();
        if !hypothesis {
            let line = "No steady state hypothesis defined. That's ok, just exploring.";
            self.say(Level::Info, line);
        } else if strategy == HypothesisStrategy::Skip {
            self.say(Level::Info, "Skipping Steady-State Hypothesis as requested");
        }
        if let Err(stop) = self.controls.before(At::Experiment, &Spot::whole()).await {
            return self.halted(&stop.into());
        }
        self.hide();
        self.now.enter(Part::Before, self.clock.now());
        if hypothesis && strategy.judges_before() && !self.gate().await {
            return;
        }
        let watched = hypothesis && strategy.judges_during();
        let played = if watched { self.method_watched().await } else { self.method().await };
        if let Err(halt) = played {
            self.halted(&halt);
            return;
        }
        if self.state().status.is_some_and(|status| matches!(status, Status::Interrupted | Status::Aborted)) {
            return;
        }
        if hypothesis && strategy.judges_after() {
            self.now.enter(Part::After, self.clock.now());
            self.after().await;
        } else if watched {
            self.conclude_watched();
        }
    }

    /// What a halt makes of the run.
    fn halted(&self, halt: &Halt) {
        let status = match halt {
            Halt::Fatal(why) => {
                self.say(
                    Level::Critical,
                    &format!("Experiment ran into an unexpected fatal error, aborting now: {why}"),
                );
                Status::Aborted
            }
            Halt::Interrupt(why) => {
                self.say(Level::Critical, why);
                Status::Interrupted
            }
            Halt::Exit(code) => {
                self.say(Level::Warning, &halt.to_string());
                if *code == WITHOUT_ROLLBACKS {
                    self.say(Level::Warning, "Ignoring rollbacks as per signal");
                    self.state().no_rollbacks = true;
                }
                Status::Interrupted
            }
        };
        let mut state = self.state();
        state.status = Some(status);
        state.why = Some(halt.to_string());
        drop(state);
        self.run.ended_before(halt.to_string());
    }

    fn ended(&self, signal: Option<Signal>) -> End {
        let failed = self.state().faults_failed.first().cloned();
        if let Some(reason) = failed {
            // A fault that never was proves nothing.
            self.run.not_known(reason);
        }
        let unproved = self.state().unproved.first().cloned();
        if let Some(reason) = unproved {
            // Where nothing was judged there is nothing to be doubted.
            self.run.not_shown(reason);
        }
        let skipped = self.state().skipped.first().cloned();
        if let Some(what) = skipped {
            // What was not done shows nothing: neither that a system stands a fault, nor that it is well.
            if self.settings.dry.is_some() {
                self.run.not_judged();
            } else {
                self.run.not_shown(not_done(what));
            }
        }
        let evidence = self.run.evidence();
        let mut state = self.state();
        let end = End {
            status: state.status.unwrap_or(Status::Completed),
            deviated: state.deviated,
            gate_missed: state.gate_missed,
            verdict: evidence.verdict,
            not_rolled_back: !state.rollbacks_failed.is_empty() || !evidence.not_undone().is_empty(),
            signal: signal.map(|(number, _)| number),
        };
        // Controls that are called after it take no part in it.
        let at = state.end.map_or_else(|| self.clock.now(), |(_, at)| at);
        state.end = Some((end, at));
        end
    }
}

/// What says itself that it is to be dry shows nothing.
fn not_done(what: String) -> Reason {
    Reason::NoData { what, why: "it says `dry`, and was not done".to_owned() }
}

const SIGUSR2: i32 = 12;

/// The code that a program exits with to have no rollbacks.
const WITHOUT_ROLLBACKS: i64 = 30;
