//! The controls of a document: which apply where and in which order, and what their hooks may change.
//!
//! The runner calls [`Controls::before`] and [`Controls::after`] once for each place, and [`Controls::guard`] beside the
//! run. Native controls and those in Python are [`Hooks`] alike. What a control changes in the document is changed for
//! the rest of the run: it lives in [`Living`]. A control that fails is passed over, as in the original; only one that
//! interrupts has a say in how the run goes on.

mod bypass;
mod hooks;
mod living;
mod metrics;
mod order;
mod python;
mod repeat;
mod safeguards;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::python::Python;
use super::run::log::{Level, Log};
use super::run::now::Now;
use crate::clock::Clock;
use crate::transport::Transport;
pub(crate) use hooks::{At, Given, Hooks, Moment, Stop, Trouble, When};
pub(crate) use living::{Living, Spot, merge};
use order::Declared;
pub(crate) use safeguards::{Sample, Sampled};

/// What controls work with.
#[derive(Clone)]
pub(crate) struct Means {
    /// With `--allow-python`.
    pub(crate) python: Option<Python>,
    /// The way to the system, for those that tell it something.
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Clock,
    /// A name of this run that no other has.
    pub(crate) run: String,
    pub(crate) log: Log,
    /// For whoever looks on.
    pub(crate) now: Now,
}

/// The controls of a run.
pub(crate) struct Controls {
    means: Means,
    settings: Value,
    globals: Mutex<Vec<Value>>,
    /// By declaration: a control keeps its state through the run.
    known: Mutex<BTreeMap<String, Arc<dyn Hooks>>>,
    living: Arc<Living>,
    /// Puts configuration and secrets into arguments.
    substitute: Arc<dyn Fn(&Value) -> Value + Send + Sync>,
    watched: safeguards::Watched,
}

impl Controls {
    /// With the global controls of the settings and of control files, in their order, and no document yet.
    pub(crate) fn new(
        means: Means,
        settings: Value,
        globals: Vec<Value>,
        living: Arc<Living>,
        substitute: Arc<dyn Fn(&Value) -> Value + Send + Sync>,
    ) -> Self {
        let (globals, known) = (Mutex::new(globals), Mutex::default());
        let watched = safeguards::Watched::new(means.clock.clone(), means.log.clone(), means.now.clone());
        Self { means, settings, globals, known, living, substitute, watched }
    }

