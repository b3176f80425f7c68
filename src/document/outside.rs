//! What stands around a document before it is read: the user's settings, Python, controls for all documents, channels.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::controls::{Controls, Living, Means, When};
use super::environment::Env;
use super::invalid::Invalid;
use super::load::Asked;
use super::notifications::{Event, Notifications};
use super::python::{Interpreter, Python};
use super::run::log::{Level, Log};
use super::run::now::Now;
use super::settings_file::{self, UserSettings};
use super::source::Source;
use crate::clock::Clock;
use crate::transport::{OnDemand, Transport};

/// For what a command loads a document: that is told to the channels of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To look at it, which nobody is told of.
    #[default]
    Look,
    Run,
    Validate,
    /// To make something else of it, which has no controls.
    Export,
}

/// All of it.
pub(super) struct Outside {
    pub(super) user: UserSettings,
    pub(super) python: Option<Python>,
    pub(super) notifications: Notifications,
    /// Controls of the settings and of control files whose modules are there.
    pub(super) globals: Vec<Value>,
    /// What is to be told of it.
    pub(super) warnings: Vec<Invalid>,
    means: Means,
}

impl Outside {
    pub(super) async fn of(asked: &Asked<'_>, env: &Env) -> Result<Self, Invalid> {
        let log = asked.log.clone();
        let mut warnings = Vec::new();
        let (user, told) = match asked.settings.map(std::path::Path::to_owned).or_else(settings_file::usual) {
            Some(path) => settings_file::load(&path),
            None => Default::default(),
        };
        warnings.extend(told.map(|why| Invalid::of("", why)));
        let mut globals = user.controls.clone();
        for file in asked.control_files {
            match settings_file::control_file(file) {
                Ok(controls) => globals.extend(controls),
                Err(why) => warnings.push(Invalid::of("", why)),
            }
        }
        let python = asked.allow_python.then(|| Python::new(interpreter(&log, env)));
        let transport: Arc<dyn Transport> = Arc::new(OnDemand::default());
        let clock = Clock::real();
        let notifications = Notifications {
            channels: user.notifications.clone(),
            ways: Arc::new(|| Ok(Arc::new(OnDemand::default()))),
            python: python.clone(),
            clock: clock.clone(),
            log: log.clone(),
        };
        let means = Means { python: python.clone(), transport, clock, run: String::new(), log, now: Now::default() };
        let mut outside = Self { user, python, notifications, globals, warnings, means };
        let controls = outside.controls(Value::Null);
        if asked.purpose != Purpose::Export
            && let Some(why) = controls.unasked(true).into_iter().next()
        {
            return Err(Invalid::of("", why));
        }
        for why in controls.unmet().await {
            outside.warnings.push(Invalid::of("", why));
        }
        controls.check_globals().await;
        outside.globals = controls.globals();
        Ok(outside)
    }

    /// The controls around a document that is not run yet.
    fn controls(&self, document: Value) -> Controls {
        let empty = || Value::Object(Map::new());
        let living = Arc::new(Living::new(document, empty(), empty()));
        let settings = self.user.whole.clone();
        Controls::new(self.means.clone(), settings, self.globals.clone(), living, Arc::new(Value::clone))
    }

    /// Calls the global controls around the loading of a document, which they may change.
    pub(super) async fn loading(&self, when: When, name: &str, document: &mut Value) -> Result<(), Invalid> {
        let done = self.controls(Value::Null).loading(when, name, document).await;
        done.map_err(|stop| Invalid::of(name, format!("a control stopped the loading of the experiment: {stop}")))
    }

    /// Why the controls of a document cannot be done without, where they would not be applied.
    pub(super) fn refuse_controls(&self, asked: &Asked<'_>, source: &Source) -> Vec<Invalid> {
        if asked.purpose == Purpose::Export {
            return Vec::new();
        }
        let unasked = self.controls(source.value.clone()).unasked(false).into_iter();
        unasked.map(|why| Invalid::of(&*source.name, why)).collect()
    }

    /// What is wrong with the controls of a document, and which of them are not there.
    pub(super) async fn judge_controls(&self, source: &Source) -> (Vec<Invalid>, Vec<Invalid>) {
        let mut errors = Vec::new();
        let mut own = self.controls(source.value.clone());
        own.forget_globals();
        for control in own.declared() {
            if let Err(why) = own.validate(&control).await {
                errors.push(Invalid::of(&*source.name, why));
            }
        }
        let warnings = own.unmet().await.into_iter().map(|why| Invalid::of(&*source.name, why));
        (errors, warnings.collect())
    }

    /// Tells the channels of an event, if the document is loaded for that.
    pub(super) async fn tell(
        &self,
        asked: &Asked<'_>,
        purpose: Purpose,
        event: Event,
        payload: &Value,
        error: Option<&str>,
    ) {
        if asked.purpose == purpose {
            self.notifications.notify(event, payload, error).await;
        }
    }
}

/// The user's own Python, with the variables of the document's files.
fn interpreter(log: &Log, env: &Env) -> Interpreter {
    let told = log.clone();
    let mut interpreter = Interpreter::of_user(log.clone(), Arc::new(move |line: &str| told(Level::Info, line)));
    interpreter.variables = env.overlay().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    interpreter
}