    /// Drops global controls whose modules are not there, as the original does before it loads a document.
    pub(crate) async fn check_globals(&self) {
        let mut kept = Vec::new();
        for control in self.globals() {
            // Nothing is done for other providers.
            if Declared::of(&control).is_none() || self.missing(&control).await.is_none() {
                kept.push(control);
            } else {
                self.debug(&format!("the control {} is dropped: its module is not there", control["name"]));
            }
        }
        *self.globals.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// Leaves the document's own.
    pub(crate) fn forget_globals(&mut self) {
        self.globals.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The controls that the document declares.
    pub(crate) fn declared(&self) -> Vec<Value> {
        order::all(&self.living.document())
    }

    /// Calls the global controls around the loading of a document. Unlike other failures, one that interrupts here ends
    /// everything.
    ///
    /// # Errors
    /// A control interrupts.
    pub(crate) async fn loading(&self, when: When, source: &str, document: &mut Value) -> Result<(), Stop> {
        for control in self.globals() {
            let Some(declared) = Declared::of(&control).filter(|declared| declared.applies(when)) else { continue };
            let Some(hooks) = self.hooks(&declared, &control) else { continue };
            let given = self.given(&declared, true);
            self.heard(&declared, hooks.loading(when, &given, source, document).await)?;
        }
        Ok(())
    }

    /// Configures the global controls, then those of the document, each name once. Failures are passed over; a global
    /// control that fails is not called any more.
    pub(crate) async fn configure(&self) {
        let mut kept = Vec::new();
        for control in self.globals() {
            if self.configured(&control, true).await {
                kept.push(control);
            }
        }
        *self.globals.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        for control in order::once(&self.living.document()) {
            self.configured(&control, false).await;
        }
    }

    async fn configured(&self, control: &Value, global: bool) -> bool {
        let Some(declared) = Declared::of(control) else { return true };
        let Some(hooks) = self.hooks(&declared, control) else { return true };
        // Their arguments are not substituted, as in the original.
        let mut given = self.given(&declared, false);
        if !global {
            given.settings = Value::Null;
        }
        let mut moment = self.living.moment("", Value::Null);
        let before = moment.clone();
        let done = hooks.configure(&given, &mut moment).await;
        self.living.merge(&before, &moment);
        if let Err(Trouble::Failed(why) | Trouble::Stop(Stop::Interrupt(why))) = &done {
            self.debug(&format!("the control {:?} could not be configured: {why}", declared.name));
        }
        done.is_ok()
    }

    /// Calls the hooks before something.
    ///
    /// # Errors
    /// A control interrupts. [`Controls::after`] is to be called all the same.
    pub(crate) async fn before(&self, at: At, spot: &Spot) -> Result<(), Stop> {
        self.apply(at, When::Before, spot, &mut Value::Null).await
    }

    /// Calls the hooks after something, with what came of it; null if it was interrupted before anything did.
    ///
    /// # Errors
    /// A control interrupts.
    pub(crate) async fn after(&self, at: At, spot: &Spot, state: &mut Value) -> Result<(), Stop> {
        self.apply(at, When::After, spot, state).await
    }

    async fn apply(&self, at: At, when: When, spot: &Spot, state: &mut Value) -> Result<(), Stop> {
        let document = self.living.document();
        let pointer = spot.pointer(&document);
        let context = document.pointer(&pointer).unwrap_or(&Value::Null);
        for control in order::applying(at, &self.globals(), &document, context) {
            let Some(declared) = Declared::of(&control).filter(|declared| declared.applies(when)) else { continue };
            let Some(hooks) = self.hooks(&declared, &control) else { continue };
            let given = self.given(&declared, true);
            let mut moment = self.living.moment(&pointer, std::mem::take(state));
            let before = moment.clone();
            let done = hooks.hook(at, when, &given, &mut moment).await;
            self.living.merge(&before, &moment);
            *state = moment.state;
            self.heard(&declared, done)?;
        }
        Ok(())
    }

    /// Cleans up after the run, as often as the original does: those of the document by name, then the global ones.
    pub(crate) async fn cleanup(&self) {
        let globals = std::mem::take(&mut *self.globals.lock().unwrap_or_else(PoisonError::into_inner));
        for control in order::once(&self.living.document()).into_iter().chain(globals) {
            let Some(declared) = Declared::of(&control) else { continue };
            let Some(hooks) = self.hooks(&declared, &control) else { continue };
            if let Err(trouble) = hooks.cleanup().await {
                self.debug(&format!("the control {:?} could not be cleaned up: {trouble:?}", declared.name));
            }
        }
    }

    /// Runs the safeguards, beside the run, and ends with the reason to stop it; else never.
    pub(crate) async fn guard(&self, sampler: &dyn Sample) -> Stop {
        let exit = async {
            match &self.means.python {
                Some(python) => Stop::Exit(python.asked_to_exit().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            stop = self.watched.run(sampler) => stop,
            stop = exit => stop,
        }
    }

    /// What the safeguards saw, for the journal; null without any.
    pub(crate) fn guarded(&self) -> Value {
        self.watched.told()
    }

    /// What a control says to its own declaration, for the validator.
    ///
    /// # Errors
    /// Why it is not valid.
    pub(crate) async fn validate(&self, control: &Value) -> Result<(), String> {
        let Some(declared) = Declared::of(control) else { return Ok(()) };
        let Some(hooks) = self.hooks(&declared, control) else { return Ok(()) };
        match hooks.validate(control).await {
            Ok(()) | Err(Trouble::Stop(Stop::Exit(_))) => Ok(()),
            Err(Trouble::Failed(why) | Trouble::Stop(Stop::Interrupt(why))) => Err(why),
        }
    }

    /// Controls whose modules are not there, by the words of the validator's warning.
    pub(crate) async fn unmet(&self) -> Vec<String> {
        let mut unmet = Vec::new();
        let document = self.living.document();
        for control in self.globals().into_iter().chain(order::all(&document)) {
            unmet.extend(self.missing(&control).await);
        }
        unmet.dedup();
        unmet
    }

    async fn missing(&self, control: &Value) -> Option<String> {
        let Declared { name, module, .. } = self.of_python(control)?;
        let Some(python) = &self.means.python else {
            return only_tells(&module).then(|| {
                format!(
                    "the control '{name}' is not applied: its module '{module}' is Python's, and only tells others of \
                     the run; let Python run it with --allow-python"
                )
            });
        };
        python.hooks(&module).await.err().map(|_| {
            format!(
                "Could not find Python module '{module}' in control '{name}'. Did you install the Python module? The \
                 experiment will carry on running nonetheless."
            )
        })
    }

    /// The global controls, or those of the document, that would silently not be applied: Python's, where Python is not
    /// allowed. One of them may be what keeps the experiment safe, unless it is known to tell others of the run only.
    pub(crate) fn unasked(&self, global: bool) -> Vec<String> {
        if self.means.python.is_some() {
            return Vec::new();
        }
        let (all, remedy) = if global {
            (self.globals(), "take it out of the settings or the control file (--settings names others)")
        } else {
            let remedy = "take it out of the experiment, or put one in its place that is built in, such as \
                          chaosaddons.controls.safeguards";
            (self.declared(), remedy)
        };
        let mut unasked = Vec::new();
        for Declared { name, module, .. } in all.iter().filter_map(|control| self.of_python(control)) {
            if only_tells(&module) {
                continue;
            }
            let why = format!(
                "the control '{name}' would not be applied, and may be what keeps the experiment safe: its module \
                 '{module}' is not built in; let Python run it (--allow-python), or {remedy}"
            );
            if !unasked.contains(&why) {
                unasked.push(why);
            }
        }
        unasked
    }

    /// A control that needs Python.
    fn of_python(&self, control: &Value) -> Option<Declared> {
        Declared::of(control).filter(|declared| native(&declared.module, &self.means, &self.watched).is_none())
    }

    /// The global controls that still apply.
    pub(crate) fn globals(&self) -> Vec<Value> {
        self.globals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn given(&self, declared: &Declared, substituted: bool) -> Given {
        let arguments = if substituted { (self.substitute)(&declared.arguments) } else { declared.arguments.clone() };
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        Given { arguments, settings: self.settings.clone() }
    }

    /// The hooks of a control, the same for each declaration that is the same; none if nobody can call them.
    fn hooks(&self, declared: &Declared, control: &Value) -> Option<Arc<dyn Hooks>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = control.to_string();
        if let Some(hooks) = known.get(&key) {
            return Some(hooks.clone());
        }
        let hooks = native(&declared.module, &self.means, &self.watched).or_else(|| {
            let python = self.means.python.clone()?;
            Some(Arc::new(python::Control::new(python, &declared.module)) as Arc<dyn Hooks>)
        })?;
        known.insert(key, hooks.clone());
        Some(hooks)
    }

    fn heard(&self, declared: &Declared, done: Result<(), Trouble>) -> Result<(), Stop> {
        match done {
            Ok(()) => Ok(()),
            Err(Trouble::Stop(stop)) => Err(stop),
            Err(Trouble::Failed(why)) => {
                self.debug(&format!("the control {:?} failed: {why}", declared.name));
                Ok(())
            }
        }
    }

    fn debug(&self, line: &str) {
        (self.means.log)(Level::Debug, line);
    }
}

/// Whether a module is known to do no more than to tell others of a run: traces.
fn only_tells(module: &str) -> bool {
    module.split('.').next() == Some("chaostracing")
}

/// The controls that need no Python.
fn native(module: &str, means: &Means, watched: &safeguards::Watched) -> Option<Arc<dyn Hooks>> {
    Some(match module {
        "chaosaddons.controls.bypass" => Arc::new(bypass::Bypass { log: means.log.clone() }),
        "chaosaddons.controls.repeat" => Arc::new(repeat::Repeat { log: means.log.clone() }),
        "chaosaddons.controls.safeguards" => Arc::new(safeguards::Safeguards::new(watched)),
        "chaosaddons.controls.synchronization" => Arc::new(Nothing),
        "chaosprometheus.metrics" => Arc::new(metrics::Metrics::new(means)),
        _ => return None,
    })
}

/// Does nothing: safeguards here know by themselves when the run is over.
struct Nothing;

impl Hooks for Nothing {
    fn hook<'a>(&'a self, _: At, _: When, _: &'a Given, _: &'a mut Moment) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests;
